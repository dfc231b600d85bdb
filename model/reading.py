"""A reading: one value of one quantity of one device (and instance) at one time, or the reason why there is none."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why there is no value."""

    TIMEOUT = "timeout"  # no answer in time
    UNREACHABLE = "unreachable"  # the network reports that the device cannot be reached
    REFUSED = "refused"  # wrong community, user or password, or missing permission
    ABSENT = "absent"  # the device reports that it has no such object
    MALFORMED = "malformed"  # an answer that cannot be understood
    IMPLAUSIBLE = "implausible"  # a number that is physically impossible
    WARMING_UP = "warming-up"  # the first sample of a rate, which needs two
    HUNG = "hung"  # a call to the kernel does not return (a dead network mount)
    FAULT = "fault"  # a bug in a probe


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no value. `detail` is for a person and never contains a secret."""

    reason: Reason
    detail: str = ""


NOT_VALID, NOT_AVAILABLE, NO_READING = "not valid now", "the device answers", "the BMC has no reading"
"""How the details of values begin that are absent now although their part may be there: a condition of the profile does
not hold, the device answers that it has no value, or its BMC does. `rules.presence` decides by them."""

AUTOMOUNTED = "automounted"
"""How the source of a series begins that its machine takes away when nobody uses it: its absence is no finding."""


Value = float | str | Missing
"""A number in the quantity's unit, the name of a state, or Missing."""


@dataclass(frozen=True, slots=True)
class Series:
    """The identity of a series of readings. `instance` tells disks, phases and sensors apart and is stable ("" if there
    is only one); `label` is its name for people; `source` is where it was read (a numeric OID, a psutil call)."""

    device: str
    quantity: str
    instance: str = ""
    label: str = ""
    source: str = ""


class Reading(NamedTuple):
    """One value of one series. `at` is seconds on the boot clock in an agent, UTC elsewhere."""

    series: Series
    at: float
    value: Value


@dataclass(frozen=True, slots=True)
class Sweep:
    """All readings of one poll of one device, as two columns of equal length.

    A probe returns the *same* `series` tuple as long as the device's set of series does not change. The hot path then
    compares columns with one `is`.
    """

    device: str
    at: float
    series: tuple[Series, ...]
    values: tuple[Value, ...]

    def readings(self) -> Iterator[Reading]:
        """The readings one by one. Raises ValueError where the columns differ in length."""
        at = self.at
        return (Reading(series, at, value) for series, value in zip(self.series, self.values, strict=True))
