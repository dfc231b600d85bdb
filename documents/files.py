"""The operator's files, read and named as the operator named them."""

from collections.abc import Iterable
from pathlib import Path

from model.batch import Document
from model.errors import ConfigError, Problem


def read_documents(paths: Iterable[Path]) -> tuple[Document, ...]:
    """Read them all. Raises one ConfigError for every file that cannot be read."""
    found: list[Document] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            found.append(Document(str(path), path.read_text(encoding="utf-8")))
        except OSError as error:
            problems.append(Problem(str(path), 0, 0, f"cannot be read: {error.strerror}"))
        except UnicodeDecodeError as error:
            problems.append(Problem(str(path), 0, 0, f"is not UTF-8: {error.reason}, byte {error.start}"))
    if problems:
        raise ConfigError(problems)
    return tuple(found)
