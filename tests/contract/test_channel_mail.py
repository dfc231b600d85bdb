"""Mail by Apprise to an SMTP server on loopback: plain text, and the server's answer in the receipt."""

import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from watchkeeper.channels.apprise import AppriseChannel
from watchkeeper.channels.ports import Message, Proof, Receipt
from watchkeeper.documents.secrets import Secret

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise 2.2's import
TEXT = "Reason: <b>x</b> & [ok](http://evil.example) 机房\nhttps://watch.example/incidents/1"


@dataclass
class Mailbox:
    """An SMTP server (RFC 5321) that answers a recipient with `recipient`, and a whole message with `data`."""

    port: int = 0
    recipient: bytes = b"250 ok"
    data: bytes = b"250 ok"
    got: list[bytes] = field(default_factory=list)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 box\r\n")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go\r\n")
                    box.got.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                answer = {b"RCPT": box.recipient, b"DATA": box.data, b"QUIT": b"221 bye"}.get(verb, b"250 ok")
                self.wfile.write(answer + b"\r\n")
                if verb == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()


def send(box: Mailbox, wish: str = "") -> Receipt:
    url = f"mailto://127.0.0.1:{box.port}?smtp=127.0.0.1&from=room@watch.example&to=wang@watch.example{wish}"
    message = Message("k", "p", "[critical] ups-1: <b>\r\nBcc: all@evil.example", TEXT, {"level": "critical"})
    return AppriseChannel(Secret(url), 10.0).send(message)


@pytest.mark.parametrize("wish", ["", "&format=html", "&format=markdown"])
def test_a_mail_is_plain_text_word_by_word(wish: str, mailbox: Mailbox) -> None:
    receipt = send(mailbox, wish)
    assert (receipt.delivered, receipt.proof) == (True, Proof.ACCEPTED), receipt
    mail = email.message_from_bytes(mailbox.got[0], policy=email.policy.default)
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == ["text/plain"]
    body = mail.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip().splitlines() == TEXT.splitlines()
    assert mail["Subject"].startswith("[critical] ups-1: <b>")
    assert mail["Bcc"] is None
    assert mail["To"] == "wang@watch.example"


@pytest.mark.parametrize("refusal", ["recipient", "data"])
@pytest.mark.parametrize("answer", [b"550 no such user", b"451 try later"])
def test_a_mail_that_the_server_does_not_take_is_not_delivered(refusal: str, answer: bytes, mailbox: Mailbox) -> None:
    setattr(mailbox, refusal, answer)
    assert not send(mailbox).delivered
