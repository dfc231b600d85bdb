"""`watchkeeper demo`: a simulated room overheats, nobody repairs it, and the ladder is climbed with minutes as seconds."""

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
from watchkeeper.deployment import AGENT, Deployment, random_secret, running, write_deployment
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.running import RunningRoom, running_room

PEOPLE = {"zhang.wei": "张伟", "wang.lei": "王磊", "zhou.gang": "周刚", "zhao.min": "赵敏"}
_WRITTEN_FOR = 60.0  # room minutes pass as our seconds: rungs, rules and physics alike


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path(".run/demo"), show_default=True)
@click.option("--port", type=int, default=8761, show_default=True)
@click.option("--minute", default=1.0, show_default=True, help="How many seconds a minute of the ladder lasts.")
def demo(folder: Path, port: int, minute: float) -> None:
    """Room, agent, collector and a webhook receiver: the whole ladder in about two minutes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    key = random_secret()
    with Receiver.listening(key, minute) as receiver, running_room(folder / "room", pace=_WRITTEN_FOR / minute) as room:
        home = write_deployment(
            folder.absolute(),
            port,
            _configuration(room, receiver.port, minute),
            {"webhook": key, "room": room.community},
        )
        with (folder / "log").open("w", encoding="utf-8") as log, running(home, log):
            Story(home, home.token("zhang.wei"), room, receiver, minute).tell()


@dataclass(slots=True)
class Page:
    """One message as the receiver took it, in ladder minutes after the first."""

    minute: float
    kind: str
    rung: str
    person: str
    key: str
    body: Mapping[str, Any]


@dataclass
class Receiver:
    """Takes signed webhooks on loopback, and prints each unless `quiet`."""

    key: str
    minute: float
    quiet: bool = False
    pages: list[Page] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    port: int = 0
    began_at: float = 0.0

    @classmethod
    @contextmanager
    def listening(cls, key: str, minute: float, *, quiet: bool = False) -> Iterator["Receiver"]:
        """A receiver on a free port, until the block ends."""
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
        """Keep and print one message; a repeated idempotency key is one message."""
        facts = body["facts"]
        with self.changed:
            if any(page.key == key for page in self.pages):
                return
            self.began_at = self.began_at or float(facts["began_at"])
            minute = (float(facts["told_at"]) - self.began_at) / self.minute
            page = Page(minute, facts["kind"], facts["rung"], facts["person"], key, body)
            if not self.quiet:
                self._print(page)  # before the story goes on by it
            self.pages.append(page)
            self.changed.notify_all()

    def _print(self, page: Page) -> None:
        said, vendor = page.body["subject"], page.body["facts"].get("vendor")
        click.echo(f"  {page.minute:6.1f} min  {page.rung or page.kind:<10} {PEOPLE[page.person]}  {said}")
        if vendor:
            click.echo(f"{'':25}{vendor['name']}, {vendor['phone']}")

    def wait(self, what: str, there: Callable[[], bool], minutes: float) -> None:
        """Wait until it is there. Raises WatchkeeperError after so many ladder minutes."""
        with self.changed:
            if not self.changed.wait_for(there, timeout=minutes * self.minute + 30):
                raise WatchkeeperError(f"{what} did not come; see the log in the demo's folder")


@dataclass(slots=True)
class Story:
    """What happens in the demo, in order."""

    home: Deployment
    token: str
    room: RunningRoom
    receiver: Receiver
    minute: float

    def tell(self) -> None:
        """Tell it all. Raises WatchkeeperError where it does not go as it should."""
        click.echo(f"\nThe room is at {self.home.url}/ ; a minute lasts {self.minute:g} s. The cooling fails now.\n")
        self.room.switch("heat")
        self.receiver.wait("the first page", lambda: bool(self.receiver.pages), 30)
        incident = self.receiver.pages[0].body["facts"]["incident"]
        self._sleep_until(5)
        self._acknowledge(incident)
        click.echo(
            f"  {5:6.1f} min  acknowledged by {PEOPLE['zhang.wei']}: it says who is working on it, and stops nothing"
        )
        self.receiver.wait("the last rung", lambda: "vendor" in self._rungs(incident), 70)
        click.echo("\nThe cooling is repaired.\n")
        self.room.switch("heat", on=False)
        told = {page.person for page in self._pages(incident)}
        self.receiver.wait("the recovery", lambda: told <= self._heard(incident), 120)
        click.echo(
            f"\n{len(self._pages(incident))} pages, {len(told)} people, {len(self._heard(incident))} recoveries."
        )

    def _acknowledge(self, incident: int) -> None:
        answer = requests.post(
            f"{self.home.url}/api/v1/incidents/{incident}/acknowledge", json={"note": "on my way"},
            headers={"Authorization": f"Bearer {self.token}"}, timeout=10,
        )  # fmt: skip
        if not answer.ok:
            raise WatchkeeperError(f"the acknowledgement was refused: {answer.text}")

    def _sleep_until(self, minute: float) -> None:
        time.sleep(max(0.0, self.receiver.began_at + minute * self.minute - time.time()))

    def _pages(self, incident: int) -> list[Page]:
        return [p for p in self.receiver.pages if p.body["facts"]["incident"] == incident and p.kind == "page"]

    def _rungs(self, incident: int) -> set[str]:
        return {page.rung for page in self._pages(incident)}

    def _heard(self, incident: int) -> set[str]:
        return {
            p.person for p in self.receiver.pages if p.kind == "recovered" and p.body["facts"]["incident"] == incident
        }


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
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
            """Say nothing: what came is printed above."""

    return Handler


def _configuration(room: RunningRoom, port: int, minute: float) -> Mapping[str, str]:
    kinds = {"ups": "ups", "pac": "cooling", "sensor-1": "env", "sensor-2": "env"}
    devices = "\n".join(
        f"  - {{device: {name}, agent: {AGENT}, category: {kinds[name]}, probe: snmp, address: '{address}', every: 250 ms,\n"
        f"     timeout: 500 ms, owner: wang.lei, vendor: cooling, snmp: {{version: 2c, community: room}}}}"
        for name, address in room.addresses.items()
    )
    people = "\n".join(
        f"  - {{person: {person}, name: {name}, channels: [{{via: webhook, url: 'http://127.0.0.1:{port}/', secret: webhook}}]}}"
        for person, name in PEOPLE.items()
    )
    return {
        "inventory.yml": f"site: {{name: Demo room, timezone: Asia/Shanghai}}\n"
        f"agents:\n  - {{agent: {AGENT}, owner: wang.lei, interval: 5 s}}\ndevices:\n{devices}\n",
        "contacts.yml": f"people:\n{people}\nshifts:\n"
        "  - {shift: day, start: 08:30, end: 17:00, rotation: [zhang.wei]}\n"
        "  - {shift: night, start: 17:00, end: 08:30, rotation: [zhang.wei]}\n"
        "roles: {head: [zhou.gang], assistant: [zhao.min]}\n"
        "vendors:\n  - {vendor: cooling, name: Demo Cooling Service, phone: '400 000 0000', contract: WB-1}\n",
        "ladders.yml": _in_seconds(minute),
        "rules/demo.yml": _quick_rules(minute),
    }


def _in_seconds(minute: float) -> str:
    rungs = (("duty", 0, "duty", ""), ("owner", 10, "owner", ""), ("on-site", 20, "owner, head", ""),
             ("vendor", 60, "assistant", ", vendor_contact: yes"))  # fmt: skip
    lines = [
        f"      - {{rung: {name}, after: {at * minute:g} s, tell: [{who}]{more}}}" for name, at, who, more in rungs
    ]
    return "ladders:\n  - ladder: fault\n    fallback: [head]\n    rungs:\n" + "\n".join(lines) + "\n"


def _quick_rules(minute: float) -> str:
    """The shipped temperature rule with its minutes as seconds, and nothing else, so that one fault tells one story."""
    temperature = f"""\
changes:
  - rule: environment.temperature
    because: in the demo a minute lasts {minute:g} s, and one sensor tells the story
    warning: {{outside: 21 .. 23 °C, for: {5 * minute:g} s}}
    critical: {{outside: 18 .. 27 °C, for: {minute:g} s}}
    clear: {{margin: 0.3 °C, for: {5 * minute:g} s}}
    applies: {{devices: sensor-1}}
"""
    others = ("environment.cooling-fault", "environment.humidity", "power.alarms")
    return temperature + "off:\n" + "".join(f"  - {{rule: {name}, because: one story at a time}}\n" for name in others)
