"""Who is on duty at any moment, and which persons a rung reaches."""

import datetime
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.channels.ports import Via
from watchkeeper.collector.policy.roster import (
    audience,
    longest_shift_s,
    next_handover,
    on_duty,
    people_in_role,
    people_of,
    shift_at,
)
from watchkeeper.collector.site.inventory import (
    Agent,
    Configuration,
    Contacts,
    Inventory,
    Ladder,
    Ladders,
    Person,
    PersonAddress,
    Rung,
    Shift,
    Site,
    Swap,
    Turn,
)
from watchkeeper.documents.scalars import ClockTime

CONSOLE = (PersonAddress(Via.CONSOLE),)
PEOPLE = tuple(Person(name, name.title(), CONSOLE) for name in ("ann", "bob", "cy", "dee", "eve", "head"))
SINCE = datetime.date(2026, 1, 5)


def clock(text: str) -> ClockTime:
    return ClockTime(datetime.time.fromisoformat(text))


DAY = Shift("day", clock("08:30"), clock("17:00"), ("ann", "bob"), Turn.DAY, SINCE)
NIGHT = Shift("night", clock("17:00"), clock("08:30"), ("cy", "dee"), Turn.DAY, SINCE)
CONTACTS = Contacts(PEOPLE, (DAY, NIGHT), roles={"head": ("head",), "pair": ("ann", "bob")})
SHANGHAI = Site("machine room", ZoneInfo("Asia/Shanghai"))
BERLIN = Site("Serverraum", ZoneInfo("Europe/Berlin"))


def at(site: Site, text: str, fold: int = 0) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=site.timezone, fold=fold).timestamp()


def who(site: Site, text: str, contacts: Contacts = CONTACTS, fold: int = 0) -> tuple[str, str]:
    on = shift_at(contacts, site, at(site, text, fold))
    return on.shift, on.person.person


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-01-05 08:29:59.999", ("night", "dee")),  # the shift that began on the 4th, one turn before `since`
        ("2026-01-05 08:30:00", ("day", "ann")),
        ("2026-01-05 16:59:59.999", ("day", "ann")),
        ("2026-01-05 17:00:00", ("night", "cy")),
        ("2026-01-06 00:00:00", ("night", "cy")),  # still the shift of the 5th
        ("2026-01-06 08:29:59", ("night", "cy")),
        ("2026-01-06 08:30:00", ("day", "bob")),
        ("2026-01-06 17:00:00", ("night", "dee")),
        ("2026-01-07 12:00:00", ("day", "ann")),
    ],
)
def test_the_handovers_are_at_0830_and_1700(moment: str, expected: tuple[str, str]) -> None:
    assert who(SHANGHAI, moment) == expected


def test_weekly_turns_are_counted_from_since() -> None:
    weekly = replace(DAY, rotation=("ann", "bob", "eve"), turn=Turn.WEEK)
    contacts = replace(CONTACTS, shifts=(weekly, NIGHT))
    days = [SINCE + datetime.timedelta(days=n) for n in range(-7, 28)]
    found = [who(SHANGHAI, f"{day} 12:00", contacts)[1] for day in days]
    assert found == ["eve"] * 7 + ["ann"] * 7 + ["bob"] * 7 + ["eve"] * 7 + ["ann"] * 7


def test_a_swap_holds_for_the_whole_shift_that_begins_that_day() -> None:
    swap = Swap(datetime.date(2026, 1, 5), "night", "eve")
    contacts = replace(CONTACTS, swaps=(swap,))
    assert who(SHANGHAI, "2026-01-05 08:00", contacts) == ("night", "dee")
    assert who(SHANGHAI, "2026-01-05 12:00", contacts) == ("day", "ann")
    assert who(SHANGHAI, "2026-01-05 17:00", contacts) == ("night", "eve")
    assert who(SHANGHAI, "2026-01-06 08:29", contacts) == ("night", "eve")
    assert who(SHANGHAI, "2026-01-06 17:00", contacts) == ("night", "dee")


def test_the_next_handover_is_the_first_moment_of_the_next_shift() -> None:
    coming = next_handover(CONTACTS, SHANGHAI, at(SHANGHAI, "2026-01-05 12:00"))
    assert (coming.begins, coming.shift, coming.person.person) == (at(SHANGHAI, "2026-01-05 17:00"), "night", "cy")
    coming = next_handover(CONTACTS, SHANGHAI, coming.begins)
    assert (coming.begins, coming.person.person) == (at(SHANGHAI, "2026-01-06 08:30"), "bob")


def test_one_shift_of_24_hours_hands_over_once_a_day() -> None:
    alone = replace(CONTACTS, shifts=(replace(DAY, start=clock("08:00"), end=clock("08:00")),))
    assert who(SHANGHAI, "2026-01-06 07:59:59", alone) == ("day", "ann")
    assert who(SHANGHAI, "2026-01-06 08:00:00", alone) == ("day", "bob")


# ---- the days on which the clocks change: 2026-03-29 02:00 -> 03:00 and 2026-10-25 03:00 -> 02:00 in Berlin ----


def test_the_longest_shift_lasts_over_midnight_or_for_the_week_of_its_rotation() -> None:
    assert longest_shift_s(CONTACTS) == 15.5 * 3600
    whole = replace(DAY, end=DAY.start)
    assert longest_shift_s(replace(CONTACTS, shifts=(whole,))) == 24 * 3600
    assert longest_shift_s(replace(CONTACTS, shifts=(DAY, replace(NIGHT, turn=Turn.WEEK)))) == 7 * 86_400


def test_the_night_shift_of_a_clock_change_is_an_hour_shorter_or_longer() -> None:
    for date, hours in (("2026-03-28", 14.5), ("2026-10-24", 16.5), ("2026-06-01", 15.5)):
        begins = at(BERLIN, f"{date} 17:00")
        assert (next_handover(CONTACTS, BERLIN, begins).begins - begins) / 3600 == hours


SMALL_HOURS = replace(
    CONTACTS,
    shifts=(
        replace(DAY, start=clock("02:30"), end=clock("14:30")),
        replace(NIGHT, start=clock("14:30"), end=clock("02:30")),
    ),
)


def test_a_handover_in_the_hour_that_does_not_exist_is_at_the_jump() -> None:
    assert who(BERLIN, "2026-03-29 01:59:59", SMALL_HOURS)[0] == "night"
    assert who(BERLIN, "2026-03-29 03:00:00", SMALL_HOURS)[0] == "day"
    before = at(BERLIN, "2026-03-29 01:00")
    assert next_handover(SMALL_HOURS, BERLIN, before).begins == at(BERLIN, "2026-03-29 03:00")


def test_a_handover_in_the_hour_that_comes_twice_is_at_the_first() -> None:
    assert who(BERLIN, "2026-10-25 02:29:59", SMALL_HOURS)[0] == "night"
    assert who(BERLIN, "2026-10-25 02:30:00", SMALL_HOURS)[0] == "day"
    assert who(BERLIN, "2026-10-25 02:15:00", SMALL_HOURS, fold=1)[0] == "day"
    assert who(BERLIN, "2026-10-25 02:45:00", SMALL_HOURS, fold=1)[0] == "day"


def test_a_shift_that_is_completely_inside_the_jump_is_left_out() -> None:
    names = ("early", "lost", "rest")
    starts = ("01:00", "02:15", "02:45", "01:00")
    shifts = tuple(
        Shift(name, clock(start), clock(end), ("ann",), Turn.DAY, SINCE)
        for name, start, end in zip(names, starts, starts[1:], strict=False)
    )
    contacts = replace(CONTACTS, shifts=shifts)
    assert who(BERLIN, "2026-03-29 01:30", contacts)[0] == "early"
    assert who(BERLIN, "2026-03-29 03:00", contacts)[0] == "rest"
    assert who(BERLIN, "2026-03-30 02:30", contacts)[0] == "lost"


ZONES = ["Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo"]
MINUTES = st.integers(0, 1439)


@st.composite
def rosters(draw: st.DrawFn) -> Contacts:
    """One to four shifts that cover the day."""
    cuts = sorted(draw(st.sets(MINUTES, min_size=1, max_size=4)))
    times = [ClockTime(datetime.time(cut // 60, cut % 60)) for cut in cuts]
    rotations = st.lists(st.sampled_from(["ann", "bob", "cy", "dee"]), min_size=1, max_size=3).map(tuple)
    shifts = tuple(
        Shift(f"s{n}", start, end, draw(rotations), draw(st.sampled_from(Turn)), SINCE)
        for n, (start, end) in enumerate(zip(times, [*times[1:], times[0]], strict=True))
    )
    return replace(CONTACTS, shifts=shifts)


CHANGES = [
    at(BERLIN, "2026-03-29 03:00"),
    at(BERLIN, "2026-10-25 02:00"),
    at(Site("", ZoneInfo("America/St_Johns")), "2006-10-29 00:00"),
]
MOMENTS = st.one_of(
    st.floats(0, 4e9),
    st.sampled_from(CHANGES).flatmap(lambda change: st.floats(change - 90_000, change + 90_000)),
)


@settings(deadline=None)
@given(rosters(), st.sampled_from(ZONES), MOMENTS)
def test_at_every_moment_one_shift_is_on_and_lasts_until_the_next(contacts: Contacts, zone: str, moment: float) -> None:
    site = Site("anywhere", ZoneInfo(zone))
    now, then = shift_at(contacts, site, moment), next_handover(contacts, site, moment)
    assert len(on_duty(contacts, site, moment)) == 1
    assert now.begins <= moment < then.begins
    assert shift_at(contacts, site, now.begins) == now
    assert shift_at(contacts, site, then.begins) == then
    assert shift_at(contacts, site, (moment + then.begins) / 2) in (now, then)
    assert (now.begins, now.day) <= (then.begins, then.day)
    assert then.begins - now.begins <= 49 * 3600  # no time zone has ever jumped by more than a day


@settings(deadline=None)
@given(rosters(), st.sampled_from(ZONES), MOMENTS)
def test_on_an_ordinary_day_the_shift_is_the_one_that_contains_the_time(
    contacts: Contacts, zone: str, moment: float
) -> None:
    site = Site("anywhere", ZoneInfo(zone))
    reads = datetime.datetime.fromtimestamp(moment, site.timezone)
    day = datetime.timedelta(days=1)
    if (reads - 2 * day).utcoffset() != reads.utcoffset() or (reads + day).utcoffset() != reads.utcoffset():
        return  # other tests cover these days
    now = reads.time()
    holding = [
        shift.shift
        for shift in contacts.shifts
        if (shift.start <= now < shift.end if shift.start < shift.end else now >= shift.start or now < shift.end)
    ]
    assert [shift_at(contacts, site, moment).shift] == holding


# ---- roles and rungs ----

LADDER = Ladder("fault", (), fallback=("head", "duty"))
CONFIGURATION = Configuration(Inventory(SHANGHAI, (Agent("room-1"),), ()), CONTACTS, Ladders((LADDER,)))
NOON = at(SHANGHAI, "2026-01-05 12:00")  # ann is on duty


def rung(*tell: str) -> Rung:
    return Rung("rung", 0.0, tell)


def names(people: tuple[Person, ...]) -> list[str]:
    return [person.person for person in people]


@pytest.mark.parametrize(
    ("name", "owner", "expected"),
    [
        ("duty", "bob", ["ann"]),
        ("owner", "bob", ["bob"]),
        ("owner", "", []),
        ("owner", "gone", []),
        ("head", "bob", ["head"]),
        ("pair", "bob", ["ann", "bob"]),
        ("eve", "bob", ["eve"]),
        ("nobody", "bob", []),
    ],
)
def test_the_persons_of_a_role(name: str, owner: str, expected: list[str]) -> None:
    assert names(people_in_role(name, CONFIGURATION, owner, NOON)) == expected


def test_a_rung_reaches_every_person_once_in_the_order_written() -> None:
    told = audience(rung("pair", "owner", "duty", "eve"), LADDER, CONFIGURATION, "bob", NOON)
    assert names(told.people) == ["ann", "bob", "eve"]
    assert not told.missing_roles


def test_a_role_without_a_person_pages_the_fallback_and_says_so() -> None:
    told = audience(rung("owner"), LADDER, CONFIGURATION, "", NOON)
    assert names(told.people) == ["head", "ann"]
    assert told.missing_roles == ("owner",)


def test_the_fallback_is_added_to_the_persons_of_the_other_roles() -> None:
    told = audience(rung("owner", "head"), LADDER, CONFIGURATION, "gone", NOON)
    assert names(told.people) == ["head", "ann"]
    assert told.missing_roles == ("owner",)


def test_duty_is_the_person_on_duty_at_that_moment() -> None:
    assert names(people_of(("duty",), CONFIGURATION, "", at(SHANGHAI, "2026-01-05 16:59:59"))) == ["ann"]
    assert names(people_of(("duty",), CONFIGURATION, "", at(SHANGHAI, "2026-01-05 17:00:00"))) == ["cy"]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["duty", "owner", "head", "pair", "eve", "nobody"]), min_size=1).map(tuple),
    st.sampled_from(["", "bob", "gone"]),
    st.floats(0, 4e9),
)
def test_a_rung_always_reaches_somebody(tell: tuple[str, ...], owner: str, moment: float) -> None:
    told = audience(rung(*tell), LADDER, CONFIGURATION, owner, moment)
    assert told.people
    assert len(set(names(told.people))) == len(told.people)


def test_the_owner_of_the_device_is_paged_where_a_rung_says_so() -> None:
    reached = audience(rung("owner", "head"), LADDER, CONFIGURATION, "eve", NOON)
    assert names(reached.people) == ["eve", "head"]
    assert reached.missing_roles == ()
    assert names(people_of(("owner", "head"), CONFIGURATION, "eve", NOON)) == ["eve", "head"]


def test_a_shift_has_the_day_of_its_beginning_in_the_zone_of_the_site() -> None:
    """Whatever the zone of the machine: it is already the next day there."""
    site = Site("machine room", ZoneInfo("America/Los_Angeles"))
    alone = replace(CONTACTS, shifts=(replace(DAY, start=clock("23:45"), end=clock("23:45")),))
    on = shift_at(alone, site, at(site, "2026-01-06 23:30"))
    assert (on.day, on.person.person) == (datetime.date(2026, 1, 5), "ann")
    assert on.begins == at(site, "2026-01-05 23:45")
    coming = next_handover(alone, site, at(site, "2026-01-06 23:30"))
    assert (coming.day, coming.person.person) == (datetime.date(2026, 1, 6), "bob")
