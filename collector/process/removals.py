"""Parts that were read before and are gone; what persons confirm about them, and what their agents are told.

The agent is told with each answer to a push, until its frames no longer report the part: an answer may be lost. It may be
told twice, because it ignores a part that is not gone.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.store.schema import block, latest, removal
from watchkeeper.model.errors import Conflict
from watchkeeper.model.plain import printable
from watchkeeper.model.quantity import ABSENCE_QUANTITIES
from watchkeeper.model.wire import decode_values
from watchkeeper.rules.parts import READINGS

SHOWN = 20
"""How many confirmed removals of a device are shown."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A part of a device that was read before and is gone, since `since` (UTC seconds). `quantity` tells which sort of
    part it is; `device.readings` stands for most of its readings, and has no time."""

    device: str
    part: str
    label: str
    quantity: str
    since: float | None


@dataclass(frozen=True, slots=True)
class ConfirmedRemoval:
    """A person's word that a part was removed. `done_at` is when its agent no longer reported it."""

    device: str
    part: str
    label: str
    gone_at: float
    by: str
    confirmed_at: float
    note: str
    done_at: float | None


def gone_parts(connection: sa.Connection, device: str) -> list[Gone]:
    """The parts of the device that are gone, by its latest frame."""
    return [part for _, parts in _latest(connection, [device]).values() for part in parts]


def confirm(notifier: Notifier, device: str, part: str, person: str, now: float, *, note: str = "") -> None:
    """Note that the part was removed, and have the device's agent told. A second confirmation changes nothing. Raises
    NotFound, or Conflict for a part that is not gone."""
    known = notifier.snapshot.devices.get(device)
    if known is None:
        raise NotFound(f"there is no device `{device}`")
    with notifier.store.write() as connection:
        notifier.store.lock_names(connection, [f"removal {device}"])
        if _pending(connection, removal.c.device == device, removal.c.part == part):
            return
        gone = next((one for one in gone_parts(connection, device) if one.part == part), None)
        if gone is None:
            listed = ", ".join(f"`{one.part}`" for one in gone_parts(connection, device)) or "nothing"
            raise Conflict(f"`{part}` of {device} is not gone; gone is: {listed}")
        row = {
            "device": device, "agent": known.agent, "part": part, "label": gone.label, "gone_at": now if gone.since is None else gone.since,
            "by": person, "confirmed_at": now, "note": printable(note), "done_at": None,
        }  # fmt: skip
        connection.execute(sa.insert(removal), row)


def removals_of(connection: sa.Connection, device: str) -> list[ConfirmedRemoval]:
    """The newest confirmed removals of the device, newest first."""
    query = sa.select(removal).where(removal.c.device == device).order_by(removal.c.id.desc()).limit(SHOWN)
    return [
        ConfirmedRemoval(row.device, row.part, row.label, row.gone_at, row.by, row.confirmed_at, row.note, row.done_at)
        for row in connection.execute(query)
    ]


def pending_requests(connection: sa.Connection) -> dict[str, list[dict[str, str]]]:
    """What each agent must be told."""
    requests: dict[str, list[dict[str, str]]] = {}
    for row in _pending(connection):
        request = {"kind": "removed", "device": row.device, "part": row.part, "by": row.by}
        requests.setdefault(row.agent, []).append(request)
    return requests


def done(connection: sa.Connection) -> list[int]:
    """The pending removals that are done: a frame that is newer than the confirmation no longer says that the part is
    gone."""
    pending = _pending(connection)
    newest = _latest(connection, {row.device for row in pending})
    found = []
    for row in pending:
        at, parts = newest.get(row.device, (0.0, []))
        if at > row.confirmed_at and row.part not in {one.part for one in parts}:
            found.append(row.id)
    return found


def finish(connection: sa.Connection, numbers: Iterable[int], now: float) -> None:
    """Note that these removals are done."""
    connection.execute(sa.update(removal).where(removal.c.id.in_(list(numbers))), {"done_at": now})


def _pending(connection: sa.Connection, *where: "sa.ColumnElement[bool]") -> "list[sa.Row[Any]]":
    query = sa.select(removal).where(removal.c.done_at.is_(None), *where).order_by(removal.c.id)
    return list(connection.execute(query).all())


def _latest(connection: sa.Connection, devices: Collection[str]) -> dict[str, tuple[float, list[Gone]]]:
    """When each device was last read, and which of its parts were gone then."""
    if not devices:
        return {}
    same_block = sa.and_(
        latest.c.agent == block.c.agent, latest.c.epoch == block.c.epoch, latest.c.block == block.c.block
    )
    query = sa.select(latest.c.device, latest.c.at, latest.c.column, block.c.series).join(block, same_block)
    rows: Iterable[sa.Row[Any]] = connection.execute(query.where(latest.c.device.in_(devices)).order_by(latest.c.at))
    return {row.device: (row.at, list(_gone_in(row))) for row in rows}  # the newest, where a device changed its probe


def _gone_in(row: "sa.Row[Any]") -> Iterator[Gone]:
    values = decode_values(json.loads(row.column))
    for (quantity, part, label, _), value in zip(json.loads(row.series), values, strict=True):
        if quantity in ABSENCE_QUANTITIES and isinstance(value, float) and value > 0:
            yield Gone(row.device, part, label, quantity, row.at - value)
        elif quantity == READINGS and value in ("few", "none"):
            yield Gone(row.device, READINGS, label, quantity, None)
