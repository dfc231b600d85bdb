"""Backups encrypted to public keys in the form of age (age-encryption.org/v1), so that the programs age and rage read ours, and we
theirs. The private key is needed only to restore."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import pyrage

from watchkeeper.collector.store.backups.archive import BadBackup
from watchkeeper.documents.secrets import read_private
from watchkeeper.model.errors import WatchkeeperError

_INTROS = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> int:
        """Write all of it. Raises OSError, WatchkeeperError."""


def is_encrypted(file: BinaryIO) -> bool:
    """Whether a file begins as those of age do. Leaves it at its beginning."""
    start = file.read(max(map(len, _INTROS)))
    file.seek(0)
    return start.startswith(_INTROS)


def read_recipients(keys: Iterable[str]) -> list[pyrage.x25519.Recipient]:
    """The public keys of age. Raises WatchkeeperError for one with a mistake."""
    read = []
    for key in keys:
        try:
            read.append(pyrage.x25519.Recipient.from_str(key))
        except pyrage.RecipientError:
            raise WatchkeeperError(f"`{key}` is not a public key of age: its checksum is wrong") from None
    return read


def read_identities(file: Path) -> list[pyrage.x25519.Identity]:
    """The private keys of a file of `age-keygen`. Only its owner may read it. Raises WatchkeeperError, which quotes no key."""
    read = []
    for number, line in enumerate(read_private(file).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                read.append(pyrage.x25519.Identity.from_str(line.strip()))
            except pyrage.IdentityError:
                raise WatchkeeperError(f"{file}:{number}: this is not a private key of age") from None
    if not read:
        raise WatchkeeperError(f"{file}: there is no private key of age in this file")
    return read


class _Reader:
    """Bytes as the file that pyrage reads. It keeps the error that ended them, because pyrage passes on only its text."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""
        self.failed: Exception | None = None

    def read(self, most: int = -1) -> bytes:
        try:
            while not self._rest:
                self._rest = next(self._chunks)
        except StopIteration:
            return b""
        except Exception as error:
            self.failed = error
            raise
        end = len(self._rest) if most < 0 else most
        given, self._rest = self._rest[:end], self._rest[end:]
        return given


class _Writer:
    """A file as pyrage writes it. pyrage does not tell of an error in its last bytes: it is kept here."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self.failed: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self._out.write(data)
        except Exception as error:
            self.failed = error
            raise
        return len(data)

    def flush(self) -> None:
        """The file is flushed by who opened it."""


def encrypt(chunks: Iterator[bytes], out: Sink, recipients: Sequence[pyrage.x25519.Recipient]) -> None:
    """Write `chunks` to `out`, encrypted. Raises what `chunks` or `out` raise."""
    reader, writer = _Reader(chunks), _Writer(out)
    try:
        pyrage.encrypt_io(reader, writer, recipients)
    except (pyrage.EncryptError, OSError) as error:
        raise (reader.failed or writer.failed or error) from None
    if reader.failed or writer.failed:
        raise reader.failed or writer.failed or AssertionError


def decrypt(file: BinaryIO, out: Sink, identities: Sequence[pyrage.x25519.Identity]) -> None:
    """Write what `file` encrypts to `out`. Raises BadBackup if it is damaged or is not for these keys, OSError."""
    writer = _Writer(out)
    try:
        pyrage.decrypt_io(file, writer, identities)
    except (pyrage.DecryptError, OSError) as error:
        if writer.failed:
            raise writer.failed from None
        raise BadBackup(f"the file cannot be decrypted: it is damaged, or it is for another key ({error})") from None
    if writer.failed:
        raise writer.failed
