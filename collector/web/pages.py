"""The pages that show something: rendered on the server, complete without JavaScript, in the reader's language."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from watchkeeper.collector.policy import roster
from watchkeeper.collector.policy.incidents import Incident, State
from watchkeeper.collector.process.actions import NoSuch
from watchkeeper.collector.read import views
from watchkeeper.collector.read.views import Column, Point
from watchkeeper.collector.web.page import CurrentPage, PageContext
from watchkeeper.collector.web.schemas import MAX_INCIDENT_NUMBER, IncidentNumber
from watchkeeper.collector.web.sparkline import BLANK, Sparkline, sparkline
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Series, Value

Reading = tuple[Column, Series, Value]
History = dict[tuple[str, str], list[Point]]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

INCIDENTS_PER_PAGE = 200

OVERVIEW_DEVICES = 12
"""A room with at most this many devices has them on the overview too."""

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
    """Open incidents, who is on duty, the state of the agents, and in a small room the latest readings."""
    runtime, snapshot = page.runtime, page.runtime.snapshot
    now = runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        climbs = views.open_climbs(connection, INCIDENTS_PER_PAGE)
        total = views.count_open(connection)
        heard = views.agents(connection, snapshot, now, runtime.started_at)
        recent = views.climbs_before(connection, None, 5, (State.RESOLVED, State.WITHDRAWN))
        small = len(snapshot.devices) <= OVERVIEW_DEVICES
        devices = views.watched(connection, snapshot, now, runtime.started_at) if small else []
    site, contacts = snapshot.configuration.inventory.site, snapshot.configuration.contacts
    return page.show(
        "overview.html", climbs=climbs, total=total, agents=heard, recent=recent, devices=devices, headlines=headlines,
        shift=roster.shift_at(contacts, site, now), handover=roster.next_handover(contacts, site, now),
    )  # fmt: skip


@router.get("/incidents")
def incidents(page: CurrentPage, before: Annotated[int | None, Query(ge=1, le=MAX_INCIDENT_NUMBER)] = None) -> Response:
    """All incidents, open and closed, newest first."""
    with page.runtime.store.read() as connection:
        found = views.climbs_before(connection, before, INCIDENTS_PER_PAGE + 1)
    more = found[INCIDENTS_PER_PAGE - 1].incident.incident if len(found) > INCIDENTS_PER_PAGE else None
    return page.show("incidents.html", climbs=found[:INCIDENTS_PER_PAGE], more=more)


@router.get("/incidents/{number}")
def incident(page: CurrentPage, number: IncidentNumber) -> Response:
    """Everything about one incident. Raises NoSuch."""
    with page.runtime.store.read(steady=True) as connection:
        found = views.story(connection, number)
    if found is None:
        raise NoSuch(f"there is no incident {number}")
    snapshot = page.runtime.snapshot
    present, line = _present(page, found.climb.incident)
    device = snapshot.device(found.climb.incident.device)
    vendors = (one for one in snapshot.configuration.contacts.vendors if device and one.vendor == device.vendor)
    return page.show(
        "incident.html", story=found, climb=found.climb, timeline=timeline(found), device=device,
        rule=snapshot.rules.named(found.climb.incident.rule), vendor=next(vendors, None), present=present, sparkline=line,
    )  # fmt: skip


def _present(page: PageContext, one: Incident) -> tuple[Reading | None, Sparkline]:
    """The latest reading of the incident's series, and its last hours."""
    runtime, now = page.runtime, page.runtime.clock.wall()
    key = (one.evidence.quantity, one.instance)
    with runtime.store.read(steady=True) as connection:
        devices = views.watched(connection, runtime.snapshot, now, runtime.started_at, one.device)
        found = (
            (column, series, value)
            for device in devices
            for column in device.columns
            for series, value in column.readings()
            if (series.quantity, series.instance) == key
        )
        reading = next(found, None)
        if reading is None:
            return None, BLANK
        history = views.past(connection, one.device, now - SPARKLINE_S, quantity=one.evidence.quantity)
    return reading, _sparkline(reading[1], reading[0], history, now)


def _sparkline(series: Series, column: Column, history: History, now: float) -> Sparkline:
    quantity = QUANTITIES.get(series.quantity)
    points = history.get((series.quantity, series.instance), [])
    return sparkline(points, quantity, now - SPARKLINE_S, now, column.every_s) if quantity else BLANK


@router.get("/devices")
def devices(page: CurrentPage) -> Response:
    """Every device with its latest readings and their age."""
    runtime = page.runtime
    with runtime.store.read(steady=True) as connection:
        found = views.watched(connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at)
        climbs = views.open_climbs(connection, 1000)
    open_climbs: dict[str, list[views.Climb]] = {}
    for climb in climbs:
        open_climbs.setdefault(climb.incident.device, []).append(climb)
    return page.show("devices.html", devices=found, open_climbs=open_climbs, headlines=headlines)


@router.get("/devices/{name}")
def device(page: CurrentPage, name: str) -> Response:
    """One device: each reading with its age and its last hours. Raises NoSuch."""
    runtime = page.runtime
    now = runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        found = views.watched(connection, runtime.snapshot, now, runtime.started_at, name)
        if not found:
            raise NoSuch(f"no device is called `{name}`")
        history = views.past(connection, name, now - SPARKLINE_S)
        climbs = views.open_climbs(connection, INCIDENTS_PER_PAGE, name)

    def line(series: Series, column: Column) -> Sparkline:
        return _sparkline(series, column, history, now)

    return page.show(
        "device.html", one=found[0], sparkline=line, climbs=climbs, hours=int(SPARKLINE_S // 3600),
        poll_requested="asked" in page.request.query_params,
    )  # fmt: skip


def headlines(one: views.Watched, limit: int = 8) -> tuple[list[Reading], int]:
    """The readings of a device to show first, as (column, series, value), and how many more there are."""
    found = [(column, series, value) for column in one.columns for series, value in column.readings()]
    ranked = sorted(
        (reading for reading in found if reading[1].quantity in HEADLINES),
        key=lambda reading: HEADLINES.index(reading[1].quantity),
    )
    return ranked[:limit], len(found) - len(ranked[:limit])


def timeline(found: views.Story) -> list[tuple[float, str, Any]]:
    """Everything that happened to an incident, in order, as (time, sort, event)."""
    happened: list[tuple[float, str, Any]] = [(one.at, "transition", one) for one, _ in found.transitions]
    happened += [(step.decided_at, "rung", step) for _, step in found.steps if step.decided_at is not None]
    for notice in found.notices:
        happened.append((notice.at, "notice", notice))
        happened += [(one.at, "try", (notice, one)) for one in notice.tries]
    order = ("transition", "rung", "notice", "try")
    return sorted(happened, key=lambda entry: (entry[0], order.index(entry[1])))
