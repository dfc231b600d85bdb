"""Rows of the corpus that we say are wrong, each with the MIB object and the reason: `disputed.yml`."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from watchkeeper.documents.bind import load

FILE = Path(__file__).with_name("disputed.yml")


@dataclass(frozen=True, slots=True)
class Dispute:
    """An object that is taken wrongly. In `recording` and `oids`, `*` stands for anything."""

    recording: str
    oids: tuple[str, ...]
    object: str
    because: str

    def context(self, recording: str, oid: str) -> bool:
        """Whether a row is one of these."""
        return fnmatchcase(recording, self.recording) and any(fnmatchcase(oid, one) for one in self.oids)


@dataclass(frozen=True, slots=True)
class Disputes:
    """disputed.yml whole."""

    disputes: tuple[Dispute, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """How many usable rows there are, and how many of them are disputed."""

    rows: int
    disputed: int


def without(expected: Path, out: Path, names: Collection[str] | None = None) -> Kept:
    """Write the rows (of these recordings) that nobody disputes to `out`."""
    disputes = load(FILE.read_text(encoding="utf-8"), FILE.name, Disputes).disputes
    rows = disputed = 0
    with out.open("w", encoding="utf-8") as file:
        for line in expected.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if names is not None and row["recording"] not in names:
                continue
            usable = row["usable"] == "ok"
            rows += usable
            if any(one.context(row["recording"], row["oid"]) for one in disputes):
                disputed += usable
            else:
                file.write(line + "\n")
    return Kept(rows, disputed)
