"""python -m benchmarks [NAME ...]: measure, and print tables. Without names, all of them, in this order."""

import importlib
import sys
import time

from benchmarks.fixtures import machine

NAMES = ("snmp_path", "many_devices", "pushes", "metrics_render", "rungs", "idle_agent", "page_latency")


def main() -> int:
    wanted = sys.argv[1:] or NAMES
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        print(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(machine())
    for name in wanted:
        began = time.monotonic()
        importlib.import_module(f"benchmarks.{name}").main()
        print(f"  ({name} took {time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
