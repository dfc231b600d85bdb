"""What devices say by traps alone, as columns beside what their polls read. Pure: times are those of traps and sweeps.

A trap tells of a moment, and no poll can tell when its cause is over. So an event shows its level for a minute, at least
once, and after that is missing: an incident it opened stays until a person resolves it, or another trap says that it is
over. A notice opens none; after its minute there is nothing."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from watchkeeper.agent.event import EVENT_OVER, EVENT_QUANTITY, EVENT_SHOWN_S, MAX_EVENTS
from watchkeeper.model.reading import Series, Sweep, Value

NONE, NOTICE, WARNING, CRITICAL = "none", "notice", "warning", "critical"

_WEIGHT = {NONE: 0, NOTICE: 1, WARNING: 2, CRITICAL: 3}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a trap says: the event `instance`, called `label` by people, has that `level` (a state of device.event)."""

    instance: str
    label: str
    level: str


@dataclass(frozen=True, slots=True)
class _Event:
    level: str
    at: float
    shown: bool = False

    def value(self, now: float) -> Value:
        if not self.shown or now - self.at < EVENT_SHOWN_S:
            return self.level
        return EVENT_OVER if self.level in (WARNING, CRITICAL) else NONE


class _Events:
    """Those of one device, by instance, with the columns they stand in."""

    def __init__(self) -> None:
        self.held: dict[str, _Event] = {}
        self.labels: dict[str, str] = {}
        self.beside: tuple[Series, ...] = ()
        self.series: tuple[Series, ...] = ()

    def note(self, told: Reply, at: float) -> None:
        if told.instance not in self.held:
            self.series = ()
            if len(self.held) >= MAX_EVENTS:  # the mildest goes, and of these the oldest
                oldest = min(self.held, key=lambda name: (_WEIGHT[self.held[name].level], self.held[name].at))
                del self.held[oldest], self.labels[oldest]
        self.held[told.instance] = _Event(told.level, at)
        self.labels.setdefault(told.instance, told.label)

    def join(self, sweep: Sweep) -> Sweep:
        if not self.series or self.beside is not sweep.series:
            self.beside = sweep.series
            columns = (Series(sweep.device, EVENT_QUANTITY, name, self.labels[name], "trap") for name in self.held)
            self.series = (*sweep.series, *columns)
        values = [event.value(sweep.at) for event in self.held.values()]
        self.held = {name: event if event.shown else replace(event, shown=True) for name, event in self.held.items()}
        return Sweep(sweep.device, sweep.at, self.series, (*sweep.values, *values))


class Events:
    """See the module."""

    def __init__(self) -> None:
        self._of: dict[str, _Events] = {}

    def note(self, device: str, told: Reply, at: float) -> None:
        """A device told of an event at boot time `at`; told again, it begins anew."""
        self._of.setdefault(device, _Events()).note(told, at)

    def keep(self, devices: Collection[str]) -> None:
        """Forget those of all other devices."""
        self._of = {name: events for name, events in self._of.items() if name in devices}

    def join(self, sweep: Sweep) -> Sweep:
        """The sweep with its device's events beside it: in the same columns as long as no event is new."""
        events = self._of.get(sweep.device)
        return events.join(sweep) if events else sweep
