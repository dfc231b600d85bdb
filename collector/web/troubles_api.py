"""/api/v1/troubles: troubles, and what persons do about them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from watchkeeper.collector.policy.troubles import TroubleState
from watchkeeper.collector.process import actions
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read import troubles as read_troubles
from watchkeeper.collector.web import schemas
from watchkeeper.collector.web.edge.auth import ActingPerson, CurrentRuntime
from watchkeeper.collector.web.schemas import errors

router = APIRouter(prefix="/troubles")

SHOWN_STATES = (TroubleState.OPEN, TroubleState.RESOLVED, TroubleState.WITHDRAWN)


@router.get("", responses=errors(401))
def troubles(
    runtime: CurrentRuntime,
    state: Literal["open", "resolved", "withdrawn", "all"] = "open",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[
        int | None, Query(ge=1, le=schemas.MAX_INCIDENT_NUMBER, description="from the last response")
    ] = None,
) -> schemas.TroublesOut:
    """Troubles, newest first."""
    states = SHOWN_STATES if state == "all" else (TroubleState(state),)
    snapshot, now = runtime.snapshot, runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        found = read_troubles.troubles_before(connection, snapshot, now, cursor, limit + 1, states)
    following = found[limit - 1].trouble.trouble if len(found) > limit else None
    shown = [schemas.trouble_out(one, snapshot, now) for one in found[:limit]]
    return schemas.TroublesOut(troubles=shown, cursor=following)


@router.get("/{number}", responses=errors(401, 404))
def trouble(runtime: CurrentRuntime, number: schemas.IncidentNumber) -> schemas.TroubleDetailOut:
    """One trouble with its timeline, its escalation levels, the notifications and what their channels answered. A trouble that
    was merged into another one gives that one."""
    return _trouble(runtime, number)


@router.post("/{number}/acknowledge", responses=errors(401, 403, 404, 409))
def acknowledge(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> schemas.TroubleDetailOut:
    """Say that you are working on it. The escalation goes on, unless the ladder has `stops_at: acknowledged`."""
    actions.acknowledge(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _trouble(runtime, number)


@router.post("/{number}/resolve", responses=errors(401, 403, 404, 409))
def resolve(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> schemas.TroubleDetailOut:
    """Close the incidents that can no longer be judged automatically. Refused (409) while a latest verdict is bad."""
    actions.resolve(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _trouble(runtime, number)


@router.post("/{number}/escalate", responses=errors(401, 403, 404, 409))
def escalate(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> schemas.TroubleDetailOut:
    """It cannot be resolved: go to the next escalation level now. Later levels keep their own times."""
    actions.escalate(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _trouble(runtime, number)


def _trouble(runtime: Runtime, number: int) -> schemas.TroubleDetailOut:
    snapshot, now = runtime.snapshot, runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        found = read_troubles.trouble_detail(connection, snapshot, now, number)
    if found is None:
        raise NotFound(f"there is no trouble {number}")
    return schemas.trouble_detail_out(found, snapshot, now)
