"""What the API answers: the shapes of OpenAPI, and how they are made. Times are UTC seconds, ages and spans seconds."""

from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, Field

from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.roster import DutyShift
from watchkeeper.collector.read.agents import AgentStatus
from watchkeeper.collector.read.devices import DeviceReadings, ProbeReadings
from watchkeeper.collector.read.history import Point
from watchkeeper.collector.read.incidents import IncidentDetail, NoticeStatus, Progress
from watchkeeper.collector.site.inventory import Language, Person
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.web.formatting import Formatter
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Series, Value

LARGEST = 2**53
"""What JSON carries exactly, and both databases can compare with."""

Number = Annotated[int, Path(ge=1, le=LARGEST)]
"""An incident's, in a path."""

NO_NUL = r"^[^\x00]*$"
"""Text that both databases can keep."""


class Error(BaseModel):
    """What went wrong, in a sentence."""

    error: str


class NoteIn(BaseModel):
    """What a person wants to have said in the timeline."""

    note: str = Field("", max_length=1000, pattern=NO_NUL)


class RungOut(BaseModel):
    """One rung: when it is due; when and by whom (`clock`, `person:NAME`) it was decided; whom it reaches."""

    rung: str
    recurrence: int
    due_at: float
    decided_at: float | None
    decided_by: str | None
    people: list[str]


class TryOut(BaseModel):
    """One try to deliver a notice, and what came back."""

    at: float
    channel: str
    delivered: bool
    detail: str


class NoticeOut(BaseModel):
    """What somebody was told, or is to be told."""

    person: str
    kind: str
    rung: str
    recurrence: int
    at: float
    state: Literal["pending", "delivered", "given-up"]
    handed_on: bool
    tries: list[TryOut]


class IncidentOut(BaseModel):
    """A fault. `began_at` is where the clock of the present round stands; `next` is the rung it climbs next."""

    incident: int
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
    unresolved_s: float = Field(description="how long it has stood, or stood")
    acknowledged_at: float | None
    acknowledged_by: str | None
    current: str | None
    next: RungOut | None
    next_in_s: float | None = Field(description="until the next rung; 0 if it is due")
    quantity: str
    value: float | str | None
    expects: str
    told: list[NoticeOut]


class HappeningOut(BaseModel):
    """One transition. `at` is when it happened, `recorded_at` when the collector learnt of it."""

    kind: str
    at: float
    recorded_at: float
    by: str
    level: str
    note: str


class StoryOut(IncidentOut):
    """An incident with all that happened, over all its rounds."""

    timeline: list[HappeningOut]
    rungs: list[RungOut]


class IncidentsOut(BaseModel):
    """A page of incidents. Pass `cursor` to get the next one; null after the last."""

    incidents: list[IncidentOut]
    cursor: int | None


class ReadingOut(BaseModel):
    """One value, in `unit` or as a state's name; null where it is missing, with the reason."""

    quantity: str
    instance: str
    label: str
    unit: str
    value: float | str | None
    missing: str | None = None
    detail: str | None = None
    at: float
    age_s: float
    stale: bool


class DeviceOut(BaseModel):
    """A device of the inventory. It is stale when none of its readings is the present."""

    device: str
    category: str
    agent: str
    owner: str
    vendor: str
    location: str
    purpose: str
    stale: bool
    read_at: float | None


class DeviceDetailOut(DeviceOut):
    """A device with its latest readings."""

    readings: list[ReadingOut]


class PointOut(BaseModel):
    """One value in the past; null where it was missing."""

    at: float
    value: float | str | None
    missing: str | None = None


class HistoryOut(BaseModel):
    """One series' past, oldest first."""

    quantity: str
    instance: str
    unit: str
    points: list[PointOut]


class LaneOut(BaseModel):
    """What came over a lane: `gaps` never came, `dropped` the agent itself had to drop."""

    lane: str
    seq: int
    items: int
    gaps: int
    dropped: int


class AgentOut(BaseModel):
    """An agent; `heard_at` is null if it never was. `skew_s` is its wall clock less ours."""

    agent: str
    heard_at: float | None
    age_s: float
    silent: bool
    skew_s: float
    bundle: str
    bundle_current: bool
    lanes: list[LaneOut]


class ShiftOut(BaseModel):
    """Who holds a watch, and since (or from) when."""

    shift: str
    person: str
    name: str
    phone: str
    begins_at: float


class DutyOut(BaseModel):
    """The watch that is on, and the one that takes over next."""

    now: ShiftOut
    next: ShiftOut


# ---- how they are made ----


def incident_out(climb: Progress, snapshot: Snapshot, now: float) -> IncidentOut:
    """An incident in short."""
    return IncidentOut.model_validate(_incident(climb, snapshot, now))


def story_out(story: IncidentDetail, snapshot: Snapshot, now: float) -> StoryOut:
    """An incident whole."""
    device = story.progress.incident.device
    happened = [
        HappeningOut(kind=one.kind, at=one.at, recorded_at=at, by=one.by, level=one.level, note=one.note)
        for one, at in story.transitions
    ]
    rungs = [_rung(step, turn, device, snapshot, now) for turn, step in story.steps]
    matter = _incident(story.progress, snapshot, now) | {"told": [_notice(one) for one in story.notices]}
    return StoryOut.model_validate(matter | {"timeline": happened, "rungs": rungs})


def _incident(climb: Progress, snapshot: Snapshot, now: float) -> dict[str, object]:
    one, current, upcoming = climb.incident, climb.current, climb.upcoming
    rule = snapshot.rules.named(one.rule)
    value = one.evidence.value
    return {
        "incident": one.incident, "recurrence": one.recurrence, "device": one.device, "rule": one.rule, "instance": one.instance,
        "title": Formatter(Language.ENGLISH, snapshot, now).title(one), "clause": rule.clause if rule else "",
        "state": one.state.value, "level": one.level.value, "verdict": one.verdict.value, "began_at": one.began_at,
        "ended_at": one.ended_at, "unresolved_s": max(0.0, (one.ended_at or now) - one.began_at),
        "acknowledged_at": one.acknowledged_at, "acknowledged_by": one.acknowledged_by,
        "current": current.rung if current else None,
        "next": _rung(upcoming, one.recurrence, one.device, snapshot, now) if upcoming else None,
        "next_in_s": max(0.0, upcoming.due_at - now) if upcoming else None,
        "quantity": one.evidence.quantity, "value": None if isinstance(value, Missing) else value,
        "expects": one.evidence.expects, "says": one.evidence.says, "told": [_notice(notice) for notice in climb.notices],
    }  # fmt: skip


def _rung(step: ScheduledRung, turn: int, device: str, snapshot: Snapshot, now: float) -> RungOut:
    people = list(Formatter(Language.ENGLISH, snapshot, now).told(step, device)) if step.decided_at is None else []
    return RungOut(
        rung=step.rung, recurrence=turn, due_at=step.due_at, decided_at=step.decided_at, decided_by=step.decided_by,
        people=people,
    )  # fmt: skip


def _notice(one: NoticeStatus) -> NoticeOut:
    return NoticeOut.model_validate(one, from_attributes=True)


def device_out(one: DeviceReadings) -> DeviceOut:
    """A device without its readings."""
    return DeviceOut.model_validate(_device(one))


def device_detail_out(one: DeviceReadings) -> DeviceDetailOut:
    """A device with them."""
    readings = [_reading(column, series, value) for column in one.columns for series, value in column.readings()]
    return DeviceDetailOut.model_validate(_device(one) | {"readings": readings})


def _device(one: DeviceReadings) -> dict[str, object]:
    device = one.device
    return {
        "device": device.device, "category": device.category.value, "agent": device.agent, "owner": device.owner,
        "vendor": device.vendor, "location": device.location, "purpose": device.purpose, "stale": one.stale,
        "read_at": max((column.at for column in one.columns), default=None),
    }  # fmt: skip


def _reading(column: ProbeReadings, series: Series, value: Value) -> ReadingOut:
    missing = value if isinstance(value, Missing) else None
    return ReadingOut(
        quantity=series.quantity, instance=series.instance, label=series.label, unit=unit_of(series.quantity),
        value=_present(value), missing=missing.reason.value if missing else None,
        detail=missing.detail if missing else None, at=column.at, age_s=column.age_s, stale=column.stale,
    )  # fmt: skip


def unit_of(quantity: str) -> str:
    """The symbol of a quantity's unit; empty for a state, and for what we do not know."""
    return QUANTITIES[quantity].unit.symbol if quantity in QUANTITIES else ""


def _present(value: Value) -> float | str | None:
    return None if isinstance(value, Missing) else value


def point_out(point: Point) -> PointOut:
    """One value in the past."""
    missing = point.value.reason.value if isinstance(point.value, Missing) else None
    return PointOut(at=point.at, value=_present(point.value), missing=missing)


def agent_out(one: AgentStatus) -> AgentOut:
    """An agent and its lanes."""
    lanes = [LaneOut.model_validate(lane, from_attributes=True) for lane in one.lanes]
    return AgentOut(
        agent=one.agent, heard_at=one.heard_at, age_s=one.age_s, silent=one.silent, skew_s=one.skew_s,
        bundle=one.bundle, bundle_current=one.current, lanes=lanes,
    )  # fmt: skip


def shift_out(shift: DutyShift) -> ShiftOut:
    """A watch and its person."""
    person: Person = shift.person
    return ShiftOut(
        shift=shift.shift, person=person.person, name=person.name, phone=person.phone, begins_at=shift.begins
    )
