"""CPU of the whole agent a 20-object poll, scheduling included, beside snmp_exporter's for a scrape of the same objects.

Both ask the same snmpd, which answers as a single-phase UPS (RFC 1628), at the same rate and in the same seconds; its own
CPU, the collector's and the HTTP client's do not count. In between snmp_exporter is scraped as fast as it can, which is
when a scrape costs it least.
"""

import contextlib
import http.client
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fixtures import HOST, Absent, Running, free_port, program, running, scratch
from benchmarks.processes import Home, device, write_deployment
from benchmarks.report import Row, median, show

DEVICES, EVERY = 200, "1 s"
WINDOWS, WINDOW_S, SETTLE_S = 4, 4.0, 3.0
AGENT, PEER = "room-1", "snmp_exporter"

UPS = "1.3.6.1.2.1.33.1"
OBJECTS = {
    "1.3.6.1.2.1.1.3.0": (),  # sysUpTime, snmpd's own
    f"{UPS}.2.1.0": ("integer", 2), f"{UPS}.2.2.0": ("integer", 0), f"{UPS}.2.3.0": ("integer", 42),
    f"{UPS}.2.4.0": ("integer", 100), f"{UPS}.2.5.0": ("integer", 2300), f"{UPS}.2.6.0": ("integer", 12),
    f"{UPS}.2.7.0": ("integer", 24), f"{UPS}.3.1.0": ("counter", 3), f"{UPS}.3.3.1.2.1": ("integer", 500),
    f"{UPS}.3.3.1.3.1": ("integer", 231), f"{UPS}.3.3.1.4.1": ("integer", 105), f"{UPS}.3.3.1.5.1": ("integer", 2300),
    f"{UPS}.4.1.0": ("integer", 3), f"{UPS}.4.2.0": ("integer", 500), f"{UPS}.4.4.1.2.1": ("integer", 230),
    f"{UPS}.4.4.1.3.1": ("integer", 98), f"{UPS}.4.4.1.4.1": ("integer", 2210), f"{UPS}.4.4.1.5.1": ("integer", 37),
    f"{UPS}.6.1.0": ("uinteger", 0),
}  # fmt: skip
"""What a poll asks for, and what snmpd answers: snmpd.conf(5), override."""


def main() -> None:
    """Without a collector (poll, decode, judge, spool), then with one (and push)."""
    assert len(OBJECTS) == 20
    title = (
        f"snmp_path: {DEVICES} devices every {EVERY}, 20 objects each, SNMPv2c; medians of {WINDOWS} x {WINDOW_S:g} s"
    )
    rows: list[Row] = []
    best: list[float] = []
    try:
        with scratch("snmp") as folder, snmpd(folder) as port:
            snmp = "version: 2c, community: public"
            address = f"{HOST}:{port}"
            devices = [
                device(f"ups-{n}", AGENT, "ups", "snmp", EVERY, snmp=snmp, address=address) for n in range(DEVICES)
            ]
            home = write_deployment(folder / "home", [AGENT], devices)
            home.give_bundle(AGENT)
            nobody = f"http://{HOST}:{free_port()}"
            with _exporter(folder) as exporter:
                with home.agent(AGENT, nobody) as one:
                    rows.append(_measure("poll, decode, judge, spool", home, one, exporter, port, best))
                with home.collector(), home.agent(AGENT) as one:
                    rows.append(_measure("the same, and pushed to a collector", home, one, exporter, port, best))
    except Absent as absent:
        show(title, rows, [str(absent)])
        return
    if best:
        rows.append(
            Row("the same, beside the peer at its best", rows[1].unit, rows[1].ours, median(best), f"{PEER} flat out")
        )
    show(title, rows)


def _measure(what: str, home: Home, agent: Running, exporter: "Exporter", port: int, best: list[float]) -> Row:
    time.sleep(SETTLE_S)
    _wait_for_polls(home)
    ours, theirs, target = [], [], f"{HOST}:{port}"
    for _ in range(WINDOWS):
        with exporter.scraping(target, DEVICES):
            before, scrapes = polls(home), exporter.scrapes
            used, used_there = agent.cpu_s(), exporter.cpu_s()
            time.sleep(WINDOW_S)
            ours.append(1e6 * (agent.cpu_s() - used) / (polls(home) - before))
            if exporter.scrapes > scrapes:
                theirs.append(1e6 * (exporter.cpu_s() - used_there) / (exporter.scrapes - scrapes))
        if theirs:
            best.append(exporter.flat_out(target))
    who = f"{PEER}, a scrape" if theirs else exporter.why
    return Row(what, "us CPU/poll", median(ours), median(theirs) if theirs else None, who)


def polls(home: Home) -> int:
    """How many sweeps the agent has put on its disk."""
    file = home.folder / AGENT / "spool.db"
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
        return int(db.execute("SELECT last FROM lanes WHERE lane = 'readings'").fetchone()[0])


def _wait_for_polls(home: Home) -> None:
    until = time.monotonic() + 20
    with contextlib.suppress(sqlite3.Error, TypeError):
        before = polls(home)
        while polls(home) < before + DEVICES:
            assert time.monotonic() < until, (home.folder / AGENT / "log").read_text(encoding="utf-8")[-2000:]
            time.sleep(0.2)


@contextlib.contextmanager
def snmpd(folder: Path) -> Iterator[int]:
    port = free_port(socket.SOCK_DGRAM)
    lines = [f"override {oid} {value[0]} {value[1]}\n" for oid, value in OBJECTS.items() if value]
    config = folder / "snmpd.conf"
    config.write_text(f"agentaddress udp:{HOST}:{port}\nrocommunity public {HOST}\n{''.join(lines)}", encoding="ascii")
    command = [program("snmpd", "snmpd"), "-f", "-Lf", str(folder / "snmpd.said"), "-C", "-c", str(config)]
    command += ["-p", str(folder / "snmpd.pid")]
    with running(command, folder / "snmpd.log", env={"SNMP_PERSISTENT_DIR": str(folder), "MIBS": ""}):
        yield port


class Exporter:
    """snmp_exporter and its client. `why` tells why there is none."""

    def __init__(self, running: Running | None, port: int = 0, why: str = "") -> None:
        self._running, self._port, self.why = running, port, why
        self.scrapes = 0

    def cpu_s(self) -> float:
        """CPU seconds it has used; 0 where there is none."""
        return self._running.cpu_s() if self._running else 0.0

    @contextlib.contextmanager
    def scraping(self, target: str, rate: float) -> Iterator[None]:
        """Scrape at this rate over one connection, until the block ends."""
        if self._running is None:
            yield
            return
        over = threading.Event()
        client = threading.Thread(target=self._steadily, args=(target, rate, over))
        client.start()
        try:
            time.sleep(0.5)
            yield
        finally:
            over.set()
            client.join()

    def flat_out(self, target: str, scrapes: int = 200, links: int = 4) -> float:
        """Scrape over several connections at once, without a pause; return the microseconds of CPU a scrape."""

        def client() -> None:
            with self._link() as link:
                for _ in range(scrapes):
                    self._scrape(link, target)

        used = self.cpu_s()
        clients = [threading.Thread(target=client) for _ in range(links)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        return 1e6 * (self.cpu_s() - used) / (links * scrapes)

    def _link(self) -> "contextlib.closing[http.client.HTTPConnection]":
        return contextlib.closing(http.client.HTTPConnection(HOST, self._port, timeout=10))

    def _steadily(self, target: str, rate: float, over: threading.Event) -> None:
        due = time.monotonic()
        with self._link() as link:
            while not over.wait(max(0.0, due - time.monotonic())):
                due = max(due + 1 / rate, time.monotonic() - 1)
                self._scrape(link, target)
                self.scrapes += 1

    def _scrape(self, link: http.client.HTTPConnection, target: str) -> None:
        link.request("GET", f"/snmp?target={target}&module=bench")
        answer = link.getresponse()
        text = answer.read()
        assert answer.status == 200, text[:500]
        assert text.count(b"\nbench_") == len(OBJECTS), text[:2000]


@contextlib.contextmanager
def _exporter(folder: Path) -> Iterator[Exporter]:
    try:
        command = [program("prometheus-snmp-exporter", "prometheus-snmp-exporter")]
    except Absent as absent:
        yield Exporter(None, why=str(absent))
        return
    port, config = free_port(), folder / "snmp.yml"
    config.write_text(_module(), encoding="ascii")
    command += [f"--web.listen-address={HOST}:{port}", f"--config.file={config}", "--log.level=error"]
    with running(command, folder / "snmp_exporter.log", port) as one:
        yield Exporter(one, port)


def _module() -> str:
    """The module in the form of snmp_exporter 0.21 (Debian 12); from 0.23 on the community stands under `auths`."""
    lines = [
        "bench:",
        "  version: 2",
        "  auth: {community: public}",
        "  get:",
        *(f"  - {oid}" for oid in OBJECTS),
        "  metrics:",
    ]
    for number, oid in enumerate(OBJECTS):
        base, _, last = oid.rpartition(".")
        row = "" if last == "0" else ", indexes: [{labelname: row, type: gauge}]"
        lines.append(f"  - {{name: bench_{number}, oid: {base}, type: gauge, help: object {number}{row}}}")
    return "\n".join(lines) + "\n"
