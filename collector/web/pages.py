"""The pages that show: server-rendered, complete without JavaScript, in the reader's language."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from watchkeeper.collector.policy import roster
from watchkeeper.collector.policy.incidents import Incident, IncidentState
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.read import agents as read_agents
from watchkeeper.collector.read import devices as read_devices
from watchkeeper.collector.read import history as read_history
from watchkeeper.collector.read import incidents as read_incidents
from watchkeeper.collector.read.devices import ProbeReadings
from watchkeeper.collector.read.history import Point
from watchkeeper.collector.web.page import Here, PageContext
from watchkeeper.collector.web.schemas import LARGEST, Number
from watchkeeper.collector.web.sparkline import BLANK, Spark, sparkline
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Series, Value

Reading = tuple[ProbeReadings, Series, Value]
History = dict[tuple[str, str], list[Point]]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

MOST = 200
"""Incidents on one page."""

FEW = 12
"""So many devices are on the first page too, for a room that fits there."""

SPARK_S = 6 * 3600.0
"""How far back the small pictures of a device go."""

HEADLINES = (
    "device.answering", "device.alarm", "temperature.ambient", "humidity.relative", "leak", "cooling.unit", "output.source",
    "battery.charge", "battery.runtime", "output.load", "input.voltage", "temperature.supply", "temperature.return",
    "cpu.usage", "memory.usage", "swap.usage", "disk.usage", "load.5m", "temperature.component",
)  # fmt: skip
"""What is shown of a device first, where everything would be too much."""


@router.get("/")
def overview(here: Here) -> Response:
    """What is wrong now, who is on duty, whether anybody still watches, and what a small room reads."""
    runtime, snapshot = here.runtime, here.runtime.snapshot
    now = runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        climbs = read_incidents.open_incidents(connection, snapshot, now, MOST)
        total = read_incidents.count_open(connection)
        heard = read_agents.agent_statuses(connection, snapshot, now, runtime.started_at)
        recent = read_incidents.incidents_before(
            connection, snapshot, now, None, 5, (IncidentState.RESOLVED, IncidentState.WITHDRAWN)
        )
        few = len(snapshot.devices) <= FEW
        devices = read_devices.device_readings(connection, snapshot, now, runtime.started_at) if few else []
    site, contacts = snapshot.configuration.inventory.site, snapshot.configuration.contacts
    return here.show(
        "overview.html", climbs=climbs, total=total, agents=heard, recent=recent, devices=devices, foremost=foremost,
        shift=roster.shift_at(contacts, site, now), handover=roster.next_handover(contacts, site, now),
    )  # fmt: skip


@router.get("/incidents")
def past(here: Here, before: Annotated[int | None, Query(ge=1, le=LARGEST)] = None) -> Response:
    """Incidents that are over, and those that are not, newest first."""
    runtime = here.runtime
    with runtime.store.read() as connection:
        found = read_incidents.incidents_before(connection, runtime.snapshot, runtime.clock.wall(), before, MOST + 1)
    more = found[MOST - 1].incident.incident if len(found) > MOST else None
    return here.show("incidents.html", climbs=found[:MOST], more=more)


@router.get("/incidents/{number}")
def incident(here: Here, number: Number) -> Response:
    """Everything about one incident. Raises NoSuch."""
    runtime = here.runtime
    with runtime.store.read(steady=True) as connection:
        found = read_incidents.incident_detail(connection, runtime.snapshot, runtime.clock.wall(), number)
    if found is None:
        raise NotFound(f"there is no incident {number}")
    snapshot = runtime.snapshot
    present, drawn = _present(here, found.progress.incident)
    device = snapshot.device(found.progress.incident.device)
    vendors = (one for one in snapshot.configuration.contacts.vendors if device and one.vendor == device.vendor)
    return here.show(
        "incident.html", story=found, climb=found.progress, timeline=timeline(found), device=device,
        rule=snapshot.rules.named(found.progress.incident.rule), vendor=next(vendors, None), present=present, drawn=drawn,
    )  # fmt: skip


def _present(here: PageContext, one: Incident) -> tuple[Reading | None, Spark]:
    """What the incident's series reads now, and its last hours."""
    runtime, now = here.runtime, here.runtime.clock.wall()
    key = (one.evidence.quantity, one.instance)
    with runtime.store.read(steady=True) as connection:
        devices = read_devices.device_readings(connection, runtime.snapshot, now, runtime.started_at, one.device)
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
        history = read_history.readings_since(connection, one.device, now - SPARK_S, quantity=one.evidence.quantity)
    return reading, _drawn(reading[1], reading[0], history, now)


def _drawn(series: Series, column: ProbeReadings, history: History, now: float) -> Spark:
    quantity = QUANTITIES.get(series.quantity)
    points = history.get((series.quantity, series.instance), [])
    return sparkline(points, quantity, now - SPARK_S, now, column.every_s) if quantity else BLANK


@router.get("/devices")
def devices(here: Here) -> Response:
    """Every device with its latest readings and their age."""
    runtime = here.runtime
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at)
        climbs = read_incidents.open_incidents(connection, runtime.snapshot, runtime.clock.wall(), 1000)
    troubles: dict[str, list[read_incidents.Progress]] = {}
    for climb in climbs:
        troubles.setdefault(climb.incident.device, []).append(climb)
    return here.show("devices.html", devices=found, troubles=troubles, foremost=foremost)


@router.get("/devices/{name}")
def device(here: Here, name: str) -> Response:
    """One device: each reading, its age and its last hours. Raises NoSuch."""
    runtime = here.runtime
    now = runtime.clock.wall()
    with runtime.store.read(steady=True) as connection:
        found = read_devices.device_readings(connection, runtime.snapshot, now, runtime.started_at, name)
        if not found:
            raise NotFound(f"no device is called `{name}`")
        history = read_history.readings_since(connection, name, now - SPARK_S)
        climbs = read_incidents.open_incidents(connection, runtime.snapshot, now, MOST, name)

    def drawn(series: Series, column: ProbeReadings) -> Spark:
        return _drawn(series, column, history, now)

    asked = "asked" in here.request.query_params
    return here.show("device.html", one=found[0], drawn=drawn, climbs=climbs, hours=int(SPARK_S // 3600), asked=asked)


def foremost(one: read_devices.DeviceReadings, most: int = 8) -> tuple[list[Reading], int]:
    """The readings of a device to show first, as (column, series, value), and how many more there are."""
    found = [(column, series, value) for column in one.columns for series, value in column.readings()]
    ranked = sorted(
        (reading for reading in found if reading[1].quantity in HEADLINES),
        key=lambda reading: HEADLINES.index(reading[1].quantity),
    )
    return ranked[:most], len(found) - len(ranked[:most])


def timeline(found: read_incidents.IncidentDetail) -> list[tuple[float, str, Any]]:
    """(time, what sort of thing, the thing): all that happened to an incident, in order."""
    happened: list[tuple[float, str, Any]] = [(one.at, "transition", one) for one, _ in found.transitions]
    happened += [(step.decided_at, "rung", step) for _, step in found.steps if step.decided_at is not None]
    for notice in found.notices:
        happened.append((notice.at, "notice", notice))
        happened += [(one.at, "try", (notice, one)) for one in notice.tries]
    order = ("transition", "rung", "notice", "try")
    return sorted(happened, key=lambda entry: (entry[0], order.index(entry[1])))
