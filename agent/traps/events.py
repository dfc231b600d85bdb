"""Events that devices report only by traps, as series beside those of their polls. Pure: times are those of traps and
sweeps.

A trap reports one moment, and no poll can tell when its cause is over. So an event shows its level for a minute, in at
least one sweep; afterwards it is missing. An incident that it opened stays open until a person resolves it, or another
trap says that it is over. A notice opens no incident, and disappears after its minute."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from watchkeeper.model.event import EVENT_OVER, EVENT_QUANTITY, EVENT_SHOWN_S, MAX_EVENTS
from watchkeeper.model.reading import Series, Sweep, Value

NONE, NOTICE, WARNING, CRITICAL = "none", "notice", "warning", "critical"

_EVENT_SEVERITY = {NONE: 0, NOTICE: 1, WARNING: 2, CRITICAL: 3}


@dataclass(frozen=True, slots=True)
class TrapEvent:
    """An event reported by a trap: its `instance` and `label`, and its `level` (a state of device.event)."""

    instance: str
    label: str
    level: str


@dataclass(frozen=True, slots=True)
class _HeldEvent:
    level: str
    at: float
    shown: bool = False

    def value(self, now: float) -> Value:
        if not self.shown or now - self.at < EVENT_SHOWN_S:
            return self.level
        return EVENT_OVER if self.level in (WARNING, CRITICAL) else NONE


class _DeviceEvents:
    """The events of one device by instance, and their series."""

    def __init__(self) -> None:
        self.held: dict[str, _HeldEvent] = {}
        self.labels: dict[str, str] = {}
        self.beside: tuple[Series, ...] = ()
        self.series: tuple[Series, ...] = ()

    def note(self, event: TrapEvent, at: float) -> None:
        if event.instance not in self.held:
            self.series = ()
            if len(self.held) >= MAX_EVENTS:  # drop the mildest; among equals, the oldest
                dropped = min(self.held, key=lambda name: (_EVENT_SEVERITY[self.held[name].level], self.held[name].at))
                del self.held[dropped], self.labels[dropped]
        self.held[event.instance] = _HeldEvent(event.level, at)
        self.labels.setdefault(event.instance, event.label)

    def join(self, sweep: Sweep) -> Sweep:
        if not self.series or self.beside is not sweep.series:
            self.beside = sweep.series
            columns = (Series(sweep.device, EVENT_QUANTITY, name, self.labels[name], "trap") for name in self.held)
            self.series = (*sweep.series, *columns)
        values = [event.value(sweep.at) for event in self.held.values()]
        self.held = {name: event if event.shown else replace(event, shown=True) for name, event in self.held.items()}
        return Sweep(sweep.device, sweep.at, self.series, (*sweep.values, *values))


class TrapEvents:
    """The events of all devices."""

    def __init__(self) -> None:
        self._of: dict[str, _DeviceEvents] = {}

    def note(self, device: str, event: TrapEvent, at: float) -> None:
        """Add an event at boot time `at`. The same event again starts anew."""
        self._of.setdefault(device, _DeviceEvents()).note(event, at)

    def keep(self, devices: Collection[str]) -> None:
        """Forget the events of all other devices."""
        self._of = {name: events for name, events in self._of.items() if name in devices}

    def join(self, sweep: Sweep) -> Sweep:
        """The sweep with the device's events added. The series stay the same tuple until an event is new."""
        events = self._of.get(sweep.device)
        return events.join(sweep) if events else sweep
