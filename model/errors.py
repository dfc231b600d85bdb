"""The one tree of errors. A failed reading is not here: it is data, `model.reading.Missing`.

WatchkeeperError
├── ConfigError        a file of the operator's is wrong; carries every problem with file:line:column
├── BrokenInstallation files that come with Watchkeeper are not there
├── SecretError        a secret is absent, or its file may be read by others
├── WireError          bytes that are not our protocol
├── SpoolError         the agent's disk queue cannot be used
├── PushError          the collector did not take a batch
│   ├── PushLater      nobody's fault that lasts: try again, after `retry_after_s` where it says so
│   ├── PushRefused    this very batch will never be taken
│   ├── PushUndeclared it holds frames of blocks the collector does not know
│   └── PushUnauthorized     the collector does not know our token
├── StoreError         the collector's store cannot be used
│   ├── StoreFull      its disk is full
│   └── StoreRefused   it will never take this very thing
├── NotAllowed         who asks may not do this
└── Conflict           the thing asked for contradicts the state of the world (resolving a standing fault, say)
"""

from collections.abc import Iterable
from dataclasses import dataclass


class WatchkeeperError(Exception):
    """Something a person can act on; its text says what, where and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in one place of an operator's file. Lines and columns count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(WatchkeeperError):
    """Every problem of the files read together, in the order of file, line and column."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


class BrokenInstallation(WatchkeeperError):
    """Files that come with Watchkeeper are not there; `folder` says where they should be."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"{folder}: files that come with Watchkeeper are missing there; install Watchkeeper again")


class SecretError(WatchkeeperError):
    """A secret is absent, or kept where others can read it. Never carries the secret."""


class WireError(WatchkeeperError):
    """Bytes that are not our protocol."""


class SpoolError(WatchkeeperError):
    """The agent's disk queue cannot be used."""


class PushError(WatchkeeperError):
    """The collector did not take a batch."""


class PushLater(PushError):
    """Try again, after `retry_after_s` seconds if the collector named a time."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class PushRefused(PushError):
    """This very batch will never be taken; `status` is the HTTP status, the text the collector's reason."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class PushUndeclared(PushError):
    """Frames under `blocks` the collector never heard of, or forgot: declare them and send again."""

    def __init__(self, message: str, blocks: Iterable[int]) -> None:
        self.blocks = tuple(blocks)
        super().__init__(message)


class PushUnauthorized(PushError):
    """No token, or a wrong one: a person must act."""


class StoreError(WatchkeeperError):
    """The collector's store cannot be used."""


class StoreFull(StoreError):
    """The store's disk is full: nothing was written, and nothing may be acknowledged."""


class StoreRefused(StoreError):
    """The store works, but not with this: trying again changes nothing."""


class NotAllowed(WatchkeeperError):
    """Who asks may not do this."""


class Conflict(WatchkeeperError):
    """What was asked contradicts the state of the world."""
