"""Reads inventory.yml, contacts.yml and ladders.yml, and cross-checks them: every name used in one must stand in another,
and at every minute somebody must be on duty. The books are taken whole or refused whole, with every problem at once."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from watchkeeper.collector.site.inventory import (
    COLLECTOR,
    DUTY,
    OWNER,
    Configuration,
    Contacts,
    Inventory,
    Ladder,
    Ladders,
)
from watchkeeper.documents.bind import Bound, try_load
from watchkeeper.documents.scalars import ClockTime
from watchkeeper.model.device import Device
from watchkeeper.model.errors import ConfigError, Problem
from watchkeeper.model.verdict import Level

FILES = ("inventory.yml", "contacts.yml", "ladders.yml")

_NAME = re.compile(r"\w[\w.-]*")  # letters of any script: a name stands in URLs, keys and messages
_NAME_LIMIT = 200  # as in docs/protocol.md
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s/@:\[\]]+)(:(?P<port>\d{1,5}))?", re.ASCII)
_PORTS = range(1, 65536)
_DAY_MIN = 24 * 60
_SOME = 12  # names worth listing in a hint
_BAD = [level for level in Level if level.bad]

T = TypeVar("T")


def read_configuration(directory: Path) -> Configuration:
    """Read and cross-check the three files of a directory. Raises ConfigError with every problem of all of them."""
    inventory, contacts, ladders = (directory / name for name in FILES)
    return _together(_read(inventory, Inventory), _read(contacts, Contacts), _read(ladders, Ladders))


def parse_configuration(inventory: str, contacts: str, ladders: str) -> Configuration:
    """The same of three texts, called by the names of the files. Raises ConfigError."""
    stock, people, climbs = FILES
    return _together(
        try_load(inventory, stock, Inventory), try_load(contacts, people, Contacts), try_load(ladders, climbs, Ladders)
    )


def _read(file: Path, cls: type[T]) -> Bound[T]:
    try:
        return try_load(file.read_text(encoding="utf-8"), str(file), cls)
    except OSError as error:
        problem = Problem(str(file), 0, 0, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        problem = Problem(str(file), 0, 0, f"is not UTF-8: {error.reason}, byte {error.start}")
    return Bound(None, [problem], {}, str(file))


def _together(inventory: Bound[Inventory], contacts: Bound[Contacts], ladders: Bound[Ladders]) -> Configuration:
    stock, people, climbs = inventory.value, contacts.value, ladders.value
    problems = [*inventory.problems, *contacts.problems, *ladders.problems]
    # A file that makes no sense is not blamed in the others: they are only not checked against it.
    if stock:
        problems += _in_inventory(_Checked(inventory), stock, people)
    if people:
        problems += _in_contacts(_Checked(contacts), people)
    if climbs:
        problems += _in_ladders(_Checked(ladders), climbs, people)
    if problems or not (stock and people and climbs):
        raise ConfigError(problems)
    return Configuration(stock, people, climbs)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A file being checked: each method gives the problems of one sort."""

    bound: Bound[Any]

    def wrong(self, made: object, key: str, message: str) -> Problem:
        return self.bound.mark(made).problem(message, key)

    def names(self, records: Iterable[object], key: str, taken: Collection[str] = ()) -> Iterator[Problem]:
        """Every record has a name of its own, which can stand anywhere."""
        seen: dict[str, object] = {}
        for record in records:
            name = getattr(record, key)
            if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
                said = "use letters, digits, `.`, `-` and `_`, at most 200"
                yield self.wrong(record, key, f"`{name}` cannot be a name; {said}")
            elif name in seen:
                line = self.bound.mark(seen[name]).line
                yield self.wrong(record, key, f"the {key} `{name}` stands twice; the first is on line {line}")
            elif name in taken:
                yield self.wrong(record, key, f"`{name}` already names something else; give the {key} another name")
            seen.setdefault(name, record)

    def known(self, made: object, key: str, name: str, names: Collection[str], what: str) -> Iterator[Problem]:
        """A name that is used must be one of `names`."""
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            some = ", ".join(list(names)[:_SOME]) or "none"
            hint = f"did you mean `{near[0]}`?" if near else f"known: {some}{', ...' if len(names) > _SOME else ''}"
            yield self.wrong(made, key, f"there is no {what} `{name}`; {hint}")


# ---- inventory.yml ----


def _in_inventory(file: _Checked, inventory: Inventory, contacts: Contacts | None) -> Iterator[Problem]:
    agents = [agent.agent for agent in inventory.agents]
    yield from file.names(inventory.agents, "agent", taken=(COLLECTOR,))
    # An agent is itself shown as a device, and so is the collector.
    yield from file.names(inventory.devices, "device", taken=(*agents, COLLECTOR))
    for agent in inventory.agents:
        if agent.interval_s <= 0:
            yield file.wrong(agent, "interval", "must be longer than nothing")
        if contacts and agent.owner:
            yield from file.known(agent, "owner", agent.owner, _people(contacts), "person")
    for device in inventory.devices:
        yield from file.known(device, "agent", device.agent, agents, "agent")
        yield from _device(file, device)
        if contacts:
            yield from _ownership(file, device, contacts)


def _ownership(file: _Checked, device: Device, contacts: Contacts) -> Iterator[Problem]:
    if not device.owner:
        yield file.wrong(
            device, "owner", f"`{device.device}` needs `owner`, the person called after 10 minutes (4.2.6.2)"
        )
    else:
        yield from file.known(device, "owner", device.owner, _people(contacts), "person")
    if device.vendor:
        vendors = [vendor.vendor for vendor in contacts.vendors]
        yield from file.known(device, "vendor", device.vendor, vendors, "vendor")


def _device(file: _Checked, device: Device) -> Iterator[Problem]:
    """What one device's own fields say against each other."""
    if device.every_s <= 0:
        yield file.wrong(device, "every", "must be longer than nothing")
    if device.timeout_s <= 0:
        yield file.wrong(device, "timeout", "must be longer than nothing")
    if device.retries < 0:
        yield file.wrong(device, "retries", "cannot be negative")
    if device.address and not _is_address(device.address):
        shown = re.sub(r"^(\w+://)?.*@", r"\1***@", device.address)  # a community may stand there by mistake
        yield file.wrong(device, "address", f"`{shown}` is neither `host` nor `host:port`")
    for key, message in device.check_kind():
        yield file.wrong(device, key, f"`{device.device}` {message}")


def _is_address(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and (match["port"] is None or int(match["port"]) in _PORTS)


# ---- contacts.yml ----


def _people(contacts: Contacts) -> list[str]:
    return [person.person for person in contacts.people]


def _in_contacts(file: _Checked, contacts: Contacts) -> Iterator[Problem]:
    people = _people(contacts)
    yield from file.names(contacts.people, "person", taken=(DUTY, OWNER))
    yield from file.names(contacts.shifts, "shift")
    yield from file.names(contacts.vendors, "vendor")
    for person in contacts.people:
        if not person.channels:
            yield file.wrong(person, "channels", f"`{person.person}` cannot be reached; give at least one channel")
    for role, names in contacts.roles.items():
        yield from _role(file, contacts, role, names)
    for shift in contacts.shifts:
        if not shift.rotation:
            yield file.wrong(shift, "rotation", f"nobody takes the shift `{shift.shift}`; name at least one person")
        for name in shift.rotation:
            yield from file.known(shift, "rotation", name, people, "person")
    yield from _swaps(file, contacts)
    yield from _round_the_clock(file, contacts)


def _role(file: _Checked, contacts: Contacts, role: str, names: tuple[str, ...]) -> Iterator[Problem]:
    people = _people(contacts)
    if role in (DUTY, OWNER):
        yield file.wrong(
            contacts, "roles", f"the role `{role}` is worked out, from shifts or inventory; remove it here"
        )
    if role in people:
        yield file.wrong(contacts, "roles", f"`{role}` is both a role and a person; give the role another name")
    if not names:
        yield file.wrong(contacts, "roles", f"the role `{role}` is nobody; name a person, or remove the role")
    for name in names:
        yield from file.known(contacts, "roles", name, people, "person")


def _swaps(file: _Checked, contacts: Contacts) -> Iterator[Problem]:
    shifts = [shift.shift for shift in contacts.shifts]
    seen: set[tuple[object, str]] = set()
    for swap in contacts.swaps:
        yield from file.known(swap, "shift", swap.shift, shifts, "shift")
        yield from file.known(swap, "person", swap.person, _people(contacts), "person")
        if (swap.date, swap.shift) in seen:
            yield file.wrong(swap, "date", f"the shift `{swap.shift}` of {swap.date} is swapped twice")
        seen.add((swap.date, swap.shift))


def _round_the_clock(file: _Checked, contacts: Contacts) -> Iterator[Problem]:
    """Each shift must last exactly until the next one starts."""
    shifts = sorted(contacts.shifts, key=lambda shift: shift.start)
    if not shifts:
        yield file.wrong(contacts, "shifts", "nobody is ever on duty; write at least one shift")
    for shift, following in zip(shifts, [*shifts[1:], *shifts[:1]], strict=True):
        alone = len(shifts) == 1
        lasts = (_minute(shift.end) - _minute(shift.start)) % _DAY_MIN or _DAY_MIN
        until_next = (_minute(following.start) - _minute(shift.start)) % _DAY_MIN or (_DAY_MIN if alone else 0)
        if lasts < until_next:
            gap = f"nobody is on duty from {_said(shift.end)} to {_said(following.start)}"
            yield file.wrong(shift, "end", f"{gap}: `{shift.shift}` has ended and `{following.shift}` not begun")
        elif lasts > until_next:
            both = f"`{shift.shift}` lasts until {_said(shift.end)}"
            yield file.wrong(
                shift, "end", f"{both}, but `{following.shift}` already starts at {_said(following.start)}"
            )


def _minute(time: ClockTime) -> int:
    return time.hour * 60 + time.minute


def _said(time: ClockTime) -> str:
    return f"{time:%H:%M}"


# ---- ladders.yml ----


def _in_ladders(file: _Checked, ladders: Ladders, contacts: Contacts | None) -> Iterator[Problem]:
    yield from file.names(ladders.ladders, "ladder")
    uncovered = set(_BAD)
    for ladder in ladders.ladders:
        strange = [level for level in ladder.levels if not level.bad]
        if strange:
            yield file.wrong(ladder, "levels", f"nobody climbs for `{strange[0]}`; a level is {' or '.join(_BAD)}")
        elif not uncovered & set(ladder.levels):
            yield file.wrong(
                ladder, "levels", f"`{ladder.ladder}` is never climbed: no level is left for it by those above"
            )
        uncovered -= set(ladder.levels)
        if contacts:
            yield from _audiences(file, ladder, contacts)
    for level in sorted(uncovered):
        yield file.wrong(ladders, "ladders", f"no ladder has the level `{level}`; such a fault would be told to nobody")


def _audiences(file: _Checked, ladder: Ladder, contacts: Contacts) -> Iterator[Problem]:
    names = [DUTY, OWNER, *contacts.roles, *_people(contacts)]
    for rung in ladder.rungs:
        if not rung.tell:
            yield file.wrong(rung, "tell", f"the rung `{rung.rung}` tells nobody; name a role or a person")
        for name in rung.tell:
            yield from file.known(rung, "tell", name, names, "role or person")
    for name in ladder.fallback:
        yield from file.known(ladder, "fallback", name, names, "role or person")
    if set(ladder.fallback) == {OWNER}:
        yield file.wrong(ladder, "fallback", "an owner may be nobody; name a person, a role or `duty` as well")
