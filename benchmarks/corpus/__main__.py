"""python -m benchmarks.corpus [--in-memory] [--only TEXT] [--corpus DIR]: what of the recorded devices is read right."""

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
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"


def detection(lines: Iterable[str], corpus: Path, names: set[str]) -> None:
    """Print which devices were taken for something else, or not recognised."""
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
                f"taken for {row.get('vendor') or 'nothing'} {row.get('category') or ''} ({row.get('profile')})"
            )
    print(f"detection right {tally['right']}, wrong {tally['wrong']}, not recognised {tally['unknown']}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="the folder with expected.jsonl and snmprec/")
    parser.add_argument("--in-memory", action="store_true", help="no UDP, no snmpsim: quick, for work on profiles")
    parser.add_argument("--only", default="", help="only recordings whose name has this text in it (a,b for several)")
    parser.add_argument("--keep", type=Path, help="where to leave what the probe printed")
    options = parser.parse_args()
    logging.disable()  # devices that no profile fits are counted below
    wanted = options.only.split(",")
    recordings = [
        file
        for file in sorted((options.corpus / "snmprec").glob("*.snmprec"))
        if any(one in file.stem for one in wanted)
    ]
    names = {file.stem for file in recordings}
    if options.in_memory:
        return score("in memory", list(memory.read(recordings)), options, names)
    said = {engine: list(polled.read(recordings, engine)) for engine in ENGINES}
    codes = [score(engine, lines, options, names) for engine, lines in said.items()]
    return max(*codes, compare(*said.values()))


def score(how: str, said: list[str], options: argparse.Namespace, names: set[str]) -> int:
    """Print what of it is right; 0 where nothing is wrong."""
    print(f"\n== {how}")
    text = "".join(line + "\n" for line in said)
    if options.keep:
        options.keep.write_text(text, encoding="utf-8")
    with TemporaryDirectory() as folder:
        # Some of the recordings are scored as a corpus of their own.
        out, part = Path(folder, "probe.jsonl"), Path(folder)
        out.write_text(text, encoding="utf-8")
        kept = disputes.without(options.corpus / "expected.jsonl", part / "expected.jsonl", names)
        result = subprocess.run([sys.executable, options.corpus / "score.py", part, out], check=False)
    print(f"disputed, and not counted: {kept.disputed} of {kept.rows} usable rows")
    detection(said, options.corpus, names)
    return result.returncode


def compare(one: list[str], other: list[str]) -> int:
    """Print where the two engines differ; 0 where they do not."""
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
