"""How a verdict changes an incident, in the cases that the story tests do not cover."""

from dataclasses import replace

import pytest

from watchkeeper.collector.policy.incidents import (
    Incident,
    IncidentChange,
    IncidentState,
    TransitionKind,
    judge,
    reconcile,
)
from watchkeeper.collector.policy.ladder import ScheduledRung, schedule_rungs, upcoming
from watchkeeper.collector.site.inventory import Ladder, Rung
from watchkeeper.model.verdict import ActiveVerdicts, Evidence, Level, Verdict

BAD = Verdict("v1", "ups-1", "power.on-battery", "", Level.CRITICAL, 100.0, Evidence("output.source", "battery"))


def opened(**change: object) -> Incident:
    change_ = judge(None, BAD, "room-1")
    assert change_
    return replace(change_.incident, incident=7, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [Level.OK, Level.UNKNOWN])
@pytest.mark.parametrize("known", [None, opened(state=IncidentState.RESOLVED, ended_at=150.0)])
def test_a_level_that_is_not_bad_opens_nothing(known: Incident | None, level: Level) -> None:
    assert judge(known, replace(BAD, id="v2", level=level), "room-1") is None


def test_the_same_verdict_again_changes_nothing() -> None:
    assert judge(opened(), BAD, "room-1") is None
    assert reconcile(ActiveVerdicts(200.0, (BAD,)), [opened()], "room-1") == ([], [])


def test_a_new_verdict_of_the_same_level_keeps_the_evidence_and_makes_no_transition() -> None:
    again = replace(BAD, id="v2", evidence=Evidence("output.source", "booster"))
    change = judge(opened(), again, "room-1")
    assert change == IncidentChange(replace(opened(), verdict_id="v2", evidence=again.evidence))


def test_an_end_before_the_beginning_is_set_to_the_beginning() -> None:
    change = judge(opened(), replace(BAD, id="v2", level=Level.OK, since=50.0), "room-1")
    assert change
    assert change.incident.ended_at == 100.0
    assert [step.kind for step in change.transitions] == [TransitionKind.RESOLVED]


@pytest.mark.parametrize(("at", "number", "round_"), [(749.9, 7, 2), (750.0, 0, 1)])
def test_a_fault_that_is_back_within_ten_minutes_is_the_same_incident(at: float, number: int, round_: int) -> None:
    ended = opened(state=IncidentState.RESOLVED, ended_at=150.0, trouble=5)
    change = judge(ended, replace(BAD, id="v2", since=at), "room-1")
    assert change
    assert (change.incident.incident, change.incident.recurrence, change.incident.began_at) == (number, round_, at)
    assert change.incident.ended_at is None
    assert change.incident.trouble == (5 if round_ == 2 else 0), "a fault that is back belongs to the same trouble"


def test_a_withdrawn_incident_is_not_reopened() -> None:
    change = judge(opened(state=IncidentState.WITHDRAWN, ended_at=150.0), replace(BAD, id="v2", since=160.0), "room-1")
    assert change
    assert change.incident.incident == 0


def test_a_worse_ladder_repeats_and_delays_no_rung_and_drops_rungs_only_in_the_old_one() -> None:
    def rung(name: str, after_s: float) -> Rung:
        return Rung(name, after_s, ("duty",))

    soft = Ladder("soft", (rung("duty", 0), rung("mail", 60), rung("owner", 600)), ("head",))
    hard = Ladder("hard", (rung("duty", 0), rung("owner", 300), rung("head", 900)), ("head",))
    held = [replace(step, decided_at=0.0) if step.rung == "duty" else step for step in schedule_rungs(soft, 0.0)]
    steps = schedule_rungs(hard, 500.0, held)
    assert [(step.rung, step.due_at, step.ladder) for step in steps] == [
        ("duty", 0.0, "soft"), ("owner", 600.0, "hard"), ("head", 1400.0, "hard"),
    ]  # fmt: skip
    assert upcoming(steps) == ScheduledRung("owner", 1, "hard", 600.0)
