"""The room at this moment: its physics are advanced to the clock at every look, and what happens is logged."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.faults import active_faults
from watchkeeper.simulator.room import Room, advance


class JsonLines:
    """An append-only file of JSON lines. Each line is one write to the kernel, so it survives a kill -9."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, line: Mapping[str, object]) -> None:
        """Append one line."""
        os.write(self._fd, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class LiveRoom:
    """The room of a folder, running `pace` times as fast as `clock`.

    A look shows it at that instant, with the faults of that instant: a fault that was switched before a request was
    sent shows in its answer. Answers are appended to `given.jsonl`, and switched faults to `faults.jsonl`.
    """

    def __init__(self, directory: Path, clock: Clock, pace: float = 1.0, seed: int = 0) -> None:
        self._directory, self._clock, self._pace = directory, clock, pace
        self._room, self._at = Room(seed=seed), clock.boot()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._given = JsonLines(directory / "given.jsonl")
            self._switched = JsonLines(directory / "faults.jsonl")
        except OSError as error:
            raise WatchkeeperError(f"{error.filename}: {error.strerror}; the room needs a folder to write in") from None
        self.faults: frozenset[str] = frozenset()
        self.look()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given.close()
        self._switched.close()

    def look(self) -> Room:
        """Advance the room to now, apply the active faults, and return it."""
        at = self._clock.boot()
        room = advance(self._room, self.faults, (at - self._at) * self._pace)
        faults = active_faults(self._directory)
        if faults != self.faults:
            room = advance(room, faults, 0.0)
            for fault in sorted(faults ^ self.faults):
                self._switched.write({"at": self._clock.wall(), "fault": fault, "on": fault in faults})
        self._room, self._at, self.faults = room, at, faults
        return room

    def is_active(self, fault: str) -> bool:
        """Whether a fault is on now."""
        return fault in active_faults(self._directory)

    def note_answer(self, device: str, values: Mapping[str, int | str]) -> None:
        """Log the values of one answer, by numeric OID, before it is sent."""
        self._given.write({"at": self._clock.wall(), "device": device, "values": values})
