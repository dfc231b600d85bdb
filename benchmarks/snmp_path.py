"""CPU of the whole agent for one poll of 20 objects, compared with snmp_exporter for one scrape of the same objects.

Both ask the same snmpd, which answers as a single-phase UPS (RFC 1628), at the same rate and at the same time. The CPU of
snmpd, of the collector and of the HTTP client is not counted. Between these windows snmp_exporter is scraped as fast as it
can, because a scrape costs it least then.
"""

import contextlib
import http.client
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fixtures import HOST, MeasuredProcess, NotInstalled, free_port, program, running, temporary_folder
from benchmarks.processes import BenchmarkDeployment, deploy, device
from benchmarks.report import ReportRow, median, show

DEVICE_COUNT, INTERVAL = 200, "1 s"
WINDOWS, WINDOW_S, STARTUP_S = 4, 4.0, 3.0
AGENT, PEER = "room-1", "snmp_exporter"

UPS = "1.3.6.1.2.1.33.1"
UPS_OBJECTS = {
    "1.3.6.1.2.1.1.3.0": (),  # sysUpTime, which snmpd has itself
    f"{UPS}.2.1.0": ("integer", 2), f"{UPS}.2.2.0": ("integer", 0), f"{UPS}.2.3.0": ("integer", 42),
    f"{UPS}.2.4.0": ("integer", 100), f"{UPS}.2.5.0": ("integer", 2300), f"{UPS}.2.6.0": ("integer", 12),
    f"{UPS}.2.7.0": ("integer", 24), f"{UPS}.3.1.0": ("counter", 3), f"{UPS}.3.3.1.2.1": ("integer", 500),
    f"{UPS}.3.3.1.3.1": ("integer", 231), f"{UPS}.3.3.1.4.1": ("integer", 105), f"{UPS}.3.3.1.5.1": ("integer", 2300),
    f"{UPS}.4.1.0": ("integer", 3), f"{UPS}.4.2.0": ("integer", 500), f"{UPS}.4.4.1.2.1": ("integer", 230),
    f"{UPS}.4.4.1.3.1": ("integer", 98), f"{UPS}.4.4.1.4.1": ("integer", 2210), f"{UPS}.4.4.1.5.1": ("integer", 37),
    f"{UPS}.6.1.0": ("uinteger", 0),
}  # fmt: skip
"""The objects of a poll, and the type and value that snmpd answers (snmpd.conf(5), override)."""


def main() -> None:
    """Measure an agent without a collector (poll, decode, judge, spool), then one that also pushes."""
    assert len(UPS_OBJECTS) == 20
    title = f"snmp_path: {DEVICE_COUNT} devices every {INTERVAL}, 20 objects each, SNMPv2c; medians of {WINDOWS} x {WINDOW_S:g} s"
    rows: list[ReportRow] = []
    best: list[float] = []
    try:
        with temporary_folder("snmp") as folder, snmpd(folder) as port:
            snmp = "version: 2c, community: public"
            address = f"{HOST}:{port}"
            devices = [
                device(f"ups-{n}", AGENT, "ups", "snmp", INTERVAL, snmp=snmp, address=address)
                for n in range(DEVICE_COUNT)
            ]
            deployment = deploy(folder / "deployment", [AGENT], devices)
            deployment.write_bundle(AGENT)
            no_collector = f"http://{HOST}:{free_port()}"
            with snmp_exporter(folder) as exporter:
                with deployment.agent(AGENT, no_collector) as agent:
                    rows.append(measure("poll, decode, judge, spool", deployment, agent, exporter, port, best))
                with deployment.collector(), deployment.agent(AGENT) as agent:
                    rows.append(measure("poll, decode, judge, spool, push", deployment, agent, exporter, port, best))
    except NotInstalled as missing:
        show(title, rows, [str(missing)])
        return
    if best:
        rows.append(
            ReportRow(
                "with push, peer at full speed", rows[1].unit, rows[1].ours, median(best), f"{PEER} at full speed"
            )
        )
    show(title, rows)


def measure(
    what: str,
    deployment: BenchmarkDeployment,
    agent: MeasuredProcess,
    exporter: "SnmpExporter",
    port: int,
    best: list[float],
) -> ReportRow:
    """One row: the CPU of an agent that polls DEVICE_COUNT devices, beside snmp_exporter at the same rate."""
    time.sleep(STARTUP_S)
    wait_until_steady(deployment, DEVICE_COUNT)
    ours, theirs, target = [], [], f"{HOST}:{port}"
    for _ in range(WINDOWS):
        with exporter.scraping(target, DEVICE_COUNT):
            before, scrapes = polls(deployment), exporter.scrapes
            used, used_there = agent.cpu_s(), exporter.cpu_s()
            time.sleep(WINDOW_S)
            ours.append(1e6 * (agent.cpu_s() - used) / (polls(deployment) - before))
            if exporter.scrapes > scrapes:
                theirs.append(1e6 * (exporter.cpu_s() - used_there) / (exporter.scrapes - scrapes))
        if theirs:
            best.append(exporter.at_full_speed(target))
    who = f"{PEER}, a scrape" if theirs else exporter.why
    return ReportRow(what, "us CPU/poll", median(ours), median(theirs) if theirs else None, who)


def polls(deployment: BenchmarkDeployment) -> int:
    """The number of sweeps that the agent has stored."""
    file = deployment.folder / AGENT / "spool.db"
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
        return int(db.execute("SELECT last FROM lanes WHERE lane = 'readings'").fetchone()[0])


def wait_until_steady(deployment: BenchmarkDeployment, count: int, interval_s: float = 1.0) -> None:
    """Wait until the agent has recognised its devices: then it stores `count` sweeps in each interval."""
    deadline = time.monotonic() + max(180.0, 10 * interval_s)
    done = 0
    while time.monotonic() < deadline:
        with contextlib.suppress(sqlite3.Error, TypeError):
            before, done = done, polls(deployment)
            if before and 0.9 * count <= done - before <= 1.1 * count:
                return
        time.sleep(interval_s)
    raise AssertionError((deployment.folder / AGENT / "log").read_text(encoding="utf-8")[-2000:])


@contextlib.contextmanager
def snmpd(folder: Path, users: str = "") -> Iterator[int]:
    """Run snmpd as that UPS on a port of loopback. `users` are more lines of its configuration."""
    port = free_port(socket.SOCK_DGRAM)
    lines = [f"override {oid} {value[0]} {value[1]}\n" for oid, value in UPS_OBJECTS.items() if value]
    config = folder / "snmpd.conf"
    config.write_text(
        f"agentaddress udp:{HOST}:{port}\nrocommunity public {HOST}\n{''.join(lines)}{users}", encoding="ascii"
    )
    command = [program("snmpd", "snmpd"), "-f", "-Lf", str(folder / "snmpd.out"), "-C", "-c", str(config)]
    command += ["-p", str(folder / "snmpd.pid")]
    with running(command, folder / "snmpd.log", env={"SNMP_PERSISTENT_DIR": str(folder), "MIBS": ""}):
        yield port


class SnmpExporter:
    """snmp_exporter and its client. If it is not installed, `why` names the package."""

    def __init__(self, running: MeasuredProcess | None, port: int = 0, why: str = "") -> None:
        self._running, self._port, self.why = running, port, why
        self.scrapes = 0

    def cpu_s(self) -> float:
        """The CPU seconds that it has used, or 0 if it is not installed."""
        return self._running.cpu_s() if self._running else 0.0

    @contextlib.contextmanager
    def scraping(self, target: str, rate: float) -> Iterator[None]:
        """Scrape `rate` times per second over one connection until the block ends."""
        if self._running is None:
            yield
            return
        stop = threading.Event()
        client = threading.Thread(target=self._steadily, args=(target, rate, stop))
        client.start()
        try:
            time.sleep(0.5)
            yield
        finally:
            stop.set()
            client.join()

    def at_full_speed(self, target: str, scrapes: int = 200, links: int = 4) -> float:
        """Scrape over several connections at once without pauses. Returns the CPU for one scrape in microseconds."""

        def client() -> None:
            with self._link() as link:
                for _ in range(scrapes):
                    self._scrape(link, target)

        before = self.cpu_s()
        clients = [threading.Thread(target=client) for _ in range(links)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        return 1e6 * (self.cpu_s() - before) / (links * scrapes)

    def _link(self) -> "contextlib.closing[http.client.HTTPConnection]":
        return contextlib.closing(http.client.HTTPConnection(HOST, self._port, timeout=10))

    def _steadily(self, target: str, rate: float, stop: threading.Event) -> None:
        due = time.monotonic()
        with self._link() as link:
            while not stop.wait(max(0.0, due - time.monotonic())):
                due = max(due + 1 / rate, time.monotonic() - 1)
                self._scrape(link, target)
                self.scrapes += 1

    def _scrape(self, link: http.client.HTTPConnection, target: str) -> None:
        link.request("GET", f"/snmp?target={target}&module=bench")
        answer = link.getresponse()
        text = answer.read()
        assert answer.status == 200, text[:500]
        assert text.count(b"\nbench_") == len(UPS_OBJECTS), text[:2000]


@contextlib.contextmanager
def snmp_exporter(folder: Path, login: str = "  version: 2\n  auth: {community: public}") -> Iterator[SnmpExporter]:
    """Run snmp_exporter, which logs in to its targets by that part of its module."""
    try:
        command = [program("prometheus-snmp-exporter", "prometheus-snmp-exporter")]
    except NotInstalled as missing:
        yield SnmpExporter(None, why=str(missing))
        return
    port, config = free_port(), folder / "snmp.yml"
    config.write_text(_module(login), encoding="ascii")
    command += [f"--web.listen-address={HOST}:{port}", f"--config.file={config}", "--log.level=error"]
    with running(command, folder / "snmp_exporter.log", port) as process:
        yield SnmpExporter(process, port)


def _module(login: str) -> str:
    """The configuration for snmp_exporter 0.21 (Debian 12). Since 0.23 the community is under `auths`."""
    lines = [
        "bench:",
        login,
        "  get:",
        *(f"  - {oid}" for oid in UPS_OBJECTS),
        "  metrics:",
    ]
    for number, oid in enumerate(UPS_OBJECTS):
        base, _, last = oid.rpartition(".")
        row = "" if last == "0" else ", indexes: [{labelname: row, type: gauge}]"
        lines.append(f"  - {{name: bench_{number}, oid: {base}, type: gauge, help: object {number}{row}}}")
    return "\n".join(lines) + "\n"
