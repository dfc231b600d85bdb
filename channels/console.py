"""Messages as text on a stream: for a first run, for a terminal in the room, for the journal."""

from typing import TextIO

from channels.ports import Message, Receipt


class ConsoleChannel:
    """Writes to the stream it was handed, which stays its owner's to close."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def send(self, message: Message) -> Receipt:
        """See `Channel.send`. Delivered is what the stream took."""
        text = f"--- to {message.person}: {message.subject}\n{message.text}\n"
        try:
            self._stream.write(_printable(text))
            self._stream.flush()
        except (OSError, ValueError) as error:  # a full disk, a broken pipe; a closed stream, a character it has not
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            return Receipt(delivered=False, detail=f"the console took nothing: {reason}")
        return Receipt(delivered=True, detail="written to the console")


def _printable(text: str) -> str:
    """A device's words may carry escape sequences; a terminal must not obey them."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
