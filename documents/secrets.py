"""Secrets by name: from systemd's credentials, the environment, or a file that only its owner can read, in that order."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from documents.bind import load
from model.errors import SecretError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


class Secret:
    """A secret that does not print itself. Call `reveal` at the last moment, where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret in the clear."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class Secrets:
    """Finds secrets by name: `$CREDENTIALS_DIRECTORY/NAME`, then `WATCHKEEPER_SECRET_NAME` (upper case, `-` and `.` as
    `_`), then the key NAME of the secrets file."""

    def __init__(self, file: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._file = file
        self._held = _read(file) if file else {}

    def get(self, name: str) -> Secret:
        """Return the secret. Raises SecretError where none of the three places has it; never tells its content."""
        if not _NAME.fullmatch(name):
            raise SecretError(f"{name!r} cannot be a secret's name; use letters, digits, `-`, `_` and `.`")
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if directory and (path := Path(directory, name)).is_file():
            return Secret(path.read_text(encoding="utf-8").rstrip("\n"))
        variable = "WATCHKEEPER_SECRET_" + re.sub(r"[.-]", "_", name).upper()
        if variable in self._environ:
            return Secret(self._environ[variable])
        if name in self._held:
            return Secret(self._held[name])
        where = f" or add `{name}: ...` to {self._file}" if self._file else ""
        raise SecretError(f"no secret called `{name}`; set {variable}, give systemd a credential `{name}`{where}")


def _read(file: Path) -> dict[str, str]:
    try:
        mode = file.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise SecretError(f"{file}: others can read it (mode {stat.S_IMODE(mode):04o}); run `chmod 600 {file}`")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SecretError(f"{file}: {error.strerror}") from None
    return load(text, str(file), dict[str, str]) if text.strip() else {}
