"""SMS that came in, from the folder `inbox` of gammu-smsd's backend `files` (gammu-smsd-files(7)).

A file is IN<date>_<time>_<serial>_<sender>_<sequence>.txt; each part of a long SMS has a file of its own with the same beginning.
gammu-smsd writes them one after the other, so that an SMS is read only when none of its files has changed for some seconds. By its
setting InboxFormat a file is UTF-16 after a byte order mark (`unicode`, the default), the system's encoding (`standard`), or a
backup of all parts (`detail`). Its UTF-16 may have more behind the text: it counts bytes of the system's encoding as characters.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

QUIET_S = 3.0
"""An SMS whose newest file is younger may not be complete."""

AT_ONCE = 500
"""How many SMS are read in one look, the oldest first."""

LONGEST_BYTES = 20_000
"""A longer file is no SMS: it is read to here."""

_NAME = re.compile(
    r"IN(?P<stamp>\d{8}_\d{6}_\d{2,3})_(?P<sender>.*)_(?P<part>\d{2,3})\.(?P<kind>txt|bin|smsbackup)", re.ASCII
)
_BACKUP = re.compile(rb"(?:;[^\n]*\n|\s)*\[SMSBackup\d+\]")  # after comments
_BACKUP_LINE = re.compile(rb"^Text\d+\s*=\s*([0-9A-Fa-f]+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sms:
    """An SMS. `source` is different for every SMS; `sender` is as the network gave it, a number or a name."""

    sender: str
    text: str
    source: str
    files: tuple[Path, ...]


def usable_inbox(spool: Path) -> bool:
    """Whether SMS can be read from the folder `inbox`, and moved to its folder `read`."""
    return os.access(spool / "inbox", os.R_OK | os.W_OK | os.X_OK)


def read_inbox(spool: Path, now: float) -> list[Sms]:
    """The complete SMS in the inbox, oldest first. `now` is UTC seconds. Raises OSError."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for file in sorted((spool / "inbox").iterdir()):
        if (found := _NAME.fullmatch(file.name)) and file.is_file():
            groups.setdefault((found["stamp"], found["sender"]), []).append(file)
    oldest = sorted(groups.items())[:AT_ONCE]
    return [_sms(sender, files) for (_, sender), files in oldest if _quiet(files, now)]


def set_aside(sms: Sms) -> None:
    """Move the files of an SMS to the folder `read` in the inbox. Their names get an ending of their own: gammu-smsd may use a name
    again that it no longer finds. Raises OSError."""
    ending = sms.source.rpartition(" ")[2]
    for file in sms.files:
        folder = file.parent / "read"
        folder.mkdir(mode=0o770, exist_ok=True)
        file.replace(folder / f"{file.name}.{ending}")


def _quiet(files: list[Path], now: float) -> bool:
    """Whether no file has changed lately. One from the future has not: a clock was set."""
    return all(abs(now - file.stat().st_mtime) >= QUIET_S for file in files)


def _sms(sender: str, files: list[Path]) -> Sms:
    contents = []
    for file in files:
        with file.open("rb") as opened:
            contents.append(opened.read(LONGEST_BYTES))
    text = "".join(_text(one) for file, one in zip(files, contents, strict=True) if file.suffix != ".bin")
    digest = hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]
    return Sms(sender, text, f"{files[0].name[:150]} {digest}", tuple(files))


def _text(content: bytes) -> str:
    if _BACKUP.match(content):
        return _decoded(bytes.fromhex("".join(_even(found) for found in _BACKUP_LINE.findall(content))), "utf-16-be")
    if content.startswith(b"\xfe\xff"):
        return _decoded(content[2:], "utf-16-be")
    return _decoded(content, "utf-8")


def _even(digits: bytes) -> str:
    return digits[: len(digits) // 2 * 2].decode("ascii")


def _decoded(content: bytes, encoding: str) -> str:
    return content.decode(encoding, errors="replace").partition("\0")[0]
