"""What a trap means, and how long it is seen."""

from dataclasses import replace

import pytest

from tests.agent_room import columns, device, sweep
from tests.traps_room import COLD_START, LINK_DOWN, MEMORY, MEMORY_OK
from watchkeeper.agent.event import EVENT_OVER, EVENT_SHOWN_S, MAX_EVENTS
from watchkeeper.agent.judge.judge import Judge, Judgement
from watchkeeper.agent.traps.events import CRITICAL, NONE, NOTICE, WARNING, Events, Reply
from watchkeeper.agent.traps.message.decode import Trap
from watchkeeper.agent.traps.table import Known, Meaning, events_of, shipped
from watchkeeper.model.device import Category
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Series, Sweep, Value
from watchkeeper.model.verdict import Level, Verdict, Withdrawal
from watchkeeper.profiles.scalars import Oid
from watchkeeper.rules.evaluate import decode_state, encode_state
from watchkeeper.rules.load import load_rules
from watchkeeper.rules.load import shipped as shipped_rules

COLUMNS = columns("box", "temperature.ambient")
TOLD = Reply("1.2.3", "Memory", CRITICAL)


def swept(events: Events, at: float, answering: str = "yes") -> Sweep:
    return events.join(sweep(COLUMNS, at, 20.0, answering=answering))


def shown(events: Events, at: float) -> dict[str, Value]:
    found = swept(events, at)
    return {
        one.instance: value
        for one, value in zip(found.series, found.values, strict=True)
        if one.quantity == "device.event"
    }


# ---- the columns ----


def test_a_device_without_events_is_left_alone() -> None:
    events = Events()
    events.note("another", TOLD, 0.0)
    one = sweep(COLUMNS, 1.0, 20.0)
    assert events.join(one) is one


def test_an_event_shows_for_a_minute_and_is_missing_from_then_on() -> None:
    events = Events()
    events.note("box", TOLD, 100.0)
    assert shown(events, 100.5) == {"1.2.3": CRITICAL}
    assert shown(events, 100 + EVENT_SHOWN_S - 1) == {"1.2.3": CRITICAL}
    assert shown(events, 100 + EVENT_SHOWN_S) == {"1.2.3": EVENT_OVER}
    assert shown(events, 9_999) == {"1.2.3": EVENT_OVER}


def test_an_event_is_shown_once_however_late_its_device_is_read() -> None:
    events = Events()
    events.note("box", TOLD, 100.0)
    assert shown(events, 500) == {"1.2.3": CRITICAL}
    assert shown(events, 501) == {"1.2.3": EVENT_OVER}


def test_an_event_told_again_begins_anew() -> None:
    events = Events()
    events.note("box", TOLD, 100.0)
    assert shown(events, 200) == {"1.2.3": CRITICAL}
    events.note("box", TOLD, 230.0)
    assert shown(events, 280) == {"1.2.3": CRITICAL}
    assert shown(events, 290) == {"1.2.3": EVENT_OVER}


@pytest.mark.parametrize("level", [NOTICE, NONE])
def test_of_what_opens_no_incident_nothing_is_left(level: str) -> None:
    events = Events()
    events.note("box", replace(TOLD, level=level), 100.0)
    assert shown(events, 101) == {"1.2.3": level}
    assert shown(events, 100 + EVENT_SHOWN_S) == {"1.2.3": NONE}


def test_the_columns_stay_the_same_object_until_an_event_is_new() -> None:
    events = Events()
    events.note("box", TOLD, 0.0)
    first = swept(events, 1).series
    assert first[: len(COLUMNS)] == COLUMNS
    assert first[-1] == Series("box", "device.event", "1.2.3", "Memory", "trap")
    events.note("box", TOLD, 2.0)
    assert swept(events, 3).series is first
    assert swept(events, 100).series is first
    events.note("box", replace(TOLD, instance="1.2.4"), 101.0)
    assert len(swept(events, 102).series) == len(first) + 1
    other = columns("box", "leak")
    assert events.join(sweep(other, 103, "dry")).series[: len(other)] == other


def test_of_too_many_events_the_mildest_goes_and_of_these_the_oldest() -> None:
    events = Events()
    events.note("box", replace(TOLD, instance="worst"), 0.0)
    events.note("box", replace(TOLD, instance="bad", level=WARNING), 1.0)
    for number in range(MAX_EVENTS + 10):
        events.note("box", Reply(f"{number}", "", NOTICE), 2.0 + number)
    found = shown(events, 100.0)
    assert len(found) == MAX_EVENTS
    assert {"worst", "bad", f"{MAX_EVENTS + 9}"} <= found.keys()
    assert "0" not in found


def test_events_of_a_device_that_is_gone_are_forgotten() -> None:
    events = Events()
    events.note("box", TOLD, 0.0)
    events.keep({"box", "other"})
    assert shown(events, 1) != {}
    events.keep({"other"})
    assert shown(events, 2) == {}


# ---- the judge: what becomes of an event's verdict when its column goes ----


def judged(judge: Judge, one: Sweep) -> Judgement:
    return judge.sweep(one, Category.UPS)


def fresh(*changes: Judgement) -> Judge:
    """A judge as after a restart: with the states that were kept."""
    kept = {key: state for change in changes for key, state in change.states.items() if state}
    stored = {key: decode_state(encode_state(state)) for key, state in kept.items()}
    made = Judge(stored)
    made.activate(load_rules(shipped_rules()), [device()], 0.0)
    return made


def levels(change: Judgement) -> list[Level | str]:
    return [
        event.level if isinstance(event, Verdict) else type(event).__name__
        for event in change.events
        if isinstance(event, Verdict | Withdrawal) and event.rule == "device.event"
    ]


def standing(judge: Judge) -> list[tuple[Level, str]]:
    return [(one.level, one.instance) for one in judge.active_verdicts(200).verdicts if one.rule == "device.event"]


def test_after_a_restart_a_bad_event_is_unknown_and_never_withdrawn() -> None:
    events = Events()
    events.note("box", TOLD, 0.0)
    before = judged(fresh(), swept(events, 1))
    assert levels(before) == [Level.CRITICAL]
    again = fresh(before)
    assert levels(judged(again, swept(Events(), 30, answering="no"))) == [Level.UNKNOWN], "also where nothing answers"
    for number in range(10):
        assert levels(judged(again, swept(Events(), 60 + number))) == []
    assert standing(again) == [(Level.UNKNOWN, "1.2.3")]
    events = Events()
    events.note("box", TOLD, 200.0)
    assert levels(judged(again, swept(events, 201))) == [Level.CRITICAL], "told again, it is bad again"


def test_a_trap_that_ends_it_is_heard_after_a_restart_as_well() -> None:
    events = Events()
    events.note("box", TOLD, 0.0)
    again = fresh(judged(fresh(), swept(events, 1)))
    events = Events()
    events.note("box", replace(TOLD, level=NONE), 100.0)
    assert levels(judged(again, swept(events, 101))) == []
    assert levels(judged(again, swept(events, 170))) == [Level.OK]


def test_of_more_than_so_many_such_events_the_rest_is_withdrawn() -> None:
    judge = fresh()
    for number in range(MAX_EVENTS + 5):
        events = Events()
        events.note("box", Reply(f"{number}", "", CRITICAL), 0.0)
        judged(judge, swept(events, float(number)))
    for number in range(5):
        judged(judge, swept(Events(), 100.0 + number))
    assert len(standing(judge)) == MAX_EVENTS


def test_a_fault_that_is_no_event_is_withdrawn_as_ever() -> None:
    judge = fresh()
    leak = (Series("box", "device.answering"), Series("box", "leak", "1"))
    assert judge.sweep(sweep(leak, 0, "wet"), Category.ENV).events
    gone = [judge.sweep(sweep(leak[:1], at), Category.ENV).events for at in (1, 2, 3)]
    assert [type(event) for events in gone for event in events] == [Withdrawal]


# ---- the table ----


def test_the_shipped_table_is_sound() -> None:
    table = shipped()
    states = set(QUANTITIES["device.event"].states)
    assert {known.meaning.value for known in table.values()} <= states | {"poll"}
    for known in table.values():
        told = events_of(Trap(known.trap), table)
        assert all(one.label and one.level in states for one in told)
        assert bool(told) is (known.meaning is not Meaning.POLL)


def test_what_a_poll_shows_is_no_event() -> None:
    assert events_of(Trap(LINK_DOWN), shipped()) == []


def test_an_unknown_trap_is_a_notice_by_its_number() -> None:
    assert events_of(Trap("1.3.6.1.4.1.99999.0.1"), shipped()) == [
        Reply("1.3.6.1.4.1.99999.0.1", "1.3.6.1.4.1.99999.0.1", NOTICE)
    ]
    (told,) = events_of(Trap(".".join(["4294967295"] * 128)), shipped())
    assert len(told.instance) <= 200


def test_a_trap_ends_the_events_of_others() -> None:
    table = shipped()
    assert events_of(Trap(COLD_START), table) == [Reply(COLD_START, "Device started", NOTICE)]
    (bad,) = events_of(Trap(MEMORY), table)
    ended = events_of(Trap(MEMORY_OK), table)
    assert bad.level == CRITICAL
    assert replace(bad, level=NONE) in ended
    assert {one.level for one in ended} == {NONE}


def test_a_variable_tells_events_of_one_trap_apart() -> None:
    column = Oid("1.3.6.1.2.1.2.2.1.1")
    table = {
        "1.2.0.1": Known(Oid("1.2.0.1"), Meaning.WARNING, "Port", column),
        "1.2.0.2": Known(Oid("1.2.0.2"), Meaning.NONE, key=column, ends=(Oid("1.2.0.1"),)),
    }
    said = ((f"{column}1.9", 8), (f"{column}.3", b"eth\x1b3"))
    assert events_of(Trap("1.2.0.1", said), table) == [Reply("1.2.0.1 eth\ufffd3", "Port eth\ufffd3", WARNING)]
    assert events_of(Trap("1.2.0.2", said), table) == [Reply("1.2.0.1 eth\ufffd3", "Port eth\ufffd3", NONE)]
    assert events_of(Trap("1.2.0.1"), table) == [Reply("1.2.0.1", "Port", WARNING)]


@pytest.mark.parametrize(
    ("known", "field"),
    [
        (Known(Oid("1.2"), Meaning.NONE), "ends"),
        (Known(Oid("1.2"), Meaning.WARNING, "Title", ends=(Oid("1.3"),)), "ends"),
        (Known(Oid("1.2"), Meaning.WARNING), "title"),
        (Known(Oid("1.2"), Meaning.POLL, "Title"), "title"),
    ],
)
def test_a_line_of_the_table_that_contradicts_itself_is_found(known: Known, field: str) -> None:
    assert [where for where, _ in known.check()] == [field]
