"""/api/v1, described at /openapi.json. A person writes with a bearer token, or with the session's cookie and the header
X-CSRF-Token. An error is `{"error": "what is wrong: what to do"}`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.security import HTTPBearer

from watchkeeper.collector.notify.delivery.channel_status import channel_statuses
from watchkeeper.collector.policy import roster
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.process import actions, removals
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read import agents as read_agents
from watchkeeper.collector.read import devices as read_devices
from watchkeeper.collector.read import history as read_history
from watchkeeper.collector.read import incidents as read_incidents
from watchkeeper.collector.web import schemas
from watchkeeper.collector.web.edge.auth import ActingPerson, CurrentRuntime, may_read
from watchkeeper.collector.web.schemas import channels as channel_schemas
from watchkeeper.collector.web.schemas import devices as device_schemas

_ERRORS = {
    401: "Authentication required: there is no valid token or session.",
    403: "Forbidden: the CSRF token of the session is missing or wrong, or the form was sent by another site.",
    404: "Not found.",
    409: "Conflict with the state of the incident; `error` says which.",
    422: "Unprocessable content: the request does not fit this description.",
    503: "Service unavailable: the database cannot be used now.",
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": schemas.Error, "description": _ERRORS[status]} for status in (*statuses, 422, 503)}


_BEARER = HTTPBearer(auto_error=False, description="a person's token: `watchkeeper collector token person NAME`")
router = APIRouter(prefix="/api/v1", dependencies=[Depends(may_read), Depends(_BEARER)])


@router.get("/incidents", responses=_errors(401))
def incidents(
    runtime: CurrentRuntime,
    state: Literal["open", "resolved", "withdrawn", "all"] = "open",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[
        int | None, Query(ge=1, le=schemas.MAX_INCIDENT_NUMBER, description="from the last response")
    ] = None,
) -> schemas.IncidentsOut:
    """Incidents, newest first."""
    states = tuple(IncidentState) if state == "all" else (IncidentState(state),)
    now = runtime.clock.wall()
    with runtime.store.read() as connection:
        found = read_incidents.incidents_before(
            connection, runtime.snapshot, runtime.clock.wall(), cursor, limit + 1, states
        )
    following = found[limit - 1].incident.incident if len(found) > limit else None
    shown = [schemas.incident_out(progress, runtime.snapshot, now) for progress in found[:limit]]
    return schemas.IncidentsOut(incidents=shown, cursor=following)


@router.get("/incidents/{number}", responses=_errors(401, 404))
def incident(runtime: CurrentRuntime, number: schemas.IncidentNumber) -> schemas.IncidentDetailOut:
    """One incident with its timeline, its escalation levels, the notifications and what their channels answered."""
    return _incident(runtime, number)


@router.post("/incidents/{number}/acknowledge", responses=_errors(401, 403, 404, 409))
def acknowledge(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> schemas.IncidentDetailOut:
    """Say that you are working on it. The escalation goes on, unless the ladder has `stops_at: acknowledged`."""
    actions.acknowledge(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _incident(runtime, number)


@router.post("/incidents/{number}/resolve", responses=_errors(401, 403, 404, 409))
def resolve(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> schemas.IncidentDetailOut:
    """Close an incident that can no longer be judged automatically. Refused (409) while its latest verdict is bad."""
    actions.resolve(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _incident(runtime, number)


@router.post("/incidents/{number}/escalate", responses=_errors(401, 403, 404, 409))
def escalate(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> schemas.IncidentDetailOut:
    """It cannot be resolved: go to the next escalation level now. Later levels keep their own times."""
    actions.escalate(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _incident(runtime, number)


def _incident(runtime: Runtime, number: int) -> schemas.IncidentDetailOut:
    with runtime.store.read(steady=True) as connection:
        found = read_incidents.incident_detail(connection, runtime.snapshot, runtime.clock.wall(), number)
    if found is None:
        raise NotFound(f"there is no incident {number}")
    return schemas.incident_detail_out(found, runtime.snapshot, runtime.clock.wall())


@router.get("/devices", responses=_errors(401))
def devices(runtime: CurrentRuntime) -> list[device_schemas.DeviceOut]:
    """The devices of the inventory."""
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at)
    return [device_schemas.device_out(one) for one in found]


@router.get("/devices/{name}", responses=_errors(401, 404))
def device(runtime: CurrentRuntime, name: str) -> device_schemas.DeviceDetailOut:
    """One device with its latest readings, their age, why one is missing, and what is gone since when."""
    return _device(runtime, name)


@router.post("/devices/{name}/removed", responses=_errors(401, 403, 404, 409))
def removed(
    runtime: CurrentRuntime, person: ActingPerson, name: str, body: device_schemas.RemovedIn
) -> device_schemas.DeviceDetailOut:
    """Confirm that a part which is gone was removed. Its agent is told with the answers to its pushes; its incidents then end
    with this reason. A second confirmation changes nothing. Refused (409) for a part that is not gone."""
    removals.confirm(runtime.notifier(), name, body.part, person.person, runtime.clock.wall(), note=body.note)
    return _device(runtime, name)


def _device(runtime: Runtime, name: str) -> device_schemas.DeviceDetailOut:
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(
            connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at, name
        )
        parts = read_devices.device_parts(connection, name)
    if not found:
        raise NotFound(f"there is no device `{name}`")
    return device_schemas.device_detail_out(found[0], parts)


@router.get("/devices/{name}/history", responses=_errors(401, 404))
def history(
    *,
    runtime: CurrentRuntime,
    name: str,
    quantity: str,
    instance: str | None = None,
    since: Annotated[float | None, Query(description="UTC seconds; default: an hour ago")] = None,
    limit: Annotated[int, Query(ge=1, le=20_000, description="at most so many of the newest values")] = 2000,
) -> list[schemas.HistoryOut]:
    """The past of a quantity: one entry for each instance, or only the requested instance."""
    if name not in runtime.snapshot.devices:
        raise NotFound(f"there is no device `{name}`")
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
def poll(runtime: CurrentRuntime, person: ActingPerson, name: str) -> dict[str, str]:
    """Request that a device is polled now. Its agent gets the request with the response to its next push."""
    actions.poll_now(runtime.notifier(), name, person.person, runtime.clock.wall())
    return {"asked": name}


@router.get("/agents", responses=_errors(401))
def agents(runtime: CurrentRuntime) -> list[schemas.AgentOut]:
    """The agents: when data last came from each, and what came over its lanes."""
    with runtime.store.read(steady=True) as connection:
        found = read_agents.agent_statuses(connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at)
    return [schemas.agent_out(one) for one in found]


@router.get("/channels", responses=_errors(401))
def channels(runtime: CurrentRuntime) -> list[channel_schemas.ChannelOut]:
    """The channels of all persons: the breaker of each robot, and the last test."""
    with runtime.store.read() as connection:
        found = channel_statuses(connection, runtime.snapshot, runtime.robots, runtime.clock.boot())
    return [channel_schemas.channel_out(one) for one in found]


@router.get("/duty", responses=_errors(401))
def on_duty(runtime: CurrentRuntime) -> schemas.DutyOut:
    """Who is on duty, and who takes over when."""
    contacts, site, now = (
        runtime.snapshot.configuration.contacts,
        runtime.snapshot.configuration.inventory.site,
        runtime.clock.wall(),
    )
    shift, following = roster.shift_at(contacts, site, now), roster.next_handover(contacts, site, now)
    return schemas.DutyOut(now=schemas.shift_out(shift), next=schemas.shift_out(following))
