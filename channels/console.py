"""Writes messages as text to a stream: for a first run, for a terminal in the room, for the journal."""

from typing import TextIO

from watchkeeper.channels.ports import Message, Receipt
from watchkeeper.model.plain import printable


class ConsoleChannel:
    """Writes to a stream. Does not close it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def send(self, message: Message) -> Receipt:
        """Implements `Channel.send`. A message counts as delivered once it is written. All its lines after the first
        are indented, so no text of a device can look like another message or a log line."""
        text = "\n    ".join(f"--- to {message.person}: {message.subject}\n{message.text}".split("\n"))
        try:
            self._stream.write(printable(text) + "\n")
            self._stream.flush()
        except (
            OSError,
            ValueError,
        ) as error:  # a full disk or broken pipe; a closed stream or an unsupported character
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            return Receipt(delivered=False, detail=f"the console cannot be written: {reason}")
        return Receipt(delivered=True, detail="written to the console")
