"""Words from outside (a device, another machine, a mount point) as a terminal, a log and the wire can take them."""

import logging
import unicodedata

WORD_LIMIT = 200
_MIDDLE = " … "


def printable(text: str) -> str:
    """The text without what a terminal would obey: control characters, but for the end of a line."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(sign: str) -> str:
    harmless = sign.isprintable() or sign == "\n" or unicodedata.category(sign) == "Zs"  # spaces of any script
    return sign if harmless else "\N{REPLACEMENT CHARACTER}"


def one_line(text: str) -> str:
    """The text as one word of the wire (docs/protocol.md): in one line, no longer than allowed, its middle left out."""
    line = printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}")
    if len(line) <= WORD_LIMIT:
        return line
    half = (WORD_LIMIT - len(_MIDDLE)) // 2
    return line[:half] + _MIDDLE + line[-half:]


class LogFormatter(logging.Formatter):
    """A record begins at the margin, and nothing that it says can: its further lines are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return printable(super().format(record)).replace("\n", "\n    ")
