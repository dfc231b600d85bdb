"""The expected rows of the corpus that are wrong, with the MIB object and the reason (`disputed.yml`)."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from watchkeeper.documents.bind import load

FILE = Path(__file__).with_name("disputed.yml")


@dataclass(frozen=True, slots=True)
class Dispute:
    """An object for which the expected value is wrong. `*` in `recording` and `oids` matches any text."""

    recording: str
    oids: tuple[str, ...]
    object: str
    because: str

    def covers(self, recording: str, oid: str) -> bool:
        """Whether a row is about this object."""
        return fnmatchcase(recording, self.recording) and any(fnmatchcase(oid, one) for one in self.oids)


@dataclass(frozen=True, slots=True)
class Disputes:
    """The whole file disputed.yml."""

    disputes: tuple[Dispute, ...]


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The number of usable rows, and how many of them are disputed."""

    rows: int
    disputed: int


def without(expected: Path, out: Path, names: Collection[str] | None = None) -> RowCounts:
    """Write the undisputed rows (of these recordings, or of all) to `out`."""
    disputes = load(FILE.read_text(encoding="utf-8"), FILE.name, Disputes).disputes
    rows = disputed = 0
    with out.open("w", encoding="utf-8") as file:
        for line in expected.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if names is not None and row["recording"] not in names:
                continue
            usable = row["usable"] == "ok"
            rows += usable
            if any(one.covers(row["recording"], row["oid"]) for one in disputes):
                disputed += usable
            else:
                file.write(line + "\n")
    return RowCounts(rows, disputed)
