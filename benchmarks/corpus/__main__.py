"""Read the recorded devices, and count how many readings and detections are right."""

import argparse
import json
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.corpus import disputes, memory, polled

ENGINES = ("gufo", "pysnmp")


def detection(lines: Iterable[str], corpus: Path, names: set[str]) -> None:
    """Print which devices were recognised as another device, or not recognised."""
    found = {row["name"]: row for row in map(json.loads, lines)}
    tally = Counter[str]()
    for line in (corpus / "devices.jsonl").read_text(encoding="utf-8").splitlines():
        device: dict[str, Any] = json.loads(line)
        if device["recording"] not in names:
            continue
        row = found.get(device["recording"], {})
        right = (row.get("vendor"), row.get("category")) == (device["vendor"], device["category"])
        tally["right" if right else "unknown" if not row.get("profile") else "wrong"] += 1
        if not right:
            print(
                f"  {device['recording']}: {device['vendor']} {device['category']}, "
                f"recognised as {row.get('vendor') or 'nothing'} {row.get('category') or ''} ({row.get('profile')})"
            )
    print(f"detection right {tally['right']}, wrong {tally['wrong']}, not recognised {tally['unknown']}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, default=memory.DEFAULT_CORPUS, help="the folder with expected.jsonl and snmprec/"
    )
    parser.add_argument("--in-memory", action="store_true", help="without UDP and snmpsim: quick, for work on profiles")
    parser.add_argument(
        "--only", default="", help="only recordings whose name contains TEXT (a,b for several)", metavar="TEXT"
    )
    parser.add_argument("--keep", type=Path, help="write the output of the probe to this file")
    options = parser.parse_args()
    logging.disable()  # unrecognised devices are counted below
    recordings = memory.recordings(options.corpus, options.only)
    if not recordings:
        parser.error(f"no recording in {options.corpus / 'snmprec'} has `{options.only}` in its name")
    names = {file.stem for file in recordings}
    if options.in_memory:
        return score("in memory", list(memory.read(recordings)), options, names)
    output = {engine: list(polled.read(recordings, engine)) for engine in ENGINES}
    codes = [score(engine, lines, options, names) for engine, lines in output.items()]
    return max(*codes, compare(*output.values()))


def score(title: str, lines: list[str], options: argparse.Namespace, names: set[str]) -> int:
    """Print how many readings are right. Returns the exit code: 0 if nothing is wrong."""
    print(f"\n== {title}")
    text = "".join(line + "\n" for line in lines)
    if options.keep:
        options.keep.write_text(text, encoding="utf-8")
    with TemporaryDirectory() as folder:
        # The selected recordings are scored as a corpus of their own.
        out, part = Path(folder, "probe.jsonl"), Path(folder)
        out.write_text(text, encoding="utf-8")
        kept = disputes.without(options.corpus / "expected.jsonl", part / "expected.jsonl", names)
        result = subprocess.run([sys.executable, options.corpus / "score.py", part, out, "--strict"], check=False)
    print(f"disputed, and not counted: {kept.disputed} of {kept.rows} usable rows")
    detection(lines, options.corpus, names)
    return result.returncode


def compare(one: list[str], other: list[str]) -> int:
    """Print where the two engines differ. Returns the exit code: 0 if they do not."""
    first, second = _readings(one), _readings(other)
    differing = [key for key in first | second if first.get(key) != second.get(key) and key[1] != "uptime"]
    for key in differing[:20]:
        print(f"  {' '.join(key)}: {first.get(key)} and {second.get(key)}")
    print(f"\nthe two engines differ in {len(differing)} of {len(first)} readings")
    return 1 if differing else 0


def _readings(lines: list[str]) -> dict[tuple[str, str, str], Any]:
    rows = map(json.loads, lines)
    return {
        (row["name"], row["quantity"], row["instance"]): row.get("value", row.get("state", row.get("missing")))
        for row in rows
    }


if __name__ == "__main__":
    sys.exit(main())
