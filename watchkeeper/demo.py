"""`watchkeeper demo`: the mains of a simulated room fail, nobody repairs them, and every level of the ladder is reached. A minute
of the ladder lasts a second by default."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import requests

from watchkeeper.channels.webhook import verify
from watchkeeper.collector.policy.troubles import RECOVERED_AFTER_S
from watchkeeper.deployment import AGENT, Deployment, random_secret, running, write_deployment
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.running import RunningRoom, running_room

PEOPLE = {"zhang.wei": "张伟", "wang.lei": "王磊", "zhou.gang": "周刚", "zhao.min": "赵敏"}
_REAL_MINUTE_S = 60.0
_CALM = 6.0  # the room runs slower than the ladder by this factor: its battery must last for the whole demo
BEHIND = ("sensor-1", "sensor-2")
"""The devices behind the UPS: they lose their supply."""


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path(".run/demo"), show_default=True)
@click.option("--port", type=int, default=8761, show_default=True)
@click.option("--minute", default=1.0, show_default=True, help="The seconds that a minute of the ladder lasts.")
def demo(folder: Path, port: int, minute: float) -> None:
    """Run a simulated room, an agent, a collector and a webhook receiver. The whole ladder takes about three minutes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    key = random_secret()
    pace = _REAL_MINUTE_S / minute / _CALM
    with WebhookReceiver.listening(key, minute) as receiver, running_room(folder / "room", pace=pace) as room:
        deployment = write_deployment(
            folder.absolute(),
            port,
            _configuration(room, receiver.port, minute),
            {"webhook": key, "room": room.community},
        )
        with (folder / "log").open("w", encoding="utf-8") as log, running(deployment, log):
            DemoRun(deployment, deployment.token("zhang.wei"), room, receiver, minute).run()


@dataclass(slots=True)
class ReceivedMessage:
    """One message at the webhook receiver. `minute` counts ladder minutes from the beginning of the first trouble."""

    minute: float
    kind: str
    rung: str
    person: str
    key: str
    body: Mapping[str, Any]

    @property
    def text(self) -> list[str]:
        """The lines of the message; the last one is the person's own link."""
        return str(self.body["text"]).splitlines()


@dataclass
class WebhookReceiver:
    """Receives signed webhooks on 127.0.0.1, and prints each of them unless `quiet`. `minute` is in seconds."""

    key: str
    minute: float
    quiet: bool = False
    messages: list[ReceivedMessage] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    port: int = 0
    began_at: float = 0.0

    @classmethod
    @contextmanager
    def listening(cls, key: str, minute: float, *, quiet: bool = False) -> Iterator["WebhookReceiver"]:
        """Run a receiver on a free port until the block ends."""
        receiver = cls(key, minute, quiet)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver))
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()
            server.server_close()

    def take(self, body: Mapping[str, Any], key: str) -> None:
        """Keep and print one message, of a digest each notice in it. A message whose idempotency key came before is ignored."""
        facts = body["facts"]
        for notice in facts.get("notices", ()):
            self.take({"subject": notice["subject"], "facts": notice}, notice["key"])
        if facts["kind"] in ("digest", "test"):
            return
        with self.changed:
            if any(message.key == key for message in self.messages):
                return
            self.began_at = self.began_at or float(facts["began_at"])
            minute = (float(facts["told_at"]) - self.began_at) / self.minute
            message = ReceivedMessage(minute, facts["kind"], facts["rung"], facts["person"], key, body)
            if not self.quiet:
                self._print(message)  # before `wait` sees it, so that the demo prints in the right order
            self.messages.append(message)
            self.changed.notify_all()

    def _print(self, message: ReceivedMessage) -> None:
        subject, vendor = message.body["subject"], message.body["facts"].get("vendor")
        click.echo(
            f"  {message.minute:6.1f} min  {message.rung or message.kind:<10} {PEOPLE[message.person]}  {subject}"
        )
        if vendor:
            click.echo(f"{'':25}{vendor['name']}, {vendor['phone']}")

    def wait(self, what: str, arrived: Callable[[], bool], minutes: float) -> None:
        """Wait until `arrived()`. Raises WatchkeeperError, which names `what`, after `minutes` of the ladder and 30 s."""
        with self.changed:
            if not self.changed.wait_for(arrived, timeout=minutes * self.minute + 30):
                raise WatchkeeperError(
                    f"{what} did not arrive; the reason may be in the file `log` in the demo's folder"
                )


@dataclass(slots=True)
class DemoRun:
    """The steps of the demo."""

    deployment: Deployment
    token: str
    room: RunningRoom
    receiver: WebhookReceiver
    minute: float

    def run(self) -> None:
        """Cut the power, acknowledge, wait for the last level, repair. Raises WatchkeeperError if a message is late."""
        click.echo(
            f"\nOpen {self.deployment.url}/ to see the room. A minute of the ladder lasts {self.minute:g} s here."
        )
        self._wait_for_readings()
        click.echo(
            f"The mains fail now: the UPS runs on its battery, and {' and '.join(BEHIND)} behind it lose power.\n"
        )
        self._cut_power(cut=True)
        self.receiver.wait("the first page", lambda: bool(self.receiver.messages), 30)
        first = self.receiver.messages[0]
        trouble = first.body["facts"]["trouble"]
        self._show(first)
        self._sleep_until(5)
        self._acknowledge(trouble)
        click.echo(f"  {5:6.1f} min  acknowledged by {PEOPLE['zhang.wei']}; this does not stop the ladder")
        self.receiver.wait("the page of the last level", lambda: "vendor" in self._rungs(trouble), 70)
        click.echo(
            f"\nThe mains are back. People are told when the faults have stayed away for {RECOVERED_AFTER_S:.0f} s.\n"
        )
        self._cut_power(cut=False)
        paged = {page.person for page in self._pages(trouble)}
        minutes = 120 + RECOVERED_AFTER_S / self.minute
        self.receiver.wait("the recovery message", lambda: paged <= self._informed(trouble), minutes)
        click.echo(
            f"\n{len(self._pages(trouble))} pages to {len(paged)} people, "
            f"{len(self._informed(trouble))} recovery messages."
        )

    def _cut_power(self, *, cut: bool) -> None:
        for fault in ("power-cut", *(f"dead-{device}" for device in BEHIND)):
            self.room.switch(fault, on=cut)

    def _wait_for_readings(self) -> None:
        """Until each device was read: an input that never had a voltage is not lost."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if all(self._values(one["device"]) for one in self._get("devices")):
                return
            time.sleep(0.2)
        raise WatchkeeperError("the devices were not read; the reason may be in the file `log` in the demo's folder")

    def _values(self, device: str) -> list[Any]:
        """What was read of a device, without whether it answers."""
        readings = self._get(f"devices/{device}")["readings"]
        return [
            one
            for one in readings
            if one["value"] is not None and one["quantity"] not in {"device.answering", "uptime"}
        ]

    def _get(self, path: str) -> Any:
        answer = requests.get(f"{self.deployment.url}/api/v1/{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def _show(self, message: ReceivedMessage) -> None:
        """Print the whole message, and what its link is for."""
        *lines, link = message.text
        click.echo("\n" + "\n".join(f"{'':12}{line}" for line in lines))
        click.echo(f"\n  Act as {PEOPLE[message.person]}, without a sign-in: {link}\n")

    def _acknowledge(self, trouble: int) -> None:
        answer = requests.post(
            f"{self.deployment.url}/api/v1/troubles/{trouble}/acknowledge", json={"note": "on my way"},
            headers={"Authorization": f"Bearer {self.token}"}, timeout=10,
        )  # fmt: skip
        if not answer.ok:
            raise WatchkeeperError(f"the acknowledgement was refused: {answer.text}")

    def _sleep_until(self, minute: float) -> None:
        time.sleep(max(0.0, self.receiver.began_at + minute * self.minute - time.time()))

    def _pages(self, trouble: int) -> list[ReceivedMessage]:
        return [one for one in self._about(trouble) if one.kind == "page"]

    def _rungs(self, trouble: int) -> set[str]:
        return {page.rung for page in self._pages(trouble)}

    def _informed(self, trouble: int) -> set[str]:
        """The people who got the recovery message."""
        return {one.person for one in self._about(trouble) if one.kind == "recovered"}

    def _about(self, trouble: int) -> list[ReceivedMessage]:
        return [one for one in self.receiver.messages if one.body["facts"]["trouble"] == trouble]


def _handler(receiver: WebhookReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            stamp, signature = (self.headers.get(f"Watchkeeper-{name}", "") for name in ("Timestamp", "Signature"))
            genuine = verify(receiver.key, stamp, body, signature, time.time())
            if genuine:
                receiver.take(json.loads(body), self.headers["Idempotency-Key"])
            self.send_response(204 if genuine else 403)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing: the receiver prints the messages."""

    return Handler


def _configuration(room: RunningRoom, port: int, minute: float) -> Mapping[str, str]:
    kinds = {"ups": "ups", "pac": "cooling", "sensor-1": "env", "sensor-2": "env"}
    needs = {"ups": "feed", "pac": "feed", **dict.fromkeys(BEHIND, "ups")}
    devices = "\n".join(
        f"  - {{device: {name}, agent: {AGENT}, category: {kinds[name]}, probe: snmp, address: '{address}', every: 2 s,\n"
        f"     timeout: 500 ms, depends_on: {needs[name]}, owner: wang.lei, vendor: power, location: Hall 1,\n"
        f"     snmp: {{version: 2c, community: room}}}}"
        for name, address in room.addresses.items()
    )
    people = "\n".join(
        f"  - {{person: {person}, name: {name}, channels: [{{via: webhook, url: 'http://127.0.0.1:{port}/', secret: webhook}}]}}"
        for person, name in PEOPLE.items()
    )
    return {
        "inventory.yml": f"site: {{name: Demo room, timezone: Asia/Shanghai}}\n"
        f"agents:\n  - {{agent: {AGENT}, owner: wang.lei, interval: 2 s}}\n"
        f"unmonitored:\n  - {{name: feed, location: Main switchboard}}\ndevices:\n{devices}\n",
        "contacts.yml": f"people:\n{people}\nshifts:\n"
        "  - {shift: day, start: 08:30, end: 17:00, rotation: [zhang.wei]}\n"
        "  - {shift: night, start: 17:00, end: 08:30, rotation: [zhang.wei]}\n"
        "roles: {head: [zhou.gang], assistant: [zhao.min]}\n"
        "vendors:\n  - {vendor: power, name: Demo Power Service, phone: '400 000 0000', contract: WB-1}\n",
        "ladders.yml": _ladders(minute),
        "rules/demo.yml": _rules(minute),
    }


def _ladders(minute: float) -> str:
    rungs = (("duty", 0, "duty", ""), ("owner", 10, "owner", ""), ("on-site", 20, "owner, head", ""),
             ("vendor", 60, "assistant", ", vendor_contact: yes"))  # fmt: skip
    lines = [
        f"      - {{rung: {name}, after: {at * minute:g} s, tell: [{who}]{more}}}" for name, at, who, more in rungs
    ]
    return "ladders:\n  - ladder: fault\n    fallback: [head]\n    rungs:\n" + "\n".join(lines) + "\n"


def _rules(minute: float) -> str:
    """The shipped rules of a power cut with `minute` seconds for a minute."""
    because = f"because: a minute lasts {minute:g} s in the demo"
    return f"""\
changes:
  - rule: power.on-battery
    {because}
    clear: {{for: {minute:g} s}}
  - rule: power.input-lost
    {because}
    warning: {{below: 90 V, for: {minute:g} s}}
    clear: {{margin: 5 V, for: {minute:g} s}}
  - rule: device.not-answering
    {because}
    critical: {{is: no, for: {minute:g} s}}
    clear: {{for: {minute:g} s}}
off:
  - rule: power.alarms
    because: the UPS says by its readings what is wrong
"""
