"""Text from outside (a device, another machine, a mount point) made safe for a terminal, a log and the wire."""

import logging
import unicodedata

LINE_LIMIT = 200  # characters; the limit of a name on the wire (docs/protocol.md)
_ELLIPSIS = " … "


def printable(text: str) -> str:
    """The text without control characters, which a terminal would obey. Line ends stay."""
    return text if text.isprintable() else "".join(map(_harmless, text))


def _harmless(char: str) -> str:
    harmless = char.isprintable() or char == "\n" or unicodedata.category(char) == "Zs"  # spaces of any script
    return char if harmless else "\N{REPLACEMENT CHARACTER}"


def one_line(text: str) -> str:
    """The text in one line that the wire accepts. Of a text that is too long the middle is left out."""
    line = printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}")
    if len(line) <= LINE_LIMIT:
        return line
    half = (LINE_LIMIT - len(_ELLIPSIS)) // 2
    return line[:half] + _ELLIPSIS + line[-half:]


class LogFormatter(logging.Formatter):
    """Formats log records. Further lines of a record are indented, so that none can look like another record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without control characters."""
        return printable(super().format(record)).replace("\n", "\n    ")
