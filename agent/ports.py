"""What the agent's rooms expect of each other. Only agent/main builds the real things."""

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

    A sweep's first series is always `device.answering`. A device that fails gives a sweep all the same: answering is
    "no", and every series it ever had is Missing with the reason. Only a bug raises.
    """

    async def sweep(self, device: Device) -> Sweep:
        """Read the device once, within its timeout and retries."""

    async def forget(self, device: str) -> None:
        """Drop what is kept for a device that is gone or was redefined (session, series)."""

    async def close(self) -> None:
        """Release every session."""


class NoAnswer(Exception):
    """Inside a probe: a request brought nothing. `missing` says why, and never carries a secret; at the probe's door it becomes
    the value of what could not be read."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.missing = Missing(reason, detail)
        super().__init__(detail)


@runtime_checkable
class ProfileProbe(Protocol):
    """A probe that reads by profiles."""

    def profile_of(self, device: str) -> Profile | None:
        """The profile that a device it has swept is read by."""


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """What a probe is built with: each module `agent.probes.KIND` has a `build(means) -> Probe`. `profiles` are the
    operator's own."""

    clock: Clock
    secrets: Secrets
    profiles: tuple[Document, ...] = ()


class CollectorClient(Protocol):
    """The other end of the wire, as the pusher sees it. Blocking; called from the pusher's own thread."""

    def push(self, push: Push, bodies: Sequence[str]) -> Answer:
        """Hand over a batch. Raises PushLater, PushRefused or another PushError; returns only after a 2xx."""

    def bundle(self, held: str) -> Bundle | None:
        """Fetch our bundle unless its version is still `held`. Raises PushError."""
