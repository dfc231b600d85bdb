"""A reading: one value of one quantity of one device (and instance) at one time, or the reason why there is none."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why there is no value."""

    TIMEOUT = "timeout"  # nothing came back in time
    UNREACHABLE = "unreachable"  # the network said no
    REFUSED = "refused"  # wrong community, user, password or right
    ABSENT = "absent"  # the device says it has no such thing
    MALFORMED = "malformed"  # an answer that cannot be understood
    IMPLAUSIBLE = "implausible"  # a number outside what is physically possible
    WARMING_UP = "warming-up"  # a first sample that only makes sense with a second one
    HUNG = "hung"  # the kernel does not come back (a dead network mount)
    FAULT = "fault"  # our own fault: a bug in a probe, reported with its message


@dataclass(frozen=True, slots=True)
class Missing:
    """No value, and why. `detail` speaks to a person and never carries a secret."""

    reason: Reason
    detail: str = ""


Value = float | str | Missing
"""A number in the quantity's unit, the name of a state, or Missing."""


@dataclass(frozen=True, slots=True)
class Series:
    """What stays the same from reading to reading. `instance` tells disks, phases and probes apart ("" for the only
    one) and is stable; `label` is what people call it; `source` is where it was read (a numeric OID, a psutil call)."""

    device: str
    quantity: str
    instance: str = ""
    label: str = ""
    source: str = ""


class Reading(NamedTuple):
    """One value of one series. `at` is seconds on the clock of whoever holds it: boot time in an agent, UTC elsewhere."""

    series: Series
    at: float
    value: Value


@dataclass(frozen=True, slots=True)
class Sweep:
    """Everything one poll of one device read, as two columns of equal length.

    A probe hands out the *same* `series` tuple as long as the device's set of series does not change, so that "still
    the same columns" is one `is` on the hot path.
    """

    device: str
    at: float
    series: tuple[Series, ...]
    values: tuple[Value, ...]

    def readings(self) -> Iterator[Reading]:
        """The same, a reading at a time."""
        at = self.at
        return (Reading(series, at, value) for series, value in zip(self.series, self.values, strict=True))
