"""/api/v1, described at /openapi.json. A person writes with a bearer token, or with the session's cookie and the header
X-CSRF-Token. An error is `{"error": "what is wrong: what to do"}`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.security import HTTPBearer

from watchkeeper.collector.notify.delivery.channel_status import channel_statuses
from watchkeeper.collector.policy import roster
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.policy.troubles import TroubleState
from watchkeeper.collector.process import actions, removals
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read import agents as read_agents
from watchkeeper.collector.read import devices as read_devices
from watchkeeper.collector.read import history as read_history
from watchkeeper.collector.read import incidents as read_incidents
from watchkeeper.collector.read import troubles as read_troubles
from watchkeeper.collector.web import schemas
from watchkeeper.collector.web.edge.auth import ActingPerson, CurrentRuntime, may_read
from watchkeeper.collector.web.schemas import channels as channel_schemas
from watchkeeper.collector.web.schemas import devices as device_schemas
from watchkeeper.collector.web.schemas import errors
from watchkeeper.collector.web.schemas import troubles as trouble_schemas
from watchkeeper.collector.web.schemas.paging import LIST_DEFAULT, After, Before, Limit, link_next, part_after

_BEARER = HTTPBearer(auto_error=False, description="a person's token: `watchkeeper collector token person NAME`")
router = APIRouter(prefix="/api/v1", dependencies=[Depends(may_read), Depends(_BEARER)])
SHOWN_STATES = (TroubleState.OPEN, TroubleState.RESOLVED, TroubleState.WITHDRAWN)


@router.get("/troubles", responses=errors(401))
def troubles(
    runtime: CurrentRuntime,
    state: Literal["open", "resolved", "withdrawn", "all"] = "open",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[
        int | None, Query(ge=1, le=schemas.MAX_INCIDENT_NUMBER, description="from the last response")
    ] = None,
) -> trouble_schemas.TroublesOut:
    """Troubles, newest first."""
    states = SHOWN_STATES if state == "all" else (TroubleState(state),)
    snapshot, now = runtime.snapshot, runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        found = read_troubles.troubles_before(connection, snapshot, now, cursor, limit + 1, states)
    following = found[limit - 1].trouble.trouble if len(found) > limit else None
    shown = [trouble_schemas.trouble_out(one, snapshot, now) for one in found[:limit]]
    return trouble_schemas.TroublesOut(troubles=shown, cursor=following)


@router.get("/troubles/{number}", responses=errors(401, 404))
def trouble(
    runtime: CurrentRuntime, number: schemas.IncidentNumber, before: Before = None
) -> trouble_schemas.TroubleDetailOut:
    """One trouble with its timeline, its escalation levels, the notifications and what their channels answered, the newest of them.
    A trouble that was merged into another one gives that one."""
    return _trouble(runtime, number, before)


@router.post("/troubles/{number}/acknowledge", responses=errors(401, 403, 404, 409))
def acknowledge(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> trouble_schemas.TroubleDetailOut:
    """Say that you are working on it. The person who acknowledged it before is told. The escalation goes on, unless the ladder has
    `stops_at: acknowledged`."""
    actions.acknowledge(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _trouble(runtime, number)


@router.post("/troubles/{number}/on-site", responses=errors(401, 403, 404, 409))
def on_site(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> trouble_schemas.TroubleDetailOut:
    """Say that you are on site. Nobody is asked for it any more. Said again, it changes nothing."""
    actions.on_site(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _trouble(runtime, number)


@router.post("/troubles/{number}/escalate", responses=errors(401, 403, 404, 409))
def escalate(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: trouble_schemas.EscalateIn
) -> trouble_schemas.TroubleDetailOut:
    """It cannot be resolved: go to the next escalation level now, or to every level up to `rung`. A `rung` that was decided
    already changes nothing. Later levels keep their own times."""
    actions.escalate(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note, rung=body.rung)
    return _trouble(runtime, number)


@router.post("/troubles/{number}/vendor", responses=errors(401, 403, 404, 409))
def vendor(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: trouble_schemas.VendorIn
) -> trouble_schemas.TroubleDetailOut:
    """Say that the maintenance vendor works on it, with the number of the vendor's ticket."""
    actions.hand_to_vendor(
        runtime.notifier(), number, person.person, runtime.clock.wall(), body.note, ticket=body.ticket
    )
    return _trouble(runtime, number)


@router.post("/troubles/{number}/resolve", responses=errors(401, 403, 404, 409))
def resolve(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: trouble_schemas.ResolveIn
) -> trouble_schemas.TroubleDetailOut:
    """Close the incidents that can no longer be judged automatically, with cause and cure. Refused (409) while a latest verdict
    is bad."""
    now = runtime.clock.wall()
    actions.resolve(runtime.notifier(), number, person.person, now, body.note, cause=body.cause, cure=body.cure)
    return _trouble(runtime, number)


@router.post("/troubles/{number}/reopen", responses=errors(401, 403, 404, 409))
def reopen(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: schemas.NoteIn
) -> trouble_schemas.TroubleDetailOut:
    """Say that a resolved trouble is not fixed. Its escalation goes on until somebody resolves it."""
    actions.reopen(runtime.notifier(), number, person.person, runtime.clock.wall(), body.note)
    return _trouble(runtime, number)


@router.post("/troubles/{number}/comment", responses=errors(401, 403, 404, 409))
def comment(
    runtime: CurrentRuntime, person: ActingPerson, number: schemas.IncidentNumber, body: trouble_schemas.CommentIn
) -> trouble_schemas.TroubleDetailOut:
    """Add a comment to the timeline. The persons in `mention` get it as a message."""
    now = runtime.clock.wall()
    actions.comment(runtime.notifier(), number, person.person, now, body.note, mention=body.mention)
    return _trouble(runtime, number)


def _trouble(runtime: Runtime, number: int, before: float | None = None) -> trouble_schemas.TroubleDetailOut:
    snapshot, now = runtime.snapshot, runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        found = read_troubles.trouble_detail(connection, snapshot, now, number, before)
    if found is None:
        raise NotFound(f"there is no trouble {number}")
    return trouble_schemas.trouble_detail_out(found, snapshot, now)


@router.get("/incidents", responses=errors(401))
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
        found = read_incidents.incidents_before(connection, cursor, limit + 1, states)
    following = found[limit - 1].incident if len(found) > limit else None
    shown = [schemas.incident_out(one, runtime.snapshot, now) for one in found[:limit]]
    return schemas.IncidentsOut(incidents=shown, cursor=following)


@router.get("/incidents/{number}", responses=errors(401, 404))
def incident(
    runtime: CurrentRuntime, number: schemas.IncidentNumber, before: Before = None
) -> schemas.IncidentDetailOut:
    """One incident with its timeline, the newest part of it."""
    with runtime.store.read(steady=True) as connection:
        found = read_incidents.incident_detail(connection, number, before)
    if found is None:
        raise NotFound(f"there is no incident {number}")
    return schemas.incident_detail_out(found, runtime.snapshot, runtime.clock.wall())


@router.get("/devices", responses=errors(401))
def devices(
    request: Request, response: Response, runtime: CurrentRuntime, limit: Limit = LIST_DEFAULT, after: After = None
) -> list[device_schemas.DeviceOut]:
    """The devices of the inventory, in its order."""
    snapshot, now = runtime.snapshot, runtime.clock.wall()
    names, last = part_after(list(snapshot.devices), after, limit)
    link_next(request, response, last)
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(connection, snapshot, now, runtime.started_at, among=names)
    return [device_schemas.device_out(one) for one in found]


@router.get("/devices/{name}", responses=errors(401, 404))
def device(runtime: CurrentRuntime, name: str) -> device_schemas.DeviceDetailOut:
    """One device with its latest readings, their age, why one is missing, and what is gone since when."""
    return _device(runtime, name)


@router.post("/devices/{name}/removed", responses=errors(401, 403, 404, 409))
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
    return device_schemas.device_detail_out(found[0], parts, runtime.snapshot.dependencies.dependants(name))


@router.get("/devices/{name}/history", responses=errors(401, 404))
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


@router.post("/devices/{name}/poll", status_code=202, responses=errors(401, 403, 404))
def poll(runtime: CurrentRuntime, person: ActingPerson, name: str) -> dict[str, str]:
    """Request that a device is polled now. Its agent gets the request with the response to its next push."""
    actions.poll_now(runtime.notifier(), name, person.person, runtime.clock.wall())
    return {"asked": name}


@router.get("/agents", responses=errors(401))
def agents(
    request: Request, response: Response, runtime: CurrentRuntime, limit: Limit = LIST_DEFAULT, after: After = None
) -> list[schemas.AgentOut]:
    """The agents: when data last came from each, and what came over its lanes."""
    snapshot, now = runtime.snapshot, runtime.clock.wall()
    names, last = part_after(list(snapshot.agents), after, limit)
    link_next(request, response, last)
    with runtime.store.read(steady=True) as connection:
        found = read_agents.agent_statuses(connection, snapshot, now, runtime.started_at, names)
    return [schemas.agent_out(one) for one in found]


@router.get("/channels", responses=errors(401))
def channels(
    request: Request, response: Response, runtime: CurrentRuntime, limit: Limit = LIST_DEFAULT, after: After = None
) -> list[channel_schemas.ChannelOut]:
    """The channels of persons: the breaker of each robot, and the last test. `limit` and `after` are about persons."""
    people = [one.person for one in runtime.snapshot.configuration.contacts.people]
    names, last = part_after(people, after, limit)
    link_next(request, response, last)
    with runtime.store.read() as connection:
        found = channel_statuses(connection, runtime.snapshot, runtime.robots, runtime.clock.boot(), names)
    return [channel_schemas.channel_out(one) for one in found]


@router.get("/duty", responses=errors(401))
def on_duty(runtime: CurrentRuntime) -> schemas.DutyOut:
    """Who is on duty, and who takes over when."""
    contacts, site, now = (
        runtime.snapshot.configuration.contacts,
        runtime.snapshot.configuration.inventory.site,
        runtime.clock.wall(),
    )
    shift, following = roster.shift_at(contacts, site, now), roster.next_handover(contacts, site, now)
    return schemas.DutyOut(now=schemas.shift_out(shift), next=schemas.shift_out(following))
