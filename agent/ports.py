"""The interfaces between the agent's folders. Only agent/main builds the real objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Answer, Bundle, Document, Push
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Sweep
from watchkeeper.profiles import Profile


class Probe(Protocol):
    """Reads devices of one kind. One instance serves many devices and keeps their sessions.

    The first series of a sweep is always `device.answering`. A device that fails gives a sweep too: its
    `device.answering` is "no", and all its known series are Missing with the reason. Only a bug raises.
    """

    async def sweep(self, device: Device) -> Sweep:
        """Read the device once, within its timeout and retries."""

    async def forget(self, device: str) -> None:
        """Drop the session and series of a device that was removed or changed."""

    async def close(self) -> None:
        """Close every session."""


GRACE_S = 1.0


def sweep_limit_s(device: Device) -> float:
    """How long a sweep of the device may take, whatever the device does. A probe that works in a thread ends its thread
    then."""
    return max(device.every_s, device.timeout_s * (device.retries + 1) + GRACE_S)


class NoAnswer(Exception):
    """Inside a probe: a request got no usable answer. `missing` is the reason, without a secret; the probe makes it the
    value of whatever could not be read."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.missing = Missing(reason, detail)
        super().__init__(detail)


@runtime_checkable
class ProfileProbe(Protocol):
    """A probe that reads devices by profiles."""

    def profiles_of(self, device: str) -> tuple[Profile, ...]:
        """The profile of a device that it has read before, then those of standard MIBs that are read beside it. Empty
        if no profile fits."""

    def why_of(self, device: str) -> str:
        """Why it reads the device by this profile, or by none; empty for a device that was never read."""


@runtime_checkable
class HabitProbe(Protocol):
    """A probe that learns how each device answers."""

    def habits_of(self, device: str) -> tuple[str, ...]:
        """What a device does differently from its protocol's standard, a sentence each. Empty for a device that was
        never read."""


class Memory(Protocol):
    """What probes remember of devices over a restart: one text a device, without secrets."""

    def recall(self, device: str) -> str:
        """The text; empty if there is none."""

    def remember(self, device: str, text: str) -> None:
        """Keep the text in place of the former one."""


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """What a probe is built with, by `build(context) -> Probe` of its module. `profiles` are the operator's own. Without
    a memory nothing is remembered."""

    clock: Clock
    secrets: Secrets
    profiles: tuple[Document, ...] = ()
    memory: Memory | None = None


class CollectorClient(Protocol):
    """The collector as the pusher sees it. Blocking; called from the pusher's thread."""

    def push(self, push: Push, items: Sequence[str]) -> Answer:
        """Send a batch; `items` are JSON texts. Returns only after a 2xx. Raises PushLater or another PushError."""

    def bundle(self, version: str) -> Bundle | None:
        """Fetch the bundle, or None where the collector still has `version`. Raises PushError."""
