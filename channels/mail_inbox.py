"""Mail that came in, from a folder of a mailbox by IMAP (RFC 3501). A mail is marked as read only after it was taken."""

import contextlib
import email
import email.policy
import email.utils
import hashlib
import imaplib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from html.parser import HTMLParser
from typing import Any

from watchkeeper.channels.deadline import TooMuchReceived, within
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.errors import ChannelError

VISIT_S = 15.0
"""How long one visit may take, whatever the server does."""

AT_ONCE = 20
"""How many mails are read in a visit."""

LONGEST_BYTES = 100_000
"""A longer mail is read to here."""

_QUOTED = re.compile(r'["\\\r\n]')


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail. `sender` is the one address in From, empty if there are several; `text` what is written in it, with what it quotes;
    `whole` has all that may have a link; `source` is the same for the same mail. `automatic`: a program has sent it (RFC 3834)."""

    sender: str
    text: str
    whole: str
    source: str
    automatic: bool


class Imap(imaplib.IMAP4):
    """A connection to a server, which says how long a literal is: imaplib makes room for it before it comes."""

    def read(self, size: int) -> bytes:
        """Read a literal, unless it is far longer than what was asked for."""
        if size > 2 * LONGEST_BYTES:
            raise self.abort(f"a literal of {size} bytes")
        return super().read(size)


class ImapOverTls(Imap, imaplib.IMAP4_SSL):
    """The same over TLS."""


class Mailbox:
    """A folder of a mailbox. `connect` opens the connection, and limits each wait for data."""

    def __init__(self, connect: Callable[[], imaplib.IMAP4], user: str, secret: Secret, folder: str) -> None:
        self._connect, self._user, self._secret, self._folder = connect, user, secret, folder

    def visit(self, take: Callable[[Mail], bool], timeout_s: float = VISIT_S) -> int:
        """Give each unread mail to `take`, and mark it as read if that returns True. Returns how many were. Raises ChannelError, and
        whatever `take` raises; then that mail stays unread."""
        try:
            count = within(timeout_s, lambda: self._visit(take))
        except TooMuchReceived:
            raise ChannelError("the mailbox does not stop answering") from None
        if count is None:
            raise ChannelError(f"the mailbox did not answer within {timeout_s:g} s")
        return count

    def _visit(self, take: Callable[[Mail], bool]) -> int:
        try:
            box = self._connect()
        except (OSError, imaplib.IMAP4.error) as error:
            raise ChannelError(f"the mailbox cannot be reached: {_why(error)}") from None
        with contextlib.closing(_Ended(box)):
            taken = 0
            for number in self._unread(box):
                mail = _fetch(box, number)
                if mail is not None and not take(mail):
                    continue
                taken += 1
                _must(partial(box.uid, "STORE", number, "+FLAGS.SILENT", r"(\Seen)"), "cannot mark a mail as read")
            return taken

    def _unread(self, box: imaplib.IMAP4) -> list[str]:
        _must(lambda: box.login(self._user, self._secret.reveal()), "refuses user or password")
        folder = _QUOTED.sub("", self._folder)
        _must(lambda: box.select(f'"{folder}"'), f"has no folder `{folder}`")
        found = _must(lambda: box.uid("SEARCH", "UNSEEN"), "cannot be searched")
        words = found[0].decode("ascii", "replace").split() if found and isinstance(found[0], bytes) else []
        return [word for word in words if word.isdigit()][:AT_ONCE]


class _Ended:
    """Ends a session, whatever state it is in."""

    def __init__(self, box: imaplib.IMAP4) -> None:
        self._box = box

    def close(self) -> None:
        """Log out, which also closes the socket."""
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            self._box.logout()
        with contextlib.suppress(OSError):
            self._box.shutdown()


def _must(ask: Callable[[], tuple[str, Any]], wrong: str) -> Any:
    """What the server answers. Raises ChannelError, which does not repeat the server's words: they may repeat ours."""
    try:
        status, data = ask()
    except (OSError, imaplib.IMAP4.error, ValueError) as error:
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise ChannelError(f"the mailbox {wrong}{reason}") from None
    if status != "OK":
        raise ChannelError(f"the mailbox {wrong}")
    return data


def _why(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it does not speak IMAP"


def _fetch(box: imaplib.IMAP4, number: str) -> Mail | None:
    data = _must(lambda: box.uid("FETCH", number, f"(BODY.PEEK[]<0.{LONGEST_BYTES}>)"), "cannot give a mail")
    content = next((part[1] for part in data if isinstance(part, tuple)), None)
    return None if content is None else read_mail(content[:LONGEST_BYTES])


def read_mail(content: bytes) -> Mail:
    """A mail from its bytes. What cannot be read is left out."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    sender, identity, automatic = "", "", True
    with contextlib.suppress(
        ValueError, LookupError, AttributeError, IndexError, TypeError
    ):  # the parser's own mistakes
        addresses = email.utils.getaddresses([str(one) for one in message.get_all("From", [])])
        sender = addresses[0][1] if len(addresses) == 1 else ""
        identity = str(message.get("Message-ID", "")).strip()
        automatic = _is_automatic(message)
    texts = dict(_texts(message))
    text = texts["plain"] if "plain" in texts else _plain(texts.get("html", ""))
    source = hashlib.sha256(identity.encode(errors="replace") if identity else content).hexdigest()
    return Mail(sender, text, "\n".join(texts.values()), source, automatic)


def _is_automatic(message: EmailMessage) -> bool:
    submitted = str(message.get("Auto-Submitted", "no")).partition(";")[0].strip().lower()
    bulk = str(message.get("Precedence", "")).strip().lower() in {"bulk", "junk", "list", "auto_reply"}
    return submitted != "no" or bulk or "List-Id" in message


def _texts(message: EmailMessage) -> Iterator[tuple[str, str]]:
    """The first text of each kind: `plain`, `html`."""
    seen: set[str] = set()
    for part in message.walk():
        kind = part.get_content_subtype()
        if part.get_content_maintype() == "text" and kind in {"plain", "html"} and kind not in seen:
            with contextlib.suppress(ValueError, LookupError, KeyError, AttributeError):
                yield kind, str(part.get_content())
                seen.add(kind)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 -- as the library calls it
        if tag in {"br", "p", "div", "tr", "li"}:
            self.words.append("\n")
        elif tag == "blockquote":
            self.words.append("\n> ")
        self._hidden += tag in {"style", "script", "head"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "script", "head"}

    def handle_data(self, data: str) -> None:
        if self._hidden <= 0:
            self.words.append(data)


def _plain(html: str) -> str:
    """The words of a text in HTML."""
    parser = _Words()
    parser.feed(html)
    return "".join(parser.words)
