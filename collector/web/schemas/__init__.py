"""The models of the API's requests and responses, and how they are made. Times are UTC seconds, ages and durations seconds."""

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from watchkeeper.collector.policy.incidents import Incident, Transition
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.roster import DutyShift
from watchkeeper.collector.read.agents import AgentStatus
from watchkeeper.collector.read.history import Point
from watchkeeper.collector.read.incidents import IncidentDetail, NoticeStatus
from watchkeeper.collector.site.inventory import Language, Person
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.web.formatting import Formatter
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Value
from watchkeeper.model.verdict import Companion

MAX_INCIDENT_NUMBER = 2**53
"""JSON carries integers up to this one exactly, and both databases can compare with it."""

IncidentNumber = Annotated[int, Path(ge=1, le=MAX_INCIDENT_NUMBER)]
"""The number of an incident in a path."""

NOTE_LIMIT = 1000
"""Characters of a person's note."""

NO_NUL = r"^[^\x00]*$"
"""Text that both databases can store."""


class Schema(BaseModel):
    """Base of all models here. An unknown field is an error: a request is refused (422), and a response cannot lose a field
    that was not declared."""

    model_config = ConfigDict(extra="forbid")


class Error(Schema):
    """What is wrong and what to do, in one sentence."""

    error: str


_ERRORS = {
    401: "Authentication required: there is no valid token or session.",
    403: "Forbidden: the CSRF token of the session is missing or wrong, or the form was sent by another site.",
    404: "Not found.",
    409: "Conflict with the state of the trouble; `error` says which.",
    422: "Unprocessable content: the request does not fit this description.",
    503: "Service unavailable: the database cannot be used now.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an endpoint may answer besides its result: these statuses, and those of every endpoint."""
    return {status: {"model": Error, "description": _ERRORS[status]} for status in (*statuses, 422, 503)}


class NoteIn(Schema):
    """A person's note for the timeline."""

    note: str = Field("", max_length=NOTE_LIMIT, pattern=NO_NUL)


class HoldOut(Schema):
    """Why no escalation level is decided now. `until` is null where it does not end by itself."""

    reason: Literal["ended", "quiet", "acknowledged", "backlog", "parent", "awaited"]
    until: float | None


class RungOut(Schema):
    """One rung (escalation level): when it is due; when and by whom (`clock`: automatic, `person:NAME`) it was decided; the
    people it will notify."""

    rung: str
    due_at: float
    decided_at: float | None
    decided_by: str | None
    people: list[str]


class TryOut(Schema):
    """One attempt to deliver a notification, and what its channel answered. `proof` is what is known of a delivered one:
    handed-over (to the next program), accepted (by the service), delivered (to the device) or read; empty if not known."""

    at: float
    channel: str
    delivered: bool
    detail: str
    proof: str


class NoticeOut(Schema):
    """A notification of one person. `handed_on`: another person is notified instead."""

    person: str
    kind: str
    rung: str
    recurrence: int
    at: float
    state: Literal["pending", "delivered", "given-up"]
    handed_on: bool
    tries: list[TryOut]
    left_out: int = Field(description="how many failed attempts after the first are no longer kept")


class CompanionOut(Schema):
    """A reading that a condition of the rule looks at. `holds`: by it the limit counts; otherwise it does not count any more."""

    quantity: str
    label: str
    value: float | str | None
    holds: bool


class IncidentOut(Schema):
    """A fault. `recurrence` is 1, and one more each time the fault comes back; `began_at` is when the present recurrence began.
    `trouble` is the trouble that it is part of, `joined` why, and `explained_by` the incident that explains it (0: none)."""

    incident: int
    trouble: int
    joined: Literal["first", "explained", "device", "place"]
    explained_by: int
    recurrence: int
    device: str
    rule: str
    instance: str
    title: str
    clause: str
    state: str
    level: str
    verdict: str
    began_at: float
    ended_at: float | None
    unresolved_s: float = Field(description="how long it has been, or was, unresolved")
    quantity: str
    value: float | str | None
    expects: str
    says: str = Field(description="the probe's reason, such as why a device is unreachable; empty without one")
    companions: list[CompanionOut]


class TransitionOut(Schema):
    """One transition. `at` is when it happened, `recorded_at` when the collector received it."""

    kind: str
    at: float
    recorded_at: float
    by: str
    level: str
    note: str


class IncidentDetailOut(IncidentOut):
    """An incident with what happened to it, over all its recurrences. What happened before `earlier` is on the next page: pass it
    as `before`; null: nothing."""

    timeline: list[TransitionOut]
    earlier: float | None


class IncidentsOut(Schema):
    """A page of incidents. Pass `cursor` to get the next one; null after the last."""

    incidents: list[IncidentOut]
    cursor: int | None


class PointOut(Schema):
    """One value in the past; null if it was missing."""

    at: float
    value: float | str | None
    missing: str | None = None


class HistoryOut(Schema):
    """The past of one series, oldest first."""

    quantity: str
    instance: str
    unit: str
    points: list[PointOut]


class LaneOut(Schema):
    """Counts of a lane's items: `gaps` are missing, `dropped` were dropped by the agent because its spool was full."""

    lane: str
    seq: int
    items: int
    gaps: int
    dropped: int


class AgentOut(Schema):
    """An agent. `heard_at` is null if no data ever came; `skew_s` is its wall clock minus the collector's."""

    agent: str
    heard_at: float | None
    age_s: float
    silent: bool
    skew_s: float
    bundle: str
    bundle_current: bool
    lanes: list[LaneOut]
    set_aside: int = Field(description="pushes that could not be applied and are set aside")
    fault: str = Field(description="why the newest of them could not be applied; empty without one")


class ShiftOut(Schema):
    """Who has a shift, and when it begins."""

    shift: str
    person: str
    name: str
    phone: str
    begins_at: float


class DutyOut(Schema):
    """The present shift and the next one."""

    now: ShiftOut
    next: ShiftOut


# ---- how they are made ----


def incident_out(one: Incident, snapshot: Snapshot, now: float) -> IncidentOut:
    """An incident without its details."""
    return IncidentOut.model_validate(incident_fields(one, snapshot, now))


def incident_detail_out(detail: IncidentDetail, snapshot: Snapshot, now: float) -> IncidentDetailOut:
    """An incident with its details."""
    timeline = [TransitionOut.model_validate(transition_fields(one, at)) for one, at in detail.transitions]
    more = {"timeline": timeline, "earlier": detail.earlier}
    return IncidentDetailOut.model_validate(incident_fields(detail.incident, snapshot, now) | more)


def transition_fields(one: Transition, recorded_at: float) -> dict[str, object]:
    """The fields of a transition."""
    return {
        "kind": one.kind.value, "at": one.at, "recorded_at": recorded_at, "by": one.by, "level": one.level.value,
        "note": one.note,
    }  # fmt: skip


def incident_fields(one: Incident, snapshot: Snapshot, now: float) -> dict[str, object]:
    """The fields of an incident."""
    rule = snapshot.rules.named(one.rule)
    return {
        "incident": one.incident, "trouble": one.trouble, "joined": one.joined.value, "explained_by": one.explained_by,
        "recurrence": one.recurrence, "device": one.device, "rule": one.rule, "instance": one.instance,
        "title": Formatter(Language.ENGLISH, snapshot, now).title(one), "clause": rule.clause if rule else "",
        "state": one.state.value, "level": one.level.value, "verdict": one.verdict.value, "began_at": one.began_at,
        "ended_at": one.ended_at, "unresolved_s": max(0.0, (one.ended_at or now) - one.began_at),
        "quantity": one.evidence.quantity, "value": present(one.evidence.value), "expects": one.evidence.expects,
        "says": one.evidence.says, "companions": [_companion(companion) for companion in one.evidence.companions],
    }  # fmt: skip


def _companion(one: Companion) -> CompanionOut:
    value = None if isinstance(one.value, Missing) else one.value
    return CompanionOut(quantity=one.quantity, label=one.label, value=value, holds=one.holds)


def rung_out(step: ScheduledRung, device: str, snapshot: Snapshot, now: float) -> RungOut:
    """An escalation level."""
    people = list(Formatter(Language.ENGLISH, snapshot, now).audience(step, device)) if step.decided_at is None else []
    return RungOut(
        rung=step.rung, due_at=step.due_at, decided_at=step.decided_at, decided_by=step.decided_by,
        people=people,
    )  # fmt: skip


def notice_out(one: NoticeStatus) -> NoticeOut:
    """A notification."""
    return NoticeOut.model_validate(one, from_attributes=True)


def unit_of(quantity: str) -> str:
    """The symbol of a quantity's unit; empty for a state and for an unknown quantity."""
    return QUANTITIES[quantity].unit.symbol if quantity in QUANTITIES else ""


def present(value: Value) -> float | str | None:
    """The value, or None for a missing one."""
    return None if isinstance(value, Missing) else value


def point_out(point: Point) -> PointOut:
    """One value in the past."""
    missing = point.value.reason.value if isinstance(point.value, Missing) else None
    return PointOut(at=point.at, value=present(point.value), missing=missing)


def agent_out(one: AgentStatus) -> AgentOut:
    """An agent and its lanes."""
    lanes = [LaneOut.model_validate(lane, from_attributes=True) for lane in one.lanes]
    return AgentOut(
        agent=one.agent, heard_at=one.heard_at, age_s=one.age_s, silent=one.silent, skew_s=one.skew_s,
        bundle=one.bundle, bundle_current=one.current, lanes=lanes,
        set_aside=one.set_aside.count, fault=one.set_aside.fault,
    )  # fmt: skip


def shift_out(shift: DutyShift) -> ShiftOut:
    """A shift and its person."""
    person: Person = shift.person
    return ShiftOut(
        shift=shift.shift, person=person.person, name=person.name, phone=person.phone, begins_at=shift.begins
    )
