"""Reads what a person wrote back: `17KM ok`, `17KM 到场 十分钟后修好`. What is not clear is never guessed. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from watchkeeper.collector.policy.replies.codes import CODE

NOTE_LENGTH = 500
"""A longer note is cut."""


class AnswerKind(StrEnum):
    """What a person can answer by a channel with a way back. Nothing that ends or silences a fault: a sender can be forged."""

    ACKNOWLEDGE = "acknowledge"
    ON_SITE = "on-site"
    ESCALATE = "escalate"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class ClearAnswer:
    """A clear answer. `code` names the trouble and the message (`codes`)."""

    code: str
    kind: AnswerKind
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unclear:
    """A text that is no clear answer. `code` is its code, if it has exactly one."""

    code: str = ""


_ANSWER_WORDS = {
    AnswerKind.ACKNOWLEDGE: ("ok", "okay", "ack", "acknowledge", "acknowledged", "收到", "我在处理", "在处理", "处理中", "确认", "好的"),
    AnswerKind.ON_SITE: ("here", "on site", "onsite", "on-site", "arrived", "到场", "到达", "到现场", "在现场"),
    AnswerKind.ESCALATE: ("up", "escalate", "升级", "上报", "无法解决", "解决不了"),
    AnswerKind.COMMENT: ("note", "comment", "备注", "说明"),
}  # fmt: skip
_DONE = {AnswerKind.ACKNOWLEDGE: "已", AnswerKind.ON_SITE: "已"}  # before a Chinese word, as in `已收到`
_BY_WORD = sorted(
    (
        (form, kind)
        for kind, words in _ANSWER_WORDS.items()
        for word in words
        for form in {word, word if word.isascii() else _DONE.get(kind, "") + word}
    ),
    key=lambda pair: len(pair[0]),
    reverse=True,
)
_ASKS = re.compile(r"[?]|[吗呢]\s*$")
_DENIES = re.compile(r"(not|never|don't|no need)\b|[不别勿莫非]", re.IGNORECASE)
_LACKS = re.compile(
    r"(no|nobody|cannot|can't|won't)\b|[没未无]", re.IGNORECASE
)  # a reason for an escalation, a doubt elsewhere
_QUOTED = re.compile(
    r"\s*(>|-{2,}\s*$|_{5,}|-{3,}.*(original|forwarded|原始|转发)|(from|sent|发件人|发送时间|寄件者)\s*:|on\b.+\bwrote:|在.+写道\s*:)",
    re.IGNORECASE,
)
_UNITS = frozenset({"AM", "PM", "KM", "KW", "HZ", "MA", "GB", "MB", "KB", "TB"})  # `10PM` in a note is no second code
_BETWEEN = " \t\n,.:;!、。,~"


def read_reply(text: str, code: str = "") -> ClearAnswer | Unclear:
    """The answer in a text: a code and a word, in either order, and perhaps a note. `code` is the code if it is known from
    elsewhere (the subject of a mail); one in the text must be the same. Case, spaces and full-width characters do not matter. Only
    the first paragraph above the quoted message is read."""
    own = _first_paragraph(unicodedata.normalize("NFKC", text))
    found = list(CODE.finditer(_capital(own)))
    if not found:
        return _said(code, own) if code else Unclear()
    first, *others = found
    mine = first[1] + first[2]
    others = [one for one in others if one[1] + one[2] != mine and one[2] not in _UNITS]
    if others or code not in {"", mine}:
        return Unclear()
    before, after = own[: first.start()].strip(_BETWEEN), own[first.end() :].strip(_BETWEEN)
    if before and _first_word(before)[0] != before:
        return Unclear(mine)
    return _said(mine, f"{before} {after}")


def code_in(text: str) -> str:
    """The only code in a text; empty if it has none or several."""
    found = {number + letters for number, letters in CODE.findall(_capital(unicodedata.normalize("NFKC", text)))}
    return found.pop() if len(found) == 1 else ""


def _capital(text: str) -> str:
    """In capital letters, each in its place."""
    return "".join(char.upper() if char.isascii() else char for char in text)


def _first_paragraph(text: str) -> str:
    """What the person wrote first, above the quoted message."""
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if _QUOTED.match(line) or (lines and not line.strip()):
            break
        lines += [line] if line.strip() else []
    return "\n".join(lines)


def _said(code: str, text: str) -> ClearAnswer | Unclear:
    text = text.strip(_BETWEEN)
    word, kind = _first_word(text)
    if kind is None:
        return Unclear(code)
    note = " ".join(text[len(word) :].removeprefix("了").strip(_BETWEEN).split())[:NOTE_LENGTH]
    if kind is AnswerKind.COMMENT:
        return ClearAnswer(code, kind, note) if note else Unclear(code)
    doubted = _ASKS.search(text) or _DENIES.match(note) or (kind is not AnswerKind.ESCALATE and _LACKS.match(note))
    if doubted or _first_word(note)[1] not in {None, kind}:
        return Unclear(code)
    return ClearAnswer(code, kind, note)


def _first_word(text: str) -> tuple[str, AnswerKind | None]:
    """The word that the text begins with, if it is one of ours and a whole word: `收到了`, but not `升级固件`."""
    folded = _capital(text).lower()
    for word, kind in _BY_WORD:
        if folded.startswith(word):
            following = folded[len(word) :].removeprefix("了" if not word.isascii() else "")
            if not following or following[0] in _BETWEEN + "?":
                return text[: len(word)], kind
    return "", None
