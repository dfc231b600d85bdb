"""The judge beside its everyday work: events that outlast their column, rules for a category, reasons, and a judge that
has no rules yet."""

import itertools
import re

import pytest

from tests.agent_room import RULES, columns, device, sweep
from watchkeeper.model.batch import Document
from watchkeeper.model.device import Category
from watchkeeper.model.event import EVENT_OVER, MAX_EVENTS
from watchkeeper.model.reading import Missing, Reason, Series
from watchkeeper.model.verdict import Evidence, Key, Level, Verdict, Withdrawal
from watchkeeper.rules.evaluate import RuleState
from watchkeeper.rules.judge import UNCHANGED, Judge, Judgement
from watchkeeper.rules.load import RuleSet, load_rules

EVENTS = """
rules:
  - rule: told
    clause: "4.2"
    title: Reported
    advice: Read its log
    quantity: device.event
    warning: {is: warning}
    critical: {is: critical}
    clear: {for: 1 min}
"""
ENV_ONLY = """
rules:
  - rule: heat
    clause: "3.6"
    title: Heat
    advice: Cool it
    quantity: temperature.ambient
    applies: {categories: env}
    critical: {above: 30 °C}
"""
GONE = Missing(Reason.TIMEOUT, "no answer")
BARE, AMBIENT = columns("box"), columns("box", "temperature.ambient")


def rules(text: str) -> RuleSet:
    return load_rules([Document("rules.yml", text)])


def judge(text: str, states: dict[Key, RuleState] | None = None) -> Judge:
    numbers = itertools.count(1)
    made = Judge(states or {}, lambda: f"id-{next(numbers)}")
    made.activate(rules(text), [device(), device("other")], 0.0)
    return made


def verdicts(change: Judgement) -> list[Verdict]:
    return [event for event in change.events if isinstance(event, Verdict)]


def event(instance: str, name: str = "box") -> dict[Key, RuleState]:
    """An event that the agent knew as critical before it was started again."""
    evidence = Evidence("device.event", "critical", "is critical", f"label {instance}", "critical", 1.0)
    return {(name, "told", instance): RuleState(Level.CRITICAL, 1.0, f"old-{instance}", evidence)}


# ---- events ----


def test_an_event_stays_open_when_its_column_does_not_come_back() -> None:
    """No poll can tell whether its cause is gone: a person must close it. It is said once, and never withdrawn."""
    one = judge(EVENTS, event("fan"))
    change = one.sweep(sweep(BARE, 100.0), Category.ENV)
    (told,) = verdicts(change)
    assert told == Verdict(
        "id-1", "box", "told", "fan", Level.UNKNOWN, 100.0, Evidence("device.event", EVENT_OVER, "", "label fan")
    )
    assert change.states == {told.key: one.states()[told.key]}
    quiet = [one.sweep(sweep(columns("box", f"fan.{at}"), at, 1.0), Category.ENV) for at in range(130, 430, 30)]
    assert [one.events for one in quiet] == [[]] * 10
    assert [verdict.instance for verdict in one.active_verdicts(500.0).verdicts] == ["fan"]


def test_of_too_many_events_only_the_surplus_is_withdrawn() -> None:
    """Another device's events, and this device's other faults, take no room."""
    kept: dict[Key, RuleState] = {}
    for number in range(MAX_EVENTS + 1):
        kept |= event(f"{number:02}") | event(f"{number:02}", "other")
    one = judge(EVENTS, kept)
    told = [one.sweep(sweep(BARE, at), Category.ENV).events for at in (30.0, 60.0, 90.0, 120.0)]
    assert [len(events) for events in told[:2]] == [0, 0], "three answered sweeps must agree"
    withdrawn = [event for event in told[2] if isinstance(event, Withdrawal)]
    assert [event.key for event in withdrawn] == [("box", "told", "00")]
    assert len(told[2]) - 1 == MAX_EVENTS, "each of the others says that it is over"
    assert told[3] == []


def test_an_answer_without_any_value_ends_nothing() -> None:
    """A probe that still learns what a slow device is gives such sweeps after a restart of the agent."""
    kept = {("box", "heat", ""): RuleState(Level.CRITICAL, 1.0, "h", Evidence("temperature.ambient", 31.0))}
    one = judge(RULES, kept)
    bare = columns("box", "uptime")
    learning = [one.sweep(sweep(bare, at, GONE), Category.ENV) for at in range(30, 330, 30)]
    assert learning == [UNCHANGED] * 10 or all(not told.events for told in learning)
    told = [one.sweep(sweep(bare, at, 9000.0), Category.ENV).events for at in (330, 360, 390)]
    assert [len(events) for events in told] == [0, 0, 1]
    assert isinstance(told[2][0], Withdrawal)


def test_exactly_as_many_events_as_are_kept_are_kept() -> None:
    kept: dict[Key, RuleState] = {}
    for number in range(MAX_EVENTS):
        kept |= event(f"{number:02}")
    kept |= {("box", "heat", ""): RuleState(Level.CRITICAL, 1.0, "h", Evidence("temperature.ambient", 31.0))}
    one = judge(EVENTS + RULES.replace("rules:\n", ""), kept)
    told = one.sweep(sweep(BARE, 30.0), Category.ENV)
    assert len(verdicts(told)) == MAX_EVENTS


def test_an_event_that_was_over_and_calm_is_forgotten_with_its_column() -> None:
    calm = RuleState(Level.OK, 1.0, "old", Evidence("device.event", "none"))
    one = judge(EVENTS, {("box", "told", "fan"): calm})
    told = [one.sweep(sweep(BARE, at), Category.ENV) for at in (30.0, 60.0, 90.0)]
    assert [change.events for change in told] == [[], [], []]
    assert told[2].states == {("box", "told", "fan"): None}
    assert one.sweep(sweep(BARE, 120.0), Category.ENV) is UNCHANGED


# ---- withdrawals ----


def test_a_withdrawal_has_an_id_a_time_and_a_reason_for_a_person() -> None:
    one = judge(RULES)
    (hot,) = verdicts(one.sweep(sweep(AMBIENT, 0.0, 31.0), Category.ENV))
    told = [one.sweep(sweep(BARE, at), Category.ENV).events for at in (30.0, 60.0, 90.0)]
    (gone,) = told[2]
    assert isinstance(gone, Withdrawal)
    assert re.fullmatch(r"id-\d", gone.id)
    assert gone.id != hot.id
    assert (gone.key, gone.at) == (("box", "heat", ""), 90.0)
    assert re.fullmatch(r"[Tt]he device .*", gone.reason)


# ---- which rule sees what ----


def test_a_rule_for_a_category_judges_only_devices_of_it() -> None:
    assert judge(ENV_ONLY).sweep(sweep(AMBIENT, 0.0, 31.0), Category.UPS) is UNCHANGED
    (hot,) = verdicts(judge(ENV_ONLY).sweep(sweep(AMBIENT, 0.0, 31.0), Category.ENV))
    assert hot == Verdict(
        "id-1", "box", "heat", "", Level.CRITICAL, 0.0,
        Evidence("temperature.ambient", 31.0, "above 30 °C", "", 31.0, 0.0),
    )  # fmt: skip


def test_which_rule_looks_at_which_column_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sweep of a device that stays the same costs only the comparisons."""
    asked: list[Series] = []
    find = RuleSet.of

    def counted(self: RuleSet, series: Series, category: Category) -> tuple[object, ...]:
        asked.append(series)
        return find(self, series, category)

    one = judge(RULES)
    monkeypatch.setattr(RuleSet, "of", counted)
    for at in range(0, 300, 30):
        one.sweep(sweep(AMBIENT, at, 20.0), Category.ENV)
    part = Series("box", "sensor.absent", "temperature.ambient", "temperature.ambient")
    assert asked == [part, *AMBIENT], "also which rule would judge its absence"


def test_an_agent_without_rules_yet_judges_nothing_and_withdraws_nothing() -> None:
    one = Judge(event("fan"))
    assert one.complete()
    for at in (0.0, 30.0, 60.0, 90.0):
        change = one.sweep(sweep(AMBIENT, at, 31.0), Category.ENV)
        assert (change.events, change.states) == ([], {})
    assert [verdict.id for verdict in one.active_verdicts(100.0).verdicts] == ["old-fan"]


# ---- reasons, and what is settled ----


@pytest.mark.parametrize(("detail", "says"), [("x" * 200, "x" * 200), ("x" * 201, "x" * 200), ("", "")])
def test_a_long_reason_is_cut_and_none_is_made_up(detail: str, says: str) -> None:
    """A page must fit a text message."""
    one = judge(RULES)
    for at in (0.0, 60.0):
        change = one.sweep(sweep(AMBIENT, at, Missing(Reason.TIMEOUT, detail), answering="no"), Category.ENV)
    (silent,) = (verdict for verdict in verdicts(change) if verdict.level.bad)
    assert (silent.rule, silent.evidence.says) == ("silent", says)


def test_a_device_is_settled_although_another_of_its_readings_waits_for_its_time() -> None:
    one = judge(RULES)
    assert not one.silence_judged("box"), "it was not swept yet"
    one.sweep(sweep(columns("box", "temperature.supply"), 0.0, 20.0), Category.ENV)
    one.sweep(sweep(columns("box", "temperature.supply"), 30.0, 26.0), Category.ENV)
    assert one.silence_judged("box")


def test_what_was_always_good_shares_one_state_and_what_becomes_bad_has_its_own() -> None:
    rules = (
        "rules:\n  - {rule: a.rule, clause: 3.6, title: T, advice: A, quantity: cpu.usage, critical: {above: 85 %}}\n"
    )
    numbers = itertools.count(1)
    one = Judge({}, lambda: f"id-{next(numbers)}")
    one.activate(load_rules([Document("rules.yml", rules)]), [device("a"), device("b"), device("c")], 0.0)
    for at, name in enumerate("abc"):
        assert one.sweep(sweep(columns(name, "cpu.usage"), float(at), 50.0), Category.SERVER) == UNCHANGED
    kept = list(one._states.values())
    assert all(state is kept[0] for state in kept)
    told = [one.sweep(sweep(columns(name, "cpu.usage"), 10.0, 99.0), Category.SERVER).events for name in "ab"]
    ids = [event.id for events in told for event in events]
    assert len(ids) == len({*ids}) == 2
    bad = one.active_verdicts(11.0).verdicts
    assert [(verdict.device, verdict.level, verdict.since) for verdict in bad] == [
        ("a", Level.CRITICAL, 10.0), ("b", Level.CRITICAL, 10.0),
    ]  # fmt: skip
    over = one.sweep(sweep(columns("a", "cpu.usage"), 20.0, 50.0), Category.SERVER).events
    assert [(event.device, event.level) for event in over if isinstance(event, Verdict)] == [("a", Level.OK)]
    assert [verdict.device for verdict in one.active_verdicts(21.0).verdicts] == ["b"]
