"""Messages as text on a stream: for a first run, for a terminal in the room, for the journal."""

from typing import TextIO

from watchkeeper.channels.ports import Message, Receipt
from watchkeeper.model.plain import printable


class ConsoleChannel:
    """Writes to the stream it was handed, which stays its owner's to close."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def send(self, message: Message) -> Receipt:
        """See `Channel.send`. Delivered is what the stream took. Nothing that a device says can look like a message, or
        like a line of the log: it is all indented."""
        text = "\n    ".join(f"--- to {message.person}: {message.subject}\n{message.text}".split("\n"))
        try:
            self._stream.write(printable(text) + "\n")
            self._stream.flush()
        except (OSError, ValueError) as error:  # a full disk, a broken pipe; a closed stream, a character it has not
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            return Receipt(delivered=False, detail=f"the console took nothing: {reason}")
        return Receipt(delivered=True, detail="written to the console")
