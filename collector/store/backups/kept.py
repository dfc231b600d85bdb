"""The folder of the scheduled backups. Each file is named after the time of its data and its own SHA-256, so that a damaged one is found
without any key."""

import contextlib
import datetime
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_FILE_NAME = re.compile(r"watchkeeper-(\d{8}T\d{6}Z)-([0-9a-f]{16})\.zip(?:\.age)?", re.ASCII)
_TIME = "%Y%m%dT%H%M%SZ"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup in the folder, by its name."""

    file: Path
    taken_at: float
    sha256: str

    def good(self) -> bool:
        """Whether the file can be read, and is the one that was written. Reads it whole."""
        try:
            return sha256_of(self.file).startswith(self.sha256)
        except OSError:
            return False


def name_of(taken_at: float, sha256: str, *, encrypted: bool) -> str:
    """The name of a backup."""
    stamp = datetime.datetime.fromtimestamp(taken_at, datetime.UTC).strftime(_TIME)
    return f"watchkeeper-{stamp}-{sha256[:16]}.zip{'.age' if encrypted else ''}"


def listed(folder: Path) -> list[Kept]:
    """The backups of a folder by their names, newest first; none if there is no such folder. Raises OSError."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for file in folder.iterdir():
            if match := _FILE_NAME.fullmatch(file.name):
                with contextlib.suppress(ValueError):
                    taken = datetime.datetime.strptime(match[1], _TIME).replace(tzinfo=datetime.UTC)
                    found.append(Kept(file, taken.timestamp(), match[2]))
    return sorted(found, key=lambda one: (one.taken_at, one.file.name), reverse=True)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, which is read whole. Raises OSError."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
