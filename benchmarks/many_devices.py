"""One agent reading 5,000 SNMP devices every minute: its share of a core, its memory, and whether every poll was on time.

All devices are one snmpd on loopback (a single-phase UPS, 20 objects); each has a session of its own in the agent. The first
minutes, when every device is got to know, do not count.
"""

import resource
import time

from benchmarks.fixtures import HOST, Absent, free_port, scratch
from benchmarks.processes import device, write_deployment
from benchmarks.report import Row, show
from benchmarks.snmp_path import polls, snmpd

DEVICES, EVERY_S = 5_000, 60
AGENT = "room-1"
LEARN_S, WINDOW_S = 180.0, 120.0


def main() -> None:
    """Without a collector: poll, decode, judge, spool."""
    title = f"many_devices: {DEVICES} devices every {EVERY_S} s, 20 objects each, SNMPv2c, over {WINDOW_S:g} s"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, DEVICES + 500), hard), hard))
    rows: list[Row] = []
    try:
        with scratch("many") as folder, snmpd(folder) as port:
            snmp, address = "version: 2c, community: public", f"{HOST}:{port}"
            devices = [
                device(f"ups-{n}", AGENT, "ups", "snmp", f"{EVERY_S} s", snmp=snmp, address=address)
                for n in range(DEVICES)
            ]
            home = write_deployment(folder / "home", [AGENT], devices)
            home.give_bundle(AGENT)
            with home.agent(AGENT, f"http://{HOST}:{free_port()}") as one:
                time.sleep(LEARN_S)
                done, used = polls(home), one.cpu_s()
                time.sleep(WINDOW_S)
                share, swept = (one.cpu_s() - used) / WINDOW_S, (polls(home) - done) / WINDOW_S
                rows = [
                    Row("agent, CPU of one core", "%", 100 * share, None, "none"),
                    Row("agent, resident memory", "MB", one.rss_mb(), None, "none"),
                    Row("polls on the disk", "1/s", swept, DEVICES / EVERY_S, "what was asked for"),
                ]
    except Absent as absent:
        show(title, rows, [str(absent)])
        return
    show(title, rows)
