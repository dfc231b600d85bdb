"""SMS by gammu-smsd and a modem in the room, so that a room cut off from the internet still pages.

gammu-smsd's backend `files` (gammu-smsd-files(7)) is three folders: a new message goes into `outbox`, and gammu-smsd
moves each file to `sent` or `error`. So we know whether the mobile network took the message. Its other way in, the program
gammu-smsd-inject, says nothing of what became of a message.

Our files are of its format `smsbackup`, as gammu-smsd-inject writes them: they name the coding of the text. Of a file of plain text
gammu-smsd sends a question mark for each Chinese character, unless its setting TransmitFormat says otherwise.
"""

import datetime
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from watchkeeper.channels.ports import Message, Proof, Receipt, Tone, dialled
from watchkeeper.channels.words import shorten
from watchkeeper.model.clock import Clock
from watchkeeper.model.plain import printable

PARTS = 3
"""How many SMS one message may fill."""

STUCK_S = 300.0
"""If a message has waited for so long in the outbox, gammu-smsd or its modem does not work, or has too much to send."""

_LEFT_OUT = "..."  # in the GSM alphabet
_LOOK_S = 0.2
_LINE = 200  # digits in a line of a smsbackup
# 3GPP TS 23.038 6.2.1: one septet each; of the extension table two
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("^{}\\[~]|€")
# 3GPP TS 23.040 9.2.3.24.1: characters of a message alone, and of each of several parts
_SEPTETS, _SEPTETS_OF_PART = 160, 153
_UNITS, _UNITS_OF_PART = 70, 67


def plain_gsm(text: str) -> bool:
    """Whether the text can be sent in the GSM alphabet. Anything else, as Chinese, is sent in UCS-2."""
    return _GSM.issuperset(set(text) - _GSM_EXTENDED)


def split(text: str) -> list[str]:
    """The text in the parts in which it is sent. No part ends inside a character."""
    if plain_gsm(text):
        sizes = [2 if char in _GSM_EXTENDED else 1 for char in text]
        alone, of_part = _SEPTETS, _SEPTETS_OF_PART
    else:
        sizes = [2 if ord(char) > 0xFFFF else 1 for char in text]  # noqa: PLR2004 -- two UTF-16 units
        alone, of_part = _UNITS, _UNITS_OF_PART
    if sum(sizes) <= alone:
        return [text]
    parts, size = [""], 0
    for char, width in zip(text, sizes, strict=True):
        if size + width > of_part:
            parts.append("")
            size = 0
        parts[-1] += char
        size += width
    return parts


def written(message: Message) -> str:
    """The text of the SMS: the subject, the first lines, and the last one, which is the link."""
    text = printable(f"{message.subject}\n{message.text}".strip())
    return shorten(text, PARTS, lambda part: len(split(part)), _LEFT_OUT)


def smsbackup(number: str, text: str, reference: int) -> str:
    """The file for gammu-smsd: a section for each part. `reference` (0 to 255) is what the parts of one message share."""
    parts = split(text)
    coding = "Default_No_Compression" if plain_gsm(text) else "Unicode_No_Compression"
    sections = []
    for index, part in enumerate(parts):
        content = part.encode("utf-16-be", errors="replace")
        digits = content.hex().upper()
        header = (
            f"UDH = 050003{reference:02X}{len(parts):02X}{index + 1:02X}\n" if len(parts) > 1 else ""
        )  # TS 23.040 9.2.3.24.1
        lines = "".join(
            f"Text{line:02} = {digits[at : at + _LINE]}\n" for line, at in enumerate(range(0, len(digits), _LINE))
        )
        sections.append(
            f'[SMSBackup{index:03}]\nPDU = Submit\nState = UnSent\nNumber = "{number}"\n{header}{lines}'
            f"Coding = {coding}\nFolder = 1\nLength = {len(content) // 2}\nClass = -1\n"
        )
    return "\n".join(sections)


class SmsChannel:
    """One telephone. `spool` has gammu-smsd's folders. `pause` waits for so many seconds."""

    def __init__(
        self, number: str, spool: Path, clock: Clock, timeout_s: float, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._number = dialled(number)
        self._outbox, self._sent, self._error = (spool / name for name in ("outbox", "sent", "error"))
        self._clock = clock
        self._timeout_s = timeout_s
        self._pause = pause

    def send(self, message: Message) -> Receipt:
        """Implements `Channel.send`. Waits up to `timeout_s` for gammu-smsd to send the message. If it has not by then, the
        message is handed over, and nothing more is known."""
        if not self._number:
            return Receipt(delivered=False, detail="there is no telephone number for this person", permanent=True)
        until = self._clock.boot() + self._timeout_s
        try:
            if waiting_s := self._longest_wait():
                return Receipt(
                    delivered=False,
                    detail=f"gammu-smsd does not send: a message has waited in its outbox for {waiting_s:.0f} s",
                )
            name = self._put(message)
            return self._outcome(name, until)
        except OSError as error:
            return Receipt(delivered=False, detail=f"gammu-smsd's outbox cannot be used: {error.strerror}")

    @property
    def room_bytes(self) -> int:
        """Implements `Bounded.room_bytes`."""
        return PARTS * _UNITS_OF_PART

    def _longest_wait(self) -> float:
        """For how long the oldest message has waited; 0 as long as that is normal."""
        began = [_modified(file) for file in self._outbox.iterdir() if file.name.upper().startswith("OUT")]
        waited_s = self._clock.wall() - min((at for at in began if at is not None), default=self._clock.wall())
        return waited_s if waited_s >= STUCK_S else 0.0

    def _put(self, message: Message) -> str:
        """Put the message into the outbox, and return its name there. gammu-smsd takes the names in alphabetical order and
        leaves hidden files alone, so it never reads half a file."""
        at = datetime.datetime.fromtimestamp(self._clock.wall(), datetime.UTC)
        priority = "A" if message.tone is Tone.FAILURE else "M"
        mint = uuid.uuid4()
        note = f"watchkeeper{mint.hex[:12]}"
        name = f"OUT{priority}{at:%Y%m%d_%H%M%S}_00_{self._number}_{note}.smsbackup"
        hidden = self._outbox / f".{note}"
        try:
            hidden.write_text(smsbackup(self._number, written(message), mint.bytes[0]), encoding="ascii")
            hidden.chmod(0o644)  # another user runs gammu-smsd; only its group may enter the folder
            os.utime(hidden, (self._clock.wall(),) * 2)
            hidden.rename(self._outbox / name)
        finally:
            hidden.unlink(missing_ok=True)
        return name

    def _outcome(self, name: str, until: float) -> Receipt:
        while True:
            if (self._sent / name).exists():
                return Receipt(
                    delivered=True, detail="the mobile network took it from gammu-smsd", proof=Proof.ACCEPTED
                )
            if (self._error / name).exists():
                return Receipt(delivered=False, detail="gammu-smsd could not send it; its log says why")
            if self._clock.boot() >= until:
                return Receipt(
                    delivered=True,
                    detail="in the outbox of gammu-smsd, which has not sent it yet",
                    proof=Proof.HANDED_OVER,
                )
            self._pause(_LOOK_S)


def _modified(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # sent just now
        return None
