"""docs/metrics.md names every metric there is, and no other. To write its tables anew: `python -m tests.unit.test_metrics_documented`."""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.collector_room import ROOT, Room
from watchkeeper.collector.read.exposition import FAMILIES
from watchkeeper.collector.read.self_metrics import SelfMetrics
from watchkeeper.model.quantity import QUANTITIES

PAGE = ROOT / "docs" / "metrics.md"


def readings() -> Iterator[str]:
    yield "| quantity | metric | type | what |"
    yield "|---|---|---|---|"
    for name, one in FAMILIES.items():
        states = f" `state`: {', '.join(one.states)}." if one.states else ""
        says = f"{QUANTITIES[name].title}.{states}" if one.states else one.help
        yield f"| `{name}` | `{one.name}` | {one.kind} | {says} |"


def own(folder: Path) -> Iterator[str]:
    yield "| metric | type | labels | what |"
    yield "|---|---|---|---|"
    with Room(folder) as room:
        for one in SelfMetrics(room.runtime, room.journal, room.ingest).collect():
            labels = ", ".join(f"`{name}`" for name in getattr(one, "_labelnames", ()))
            name = one.name + ("_total" if one.type == "counter" else "")
            yield f"| `{name}` | {one.type} | {labels} | {one.documentation} |"


def written(page: str, which: str) -> list[str]:
    found = re.search(rf"<!-- {which} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found, f"docs/metrics.md lacks <!-- {which} --> ... <!-- end -->"
    return found[1].strip().splitlines()


def test_every_reading_is_documented() -> None:
    assert written(PAGE.read_text(encoding="utf-8"), "readings") == list(readings())


def test_every_metric_of_our_own_is_documented(tmp_path: Path) -> None:
    assert written(PAGE.read_text(encoding="utf-8"), "own") == list(own(tmp_path))


def rewrite() -> None:
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for which, lines in (("readings", readings()), ("own", own(Path(folder)))):
            head, mark, rest = page.partition(f"<!-- {which} -->\n")
            table = "\n".join(lines)
            page = f"{head}{mark}{table}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(rewrite())
