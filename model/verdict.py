"""Verdicts: what a rule says about a device now. An event is a change of a verdict."""

from dataclasses import dataclass, field
from enum import StrEnum

from watchkeeper.model.reading import Value


class Level(StrEnum):
    """ok < warning < critical. unknown is outside this order: it neither opens nor closes an incident."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    @property
    def bad(self) -> bool:
        """Whether a person must act."""
        return self in (Level.WARNING, Level.CRITICAL)


Key = tuple[str, str, str]
"""(device, rule, instance): the subject of a verdict. It joins the verdict to its incident."""


@dataclass(frozen=True, slots=True)
class Companion:
    """A reading of another quantity that a condition of the rule looks at, at the time of the verdict. `holds`: the
    condition was fulfilled, so the limit counted; otherwise the limit does not count, and this is why."""

    quantity: str
    value: Value
    label: str = ""
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """The reason for a verdict: the value that decided, the limit, and the first bad value of this fault."""

    quantity: str
    value: Value
    expects: str = ""  # the limit that was broken, as the operator wrote it: "above 85 %"
    label: str = ""  # the instance's name for people: "/var", "phase 2"
    first_value: Value | None = None  # the first bad reading, before the rule's `for` had passed
    first_at: float | None = None  # its time, on the clock of `Verdict.since`
    says: str = ""  # the probe's reason, where a device is silent or a service is down
    companions: tuple[Companion, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The level of one instance of one device by one rule. `since` is when the level began, after the rule's `for`:
    seconds on the boot clock in an agent, UTC in the collector. The agent that judged the level made the `id`; page,
    incident and replay are joined by it."""

    id: str
    device: str
    rule: str
    instance: str
    level: Level
    since: float
    evidence: Evidence

    @property
    def key(self) -> Key:
        """(device, rule, instance), which joins the verdict to its incident."""
        return (self.device, self.rule, self.instance)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The end of a verdict that will never change again, because its rule, device or instance is gone."""

    id: str
    device: str
    rule: str
    instance: str
    at: float
    reason: str

    @property
    def key(self) -> Key:
        """(device, rule, instance), which joins the withdrawal to its incident."""
        return (self.device, self.rule, self.instance)


@dataclass(frozen=True, slots=True)
class ActiveVerdicts:
    """All verdicts of an agent that are not ok, at one moment: the collector reconciles its incidents with them. On the
    wire the kind is `standing`."""

    at: float
    verdicts: tuple[Verdict, ...] = field(default=())


Event = Verdict | Withdrawal | ActiveVerdicts
"""An item of the `events` lane. A Verdict there is a change of level."""
