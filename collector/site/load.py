"""Reads inventory.yml, contacts.yml and ladders.yml, and cross-checks them: every name that one of them uses must be
defined, and at every minute somebody must be on duty. One problem makes all three files invalid, and all problems are
reported together."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from watchkeeper.channels.ports import Via, dialled
from watchkeeper.collector.site import devices
from watchkeeper.collector.site.dependencies import all_dependants, dependency_problems
from watchkeeper.collector.site.files import FILES, SiteFiles, read_files
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
from watchkeeper.profiles import Profiles

_NAME_PATTERN = re.compile(r"\w[\w.-]*")  # letters of any script; safe in URLs, keys and messages
_NAME_LIMIT = 200  # as in docs/protocol.md
_HOST_PATTERN = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s/@:\[\]]+)(:(?P<port>\d{1,5}))?", re.ASCII)
_PORTS = range(1, 65536)
_DAY_MIN = 24 * 60
_HINT_NAMES_LIMIT = 12
_BAD_LEVELS = [level for level in Level if level.bad]

T = TypeVar("T")


def read_configuration(directory: Path, profiles: Profiles | None = None) -> Configuration:
    """Read and cross-check the three files of a directory. Raises ConfigError with the problems of all three. With
    `profiles`, the profiles that devices name must be among them, and fit."""
    return configuration_of(read_files(directory), profiles)


def parse_configuration(inventory: str, contacts: str, ladders: str, profiles: Profiles | None = None) -> Configuration:
    """Cross-check the texts of the three files, as `read_configuration` does. Raises ConfigError."""
    return configuration_of(SiteFiles(dict(zip(FILES, (inventory, contacts, ladders), strict=True))), profiles)


def configuration_of(files: SiteFiles, profiles: Profiles | None = None) -> Configuration:
    """Cross-check the three files, as `read_configuration` does. Raises ConfigError."""
    inventory, contacts, ladders = FILES
    return _cross_check(
        _bind_file(files, inventory, Inventory),
        _bind_file(files, contacts, Contacts),
        _bind_file(files, ladders, Ladders),
        profiles,
    )


def _bind_file(files: SiteFiles, name: str, cls: type[T]) -> Bound[T]:
    try:
        document = files.document(name)
    except ConfigError as error:
        return Bound(None, list(error.problems), {}, files.label(name))
    return try_load(document.text, document.name, cls)


def _cross_check(
    bound_inventory: Bound[Inventory],
    bound_contacts: Bound[Contacts],
    bound_ladders: Bound[Ladders],
    profiles: Profiles | None,
) -> Configuration:
    inventory, contacts, ladders = bound_inventory.value, bound_contacts.value, bound_ladders.value
    problems = [*bound_inventory.problems, *bound_contacts.problems, *bound_ladders.problems]
    # If a file has no value, the others are not checked against it: its own problem is enough.
    if inventory:
        file = _FileCheck(bound_inventory)
        problems += _inventory_problems(file, inventory, contacts)
        problems += (file.problem(*wrong) for wrong in devices.problems(inventory.devices, profiles))
    if contacts:
        problems += _contacts_problems(_FileCheck(bound_contacts), contacts)
    if ladders:
        problems += _ladders_problems(_FileCheck(bound_ladders), ladders, contacts)
    if problems or not (inventory and contacts and ladders):
        raise ConfigError(problems)
    warnings = tuple(_FileCheck(bound_inventory).problem(*one) for one in devices.warnings(inventory.devices))
    return Configuration(inventory, with_numbers(contacts), ladders, warnings)


@dataclass(frozen=True, slots=True)
class _FileCheck:
    """Makes the problems of one file, each with its line and column."""

    bound: Bound[Any]

    def problem(self, record: object, key: str, message: str) -> Problem:
        return self.bound.mark(record).problem(message, key)

    def unique_names(
        self, records: Iterable[object], key: str, taken: Collection[str] = (), what: str = ""
    ) -> Iterator[Problem]:
        """Every record must have its own valid name, which is not in `taken`. `what` is the word for a record, if that is
        not its key."""
        what = what or key
        seen: dict[str, object] = {}
        for record in records:
            name = getattr(record, key)
            if not _NAME_PATTERN.fullmatch(name) or len(name) > _NAME_LIMIT:
                hint = f"use letters, digits, `.`, `-` and `_`, at most {_NAME_LIMIT}"
                yield self.problem(record, key, f"`{name}` is not a valid name; {hint}")
            elif name in seen:
                line = self.bound.mark(seen[name]).line
                yield self.problem(record, key, f"the {what} `{name}` is defined twice; the first is on line {line}")
            elif name in taken:
                yield self.problem(record, key, f"the name `{name}` is already taken; give the {what} another name")
            seen.setdefault(name, record)

    def known_name(self, record: object, key: str, name: str, names: Collection[str], what: str) -> Iterator[Problem]:
        """A name that is used must be one of `names`."""
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            listed = ", ".join(list(names)[:_HINT_NAMES_LIMIT]) or "none"
            more = ", ..." if len(names) > _HINT_NAMES_LIMIT else ""
            hint = f"did you mean `{near[0]}`?" if near else f"known: {listed}{more}"
            yield self.problem(record, key, f"there is no {what} `{name}`; {hint}")


# ---- inventory.yml ----


def _inventory_problems(file: _FileCheck, inventory: Inventory, contacts: Contacts | None) -> Iterator[Problem]:
    agents = [agent.agent for agent in inventory.agents]
    yield from file.unique_names(inventory.agents, "agent", taken=(COLLECTOR,))
    # Agents and the collector are shown as devices too.
    yield from file.unique_names(inventory.devices, "device", taken=(*agents, COLLECTOR))
    devices_and_agents = {*agents, COLLECTOR, *(device.device for device in inventory.devices)}
    yield from file.unique_names(inventory.unmonitored, "name", devices_and_agents, "unmonitored thing")
    yield from _dependency_problems(file, inventory)
    for agent in inventory.agents:
        if agent.interval_s <= 0:
            yield file.problem(agent, "interval", "must be longer than 0 s")
        if contacts and agent.owner:
            yield from file.known_name(agent, "owner", agent.owner, _people(contacts), "person")
    for device in inventory.devices:
        yield from file.known_name(device, "agent", device.agent, agents, "agent")
        yield from _device_problems(file, device)
        if contacts:
            yield from _owner_problems(file, device, contacts)


def _dependency_problems(file: _FileCheck, inventory: Inventory) -> Iterator[Problem]:
    agents = {agent.agent for agent in inventory.agents}
    names = dict.fromkeys([device.device for device in inventory.devices] + [one.name for one in inventory.unmonitored])
    for record in all_dependants(inventory):
        for name in dict.fromkeys(record.depends_on):
            if name not in agents:
                yield from file.known_name(record, "depends_on", name, names, "device or unmonitored thing")
    for record, message in dependency_problems(inventory):
        yield file.problem(record, "depends_on", message)


def _owner_problems(file: _FileCheck, device: Device, contacts: Contacts) -> Iterator[Problem]:
    if not device.owner:
        yield file.problem(
            device, "owner", f"`{device.device}` needs `owner`, the person called after 10 minutes (4.2.6.2)"
        )
    else:
        yield from file.known_name(device, "owner", device.owner, _people(contacts), "person")
    if device.vendor:
        vendors = [vendor.vendor for vendor in contacts.vendors]
        yield from file.known_name(device, "vendor", device.vendor, vendors, "vendor")


def _device_problems(file: _FileCheck, device: Device) -> Iterator[Problem]:
    """Problems that concern the fields of one device only."""
    if device.every_s <= 0:
        yield file.problem(device, "every", "must be longer than 0 s")
    if device.timeout_s <= 0:
        yield file.problem(device, "timeout", "must be longer than 0 s")
    if device.retries < 0:
        yield file.problem(device, "retries", "cannot be negative")
    if device.address and not _is_address(device.address):
        shown = re.sub(r"^(\w+://)?.*@", r"\1***@", device.address)  # it may contain a community or password by mistake
        yield file.problem(device, "address", f"`{shown}` is neither `host` nor `host:port`")
    for key, message in device.check_kind():
        yield file.problem(device, key, f"`{device.device}` {message}")


def _is_address(text: str) -> bool:
    match = _HOST_PATTERN.fullmatch(text)
    return match is not None and (match["port"] is None or int(match["port"]) in _PORTS)


# ---- contacts.yml ----


def _people(contacts: Contacts) -> list[str]:
    return [person.person for person in contacts.people]


def _contacts_problems(file: _FileCheck, contacts: Contacts) -> Iterator[Problem]:
    people = _people(contacts)
    yield from file.unique_names(contacts.people, "person", taken=(DUTY, OWNER))
    yield from file.unique_names(contacts.shifts, "shift")
    yield from file.unique_names(contacts.vendors, "vendor")
    for person in contacts.people:
        if not person.channels:
            yield file.problem(person, "channels", f"`{person.person}` has no channel; give at least one")
        if not dialled(person.phone) and any(one.via is Via.SMS and not one.to for one in person.channels):
            yield file.problem(
                person,
                "phone",
                f"`{person.person}` gets SMS: give `phone` a telephone number, or the channel its own in `to`",
            )
    for role, names in contacts.roles.items():
        yield from _role_problems(file, contacts, role, names)
    for shift in contacts.shifts:
        if not shift.rotation:
            yield file.problem(
                shift, "rotation", f"the shift `{shift.shift}` has nobody in its rotation; name at least one person"
            )
        for name in shift.rotation:
            yield from file.known_name(shift, "rotation", name, people, "person")
    yield from _swap_problems(file, contacts)
    yield from _duty_gaps(file, contacts)


def with_numbers(contacts: Contacts) -> Contacts:
    """The same contacts, with each person's number in their sms channels that have none of their own."""
    people = (
        replace(one, channels=tuple(
            replace(address, to=one.phone) if address.via is Via.SMS and not address.to else address
            for address in one.channels
        ))
        for one in contacts.people
    )  # fmt: skip
    return replace(contacts, people=tuple(people))


def _role_problems(file: _FileCheck, contacts: Contacts, role: str, names: tuple[str, ...]) -> Iterator[Problem]:
    people = _people(contacts)
    if role in (DUTY, OWNER):
        yield file.problem(contacts, "roles", f"the role `{role}` is computed from shifts or inventory; remove it here")
    if role in people:
        yield file.problem(contacts, "roles", f"`{role}` is both a role and a person; give the role another name")
    if not names:
        yield file.problem(contacts, "roles", f"the role `{role}` has no person; name one, or remove the role")
    for name in names:
        yield from file.known_name(contacts, "roles", name, people, "person")


def _swap_problems(file: _FileCheck, contacts: Contacts) -> Iterator[Problem]:
    shifts = [shift.shift for shift in contacts.shifts]
    seen: set[tuple[object, str]] = set()
    for swap in contacts.swaps:
        yield from file.known_name(swap, "shift", swap.shift, shifts, "shift")
        yield from file.known_name(swap, "person", swap.person, _people(contacts), "person")
        if (swap.date, swap.shift) in seen:
            yield file.problem(swap, "date", f"the shift `{swap.shift}` of {swap.date} is swapped twice")
        seen.add((swap.date, swap.shift))


def _duty_gaps(file: _FileCheck, contacts: Contacts) -> Iterator[Problem]:
    """Each shift must last exactly until the next one starts."""
    shifts = sorted(contacts.shifts, key=lambda shift: shift.start)
    if not shifts:
        yield file.problem(contacts, "shifts", "no shift is defined, so nobody is ever on duty; write at least one")
    for shift, following in zip(shifts, [*shifts[1:], *shifts[:1]], strict=True):
        alone = len(shifts) == 1
        lasts = (_minute(shift.end) - _minute(shift.start)) % _DAY_MIN or _DAY_MIN
        until_next = (_minute(following.start) - _minute(shift.start)) % _DAY_MIN or (_DAY_MIN if alone else 0)
        if lasts < until_next:
            gap = f"nobody is on duty from {_hh_mm(shift.end)} to {_hh_mm(following.start)}"
            yield file.problem(shift, "end", f"{gap}: `{shift.shift}` has ended and `{following.shift}` has not begun")
        elif lasts > until_next:
            both = f"`{shift.shift}` lasts until {_hh_mm(shift.end)}"
            yield file.problem(
                shift, "end", f"{both}, but `{following.shift}` already starts at {_hh_mm(following.start)}"
            )


def _minute(time: ClockTime) -> int:
    return time.hour * 60 + time.minute


def _hh_mm(time: ClockTime) -> str:
    return f"{time:%H:%M}"


# ---- ladders.yml ----


def _ladders_problems(file: _FileCheck, ladders: Ladders, contacts: Contacts | None) -> Iterator[Problem]:
    yield from file.unique_names(ladders.ladders, "ladder")
    uncovered = set(_BAD_LEVELS)
    for ladder in ladders.ladders:
        invalid = [level for level in ladder.levels if not level.bad]
        if invalid:
            yield file.problem(
                ladder, "levels", f"`{invalid[0]}` needs no ladder; the levels are {' and '.join(_BAD_LEVELS)}"
            )
        elif not uncovered & set(ladder.levels):
            yield file.problem(
                ladder, "levels", f"`{ladder.ladder}` is never used: the ladders above it already have its levels"
            )
        uncovered -= set(ladder.levels)
        if contacts:
            yield from _audience_problems(file, ladder, contacts)
    for level in sorted(uncovered):
        yield file.problem(ladders, "ladders", f"no ladder has the level `{level}`; such a fault would page nobody")


def _audience_problems(file: _FileCheck, ladder: Ladder, contacts: Contacts) -> Iterator[Problem]:
    names = [DUTY, OWNER, *contacts.roles, *_people(contacts)]
    for rung in ladder.rungs:
        if not rung.tell:
            yield file.problem(rung, "tell", f"the rung `{rung.rung}` tells nobody; name a role or a person")
        for key in ("tell", "on_site"):
            for name in getattr(rung, key):
                yield from file.known_name(rung, key, name, names, "role or person")
    for name in ladder.fallback:
        yield from file.known_name(ladder, "fallback", name, names, "role or person")
    if set(ladder.fallback) == {OWNER}:
        yield file.problem(
            ladder, "fallback", "an agent may have no owner; name a person, another role or `duty` as well"
        )
