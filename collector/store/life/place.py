"""Whether the file of an embedded store is still the one that was opened."""

from pathlib import Path

from watchkeeper.model.errors import StoreError


class StoreFile:
    """The file at `path` (None: the store has no file). Whoever removes or replaces it under the running collector takes it out
    of the world: what is written then would be gone with the process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._opened: tuple[int, int] | None = None

    def opened(self) -> None:
        """The file was opened just now. The first one counts."""
        if self._path is not None and self._opened is None:
            found = self._path.stat()
            self._opened = (found.st_dev, found.st_ino)

    @property
    def lost(self) -> bool:
        """Whether another file, or none, has its name."""
        if self._path is None or self._opened is None:
            return False
        try:
            found = self._path.stat()
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._opened

    def require(self) -> None:
        """Raises StoreError if the file is lost."""
        if self.lost:
            raise StoreError(
                f"{self._path} was removed or replaced while the collector runs: nothing is accepted any more. Put the "
                "file back, or restore a backup, and restart the collector"
            )
