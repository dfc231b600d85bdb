"""Text from outside (a device, another machine, a mount point) made safe for a terminal, a log, a message, a page and the wire.

Every such text is made safe where it comes in: at the agent before it is judged (`agent.poll.checked`), and at the collector
when a push is decoded (`model.json_fields`), because an agent may be a foreign one. What goes out needs no copy of this.

Letters, signs and emoji of all scripts stay. What goes is what has no shape of its own and changes how the rest is shown or
obeyed: control characters (C0, C1 and escape sequences), the marks that turn the direction of text around, zero-width
characters, separators of lines and paragraphs, and blank letters."""

import logging
import re
import unicodedata

LINE_LIMIT = 200  # characters; the limit of a name on the wire (docs/protocol.md)
_ELLIPSIS = " … "
_UNSAFE = "\N{REPLACEMENT CHARACTER}"
# Letters and marks that show nothing (Unicode: Default_Ignorable_Code_Point): Hangul and Khmer fillers, the grapheme joiner
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0]")
_JOINER, _AS_EMOJI = "\N{ZERO WIDTH JOINER}", "\N{VARIATION SELECTOR-16}"
_ADDED_LATER = (range(0x1F000, 0x1FB00), range(0x20000, 0x33480))
"""Where newer versions of Unicode than Python's have more emoji and more Chinese characters."""


def printable(text: str, unsafe: str = _UNSAFE) -> str:
    """The text, with `unsafe` for each character that would be obeyed instead of shown. Line ends stay."""
    if is_plain(text):
        return text
    return "".join(char if char == "\n" or _is_safe(text, at) else unsafe for at, char in enumerate(text))


def is_plain(text: str) -> bool:
    """Whether the text is one line in which each character is shown as it is. False for some texts that are safe too: this is
    the fast way to tell that there is nothing to do."""
    return text.isprintable() and not _BLANK.search(text)


def _is_safe(text: str, at: int) -> bool:
    char = text[at]
    if char == _JOINER:
        return _joins_emoji(text, at)
    if char.isprintable():
        return not _BLANK.match(char)
    category = unicodedata.category(char)
    return category == "Zs" or (category == "Cn" and any(ord(char) in added for added in _ADDED_LATER))


def _joins_emoji(text: str, at: int) -> bool:
    """Whether the joiner makes one emoji of two (a family, a profession)."""
    before, after = text[:at][-1:], text[at + 1 :][:1]
    if not (before and after):
        return False
    return (before == _AS_EMOJI or unicodedata.category(before) in ("So", "Sk")) and unicodedata.category(after) == "So"


def plain_line(text: str) -> str:
    """The text in one line, whatever its length."""
    return text if is_plain(text) else printable(text).replace("\n", _UNSAFE)


def one_line(text: str, limit: int = LINE_LIMIT) -> str:
    """The text in one line that the wire accepts. Of a text that is too long the middle is left out."""
    if len(text) > 2 * limit:  # a device may send megabytes
        text = text[:limit] + text[-limit:]
    line = plain_line(text)
    if len(line) <= limit:
        return line
    half = (limit - len(_ELLIPSIS)) // 2
    return line[:half] + _ELLIPSIS + line[-half:]


class LogFormatter(logging.Formatter):
    """Formats log records. Further lines of a record are indented, so that none can look like another record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without control characters."""
        return printable(super().format(record)).replace("\n", "\n    ")
