"""YAML files: the operator's, and those that come with Watchkeeper."""

from collections.abc import Iterable
from pathlib import Path

from watchkeeper.model.batch import Document
from watchkeeper.model.errors import BrokenInstallation, ConfigError, Problem


def packaged(folder: Path, pattern: str = "*.yml") -> tuple[Path, ...]:
    """The files that come with Watchkeeper in one of its folders, sorted by name. Raises BrokenInstallation where there
    are none: an empty list would look like success."""
    found = tuple(path for path in sorted(folder.glob(pattern)) if path.is_file())
    if not found:
        raise BrokenInstallation(str(folder))
    return found


def read_documents(paths: Iterable[Path]) -> tuple[Document, ...]:
    """Read them all. Raises one ConfigError that names every file that cannot be read."""
    found = [try_read(path) for path in paths]
    if problems := [one for one in found if isinstance(one, Problem)]:
        raise ConfigError(problems)
    return tuple(one for one in found if isinstance(one, Document))


def try_read(path: Path) -> Document | Problem:
    """Read a file, or say why it cannot be read."""
    try:
        return Document(str(path), path.read_text(encoding="utf-8"))
    except OSError as error:
        return Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        return Problem(str(path), 0, 0, f"is not UTF-8: {error.reason}, byte {error.start}")
