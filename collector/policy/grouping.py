"""Which incidents belong together. Pure; times in UTC seconds.

An incident joins a trouble for one of three reasons, the strongest first: another fault explains it (on the same device, or on
something that its device depends on), it is on the same device and began at the same time, or the same rule fails in the same
place at the same time. What nothing explains is a trouble of its own: a fault must never be hidden behind an older one that
has nothing to do with it.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

SAME_DEVICE_S = 60.0
"""Faults of one device that begin within this time are one trouble."""

SAME_PLACE_S = 30.0
"""Failures of one rule in one place are one trouble while each follows the one before it within this time."""

PARENT_LATE_S = 300.0
"""How much earlier than its cause a fault may have been noticed: both devices are read at their own intervals."""

EXPLAINS_S = 3600.0
"""For how long the loss of power or cooling explains new faults. A phase that was lost days ago must not hide a server that dies
today. What is silent explains the silence behind it for as long as it is silent."""

_SILENCE = frozenset({"device.answering", "agent.heard"})
_NO_SUPPLY = frozenset(
    {
        "output.source", "output.voltage", "output.health", "input.voltage", "input.state", "input.health", "breaker.state",
        "outlet.state", "transfer.source", "battery.charge", "battery.runtime", "inverter.state", "rectifier.state",
    }
)  # fmt: skip
_NO_COOLING = frozenset(
    {
        "cooling.unit", "cooling.health", "compressor.state", "compressor.health", "pump.state", "pump.health",
        "airflow.health", "water.health", "temperature.supply",
    }
)  # fmt: skip
_FROM_SUPPLY = (
    _SILENCE
    | _NO_SUPPLY
    | _NO_COOLING
    | {
        "battery.state", "battery.discharging", "bypass.state", "input.frequency", "output.frequency", "alarms.present",
        "psu.health", "redundancy.health", "power.state", "power.health", "link.state",
    }
)  # fmt: skip
_FROM_COOLING = _NO_COOLING | {
    "temperature.ambient", "temperature.component", "temperature.return", "temperature.health", "humidity.relative",
}  # fmt: skip
EXPLAINED_BY: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **dict.fromkeys(_SILENCE, frozenset(_SILENCE)),
        **dict.fromkeys(_NO_SUPPLY, frozenset(_FROM_SUPPLY)),
        **dict.fromkeys(_NO_COOLING, frozenset(_FROM_COOLING)),
    }
)
"""The quantity of a fault, and the quantities of the faults that it explains on the same device and on what depends on it: a
device is silent behind a silent switch, and behind a UPS without output. A worn battery or a full disk explains nothing."""


class Joined(StrEnum):
    """Why an incident is part of its trouble."""

    FIRST = "first"  # it began the trouble
    EXPLAINED = "explained"  # by another fault of the trouble
    DEVICE = "device"  # on the same device, at the same time
    PLACE = "place"  # the same rule in the same place, at the same time


@dataclass(frozen=True, slots=True)
class Fault:
    """An incident, as far as grouping looks at it. `trouble` is 0 until it has one. `place` is the device's location, or
    its agent where it has none. `explained_by` is the incident that explains it (0: none)."""

    incident: int
    device: str
    rule: str
    quantity: str
    place: str
    began_at: float
    trouble: int = 0
    open: bool = True
    explained_by: int = 0


@dataclass(frozen=True, slots=True)
class Membership:
    """The trouble that an incident belongs to, why, and the number of the incident that explains it (0: none)."""

    trouble: int
    joined: Joined
    explained_by: int = 0


class Chain(Protocol):
    """What depends on what (`policy.dependencies`)."""

    def ancestors(self, name: str) -> tuple[str, ...]:
        """What the device depends on, the nearest first."""

    def dependants(self, name: str) -> tuple[str, ...]:
        """Everything that depends on it."""


@dataclass(slots=True)
class Candidates:
    """The incidents that a new one may belong to: those of troubles that are not over."""

    chain: Chain
    _by_device: dict[str, list[Fault]] = field(default_factory=dict)
    _explained_by: dict[int, int] = field(default_factory=dict)
    _beside: dict[tuple[str, ...], list[Fault]] = field(default_factory=dict)
    _effects: set[int] = field(default_factory=set)

    def add(self, fault: Fault) -> None:
        """Add an incident that has a trouble. What another fault explains gathers nothing around it: its trouble is that of
        its cause, which need not have to do with what else fails there."""
        insort(self._by_device.setdefault(fault.device, []), fault, key=_began)
        self._explained_by[fault.incident] = fault.explained_by
        if not fault.explained_by:
            for beside in ((fault.device,), (fault.rule, fault.place)):
                insort(self._beside.setdefault(beside, []), fault, key=_began)

    def set_explained(self, fault: Fault, cause: int) -> None:
        """Another fault explains it now: the incident `cause`."""
        self._effects.add(fault.incident)
        self._explained_by[fault.incident] = cause

    def explanation(self, fault: Fault) -> Fault | None:
        """The open fault that explains this one: on its own device, or on the nearest thing that it depends on."""
        for device in (fault.device, *self.chain.ancestors(fault.device)):
            known = (one for one in self._by_device.get(device, ()) if one.open and explains(one, fault))
            found = (one for one in known if not self._is_explained_by(one, fault))
            if (first := next(found, None)) is not None:
                return first
        return None

    def _is_explained_by(self, one: Fault, fault: Fault) -> bool:
        """Whether the fault is among the explanations of `one`: nothing explains its own cause."""
        cause, seen = one.explained_by, {one.incident}
        while cause and cause not in seen:
            if cause == fault.incident:
                return True
            seen.add(cause)
            cause = self._explained_by.get(cause, 0)
        return False

    def explained(self, cause: Fault) -> Iterator[Fault]:
        """The open faults that this one explains, and that were noticed before it."""
        for device in (cause.device, *self.chain.dependants(cause.device)):
            yield from (one for one in self._by_device.get(device, ()) if one.open and explains(cause, one))

    def membership(self, fault: Fault) -> Membership | None:
        """The trouble that the incident belongs to; None if it begins one."""
        cause = self.explanation(fault)
        if cause is not None:
            return Membership(cause.trouble, Joined.EXPLAINED, cause.incident)
        beside = self._together((fault.device,), fault, SAME_DEVICE_S)
        if beside is not None:
            return Membership(beside.trouble, Joined.DEVICE)
        beside = self._together((fault.rule, fault.place), fault, SAME_PLACE_S)
        return Membership(beside.trouble, Joined.PLACE) if beside is not None else None

    def _together(self, where: tuple[str, ...], fault: Fault, within_s: float) -> Fault | None:
        """The latest of these incidents that began at the same time and that nothing explains."""
        found = self._beside.get(where, ())
        for at in range(bisect_right(found, fault.began_at + within_s, key=_began) - 1, -1, -1):
            if found[at].began_at < fault.began_at - within_s:
                break
            if found[at].incident not in self._effects:
                return found[at]
        return None


def explains(cause: Fault, fault: Fault) -> bool:
    """Whether the cause, which is on the same device or on something that it depends on, explains the fault."""
    return (
        cause.incident != fault.incident
        and fault.quantity in EXPLAINED_BY.get(cause.quantity, ())
        and fault.began_at >= cause.began_at - PARENT_LATE_S
        and (cause.quantity in _SILENCE or fault.began_at <= cause.began_at + EXPLAINS_S)
        and not (cause.device == fault.device and _order(cause) > _order(fault))
    )


def _order(fault: Fault) -> tuple[float, int]:
    """The order in which faults of one device can explain each other: only the earlier one explains the later one."""
    return (fault.began_at, fault.incident)


def can_be_explained(quantity: str) -> bool:
    """Whether a fault of that quantity may have its cause elsewhere."""
    return any(quantity in effects for effects in EXPLAINED_BY.values())


def _began(fault: Fault) -> float:
    return fault.began_at
