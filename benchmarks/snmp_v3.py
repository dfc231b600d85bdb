"""CPU and memory of SNMPv3 polls with authentication and encryption (SHA-256, AES), by our own engine beside pysnmp.

All ask the same snmpd as snmp_path, for its 20 objects. First a session alone: the CPU of one GET, and the memory of one
session, each engine in a fresh process. Then the whole agent, and snmp_exporter at the same rate.
"""

import asyncio
import concurrent.futures
import multiprocessing
import os
import time
from pathlib import Path

from benchmarks.fixtures import HOST, NotInstalled, free_port, temporary_folder
from benchmarks.processes import BenchmarkDeployment, deploy, device
from benchmarks.report import ReportRow, median, show
from benchmarks.snmp_path import (
    AGENT,
    DEVICE_COUNT,
    INTERVAL,
    UPS_OBJECTS,
    WINDOW_S,
    WINDOWS,
    measure,
    polls,
    snmp_exporter,
    snmpd,
    wait_until_steady,
)

PASSWORDS = {"auth": "authpass12", "priv": "privpass12"}
SECRETS = "".join(f"{name}: {text}\n" for name, text in PASSWORDS.items())
USERS = "createUser ops SHA-256 authpass12 AES privpass12\nrouser ops priv\n"
LOGIN = "version: 3, user: ops, auth: SHA-256, auth_secret: auth, priv: AES, priv_secret: priv"
EXPORTER_LOGIN = """  version: 3
  auth: {username: ops, security_level: authPriv, password: authpass12, auth_protocol: SHA256, priv_protocol: AES, priv_password: privpass12}"""
GETS = {"auto": 400, "pysnmp": 40}
SESSIONS = {"auto": 500, "pysnmp": 40}
PYSNMP_DEVICES = 20


def main() -> None:
    title = "snmp_v3: 20 objects each, SNMPv3 authPriv (SHA-256, AES-128)"
    rows: list[ReportRow] = []
    notes: list[str] = []
    try:
        with temporary_folder("snmpv3") as folder, snmpd(folder, USERS) as port:
            gets, sessions = zip(*(_in_a_fresh_process(port, engine) for engine in ("auto", "pysnmp")), strict=True)
            whole = _beside_exporter(folder / "ours", port)
            by_pysnmp = _by_pysnmp(folder / "theirs", port)
            rows = [
                ReportRow("a session alone, one GET", "us CPU", *gets, "pysnmp"),
                ReportRow("one session more", "kB", *sessions, "pysnmp"),
                ReportRow(whole.what, whole.unit, whole.ours, by_pysnmp, "our agent with `engine: pysnmp`"),
                ReportRow("the same", whole.unit, whole.ours, whole.peer, whole.who),
            ]
    except NotInstalled as missing:
        notes.append(str(missing))
    show(title, rows, notes)


def _in_a_fresh_process(port: int, engine: str) -> tuple[float, float]:
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure_sessions, port, engine).result()


def _measure_sessions(port: int, engine: str) -> tuple[float, float]:
    """The CPU of one GET in us, and the resident memory of a session that has been used, in kB."""
    from watchkeeper.agent.probes.snmp.probe import open_snmp_session  # noqa: PLC0415 -- in the measured process
    from watchkeeper.documents.secrets import Secrets  # noqa: PLC0415 -- in the measured process
    from watchkeeper.model.device import (  # noqa: PLC0415 -- in the measured process
        Category,
        Device,
        Snmp,
        SnmpAuth,
        SnmpEngine,
        SnmpPriv,
        SnmpVersion,
    )

    login = Snmp(SnmpVersion.V3, "", "ops", SnmpAuth.SHA256, "auth", SnmpPriv.AES, "priv", SnmpEngine(engine))
    ups = Device("ups", "room", Category.UPS, "snmp", f"{HOST}:{port}", snmp=login)
    secrets = Secrets(environ={f"WATCHKEEPER_SECRET_{name.upper()}": text for name, text in PASSWORDS.items()})
    oids = tuple(UPS_OBJECTS)

    async def run() -> tuple[float, float]:
        sessions = [await open_snmp_session(ups, secrets) for _ in range(2)]
        for session in sessions:
            assert len(await session.get_many(oids)) == len(oids)
        used = []
        for _ in range(5):
            began = time.process_time()
            for _ in range(GETS[engine]):
                await sessions[0].get_many(oids)
            used.append(1e6 * (time.process_time() - began) / GETS[engine])
        before = _resident_kb()
        for _ in range(SESSIONS[engine]):
            sessions.append(await open_snmp_session(ups, secrets))
            await sessions[-1].get_many(oids)
        memory = (_resident_kb() - before) / SESSIONS[engine]
        for session in sessions:
            session.close()
        return median(used), memory

    return asyncio.run(run())


def _resident_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1000


def _beside_exporter(folder: Path, port: int) -> ReportRow:
    """The whole agent, beside snmp_exporter at the same rate."""
    deployment = _deployment(folder, port, DEVICE_COUNT, "")
    with (
        snmp_exporter(folder, EXPORTER_LOGIN) as exporter,
        deployment.agent(AGENT, f"http://{HOST}:{free_port()}", SECRETS) as agent,
    ):
        return measure("poll, decode, judge, spool", deployment, agent, exporter, port, [])


def _by_pysnmp(folder: Path, port: int) -> float:
    """The CPU of a poll in us, if our agent reads the devices by pysnmp."""
    deployment = _deployment(folder, port, PYSNMP_DEVICES, ", engine: pysnmp")
    with deployment.agent(AGENT, f"http://{HOST}:{free_port()}", SECRETS) as agent:
        wait_until_steady(deployment, PYSNMP_DEVICES)
        before, used = polls(deployment), agent.cpu_s()
        time.sleep(WINDOWS * WINDOW_S)
        return 1e6 * (agent.cpu_s() - used) / max(1, polls(deployment) - before)


def _deployment(folder: Path, port: int, count: int, engine: str) -> BenchmarkDeployment:
    snmp, address = LOGIN + engine, f"{HOST}:{port}"
    devices = [device(f"ups-{n}", AGENT, "ups", "snmp", INTERVAL, snmp=snmp, address=address) for n in range(count)]
    deployment = deploy(folder, [AGENT], devices)
    deployment.write_bundle(AGENT)
    return deployment
