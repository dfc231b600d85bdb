"""What probes remember of devices over a restart, kept as notes in the spool's file."""

import contextlib
import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path

_BEGINNING = "device "


class SpoolMemory:
    """Implements `agent.ports.Memory`. `note` is the spool's: what is remembered is on disk with its next commit."""

    def __init__(self, path: Path, note: Callable[[str, str], None]) -> None:
        self._note = note
        self._texts = _read_notes(path)

    def recall(self, device: str) -> str:
        """Implements `Memory.recall`."""
        return self._texts.get(device, "")

    def remember(self, device: str, text: str) -> None:
        """Implements `Memory.remember`."""
        if text != self.recall(device):
            self._texts[device] = text
            self._note(_BEGINNING + device, text)

    def keep_only(self, devices: Collection[str]) -> None:
        """Forget all other devices."""
        for device in [one for one, text in self._texts.items() if text and one not in devices]:
            self.remember(device, "")


def _read_notes(path: Path) -> dict[str, str]:
    """The notes about devices in the spool's file; none if it cannot be read: they can be learnt again."""
    texts: dict[str, str] = {}
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)) as db,
    ):
        for name, text in db.execute(
            "SELECT name, value FROM meta WHERE substr(name, 1, ?) = ?", (len(_BEGINNING), _BEGINNING)
        ):
            texts[str(name)[len(_BEGINNING) :]] = str(text)
    return texts
