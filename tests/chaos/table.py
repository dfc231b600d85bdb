"""The table of docs/reliability.md."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.outcome import Attack, Outcome
from tests.conftest import ROOT, _postgres_programs

PAGE = ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- table -->\n", "<!-- end of the table -->\n"
HEAD = (
    "| attack | what happens | run | survived | lost | doubled | paged for nothing | hidden | |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def row(attack: Attack, outcome: Outcome) -> str:
    """One line of the table."""
    counts = (outcome.run, outcome.survived, outcome.lost, outcome.doubled, outcome.paged_for_nothing, outcome.hidden)
    return f"| `{attack.name}` | {attack.what} | {' | '.join(map(str, counts))} | {outcome.note} |"


def write_table(found: Mapping[Attack, Outcome], page: Path = PAGE) -> None:
    """Replace the rows of these attacks in the page, and keep the others."""
    before, rest = page.read_text(encoding="utf-8").split(_BEGIN)
    table, after = rest.split(_END)
    rows = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    rows |= {attack.name: row(attack, outcome) for attack, outcome in found.items()}
    body = "".join(f"{line}\n" for line in rows.values())
    page.write_text(f"{before}{_BEGIN}{HEAD}{body}{_END}{after}", encoding="utf-8")


def missing_programs(attack: Attack) -> tuple[str, ...]:
    """The programs that the attack needs and this machine lacks."""
    return tuple(name for name in attack.needs if not _found(name))


def _found(name: str) -> bool:
    return _postgres_programs() is not None if name == "initdb" else shutil.which(name) is not None
