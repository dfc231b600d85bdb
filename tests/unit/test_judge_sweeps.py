"""The judge: which changes become events, which states are kept, and which verdicts are withdrawn."""

import itertools
import json

from tests.agent_room import RULES, columns, device, sweep
from watchkeeper.model.batch import Document
from watchkeeper.model.device import Category
from watchkeeper.model.reading import Missing, Reason, Series, Sweep
from watchkeeper.model.verdict import Level, Verdict, Withdrawal
from watchkeeper.rules.evaluate import decode_state, encode_state
from watchkeeper.rules.judge import UNCHANGED, Judge, Judgement
from watchkeeper.rules.load import RuleSet, load_rules

COLUMNS = columns("box", "temperature.ambient", "temperature.supply")
GONE = Missing(Reason.TIMEOUT, "no answer")


def rules(text: str = RULES) -> RuleSet:
    return load_rules([Document("rules.yml", text)])


def judge(**states: object) -> Judge:
    numbers = itertools.count(1)
    made = Judge({}, lambda: f"id-{next(numbers)}")
    made.activate(rules(), [device()], 0.0)
    return made


def levels(change: Judgement) -> list[tuple[str, Level]]:
    return [(event.rule, event.level) for event in change.events if isinstance(event, Verdict)]


def seen(judge: Judge, at: float, ambient: object = 20.0, supply: object = 20.0, answering: str = "yes") -> Judgement:
    return judge.sweep(Sweep("box", at, COLUMNS, (answering, ambient, supply)), Category.ENV)  # type: ignore[arg-type]


def test_ok_from_the_start_gives_no_event_and_no_state() -> None:
    one = judge()
    change = seen(one, 0)
    assert (change.events, change.states) == ([], {})
    assert seen(one, 30) is UNCHANGED
    assert one.states() == {}


def test_a_change_of_level_is_one_event_with_its_state_beside_it() -> None:
    one = judge()
    seen(one, 0)
    change = seen(one, 30, ambient=31.0)
    assert levels(change) == [("heat", Level.CRITICAL)]
    assert change.states.keys() == {("box", "heat", "")}
    assert seen(one, 60, ambient=32.0) is UNCHANGED
    change = seen(one, 90, ambient=20.0)
    assert levels(change) == [("heat", Level.OK)]
    assert change.states == {("box", "heat", ""): None}


def test_a_bad_reading_is_an_event_only_after_its_for_but_its_state_is_kept() -> None:
    one = judge()
    seen(one, 0)
    change = seen(one, 30, supply=26.0)
    assert change.events == []
    assert change.states.keys() == {("box", "long-heat", "")}
    assert seen(one, 300, supply=26.0) is UNCHANGED
    (event,) = seen(one, 650, supply=26.0).events
    assert isinstance(event, Verdict)
    assert (event.level, event.since, event.evidence.first_at) == (Level.WARNING, 630, 30)


def test_the_wait_goes_on_after_a_restart() -> None:
    one = judge()
    kept = seen(one, 0, supply=26.0).states
    stored = {key: decode_state(json.loads(json.dumps(encode_state(state)))) for key, state in kept.items() if state}
    again = Judge(stored)
    again.activate(rules(), [device()], 400.0)
    assert seen(again, 500, supply=26.0).events == []
    assert levels(seen(again, 600, supply=26.0)) == [("long-heat", Level.WARNING)]


def test_an_active_verdict_keeps_its_id_over_a_restart() -> None:
    one = judge()
    change = seen(one, 0, ambient=31.0)
    again = Judge({key: state for key, state in change.states.items() if state})
    again.activate(rules(), [device()], 10.0)
    assert seen(again, 30, ambient=31.0).events == []
    assert [verdict.id for verdict in again.active_verdicts(40).verdicts] == [one.active_verdicts(40).verdicts[0].id]


def test_a_dead_device_is_one_verdict_and_each_of_its_rules_becomes_unknown_once() -> None:
    one = judge()
    seen(one, 0)
    told = [levels(seen(one, at, GONE, GONE, answering="no")) for at in range(30, 600, 30)]
    assert sorted(itertools.chain.from_iterable(told)) == [
        ("heat", Level.UNKNOWN), ("long-heat", Level.UNKNOWN), ("silent", Level.CRITICAL),
    ]  # fmt: skip


def test_columns_missing_after_a_restart_of_a_dead_device_withdraw_nothing() -> None:
    one = judge()
    kept = seen(one, 0, ambient=31.0).states
    again = Judge({key: state for key, state in kept.items() if state})
    again.activate(rules(), [device()], 10.0)
    bare = columns("box")
    for at in range(30, 600, 30):
        change = again.sweep(sweep(bare, at, answering="no"), Category.ENV)
        assert not any(isinstance(event, Withdrawal) for event in change.events)
    assert levels(seen(again, 600)) == [("silent", Level.OK), ("heat", Level.OK)]


def test_an_instance_that_is_gone_for_three_answered_sweeps_is_withdrawn() -> None:
    one = judge()
    seen(one, -30)
    seen(one, 0, ambient=31.0, supply=26.0)
    bare = columns("box")
    told = [one.sweep(sweep(bare, at), Category.ENV) for at in (30, 60, 90, 120)]
    assert [len(change.events) for change in told] == [0, 0, 1, 0], "a state that only waited goes without an event"
    (event,) = told[2].events
    assert isinstance(event, Withdrawal)
    assert event.key == ("box", "heat", "")
    assert told[2].states == {("box", "heat", ""): None, ("box", "long-heat", ""): None}
    assert one.active_verdicts(130).verdicts == ()


def test_it_is_withdrawn_even_if_the_other_columns_change_every_time() -> None:
    one = judge()
    seen(one, 0, ambient=31.0)
    told = [one.sweep(sweep(columns("box", f"fan.{at}"), at, 1.0), Category.ENV) for at in (30, 60, 90)]
    assert [len(change.events) for change in told] == [0, 0, 1]


def test_an_instance_seen_again_in_between_is_not_withdrawn() -> None:
    one = judge()
    seen(one, 0, ambient=31.0)
    bare = columns("box")
    for at in range(30, 300, 90):
        one.sweep(sweep(bare, at), Category.ENV)
        one.sweep(sweep(columns("box"), at + 30), Category.ENV)
        assert seen(one, at + 60, ambient=31.0).events == []


def test_a_rule_that_is_gone_withdraws_its_verdicts_at_once() -> None:
    one = judge()
    seen(one, 0, ambient=31.0)
    change = one.activate(rules("rules: []"), [device()], 50.0)
    (event,) = change.events
    assert isinstance(event, Withdrawal)
    assert (event.key, event.at, event.reason) == (("box", "heat", ""), 50.0, "the rule is gone")
    assert change.states[("box", "heat", "")] is None


def test_a_device_that_no_longer_belongs_to_this_agent_gives_no_event() -> None:
    one = judge()
    seen(one, 0, ambient=31.0)
    change = one.activate(rules(), [], 50.0)
    assert change.events == []
    assert set(change.states.values()) == {None}
    assert one.active_verdicts(60).verdicts == ()


def test_a_bundle_that_changes_nothing_for_a_rule_keeps_its_state() -> None:
    one = judge()
    seen(one, 0, ambient=31.0, supply=26.0)
    change = one.activate(rules(), [device(), device("other")], 300.0)
    assert (change.events, change.states) == ([], {})
    assert levels(seen(one, 600, ambient=31.0, supply=26.0)) == [("long-heat", Level.WARNING)]


def test_other_limits_of_the_same_rule_end_or_keep_its_verdict() -> None:
    one = judge()
    seen(one, 0, ambient=31.0)
    one.activate(rules(RULES.replace("above: 30 °C", "above: 35 °C")), [device()], 50.0)
    assert levels(seen(one, 60, ambient=31.0)) == [("heat", Level.OK)]


def test_a_device_that_reports_one_column_twice_is_judged_once() -> None:
    one = judge()
    twice = columns("box", "temperature.ambient", "temperature.ambient")
    change = one.sweep(sweep(twice, 0, 31.0, 20.0), Category.ENV)
    assert levels(change) == [("heat", Level.CRITICAL)]


def test_active_verdicts_are_all_that_are_not_ok() -> None:
    one = judge()
    seen(one, 0)
    assert one.active_verdicts(5).verdicts == ()
    seen(one, 30, ambient=31.0, supply=GONE)
    found = one.active_verdicts(40)
    assert found.at == 40
    assert [(verdict.rule, verdict.level) for verdict in found.verdicts] == [
        ("heat", Level.CRITICAL), ("long-heat", Level.UNKNOWN),
    ]  # fmt: skip


def test_silence_is_judged_once_its_verdict_is_critical() -> None:
    one = judge()
    seen(one, 0)
    assert one.silence_judged("box")
    seen(one, 30, GONE, GONE, answering="no")
    assert not one.silence_judged("box"), "one more probe may still be needed within the rule's `for`"
    seen(one, 90, GONE, GONE, answering="no")
    assert one.silence_judged("box")


def test_the_set_is_complete_when_every_device_was_seen() -> None:
    one = judge()
    one.activate(rules(), [device(), device("other")], 0.0)
    seen(one, 0)
    assert not one.complete()
    one.sweep(sweep(columns("other"), 0), Category.ENV)
    assert one.complete()


def test_a_fault_from_before_all_states_were_lost_is_not_taken_for_ok() -> None:
    one = judge()
    seen(one, 0, supply=26.0)
    assert [(verdict.rule, verdict.level) for verdict in one.active_verdicts(1).verdicts] == [
        ("long-heat", Level.UNKNOWN)
    ]


def test_an_instance_of_a_series_is_part_of_what_is_judged() -> None:
    one = judge()
    many = (
        Series("box", "device.answering"),
        *(Series("box", "temperature.ambient", str(n), f"rack {n}") for n in range(3)),
    )
    change = one.sweep(sweep(many, 0, 31.0, 20.0, 33.0), Category.ENV)
    assert [(event.instance, event.evidence.label) for event in change.events if isinstance(event, Verdict)] == [
        ("0", "rack 0"), ("2", "rack 2"),
    ]  # fmt: skip


def test_a_silent_device_or_a_service_that_is_down_has_a_reason() -> None:
    """The reason is the probe's, for a value of the same sweep that it could not read."""
    one = judge()
    seen(one, 0, GONE, GONE, answering="no")
    change = seen(one, 60, GONE, GONE, answering="no")
    (silent,) = (event for event in change.events if isinstance(event, Verdict) and event.level.bad)
    assert (silent.evidence.quantity, silent.evidence.says) == ("device.answering", "no answer")
    assert seen(one, 90, GONE, GONE, answering="no") is UNCHANGED
    again = Judge(
        {key: decode_state(json.loads(json.dumps(encode_state(state)))) for key, state in one.states().items()}
    )
    assert (
        next(verdict for verdict in again.active_verdicts(60).verdicts if verdict.level.bad).evidence.says
        == "no answer"
    )


def test_a_number_that_is_too_high_needs_no_reason() -> None:
    one = judge()
    (hot,) = (
        event
        for event in seen(one, 0, ambient=31.0, supply=GONE).events
        if isinstance(event, Verdict) and event.level.bad
    )
    assert hot.evidence.says == ""
