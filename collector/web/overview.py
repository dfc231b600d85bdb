"""What the overview shows of the open troubles: the worst as cards, the rest as short lines in groups. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from watchkeeper.collector.read.troubles import OpenTrouble
from watchkeeper.model.verdict import Level

LISTED = 1000
"""How many open troubles the overview has at most, as cards and lines."""

CARDS, FEW = 3, 5
"""A part with more than FEW troubles has only CARDS cards: they fill the screen of a phone."""


@dataclass(frozen=True, slots=True)
class Group:
    """Troubles of one level whose causes are of one rule."""

    level: Level
    rule: str
    troubles: tuple[OpenTrouble, ...]

    @property
    def key(self) -> str:
        """A name that no other group of its part has."""
        return f"{self.level.value} {self.rule}"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the overview: `waiting` for somebody, `working` (somebody works on them) or `quiet` (no fault is there now).
    `cards` are the numbers of its worst troubles; the rest is in `groups`."""

    name: str
    count: int
    cards: tuple[int, ...]
    groups: tuple[Group, ...]


def parts_of(troubles: Sequence[OpenTrouble]) -> list[Part]:
    """The parts that have troubles. The troubles come and stay worst first."""
    sorted_out: dict[str, list[OpenTrouble]] = {"waiting": [], "working": [], "quiet": []}
    for one in troubles:
        name = "quiet" if one.trouble.quiet else "working" if one.trouble.acknowledged_by else "waiting"
        sorted_out[name].append(one)
    return [_part(name, members) for name, members in sorted_out.items() if members]


def _part(name: str, members: Sequence[OpenTrouble]) -> Part:
    cards = len(members) if len(members) <= FEW else CARDS
    numbers = tuple(one.trouble.trouble for one in members[:cards])
    return Part(name, len(members), numbers, _groups(members[cards:]))


def _groups(members: Iterable[OpenTrouble]) -> tuple[Group, ...]:
    found: dict[tuple[Level, str], list[OpenTrouble]] = {}
    for one in members:
        found.setdefault((one.trouble.level, one.cause.rule), []).append(one)
    return tuple(Group(level, rule, tuple(group)) for (level, rule), group in found.items())
