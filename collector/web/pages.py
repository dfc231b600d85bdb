"""The pages that show something: rendered on the server, complete without JavaScript, in the reader's language."""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from watchkeeper.collector.access.links import SIGN_IN
from watchkeeper.collector.notify.delivery.channel_status import channel_statuses
from watchkeeper.collector.policy import roster
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.troubles import TroubleState
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.process.health.health import NOT_DONE
from watchkeeper.collector.read import agents as read_agents
from watchkeeper.collector.read import devices as read_devices
from watchkeeper.collector.read import history as read_history
from watchkeeper.collector.read import incidents as read_incidents
from watchkeeper.collector.read import troubles as read_troubles
from watchkeeper.collector.read.devices import ProbeReadings
from watchkeeper.collector.read.history import Point
from watchkeeper.collector.read.troubles import TroubleDetail
from watchkeeper.collector.site.changes import counts_of
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.configurations import activations
from watchkeeper.collector.store.peers import RUNS_S, peers
from watchkeeper.collector.web.edge.auth import CurrentIdentity, CurrentRuntime, Door
from watchkeeper.collector.web.edge.link import open_link
from watchkeeper.collector.web.overview import LISTED, parts_of
from watchkeeper.collector.web.page import CurrentPage, PageContext
from watchkeeper.collector.web.schemas import MAX_INCIDENT_NUMBER, IncidentNumber
from watchkeeper.collector.web.schemas.paging import After, Before, part_after
from watchkeeper.collector.web.sparkline import BLANK, Sparkline, sparkline
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Series, Value

Reading = tuple[ProbeReadings, Series, Value]
History = dict[tuple[str, str], list[Point]]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

TROUBLES_PER_PAGE, DEVICES_PER_PAGE, PEOPLE_PER_PAGE, CHANGES_PER_PAGE = 200, 500, 200, 50

OVERVIEW_DEVICES = 12
"""A room with at most this many devices has them on the overview too."""

SOURCES_SHOWN = 10

SPARKLINE_S = 6 * 3600.0
"""How far back the sparklines go."""

HEADLINES = (
    "device.answering", "device.alarm", "temperature.ambient", "humidity.relative", "leak", "cooling.unit", "output.source",
    "battery.charge", "battery.runtime", "output.load", "input.voltage", "temperature.supply", "temperature.return",
    "cpu.usage", "memory.usage", "swap.usage", "disk.usage", "load.5m", "temperature.component",
)  # fmt: skip
"""The quantities that a device's card shows first, where all would be too many."""


@router.get("/")
def overview(page: CurrentPage) -> Response:
    """Open troubles, who is on duty, the state of the agents, and in a small room the latest readings."""
    runtime, snapshot = page.runtime, page.runtime.snapshot
    now = runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        total = read_troubles.count_open(connection)
        parts = parts_of(read_troubles.open_list(connection, LISTED))
        numbers = [number for part in parts for number in part.cards]
        cards = {one.trouble.trouble: one for one in read_troubles.progress_of(connection, snapshot, now, numbers)}
        readings = {number: _reading(page, connection, card.progress.incident) for number, card in cards.items()}
        agents = read_agents.agent_statuses(connection, snapshot, now, runtime.started_at)
        recent = read_troubles.troubles_before(
            connection, snapshot, now, None, 5, (TroubleState.RESOLVED, TroubleState.WITHDRAWN), notices=0
        )
        small = len(snapshot.devices) <= OVERVIEW_DEVICES
        devices = read_devices.device_readings(connection, snapshot, now, runtime.started_at) if small else []
    site, contacts = snapshot.configuration.inventory.site, snapshot.configuration.contacts
    return page.show(
        "overview.html", divisions=parts, cards=cards, present=readings, listed=LISTED,
        total=total, agents=agents, recent=recent, devices=devices,
        headlines=headlines,
        shift=roster.shift_at(contacts, site, now), handover=roster.next_handover(contacts, site, now),
    )  # fmt: skip


@router.get("/troubles")
def troubles(page: CurrentPage, before: Annotated[int | None, Query(ge=1, le=MAX_INCIDENT_NUMBER)] = None) -> Response:
    """All troubles, open and closed, newest first."""
    limit, runtime = TROUBLES_PER_PAGE, page.runtime
    with runtime.store.read(steady=True) as connection:
        found = read_troubles.troubles_before(
            connection, runtime.snapshot, runtime.clock.wall(), before, limit + 1, notices=0
        )
    more = found[limit - 1].trouble.trouble if len(found) > limit else None
    return page.show("troubles.html", troubles=found[:limit], more=more)


@router.get("/incidents/{number}")
def incident(page: CurrentPage, number: IncidentNumber) -> Response:
    """The trouble that an incident is part of. Raises NotFound."""
    with page.runtime.store.read() as connection:
        known = rows.incident_by_number(connection, number)
    if known is None:
        raise NotFound(f"there is no incident {number}")
    return RedirectResponse(f"/troubles/{known.trouble}#incident-{number}", 303)


@router.get("/troubles/{number}")
def trouble(page: CurrentPage, number: IncidentNumber, before: Before = None) -> Response:
    """Everything about one trouble, or about the one that it was merged into. Raises NotFound."""
    return _trouble_page(page, number, page.identity.door(f"/troubles/{number}"), before)


@router.get("/t/{token}")
def linked(  # noqa: PLR0917 -- what a request has
    request: Request,
    runtime: CurrentRuntime,
    identity: CurrentIdentity,
    token: str,
    acts_as: Annotated[str, Query(alias="as", max_length=200)] = "",
    before: Before = None,
) -> Response:
    """What a personal link leads to, as its person. Opening it spends nothing and changes nothing. Raises LinkEnded or
    NotFound."""
    opened = open_link(request, runtime, identity, token, acts_as)
    page = PageContext(request, runtime, identity, opened)
    if opened.link.about == SIGN_IN:
        return page.show("enter.html", door=opened.door)
    return _trouble_page(page, opened.link.id, opened.door, before)


@router.get("/sign-in")
@router.get("/sign-in/{number}")
def sign_in(request: Request, runtime: CurrentRuntime, identity: CurrentIdentity) -> Response:
    """How to sign in, for everybody. The number is that of a message whose link is not personal."""
    return PageContext(request, runtime, identity).show("sign_in.html", asked=False)


def _trouble_page(page: PageContext, number: int, door: Door, before: float | None) -> Response:
    """The page of a trouble, whose forms act by `door`. Raises NotFound."""
    runtime, snapshot = page.runtime, page.runtime.snapshot
    with runtime.store.read(steady=True) as connection:
        detail = read_troubles.trouble_detail(connection, snapshot, runtime.clock.wall(), number, before)
    if detail is None:
        raise NotFound(f"there is no trouble {number}")
    progress = detail.one.progress
    one = progress.incident
    present, line = _present(page, one)
    device = snapshot.device(one.device)
    vendors = (one for one in snapshot.configuration.contacts.vendors if device and one.vendor == device.vendor)
    return page.show(
        "trouble.html", card=detail.one, progress=progress, timeline=timeline(detail), earlier=detail.earlier, device=device,
        merged=number if number != detail.one.trouble.trouble else 0, told_of=read_troubles.MEMBERS_SHOWN,
        rule=snapshot.rules.named(one.rule), vendor=next(vendors, None), present=present, sparkline=line,
        door=door,
    )  # fmt: skip


def _present(page: PageContext, one: Incident) -> tuple[Reading | None, Sparkline]:
    """The latest reading of the incident's series, and its last hours."""
    now = page.runtime.clock.wall()
    with page.runtime.store.read(steady=True) as connection:
        reading = _reading(page, connection, one)
        if reading is None:
            return None, BLANK
        history = read_history.readings_since(connection, one.device, now - SPARKLINE_S, quantity=one.evidence.quantity)
    return reading, _sparkline(reading[1], reading[0], history, now)


def _reading(page: PageContext, connection: sa.Connection, one: Incident) -> Reading | None:
    """The latest reading of the incident's series, with its age."""
    runtime = page.runtime
    devices = read_devices.device_readings(
        connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at, one.device
    )
    key = (one.evidence.quantity, one.instance)
    found = (
        (column, series, value)
        for device in devices
        for column in device.columns
        for series, value in column.readings()
        if (series.quantity, series.instance) == key
    )
    return next(found, None)


def _sparkline(series: Series, column: ProbeReadings, history: History, now: float) -> Sparkline:
    quantity = QUANTITIES.get(series.quantity)
    points = history.get((series.quantity, series.instance), [])
    return sparkline(points, quantity, now - SPARKLINE_S, now, column.every_s) if quantity else BLANK


@router.get("/devices")
def devices(page: CurrentPage, after: After = None) -> Response:
    """Every device with its latest readings and their age."""
    runtime, now = page.runtime, page.runtime.clock.wall()
    names, last = part_after(list(runtime.snapshot.devices), after, DEVICES_PER_PAGE)
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(connection, runtime.snapshot, now, runtime.started_at, among=names)
        open_now = read_incidents.open_incidents(connection, runtime.snapshot, now, 1000)
    by_device: dict[str, list[read_incidents.Progress]] = {}
    for progress in open_now:
        by_device.setdefault(progress.incident.device, []).append(progress)
    return page.show("devices.html", devices=found, open_incidents=by_device, headlines=headlines, last=last)


@router.get("/devices/{name}")
def device(page: CurrentPage, name: str) -> Response:
    """One device: each reading with its age and its last hours. Raises NotFound."""
    runtime = page.runtime
    now = runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(connection, runtime.snapshot, now, runtime.started_at, name)
        if not found:
            raise NotFound(f"there is no device `{name}`")
        parts = read_devices.device_parts(connection, name)
        history = read_history.readings_since(connection, name, now - SPARKLINE_S)
        troubles = read_troubles.open_troubles(connection, runtime.snapshot, now, TROUBLES_PER_PAGE, name)

    def line(series: Series, column: ProbeReadings) -> Sparkline:
        return _sparkline(series, column, history, now)

    return page.show(
        "device.html", one=found[0], gone=parts.gone, removals=parts.removals, sparkline=line, troubles=troubles,
        hours=int(SPARKLINE_S // 3600), poll_requested="asked" in page.request.query_params,
    )  # fmt: skip


@router.get("/channels")
def channels(page: CurrentPage, after: After = None) -> Response:
    """Every channel of every person: whether its robot is used, and its last test; and Watchkeeper itself."""
    runtime = page.runtime
    people = [one.person for one in runtime.snapshot.configuration.contacts.people]
    names, last = part_after(people, after, PEOPLE_PER_PAGE)
    with runtime.store.read() as connection:
        found = channel_statuses(connection, runtime.snapshot, runtime.robots, runtime.clock.boot(), names)
        collectors = peers(connection)
        faults = read_incidents.open_incidents(connection, runtime.snapshot, runtime.clock.wall(), device=COLLECTOR)
    return page.show(
        "channels.html", channels=found, last=last, collectors=collectors, faults=faults, own=runtime.identity.name,
        lapses=[(NOT_DONE[one.work], int(one.age_s)) for one in runtime.health.lapses()], heartbeat=runtime.heartbeat,
        refused=runtime.refusals.recent().most_common(SOURCES_SHOWN), late_s=RUNS_S,
    )  # fmt: skip


@router.get("/changes")
def changes(page: CurrentPage, before: Annotated[int | None, Query(ge=1, le=MAX_INCIDENT_NUMBER)] = None) -> Response:
    """The configurations that were in force, newest first, and the folder of each collector."""
    with page.runtime.store.read() as connection:
        found = activations.activations_before(connection, before, CHANGES_PER_PAGE + 1)
        folders = activations.folder_states(connection)
    shown, more = found[:CHANGES_PER_PAGE], found[CHANGES_PER_PAGE:]
    counts = {one.number: counts_of(one.diff) for one in shown}
    older = shown[-1].number if more else None
    return page.show("changes.html", changes=shown, counts=counts, folders=folders, more=older)


@router.get("/changes/{number}")
def change(page: CurrentPage, number: IncidentNumber) -> Response:
    """What one configuration changed. Its text names people and telephones, so that only a person who is signed in sees it. Raises
    NotFound."""
    with page.runtime.store.read() as connection:
        found = activations.numbered(connection, number)
    if found is None:
        raise NotFound(f"there is no configuration {number}")
    return page.show("change.html", one=found, counts=counts_of(found.diff))


def headlines(one: read_devices.DeviceReadings, limit: int = 8) -> tuple[list[Reading], int]:
    """The readings of a device to show first, as (column, series, value), and how many more there are."""
    found = [(column, series, value) for column in one.columns for series, value in column.readings()]
    ranked = sorted(
        (reading for reading in found if reading[1].quantity in HEADLINES),
        key=lambda reading: HEADLINES.index(reading[1].quantity),
    )
    return ranked[:limit], len(found) - len(ranked[:limit])


def timeline(detail: TroubleDetail) -> list[tuple[float, str, Any]]:
    """What happened to a trouble in the time of this page, in order, as (time, sort, event). The tries of a notice are with it."""
    happened: list[tuple[float, str, Any]] = [
        (step.at, "transition", (member, step)) for member, step, _ in detail.transitions
    ]
    progress = detail.one.progress
    happened += [
        (step.decided_at, "rung", step)
        for step in progress.steps
        if step.decided_at is not None and detail.shows(step.decided_at)
    ]
    for notice in filter(lambda one: detail.shows(one.at), progress.notices):
        happened.append((notice.at, "notice", notice))
        happened += [(one.at, "try", (notice, one)) for one in notice.tries]
    order = ("transition", "rung", "notice", "try")
    return sorted(happened, key=lambda entry: (entry[0], order.index(entry[1])))
