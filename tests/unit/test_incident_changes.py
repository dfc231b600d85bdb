"""What verdicts and persons make of an incident, to the last field: pages, history and replay all read it."""

from dataclasses import replace

import pytest

from watchkeeper.collector.policy.freshness import silent, stale
from watchkeeper.collector.policy.incidents import (
    Incident,
    IncidentChange,
    IncidentState,
    Transition,
    TransitionKind,
    judge,
    reconcile,
    resolve,
    resolve_by_hand,
    said,
    withdraw,
)
from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import ActiveVerdicts, Evidence, Level, Verdict

OK, WARNING, CRITICAL, UNKNOWN = Level.OK, Level.WARNING, Level.CRITICAL, Level.UNKNOWN
HOT = Evidence("temperature.ambient", 31.0, "above 30 °C", "aisle 1", 30.5, 90.0)
MILD = Evidence("temperature.ambient", 26.0, "above 25 °C", "aisle 1", 25.5, 190.0)
GONE = Evidence("temperature.ambient", "unknown")


def verdict(name: str, level: Level, since: float, evidence: Evidence = HOT) -> Verdict:
    return Verdict(name, "sensor-1", "room.heat", "aisle-1", level, since, evidence)


BAD = verdict("v1", CRITICAL, 100.0)
OPEN = Incident("sensor-1", "room.heat", "aisle-1", "room-1", CRITICAL, CRITICAL, "v1", 100.0, HOT, incident=7)
WARM = replace(OPEN, level=WARNING, verdict=WARNING, evidence=MILD)
ENDED = replace(OPEN, state=IncidentState.RESOLVED, verdict=OK, ended_at=150.0, recurrence=2)


def step(
    kind: TransitionKind, at: float, level: Level = CRITICAL, by: str = "agent:room-1", note: str = ""
) -> Transition:
    return Transition(kind, at, by, level, note)


# ---- verdicts ----


def test_a_bad_verdict_opens_an_incident_with_all_that_it_says() -> None:
    expected = replace(OPEN, incident=0)
    assert judge(None, BAD, "room-1", "late") == IncidentChange(
        expected, (step(TransitionKind.OPENED, 100.0, note="late"),)
    )


def test_a_fault_that_comes_back_soon_is_the_same_incident_in_its_next_recurrence() -> None:
    again = verdict("v2", WARNING, 700.0, MILD)
    expected = replace(WARM, verdict_id="v2", began_at=700.0, recurrence=3)
    assert judge(ENDED, again, "room-1", "n") == IncidentChange(
        expected, (step(TransitionKind.REOPENED, 700.0, WARNING, note="n"),)
    )


@pytest.mark.parametrize(
    "before",
    [replace(ENDED, ended_at=100.0), replace(ENDED, state=IncidentState.WITHDRAWN), replace(ENDED, ended_at=None)],
)
def test_a_fault_that_comes_back_late_or_after_a_withdrawal_is_a_new_incident(before: Incident) -> None:
    change = judge(before, verdict("v2", WARNING, 700.0, MILD), "room-1")
    assert change
    assert (change.incident.incident, change.incident.recurrence) == (0, 1)
    assert [one.kind for one in change.transitions] == [TransitionKind.OPENED]


def test_a_fault_that_can_no_longer_be_seen_keeps_its_level_and_its_evidence() -> None:
    """A page or a list must go on to say what is wrong, not that a reading is missing."""
    lost = judge(OPEN, verdict("v2", UNKNOWN, 200.0, GONE), "room-1", "n")
    expected = replace(OPEN, verdict=UNKNOWN, verdict_id="v2")
    assert lost == IncidentChange(expected, (step(TransitionKind.UNSEEN, 200.0, note="n"),))


def test_that_it_cannot_be_seen_is_said_once() -> None:
    blind = replace(OPEN, verdict=UNKNOWN, verdict_id="v2")
    assert judge(blind, verdict("v3", UNKNOWN, 300.0, GONE), "room-1") == IncidentChange(
        replace(blind, verdict_id="v3")
    )


def test_a_fault_that_is_seen_again_at_its_level_says_nothing_new() -> None:
    blind = replace(OPEN, verdict=UNKNOWN, verdict_id="v2")
    assert judge(blind, verdict("v3", CRITICAL, 300.0, HOT), "room-2") == IncidentChange(
        replace(OPEN, verdict_id="v3", agent="room-2")
    )


def test_a_fault_that_gets_worse_or_better_keeps_its_beginning() -> None:
    assert judge(WARM, verdict("v2", CRITICAL, 200.0), "room-1", "n") == IncidentChange(
        replace(OPEN, verdict_id="v2"), (step(TransitionKind.RISEN, 200.0, CRITICAL, note="n"),)
    )
    assert judge(OPEN, verdict("v2", WARNING, 200.0, MILD), "room-2", "n") == IncidentChange(
        replace(WARM, verdict_id="v2", agent="room-2"),
        (step(TransitionKind.EASED, 200.0, WARNING, "agent:room-2", "n"),),
    )


def test_a_good_verdict_ends_the_incident() -> None:
    expected = replace(OPEN, state=IncidentState.RESOLVED, verdict=OK, verdict_id="v2", ended_at=200.0)
    assert judge(OPEN, verdict("v2", OK, 200.0), "room-1", "n") == IncidentChange(
        expected, (step(TransitionKind.RESOLVED, 200.0, note="n"),)
    )


def test_an_end_without_a_verdict_keeps_the_last_one() -> None:
    change = resolve(OPEN, 50.0, "collector")
    assert change.incident == replace(OPEN, state=IncidentState.RESOLVED, verdict=OK, ended_at=100.0)
    assert change.transitions == (step(TransitionKind.RESOLVED, 100.0, by="collector"),)


@pytest.mark.parametrize(("at", "ended_at"), [(200.0, 200.0), (50.0, 100.0)])
def test_a_withdrawal_ends_the_incident_and_never_before_it_began(at: float, ended_at: float) -> None:
    change = withdraw(OPEN, at, "agent:room-1", "the rule is gone")
    assert change.incident == replace(OPEN, state=IncidentState.WITHDRAWN, ended_at=ended_at)
    assert change.transitions == (step(TransitionKind.WITHDRAWN, at, note="the rule is gone"),)


# ---- an agent's whole set ----


def test_a_set_of_verdicts_tells_what_was_missed_and_what_is_gone() -> None:
    def of(rule: str, level: Level) -> Verdict:
        return replace(BAD, id=f"new-{rule}", rule=rule, level=level)

    def known(rule: str, **change: object) -> Incident:
        return replace(OPEN, rule=rule, **change)  # type: ignore[arg-type]

    told = ActiveVerdicts(
        500.0, (of("same", CRITICAL), of("milder", WARNING), of("blind", UNKNOWN), of("new", WARNING), of("never", UNKNOWN),
                of("reopened", CRITICAL), of("moved", CRITICAL)),
    )  # fmt: skip
    incidents = [
        known("same"), known("milder"), known("blind"), known("gone"), known("elsewhere", agent="room-2"),
        known("moved", agent="room-2"), known("reopened", state=IncidentState.RESOLVED, ended_at=300.0),
        known("over", state=IncidentState.RESOLVED, ended_at=300.0),
    ]  # fmt: skip
    missed, gone = reconcile(told, incidents, "room-1")
    assert [verdict.rule for verdict in missed] == ["milder", "blind", "new", "reopened", "moved"]
    assert [incident.rule for incident in gone] == ["gone"]


# ---- persons ----


def test_what_a_person_says_changes_no_incident() -> None:
    assert said(OPEN, TransitionKind.ACKNOWLEDGED, "olga", 200.0, "on my way") == IncidentChange(
        OPEN, (step(TransitionKind.ACKNOWLEDGED, 200.0, by="person:olga", note="on my way"),)
    )


@pytest.mark.parametrize("seen", [UNKNOWN, OK])
def test_an_incident_that_no_verdict_can_end_is_resolved_by_hand(seen: Level) -> None:
    change = resolve_by_hand(replace(OPEN, verdict=seen), "olga", 200.0, "replaced")
    assert change.incident == replace(OPEN, state=IncidentState.RESOLVED, verdict=OK, ended_at=200.0)
    assert change.transitions == (step(TransitionKind.RESOLVED, 200.0, by="person:olga", note="replaced"),)


@pytest.mark.parametrize("level", [WARNING, CRITICAL])
def test_an_incident_whose_fault_is_seen_is_not_resolved_by_hand(level: Level) -> None:
    with pytest.raises(Conflict, match=rf"^incident 7 .*{level}"):
        resolve_by_hand(replace(OPEN, verdict=level), "olga", 200.0)


def test_where_nobody_adds_a_note_there_is_none() -> None:
    changes = (
        judge(None, BAD, "room-1"),
        said(OPEN, TransitionKind.ACKNOWLEDGED, "olga", 200.0),
        resolve_by_hand(replace(OPEN, verdict=UNKNOWN), "olga", 200.0),
    )
    assert [change.transitions[0].note for change in changes if change] == ["", "", ""]


# ---- freshness ----


def test_an_agent_is_silent_and_a_frame_stale_after_three_intervals_and_not_at_them() -> None:
    assert [silent(unheard_s, 15.0) for unheard_s in (44.0, 45.0, 45.1)] == [False, False, True]
    assert [stale(age_s, 30.0) for age_s in (89.0, 90.0, 90.1)] == [False, False, True]
