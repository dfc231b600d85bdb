"""/api/v1, described at /openapi.json. Whoever writes is a person: by a bearer token, or by the session's cookie with the
header X-CSRF-Token. What went wrong is `{"error": "sentence"}`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.security import HTTPBearer

from watchkeeper.collector.policy import roster
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.process import actions
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read import agents as read_agents
from watchkeeper.collector.read import devices as read_devices
from watchkeeper.collector.read import history as read_history
from watchkeeper.collector.read import incidents as read_incidents
from watchkeeper.collector.web import schemas
from watchkeeper.collector.web.edge.auth import Person, RuntimeHere, may_read

_SAYS = {
    401: "nobody we know",
    403: "somebody who may not, or a cookie without its CSRF token",
    404: "no such thing",
    409: "it contradicts the state of the incident; the sentence says how",
    422: "the request does not fit this description",
    503: "the store cannot be used now",
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": schemas.Error, "description": _SAYS[status]} for status in (*statuses, 422, 503)}


_BEARER = HTTPBearer(auto_error=False, description="a person's token: `watchkeeper collector token person NAME`")
router = APIRouter(prefix="/api/v1", dependencies=[Depends(may_read), Depends(_BEARER)])


@router.get("/incidents", responses=_errors(401))
def incidents(
    runtime: RuntimeHere,
    state: Literal["open", "resolved", "withdrawn", "all"] = "open",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int | None, Query(ge=1, le=schemas.LARGEST, description="as the last answer gave it")] = None,
) -> schemas.IncidentsOut:
    """Incidents, newest first."""
    states = tuple(IncidentState) if state == "all" else (IncidentState(state),)
    now = runtime.clock.wall()
    with runtime.store.read() as connection:
        found = read_incidents.incidents_before(
            connection, runtime.snapshot, runtime.clock.wall(), cursor, limit + 1, states
        )
    following = found[limit - 1].incident.incident if len(found) > limit else None
    shown = [schemas.incident_out(climb, runtime.snapshot, now) for climb in found[:limit]]
    return schemas.IncidentsOut(incidents=shown, cursor=following)


@router.get("/incidents/{number}", responses=_errors(401, 404))
def incident(runtime: RuntimeHere, number: schemas.Number) -> schemas.StoryOut:
    """One incident with its timeline, its rungs, who was told and what came back."""
    return _story(runtime, number)


@router.post("/incidents/{number}/acknowledge", responses=_errors(401, 403, 404, 409))
def acknowledge(runtime: RuntimeHere, person: Person, number: schemas.Number, body: schemas.NoteIn) -> schemas.StoryOut:
    """Say that you are working on it. The ladder goes on, unless it `stops_at: acknowledged`."""
    actions.acknowledge(runtime.notifier(), number, person, runtime.clock.wall(), body.note)
    return _story(runtime, number)


@router.post("/incidents/{number}/resolve", responses=_errors(401, 403, 404, 409))
def resolve(runtime: RuntimeHere, person: Person, number: schemas.Number, body: schemas.NoteIn) -> schemas.StoryOut:
    """Close an incident that no verdict can close any more; refused (409) while its latest verdict is bad."""
    actions.resolve(runtime.notifier(), number, person, runtime.clock.wall(), body.note)
    return _story(runtime, number)


@router.post("/incidents/{number}/escalate", responses=_errors(401, 403, 404, 409))
def escalate(runtime: RuntimeHere, person: Person, number: schemas.Number, body: schemas.NoteIn) -> schemas.StoryOut:
    """It cannot be resolved: climb one rung at once. Later rungs keep their own times."""
    actions.escalate(runtime.notifier(), number, person, runtime.clock.wall(), body.note)
    return _story(runtime, number)


def _story(runtime: Runtime, number: int) -> schemas.StoryOut:
    with runtime.store.read(steady=True) as connection:
        found = read_incidents.incident_detail(connection, runtime.snapshot, runtime.clock.wall(), number)
    if found is None:
        raise NotFound(f"there is no incident {number}")
    return schemas.story_out(found, runtime.snapshot, runtime.clock.wall())


@router.get("/devices", responses=_errors(401))
def devices(runtime: RuntimeHere) -> list[schemas.DeviceOut]:
    """The devices of the inventory."""
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at)
    return [schemas.device_out(one) for one in found]


@router.get("/devices/{name}", responses=_errors(401, 404))
def device(runtime: RuntimeHere, name: str) -> schemas.DeviceDetailOut:
    """One device with its latest readings, their age, and why one is missing."""
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(
            connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at, name
        )
    if not found:
        raise NotFound(f"no device is called `{name}`")
    return schemas.device_detail_out(found[0])


@router.get("/devices/{name}/history", responses=_errors(401, 404))
def history(
    *,
    runtime: RuntimeHere,
    name: str,
    quantity: str,
    instance: str | None = None,
    since: Annotated[float | None, Query(description="UTC seconds; an hour ago where it is not said")] = None,
    limit: Annotated[int, Query(ge=1, le=20_000, description="the newest so many")] = 2000,
) -> list[schemas.HistoryOut]:
    """What a quantity was, one entry an instance (or only the instance asked for)."""
    if name not in runtime.snapshot.devices:
        raise NotFound(f"no device is called `{name}`")
    start = runtime.clock.wall() - 3600 if since is None else since
    with runtime.store.read() as connection:
        found = read_history.readings_since(connection, name, start, limit, quantity)
    return [
        schemas.HistoryOut(
            quantity=quantity,
            instance=part,
            unit=schemas.unit_of(quantity),
            points=[schemas.point_out(p) for p in points],
        )
        for (_, part), points in found.items()
        if instance in (None, part)
    ]


@router.post("/devices/{name}/poll", status_code=202, responses=_errors(401, 403, 404))
def poll(runtime: RuntimeHere, person: Person, name: str) -> dict[str, str]:
    """Ask for a device to be read at once; its agent hears of it with its next push."""
    actions.poll_now(runtime.notifier(), name, person, runtime.clock.wall())
    return {"asked": name}


@router.get("/agents", responses=_errors(401))
def agents(runtime: RuntimeHere) -> list[schemas.AgentOut]:
    """The agents, when they were last heard, and what came over their lanes."""
    with runtime.store.read(steady=True) as connection:
        found = read_agents.agent_statuses(connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at)
    return [schemas.agent_out(one) for one in found]


@router.get("/duty", responses=_errors(401))
def on_duty(runtime: RuntimeHere) -> schemas.DutyOut:
    """Who is on duty, and who takes over when."""
    contacts, site, now = (
        runtime.snapshot.configuration.contacts,
        runtime.snapshot.configuration.inventory.site,
        runtime.clock.wall(),
    )
    shift, following = roster.shift_at(contacts, site, now), roster.next_handover(contacts, site, now)
    return schemas.DutyOut(now=schemas.shift_out(shift), next=schemas.shift_out(following))
