"""The models of the API's responses about devices, and how they are made. Times are UTC seconds, ages seconds."""

from collections.abc import Sequence

from pydantic import Field

from watchkeeper.collector.process.removals import ConfirmedRemoval, Gone
from watchkeeper.collector.read.devices import DeviceParts, DeviceReadings, ProbeReadings
from watchkeeper.collector.web.schemas import NO_NUL, NoteIn, Schema, present, unit_of
from watchkeeper.model.reading import Missing, Series, Value


class ReadingOut(Schema):
    """One value, in `unit` or as the name of a state; null if it is missing, with the reason."""

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


class DeviceOut(Schema):
    """A device of the inventory. It is stale if none of its readings is current. `depends_on` names devices and unmonitored
    things, as the inventory does."""

    device: str
    category: str
    agent: str
    owner: str
    vendor: str
    location: str
    purpose: str
    depends_on: list[str]
    stale: bool
    read_at: float | None


class GoneOut(Schema):
    """A part that was read before and is gone, since `since`; `device.readings` stands for most readings of the device.
    `confirmed_by` said that it was removed; its agent is told."""

    part: str
    label: str
    quantity: str
    since: float | None
    confirmed_by: str | None
    confirmed_at: float | None


class RemovalOut(Schema):
    """A part that a person confirmed as removed. `done_at` is when its agent no longer reported it."""

    part: str
    label: str
    gone_at: float
    by: str
    confirmed_at: float
    note: str
    done_at: float | None


class RemovedIn(NoteIn):
    """The part that was removed, as the device's `gone` names it, and a note."""

    part: str = Field(min_length=1, max_length=200, pattern=NO_NUL)


class ReadByOut(Schema):
    """How a device is read: by which profile (empty: none fits) and why, further `facts` as [name, text], and how many of
    its readings have a value."""

    probe: str
    profile: str | None
    why: str
    facts: list[tuple[str, str]]
    readings: int
    with_value: int


class DeviceDetailOut(DeviceOut):
    """A device with its latest readings, how it is read, what is gone of it, and what persons confirmed as removed.
    `dependants` is all that depends on it, also through others, the nearest first."""

    dependants: list[str]
    read_by: list[ReadByOut]
    readings: list[ReadingOut]
    gone: list[GoneOut]
    removed: list[RemovalOut]


# ---- how they are made ----


def device_out(one: DeviceReadings) -> DeviceOut:
    """A device without its readings."""
    return DeviceOut.model_validate(_device(one))


def device_detail_out(one: DeviceReadings, parts: DeviceParts, dependants: Sequence[str]) -> DeviceDetailOut:
    """A device with its latest readings, what is gone of it, and what depends on it."""
    readings = [_reading(column, series, value) for column in one.columns for series, value in column.readings()]
    gone = [_gone(part, confirmed) for part, confirmed in parts.gone]
    removed = [RemovalOut.model_validate(past, from_attributes=True) for past in parts.removals]
    read_by = [_read_by(column) for column in one.columns]
    fields = {"read_by": read_by, "readings": readings, "gone": gone, "removed": removed, "dependants": [*dependants]}
    return DeviceDetailOut.model_validate(_device(one) | fields)


def _gone(part: Gone, confirmed: ConfirmedRemoval | None) -> GoneOut:
    by, at = (confirmed.by, confirmed.confirmed_at) if confirmed else (None, None)
    return GoneOut(
        part=part.part, label=part.label, quantity=part.quantity, since=part.since, confirmed_by=by, confirmed_at=at
    )


def _read_by(column: ProbeReadings) -> ReadByOut:
    facts, (with_value, readings) = dict(column.facts), column.counted
    others = [fact for fact in column.facts if fact[0] not in ("profile", "why")]
    return ReadByOut(
        probe=column.probe, profile=facts.get("profile"), why=facts.get("why", ""), facts=others, readings=readings,
        with_value=with_value,
    )  # fmt: skip


def _device(one: DeviceReadings) -> dict[str, object]:
    device = one.device
    return {
        "device": device.device, "category": device.category.value, "agent": device.agent, "owner": device.owner,
        "vendor": device.vendor, "location": device.location, "purpose": device.purpose,
        "depends_on": list(device.depends_on), "stale": one.stale, "read_at": max((column.at for column in one.columns), default=None),
    }  # fmt: skip


def _reading(column: ProbeReadings, series: Series, value: Value) -> ReadingOut:
    missing = value if isinstance(value, Missing) else None
    return ReadingOut(
        quantity=series.quantity, instance=series.instance, label=series.label, unit=unit_of(series.quantity),
        value=present(value), missing=missing.reason.value if missing else None,
        detail=missing.detail if missing else None, at=column.at, age_s=column.age_s, stale=column.stale,
    )  # fmt: skip
