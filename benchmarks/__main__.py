"""Measure Watchkeeper beside its peers, and print tables. docs/performance.md explains the figures."""

import argparse
import importlib
import sys
import time

from benchmarks.fixtures import machine

BENCHMARKS = {
    "snmp_path": "CPU of the agent for each SNMP poll; peer: snmp_exporter",
    "snmp_v3": "CPU and memory of SNMPv3 polls with authentication; peers: pysnmp, snmp_exporter",
    "many_devices": "CPU and memory of one agent that polls 5,000 SNMP devices every minute",
    "pushes": "pushes per second into one collector; peers: VictoriaMetrics, Pushgateway",
    "metrics_render": "CPU for rendering /metrics with 100,000 series; peer: prometheus-client",
    "rungs": "delay between the time of a rung and its message, with 100,000 open incidents",
    "burst": "time that 10,000 faults at once take to become incidents, and how many pages they are",
    "idle_agent": "memory and CPU of an agent that watches its host; peer: node_exporter",
    "storm": "how long a critical page waits behind 1,000 warnings while the first channel hangs",
    "page_latency": "time from a bad reading to its page; peer: Prometheus with Alertmanager",
}


def main() -> int:
    width = max(map(len, BENCHMARKS))
    names = "\n".join(f"  {name.ljust(width)}  {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"names:\n{names}\n\n`python -m benchmarks.corpus --help` compares readings of recorded devices,\n`python -m benchmarks.damaged --help` those of damaged ones.",
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure (default: everything, in this order)")
    wanted = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in wanted if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; choose from {', '.join(BENCHMARKS)}")
    print(machine())
    for name in wanted:
        began = time.monotonic()
        importlib.import_module(f"benchmarks.{name}").main()
        print(f"  ({name} took {time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
