"""What an attack is, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many attacks were run and survived. `lost`: readings, events, rungs or messages that are missing; `doubled`: rungs
    or messages decided twice; `paged_for_nothing`: pages without a fault; `hidden`: faults that nobody was told of."""

    run: int
    survived: int
    lost: int = 0
    doubled: int = 0
    paged_for_nothing: int = 0
    hidden: int = 0
    note: str = ""

    @property
    def clean(self) -> bool:
        """Whether every attack was survived, without any harm."""
        return 0 < self.run == self.survived and not (
            self.lost or self.doubled or self.paged_for_nothing or self.hidden
        )


class Attack(NamedTuple):
    """One kind of attack. `run` gets the rounds, a seed and an empty folder. `ci_rounds` are run without `--rounds`, and at most so many on every commit; `needs` are
    programs without which it cannot run."""

    name: str
    what: str
    run: Callable[[int, int, Path], Outcome]
    ci_rounds: int = 20
    needs: tuple[str, ...] = ()
