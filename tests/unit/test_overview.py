"""What the overview shows of the open troubles: parts, cards and groups."""

from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.read.troubles import OpenTrouble
from watchkeeper.collector.web.overview import CARDS, FEW, parts_of
from watchkeeper.model.verdict import Evidence, Level

EVIDENCE = Evidence("device.answering", "no", "is no")


def trouble(
    number: int, rule: str = "a", level: Level = Level.CRITICAL, by: str | None = None, quiet: float | None = None
) -> OpenTrouble:
    known = Trouble(number, "room-1", level, 0.0, 0.0, trouble=number, acknowledged_by=by, quiet_since=quiet)
    return OpenTrouble(known, Incident(f"d{number}", rule, "", "room-1", level, level, "v", 0.0, EVIDENCE))


def numbers(part_troubles: tuple[OpenTrouble, ...]) -> list[int]:
    return [one.trouble.trouble for one in part_troubles]


def test_nothing_is_no_part() -> None:
    assert parts_of([]) == []


def test_acknowledged_and_quiet_troubles_have_parts_of_their_own() -> None:
    found = parts_of([trouble(1, quiet=5.0), trouble(2, by="olga"), trouble(3), trouble(4, by="olga", quiet=5.0)])
    assert [(part.name, part.count, part.cards) for part in found] == [
        ("waiting", 1, (3,)), ("working", 1, (2,)), ("quiet", 2, (1, 4)),
    ]  # fmt: skip


def test_a_few_troubles_are_all_cards() -> None:
    (part,) = parts_of([trouble(number) for number in range(FEW)])
    assert (part.cards, part.groups) == (tuple(range(FEW)), ())


def test_of_many_the_worst_are_cards_and_the_rest_is_in_groups_by_level_and_rule() -> None:
    rest = [trouble(11, "b"), trouble(12, "a"), trouble(13, "b"), trouble(14, "b", Level.WARNING)]
    (part,) = parts_of([*(trouble(number) for number in range(CARDS)), *rest])
    assert (part.count, part.cards) == (CARDS + 4, tuple(range(CARDS)))
    assert [(group.level, group.rule, numbers(group.troubles)) for group in part.groups] == [
        (Level.CRITICAL, "b", [11, 13]), (Level.CRITICAL, "a", [12]), (Level.WARNING, "b", [14]),
    ]  # fmt: skip
    assert len({group.key for group in part.groups}) == 3
