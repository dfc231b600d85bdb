"""The meaning of traps, and how long their events are shown."""

from dataclasses import replace

import pytest

from tests.agent_room import columns, device, sweep
from tests.traps_room import COLD_START, LINK_DOWN, MEMORY, MEMORY_OK
from watchkeeper.agent.traps.events import CRITICAL, NONE, NOTICE, WARNING, TrapEvent, TrapEvents
from watchkeeper.agent.traps.message.decode import Trap
from watchkeeper.agent.traps.table import KnownTrap, TrapMeaning, events_of, shipped_traps
from watchkeeper.model.device import Category
from watchkeeper.model.event import EVENT_OVER, EVENT_SHOWN_S, MAX_EVENTS
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Series, Sweep, Value
from watchkeeper.model.verdict import Level, Verdict, Withdrawal
from watchkeeper.profiles.scalars import Oid
from watchkeeper.rules.evaluate import decode_state, encode_state
from watchkeeper.rules.judge import Judge, Judgement
from watchkeeper.rules.load import load_rules
from watchkeeper.rules.load import shipped as shipped_rules

COLUMNS = columns("box", "temperature.ambient")
EVENT = TrapEvent("1.2.3", "Memory", CRITICAL)


def swept(events: TrapEvents, at: float, answering: str = "yes") -> Sweep:
    return events.join(sweep(COLUMNS, at, 20.0, answering=answering))


def shown(events: TrapEvents, at: float) -> dict[str, Value]:
    found = swept(events, at)
    return {
        one.instance: value
        for one, value in zip(found.series, found.values, strict=True)
        if one.quantity == "device.event"
    }


# ---- the series ----


def test_the_sweep_of_a_device_without_events_is_unchanged() -> None:
    events = TrapEvents()
    events.note("another", EVENT, 0.0)
    one = sweep(COLUMNS, 1.0, 20.0)
    assert events.join(one) is one


def test_an_event_is_shown_for_a_minute_and_missing_afterwards() -> None:
    events = TrapEvents()
    events.note("box", EVENT, 100.0)
    assert shown(events, 100.5) == {"1.2.3": CRITICAL}
    assert shown(events, 100 + EVENT_SHOWN_S - 1) == {"1.2.3": CRITICAL}
    assert shown(events, 100 + EVENT_SHOWN_S) == {"1.2.3": EVENT_OVER}
    assert shown(events, 9_999) == {"1.2.3": EVENT_OVER}


def test_an_event_is_shown_at_least_once_even_if_the_poll_is_late() -> None:
    events = TrapEvents()
    events.note("box", EVENT, 100.0)
    assert shown(events, 500) == {"1.2.3": CRITICAL}
    assert shown(events, 501) == {"1.2.3": EVENT_OVER}


def test_an_event_reported_again_is_shown_for_another_minute() -> None:
    events = TrapEvents()
    events.note("box", EVENT, 100.0)
    assert shown(events, 200) == {"1.2.3": CRITICAL}
    events.note("box", EVENT, 230.0)
    assert shown(events, 280) == {"1.2.3": CRITICAL}
    assert shown(events, 290) == {"1.2.3": EVENT_OVER}


@pytest.mark.parametrize("level", [NOTICE, NONE])
def test_nothing_remains_of_an_event_that_opens_no_incident(level: str) -> None:
    events = TrapEvents()
    events.note("box", replace(EVENT, level=level), 100.0)
    assert shown(events, 101) == {"1.2.3": level}
    assert shown(events, 100 + EVENT_SHOWN_S) == {"1.2.3": NONE}


def test_the_series_stay_the_same_object_until_an_event_is_new() -> None:
    events = TrapEvents()
    events.note("box", EVENT, 0.0)
    first = swept(events, 1).series
    assert first[: len(COLUMNS)] == COLUMNS
    assert first[-1] == Series("box", "device.event", "1.2.3", "Memory", "trap")
    events.note("box", EVENT, 2.0)
    assert swept(events, 3).series is first
    assert swept(events, 100).series is first
    events.note("box", replace(EVENT, instance="1.2.4"), 101.0)
    assert len(swept(events, 102).series) == len(first) + 1
    other = columns("box", "leak")
    assert events.join(sweep(other, 103, "dry")).series[: len(other)] == other


def test_if_there_are_too_many_events_the_mildest_and_oldest_is_dropped() -> None:
    events = TrapEvents()
    events.note("box", replace(EVENT, instance="worst"), 0.0)
    events.note("box", replace(EVENT, instance="bad", level=WARNING), 1.0)
    for number in range(MAX_EVENTS + 10):
        events.note("box", TrapEvent(f"{number}", "", NOTICE), 2.0 + number)
    found = shown(events, 100.0)
    assert len(found) == MAX_EVENTS
    assert {"worst", "bad", f"{MAX_EVENTS + 9}"} <= found.keys()
    assert "0" not in found


def test_events_of_a_device_that_is_gone_are_forgotten() -> None:
    events = TrapEvents()
    events.note("box", EVENT, 0.0)
    events.keep({"box", "other"})
    assert shown(events, 1) != {}
    events.keep({"other"})
    assert shown(events, 2) == {}


# ---- the judge: the verdict of an event whose series is gone ----


def judged(judge: Judge, one: Sweep) -> Judgement:
    return judge.sweep(one, Category.UPS)


def fresh(*changes: Judgement) -> Judge:
    """A judge after a restart, with the stored states."""
    kept = {key: state for change in changes for key, state in change.states.items() if state}
    stored = {key: decode_state(encode_state(state)) for key, state in kept.items()}
    judge = Judge(stored)
    judge.activate(load_rules(shipped_rules()), [device()], 0.0)
    return judge


def levels(change: Judgement) -> list[Level | str]:
    return [
        event.level if isinstance(event, Verdict) else type(event).__name__
        for event in change.events
        if isinstance(event, Verdict | Withdrawal) and event.rule == "device.event"
    ]


def bad_events(judge: Judge) -> list[tuple[Level, str]]:
    return [(one.level, one.instance) for one in judge.active_verdicts(200).verdicts if one.rule == "device.event"]


def test_after_a_restart_a_bad_event_is_unknown_and_never_withdrawn() -> None:
    events = TrapEvents()
    events.note("box", EVENT, 0.0)
    before = judged(fresh(), swept(events, 1))
    assert levels(before) == [Level.CRITICAL]
    again = fresh(before)
    assert levels(judged(again, swept(TrapEvents(), 30, answering="no"))) == [Level.UNKNOWN], (
        "also if the device does not answer"
    )
    for number in range(10):
        assert levels(judged(again, swept(TrapEvents(), 60 + number))) == []
    assert bad_events(again) == [(Level.UNKNOWN, "1.2.3")]
    events = TrapEvents()
    events.note("box", EVENT, 200.0)
    assert levels(judged(again, swept(events, 201))) == [Level.CRITICAL], "reported again, it is bad again"


def test_a_trap_that_ends_an_event_works_after_a_restart_too() -> None:
    events = TrapEvents()
    events.note("box", EVENT, 0.0)
    again = fresh(judged(fresh(), swept(events, 1)))
    events = TrapEvents()
    events.note("box", replace(EVENT, level=NONE), 100.0)
    assert levels(judged(again, swept(events, 101))) == []
    assert levels(judged(again, swept(events, 170))) == [Level.OK]


def test_events_beyond_the_limit_are_withdrawn() -> None:
    judge = fresh()
    for number in range(MAX_EVENTS + 5):
        events = TrapEvents()
        events.note("box", TrapEvent(f"{number}", "", CRITICAL), 0.0)
        judged(judge, swept(events, float(number)))
    for number in range(5):
        judged(judge, swept(TrapEvents(), 100.0 + number))
    assert len(bad_events(judge)) == MAX_EVENTS


def test_a_fault_that_is_no_event_stays_when_its_series_is_gone_and_the_absence_is_told() -> None:
    judge = fresh()
    leak = (Series("box", "device.answering"), Series("box", "leak", "1"))
    assert judge.sweep(sweep(leak, 0, "wet"), Category.ENV).events
    gone = [judge.sweep(sweep(leak[:1], at), Category.ENV).events for at in (1, 2, 3, 4, 5)]
    told = [(event.rule, event.level) for events in gone for event in events if isinstance(event, Verdict)]
    assert told == [("environment.leak", Level.UNKNOWN), ("absence.sensor", Level.WARNING)]
    assert not any(isinstance(event, Withdrawal) for events in gone for event in events)


# ---- the table ----


def test_the_shipped_table_is_valid() -> None:
    table = shipped_traps()
    states = set(QUANTITIES["device.event"].states)
    assert {known.meaning.value for known in table.values()} <= states | {"poll"}
    for known in table.values():
        events = events_of(Trap(known.trap), table)
        assert all(one.label and one.level in states for one in events)
        assert bool(events) is (known.meaning is not TrapMeaning.POLL)


def test_a_trap_that_a_poll_shows_gives_no_event() -> None:
    assert events_of(Trap(LINK_DOWN), shipped_traps()) == []


def test_an_unknown_trap_is_a_notice_by_its_number() -> None:
    assert events_of(Trap("1.3.6.1.4.1.99999.0.1"), shipped_traps()) == [
        TrapEvent("1.3.6.1.4.1.99999.0.1", "1.3.6.1.4.1.99999.0.1", NOTICE)
    ]
    (event,) = events_of(Trap(".".join(["4294967295"] * 128)), shipped_traps())
    assert len(event.instance) <= 200


def test_a_trap_ends_the_events_of_others() -> None:
    table = shipped_traps()
    assert events_of(Trap(COLD_START), table) == [TrapEvent(COLD_START, "Device started", NOTICE)]
    (bad,) = events_of(Trap(MEMORY), table)
    ended = events_of(Trap(MEMORY_OK), table)
    assert bad.level == CRITICAL
    assert replace(bad, level=NONE) in ended
    assert {one.level for one in ended} == {NONE}


def test_a_variable_distinguishes_events_of_one_trap() -> None:
    column = Oid("1.3.6.1.2.1.2.2.1.1")
    table = {
        "1.2.0.1": KnownTrap(Oid("1.2.0.1"), TrapMeaning.WARNING, "Port", column),
        "1.2.0.2": KnownTrap(Oid("1.2.0.2"), TrapMeaning.NONE, key=column, ends=(Oid("1.2.0.1"),)),
    }
    variables = ((f"{column}1.9", 8), (f"{column}.3", b"eth\x1b3"))
    event = TrapEvent("1.2.0.1 eth\ufffd3", "Port eth\ufffd3", WARNING)
    assert events_of(Trap("1.2.0.1", variables), table) == [event]
    assert events_of(Trap("1.2.0.2", variables), table) == [replace(event, level=NONE)]
    assert events_of(Trap("1.2.0.1"), table) == [TrapEvent("1.2.0.1", "Port", WARNING)]


@pytest.mark.parametrize(
    ("known", "field"),
    [
        (KnownTrap(Oid("1.2"), TrapMeaning.NONE), "ends"),
        (KnownTrap(Oid("1.2"), TrapMeaning.WARNING, "Title", ends=(Oid("1.3"),)), "ends"),
        (KnownTrap(Oid("1.2"), TrapMeaning.WARNING), "title"),
        (KnownTrap(Oid("1.2"), TrapMeaning.POLL, "Title"), "title"),
    ],
)
def test_a_line_of_the_table_that_contradicts_itself_is_found(known: KnownTrap, field: str) -> None:
    assert [where for where, _ in known.check()] == [field]
