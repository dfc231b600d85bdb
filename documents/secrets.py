"""Secrets by name: from systemd's credentials, the environment, or a file that only its owner can read."""

import copy
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from watchkeeper.documents.bind import load
from watchkeeper.model.errors import ConfigError, SecretError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750, 2.1


class Secret:
    """A secret that does not print itself. Call `reveal` at the last moment, where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret in the clear."""
        return self._text

    def bearer(self) -> str:
        """The value of the header `Authorization`, with this secret as the token. Raises SecretError where no token can
        be written like that: a library that finds this out later quotes the whole header in its error."""
        if not _TOKEN.fullmatch(self._text):
            raise SecretError(
                "the token is empty, or has a character that a token cannot have (a space, a line end); write it again"
            )
        return f"Bearer {self._text}"

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class Secrets:
    """Finds secrets by name: `$CREDENTIALS_DIRECTORY/NAME`, then `WATCHKEEPER_SECRET_NAME` (upper case, `-` and `.` as
    `_`), then the key NAME of the secrets file."""

    def __init__(self, file: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        """Raises SecretError where the file cannot be read, or where other users can read it."""
        self._environ = environ
        self._file = file
        self._by_name = _read(file) if file else {}
        self._withheld: frozenset[str] = frozenset()

    def without(self, name: str) -> "Secrets":
        """The same secrets except one, for code that must not be able to ask for it."""
        fewer = copy.copy(self)
        fewer._withheld = self._withheld | {name}  # noqa: SLF001 -- of the same class
        return fewer

    def get(self, name: str) -> Secret:
        """Return the secret. Raises SecretError where none of the three places has it, without any content."""
        if not _NAME.fullmatch(name):  # not repeated in the message: it may be the secret itself
            raise SecretError("not a secret's name: a name has only letters, digits, `-`, `_` and `.`")
        if name in self._withheld:
            raise SecretError(f"the secret `{name}` is not for this use; name another one")
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if directory and (path := Path(directory, name)).is_file():
            return Secret(_text_of(path).rstrip("\r\n"))
        variable = "WATCHKEEPER_SECRET_" + re.sub(r"[.-]", "_", name).upper()
        if variable in self._environ:
            return Secret(self._environ[variable])
        if name in self._by_name:
            return Secret(self._by_name[name])
        if self._file:
            raise SecretError(
                f"no secret called `{name}`; set {variable}, give systemd a credential `{name}` or add `{name}: ...` to {self._file}"
            )
        raise SecretError(f"no secret called `{name}`; set {variable}, or give systemd a credential `{name}`")


def read_private(file: Path) -> str:
    """The text of a file that only its owner can read. Raises SecretError."""
    return _text_of(file, private=True)


def _text_of(file: Path, *, private: bool = False) -> str:
    """The file's mode is checked after opening, so that the file checked is the file read."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise SecretError(f"{file}: is not a regular file")
            if private and stat.S_IMODE(mode) & 0o077:
                raise SecretError(
                    f"{file}: other users can read it (mode {stat.S_IMODE(mode):04o}); run `chmod 600 {file}`"
                )
            return opened.read().decode()
    except OSError as error:
        raise SecretError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretError(f"{file}: is not UTF-8") from None


def _read(file: Path) -> dict[str, str]:
    text = read_private(file)
    try:
        return load(text, str(file), dict[str, str]) if text.strip() else {}
    except ConfigError as error:  # its text may quote a secret
        first = error.problems[0]
        raise SecretError(
            f"{file}:{first.line}:{first.column}: expected lines `name: 'secret'`, each name once"
        ) from None
