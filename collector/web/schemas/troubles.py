"""The models of troubles and of answers to them, and how they are made."""

from typing import Annotated, Literal

from pydantic import Field

from watchkeeper.collector.read.troubles import TroubleDetail, TroubleProgress
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.web.schemas import (
    NO_NUL,
    NOTE_LIMIT,
    HoldOut,
    IncidentOut,
    NoteIn,
    NoticeOut,
    RungOut,
    Schema,
    TransitionOut,
    incident_fields,
    notice_out,
    rung_out,
    transition_fields,
)


class EscalateIn(NoteIn):
    """Which escalation level is wanted; without it, the next one."""

    rung: str = Field("", max_length=100, pattern=NO_NUL)


class VendorIn(NoteIn):
    """The number of the maintenance vendor's ticket."""

    ticket: str = Field("", max_length=200, pattern=NO_NUL)


class ResolveIn(NoteIn):
    """What the cause was, and what cured it."""

    cause: str = Field("", max_length=NOTE_LIMIT, pattern=NO_NUL)
    cure: str = Field("", max_length=NOTE_LIMIT, pattern=NO_NUL)


class CommentIn(Schema):
    """A comment, and the persons who get it as a message."""

    note: str = Field(min_length=1, max_length=NOTE_LIMIT, pattern=NO_NUL)
    mention: list[Annotated[str, Field(max_length=200, pattern=NO_NUL)]] = Field([], max_length=20)


class TroubleOut(Schema):
    """Incidents that belong together. `cause` is the probable cause; `others` are the first of the other incidents. `recurrence`
    is 1, and one more each time the trouble came back. `unresolved_s` counts only the time in which a fault was there; while
    none is, `quiet_since` says since when. `current` is the current escalation level, `next` the next one."""

    trouble: int
    state: Literal["open", "resolved", "withdrawn"]
    level: str
    recurrence: int
    opened_at: float
    ended_at: float | None
    quiet_since: float | None
    unresolved_s: float
    incidents: int = Field(description="how many incidents it has")
    incidents_open: int
    acknowledged_at: float | None
    acknowledged_by: str | None
    on_site_at: float | None
    on_site_by: str | None
    current: str | None
    next: RungOut | None
    next_in_s: float | None = Field(description="until the next escalation level; 0 if it is due")
    hold: HoldOut | None = Field(description="why no level is decided now; null where due levels are")
    cause: IncidentOut
    others: list[IncidentOut]
    told: list[NoticeOut]


class TroubleTransitionOut(TransitionOut):
    """A transition of an incident of the trouble."""

    incident: int


class TroubleDetailOut(TroubleOut):
    """A trouble with what happened to its incidents, and its escalation levels. What happened before `earlier` is on the next page:
    pass it as `before`; null: nothing."""

    timeline: list[TroubleTransitionOut]
    rungs: list[RungOut]
    earlier: float | None


class TroublesOut(Schema):
    """A page of troubles. Pass `cursor` to get the next one; null after the last."""

    troubles: list[TroubleOut]
    cursor: int | None


# ---- how they are made ----


def trouble_out(one: TroubleProgress, snapshot: Snapshot, now: float) -> TroubleOut:
    """A trouble without its details."""
    return TroubleOut.model_validate(_trouble(one, snapshot, now))


def trouble_detail_out(detail: TroubleDetail, snapshot: Snapshot, now: float) -> TroubleDetailOut:
    """A trouble with its details."""
    timeline = [
        TroubleTransitionOut.model_validate(transition_fields(step, at) | {"incident": member.incident})
        for member, step, at in detail.transitions
    ]
    device = detail.one.progress.incident.device
    rungs = [rung_out(step, device, snapshot, now) for step in detail.one.progress.steps]
    more = {"timeline": timeline, "rungs": rungs, "earlier": detail.earlier}
    return TroubleDetailOut.model_validate(_trouble(detail.one, snapshot, now) | more)


def _trouble(one: TroubleProgress, snapshot: Snapshot, now: float) -> dict[str, object]:
    progress, trouble = one.progress, one.trouble
    current, upcoming, hold = progress.current, progress.upcoming, progress.hold
    return {
        "trouble": trouble.trouble, "state": trouble.state.value, "level": trouble.level.value,
        "recurrence": trouble.recurrence, "opened_at": trouble.opened_at, "ended_at": trouble.ended_at,
        "quiet_since": trouble.quiet_since if trouble.open else None, "unresolved_s": trouble.bad_s(now),
        "incidents": one.count, "incidents_open": one.standing.open,
        "acknowledged_at": trouble.acknowledged_at, "acknowledged_by": trouble.acknowledged_by,
        "on_site_at": trouble.on_site_at, "on_site_by": trouble.on_site_by,
        "current": current.rung if current else None,
        "next": rung_out(upcoming, progress.incident.device, snapshot, now) if upcoming else None,
        "next_in_s": max(0.0, upcoming.due_at - now) if upcoming else None,
        "hold": HoldOut(reason=hold.reason.value, until=hold.until) if hold else None,
        "cause": incident_fields(progress.incident, snapshot, now),
        "others": [incident_fields(other, snapshot, now) for other in one.others],
        "told": [notice_out(notice) for notice in progress.notices],
    }  # fmt: skip
