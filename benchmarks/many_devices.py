"""One agent that reads 5,000 SNMP devices every minute: its share of a core, its memory, and its polls per second.

One snmpd on 127.0.0.1 answers for all devices (a single-phase UPS, 20 objects); the agent has one session for each device.
It is measured once the agent has recognised every device. In this time it searches the tables of a sixth of them again, as at
any other time.
"""

import resource
import time

from benchmarks.fixtures import HOST, NotInstalled, free_port, temporary_folder
from benchmarks.processes import deploy, device
from benchmarks.report import ReportRow, show
from benchmarks.snmp_path import polls, snmpd, wait_until_steady

DEVICE_COUNT, INTERVAL_S = 5_000, 60
AGENT = "room-1"
MEASURED_S = 300.0


def main() -> None:
    """Measure an agent without a collector: it polls, decodes, judges and spools."""
    title = (
        f"many_devices: {DEVICE_COUNT} devices every {INTERVAL_S} s, 20 objects each, SNMPv2c, over {MEASURED_S:g} s"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, DEVICE_COUNT + 500), hard), hard))
    rows: list[ReportRow] = []
    try:
        with temporary_folder("many") as folder, snmpd(folder) as port:
            snmp, address = "version: 2c, community: public", f"{HOST}:{port}"
            devices = [
                device(f"ups-{n}", AGENT, "ups", "snmp", f"{INTERVAL_S} s", snmp=snmp, address=address)
                for n in range(DEVICE_COUNT)
            ]
            deployment = deploy(folder / "deployment", [AGENT], devices)
            deployment.write_bundle(AGENT)
            with deployment.agent(AGENT, f"http://{HOST}:{free_port()}") as agent:
                wait_until_steady(deployment, DEVICE_COUNT, INTERVAL_S)
                done, used = polls(deployment), agent.cpu_s()
                time.sleep(MEASURED_S)
                share, swept = (agent.cpu_s() - used) / MEASURED_S, (polls(deployment) - done) / MEASURED_S
                rows = [
                    ReportRow("agent, CPU of one core", "%", 100 * share, None, "no peer"),
                    ReportRow("agent, resident memory", "MB", agent.rss_mb(), None, "no peer"),
                    ReportRow("polls stored", "1/s", swept, DEVICE_COUNT / INTERVAL_S, "the configured rate"),
                ]
    except NotInstalled as missing:
        show(title, rows, [str(missing)])
        return
    show(title, rows)
