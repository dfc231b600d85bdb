"""The tree of errors. A failed reading is not here: it is data, `model.reading.Missing`.

WatchkeeperError
├── ConfigError           an operator's file has mistakes; carries every problem with file:line:column
├── BrokenInstallation    files that come with Watchkeeper are missing
├── SecretError           a secret is missing, or other users can read its file
├── ChannelError          a channel cannot be used on this machine
├── WireError             data that does not follow the protocol
├── SpoolError            the agent's disk queue cannot be used
├── PushError             the collector did not accept a batch
│   ├── PushLater         a temporary failure: try again, after `retry_after_s` if the collector named a time
│   ├── PushRefused       this batch will never be accepted
│   ├── PushUndeclared    the batch has frames of blocks that the collector does not know
│   ├── PushStale         another process has used our epoch: begin a new one, and send everything again
│   └── PushUnauthorized  the collector does not accept our token
├── StoreError            the collector's store cannot be used
│   ├── StoreFull         its disk is full
│   └── StoreRefused      it will never accept this write
├── NotAllowed            the caller may not do this
└── Conflict              the request contradicts the current state (resolving a fault that is still bad, say)
"""

from collections.abc import Iterable
from dataclasses import dataclass


class WatchkeeperError(Exception):
    """An error that a person can act on; its text says what is wrong, where, and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in an operator's file. Lines and columns count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(WatchkeeperError):
    """Every problem of the files that were read together, ordered by file, line and column."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


class BrokenInstallation(WatchkeeperError):
    """Files that come with Watchkeeper are missing from `folder`."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"{folder}: files that come with Watchkeeper are missing there; install Watchkeeper again")


class SecretError(WatchkeeperError):
    """A secret is missing, or other users can read its file. The text never contains the secret."""


class ChannelError(WatchkeeperError):
    """A channel cannot be used on this machine."""


class WireError(WatchkeeperError):
    """Data that does not follow the protocol."""


class SpoolError(WatchkeeperError):
    """The agent's disk queue cannot be used."""


class PushError(WatchkeeperError):
    """The collector did not accept a batch."""


class PushLater(PushError):
    """A temporary failure: try again, after `retry_after_s` seconds if the collector named a time."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class PushRefused(PushError):
    """This batch will never be accepted. `status` is the HTTP status, the text is the collector's reason."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class PushUndeclared(PushError):
    """The collector does not know these `blocks`: declare them and send the batch again."""

    def __init__(self, message: str, blocks: Iterable[int]) -> None:
        self.blocks = tuple(blocks)
        super().__init__(message)


class PushStale(PushError):
    """Another process has sent items of our epoch, or this one was set back: a new epoch keeps ours apart from those."""


class PushUnauthorized(PushError):
    """The collector does not accept our token (HTTP 401): a person must act."""


class StoreError(WatchkeeperError):
    """The collector's store cannot be used."""


class StoreFull(StoreError):
    """The store's disk is full: nothing was written, so nothing may be acknowledged."""


class StoreRefused(StoreError):
    """The store works, but refuses this write: trying again does not help."""


class NotAllowed(WatchkeeperError):
    """The caller may not do this."""


class Conflict(WatchkeeperError):
    """The request contradicts the current state."""
