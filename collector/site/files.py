"""The files of the site's configuration as one value, whether they come from a folder or from the store.

A folder may have other files too: collector.yml, agent.yml, files of secrets. They are left out, and never reach the store.
"""

import contextlib
import errno
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watchkeeper.documents.files import try_read
from watchkeeper.model.batch import Document
from watchkeeper.model.errors import ConfigError, Problem

FILES = ("inventory.yml", "contacts.yml", "ladders.yml")
RULES, PROFILES = "rules", "profiles"
PATTERNS = (*FILES, f"{RULES}/[!.]*.yml", f"{PROFILES}/[!.]*.yml")
"""What belongs to the configuration. A hidden file is an editor's own."""

_VERSION_DIGITS = 16

FileStats = tuple[tuple[str, int, int], ...]
"""Name, modification time (ns) and size of each file."""


@dataclass(frozen=True, slots=True)
class SiteFiles:
    """The texts of inventory.yml, contacts.yml, ladders.yml, rules/*.yml and profiles/*.yml, by their names relative to the
    folder. `place` is that folder as messages name it; it is empty for files from the store. `unreadable` says what could not be
    read."""

    texts: Mapping[str, str]
    place: str = field(default="", compare=False)
    unreadable: Mapping[str, Problem] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The same for the same files, wherever they are."""
        return hashlib.sha256(self._canonical()).hexdigest()[:_VERSION_DIGITS]

    def label(self, name: str) -> str:
        """How messages name a file."""
        return str(Path(self.place, name))

    def document(self, name: str) -> Document:
        """One of the files. Raises ConfigError if it cannot be read, or is missing."""
        if name in self.texts:
            return Document(self.label(name), self.texts[name])
        missing = Problem(self.label(name), 0, 0, f"cannot be read: {os.strerror(errno.ENOENT)}")
        raise ConfigError([self.unreadable.get(name, missing)])

    def documents(self, folder: str) -> tuple[Document, ...]:
        """The files below a folder, sorted by name. Raises ConfigError with every one that cannot be read."""
        below = f"{folder}/"
        if problems := [one for name, one in self.unreadable.items() if name.startswith(below)]:
            raise ConfigError(problems)
        return tuple(self.document(name) for name in sorted(self.texts) if name.startswith(below))

    def pack(self) -> bytes:
        """The form in which the store keeps them."""
        return zlib.compress(self._canonical())

    @staticmethod
    def unpack(packed: bytes, place: str = "") -> "SiteFiles":
        """Files from the store."""
        return SiteFiles(json.loads(zlib.decompress(packed)), place)

    def _canonical(self) -> bytes:
        return json.dumps(dict(sorted(self.texts.items())), ensure_ascii=False).encode("utf-8", "surrogatepass")


def read_files(folder: Path) -> SiteFiles:
    """Read the configuration of a folder. What cannot be read is noted in the result."""
    found = {path.relative_to(folder).as_posix(): try_read(path) for path in _paths(folder)}
    texts = {name: one.text for name, one in found.items() if isinstance(one, Document)}
    return SiteFiles(texts, str(folder), {name: one for name, one in found.items() if isinstance(one, Problem)})


def stats_of(folder: Path) -> FileStats:
    """When the files of a folder were changed. A file that is deleted meanwhile is left out."""
    found = []
    for path in _paths(folder):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(found)


def _paths(folder: Path) -> list[Path]:
    return sorted(path for pattern in PATTERNS for path in folder.glob(pattern))
