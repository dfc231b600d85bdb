"""The table that a benchmark prints: our figures beside the peer's."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MEDIAN, P99 = 0.50, 0.99


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One measured figure. `peer` is the peer's figure, or None; `who` names the peer, or says why there is none."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    who: str = ""

    @property
    def ratio(self) -> str:
        """Our figure divided by the peer's."""
        return number(self.ours / self.peer) if self.peer else "-"


def show(title: str, rows: Sequence[ReportRow], notes: Sequence[str] = ()) -> None:
    """Print the table and the notes."""
    head = ("", "unit", "ours", "peer", "ours/peer", "peer is")
    cells = [head] + [
        (row.what, row.unit, number(row.ours), "-" if row.peer is None else number(row.peer), row.ratio, row.who)
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    print(f"\n{title}")
    for line in cells:
        shown = (
            cell.rjust(width) if 2 <= column <= 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )  # fmt: skip
        print("  " + "  ".join(shown).rstrip())
    for note in notes:
        print(f"  {note}")


def number(value: float) -> str:
    """The value with two or three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}"


def median(values: Sequence[float]) -> float:
    """The median, or nan if there are no values."""
    return statistics.median(values) if values else float("nan")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values are below (nearest rank), or nan if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
