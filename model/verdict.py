"""What a rule says of a device now, and the change that travels when it says something else."""

from dataclasses import dataclass, field
from enum import StrEnum

from watchkeeper.model.reading import Value


class Level(StrEnum):
    """ok < warning < critical; unknown stands beside them: it opens nothing and closes nothing."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    @property
    def bad(self) -> bool:
        """Whether somebody must act."""
        return self in (Level.WARNING, Level.CRITICAL)


Key = tuple[str, str, str]
"""(device, rule, instance): what a verdict is about, and what joins it to its incident."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """On what a verdict stands: the value that decided, what was allowed, and the first bad value of this stretch."""

    quantity: str
    value: Value
    expects: str = ""  # the limit that was broken, as the operator wrote it: "above 85 %"
    label: str = ""  # what people call the instance: "/var", "phase 2"
    first_value: Value | None = None  # the first bad reading, before the rule's `for` had passed
    first_at: float | None = None  # its time, on the clock of `Verdict.at`
    says: str = ""  # why, in the probe's words, where a device or service is found silent or down


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule's word on one instance of one device. `since` is when this level began (after the rule's
    `for`), on the clock of whoever holds it. `id` was minted where the level was judged, and joins
    page, incident and replay."""

    id: str
    device: str
    rule: str
    instance: str
    level: Level
    since: float
    evidence: Evidence

    @property
    def key(self) -> Key:
        """(device, rule, instance), what joins a verdict to its incident."""
        return (self.device, self.rule, self.instance)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A verdict that nobody will ever renew: its rule, device or instance is gone."""

    id: str
    device: str
    rule: str
    instance: str
    at: float
    reason: str

    @property
    def key(self) -> Key:
        """(device, rule, instance), what joins a withdrawal to its incident."""
        return (self.device, self.rule, self.instance)


@dataclass(frozen=True, slots=True)
class ActiveVerdicts:
    """Every verdict of an agent that is not ok, at one moment: what the collector reconciles its incidents with."""

    at: float
    verdicts: tuple[Verdict, ...] = field(default=())


Event = Verdict | Withdrawal | ActiveVerdicts
"""What the `events` lane carries. A Verdict there is a change of level."""
