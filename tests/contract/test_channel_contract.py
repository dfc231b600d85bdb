"""One contract for all channels: Apprise and the webhook send to an HTTP server on loopback, the console writes to a stream
that works or fails."""

import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from watchkeeper.channels.open import open_channel
from watchkeeper.channels.ports import Address, Channel, Message, Receipt, Via
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.logs import limit_library_logs

SECRET = "sesame-open-4711"
MESSAGE = Message(
    "incident-7/duty/wang.lei", "wang.lei", "UPS on battery", "机房 UPS 改由电池供电", {"level": "critical"}
)
HUNG = 0

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise 2.2's import


@pytest.fixture(autouse=True)
def _library_logs() -> None:
    """Every command that opens channels does this."""
    limit_library_logs()


@dataclass
class Receiver:
    """The receiving server. It answers every request with `status`; with HUNG it does not answer."""

    port: int = 0
    status: int = 200
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append((dict(self.headers), body))
            if receiver.status == HUNG:
                receiver.released.wait(10)
                self.close_connection = True
                return
            self.send_response(receiver.status)
            if 300 <= receiver.status < 400:
                self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            receiver.requests.append(({}, b"followed"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening(Receiver()) as receiver:
        yield receiver


class BrokenPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def apprise(port: int, timeout_s: float) -> Channel:
    url = f"json://{SECRET}:{SECRET}@127.0.0.1:{port}/{SECRET}"
    secrets = Secrets(environ={"WATCHKEEPER_SECRET_PAGER": url})
    return open_channel(Address(Via.APPRISE, secret="pager"), secrets, FakeClock(), io.StringIO(), timeout_s)


def webhook(port: int, timeout_s: float) -> Channel:
    secrets = Secrets(environ={"WATCHKEEPER_SECRET_PAGER": SECRET})
    address = Address(Via.WEBHOOK, f"http://127.0.0.1:{port}/hook", "pager")
    return open_channel(address, secrets, FakeClock(), io.StringIO(), timeout_s)


def console(stream: io.StringIO) -> Channel:
    return open_channel(Address(Via.CONSOLE), Secrets(environ={}), FakeClock(), stream)


def on_console(_port: int, _timeout_s: float) -> Channel:
    return console(io.StringIO())


Make = Callable[[int, float], Channel]
over_http = pytest.mark.parametrize("make", [apprise, webhook])
every_channel = pytest.mark.parametrize("make", [apprise, webhook, on_console])


@dataclass
class Case:
    """One channel with one behaviour of the receiver, and the expected receipt."""

    name: str
    send: Callable[[Receiver], Receipt]
    delivered: bool
    permanent: bool = False


def answering(make: Make, status: int, *, delivered: bool = False, permanent: bool = False) -> Case:
    def send(receiver: Receiver) -> Receipt:
        receiver.status = status
        return make(receiver.port, 0.3 if status == HUNG else 10.0).send(MESSAGE)

    return Case(f"{make.__name__}-{status or 'hung'}", send, delivered, permanent)


def refusing(make: Make) -> Case:
    def send(receiver: Receiver) -> Receipt:
        with socket.socket() as held:  # bound but not listening, so no other program gets the port
            held.bind(("127.0.0.1", 0))
            return make(held.getsockname()[1], 10.0).send(MESSAGE)

    return Case(f"{make.__name__}-connection-refused", send, delivered=False)


CASES = [
    answering(apprise, 200, delivered=True),
    answering(webhook, 200, delivered=True),
    answering(webhook, 204, delivered=True),
    Case("console-works", lambda receiver: console(io.StringIO()).send(MESSAGE), delivered=True),
    *(answering(webhook, status, permanent=True) for status in (301, 302, 307, 400, 401, 403, 404, 410, 422)),
    *(answering(webhook, status) for status in (408, 425, 429, 500, 502, 503, 504)),
    *(answering(apprise, status, permanent=True) for status in (302, 401, 403, 404, 410)),
    *(answering(apprise, status) for status in (408, 429, 500, 503)),
    refusing(apprise),
    refusing(webhook),
    answering(apprise, HUNG),
    answering(webhook, HUNG),
    Case("console-broken", lambda receiver: console(BrokenPipe()).send(MESSAGE), delivered=False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_receipt_gives_the_result_and_never_the_secret(
    case: Case, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receipt = case.send(receiver)
    assert (receipt.delivered, receipt.permanent) == (case.delivered, case.permanent), receipt
    assert receipt.detail
    assert SECRET not in receipt.detail
    assert SECRET not in caplog.text
    assert all(body != b"followed" for _, body in receiver.requests), "a redirect was followed"


@over_http
def test_the_whole_message_arrives(make: Make, receiver: Receiver) -> None:
    make(receiver.port, 10.0).send(MESSAGE)
    [(_, body)] = receiver.requests
    assert "UPS on battery" in body.decode()
    assert MESSAGE.text in body.decode("unicode_escape" if make is apprise else "utf-8")


@over_http
def test_a_sender_waits_no_longer_than_its_timeout(make: Make, receiver: Receiver) -> None:
    receiver.status = HUNG
    began = time.monotonic()
    receipt = make(receiver.port, 0.2).send(MESSAGE)
    assert time.monotonic() - began < 8  # the server would hold it for ten seconds
    assert "0.2 s" in receipt.detail


@every_channel
def test_a_channel_does_not_print_its_secret(make: Make) -> None:
    channel = make(9, 10.0)
    assert SECRET not in repr(channel) + str(channel) + repr(vars(channel))


@every_channel
def test_text_with_a_lone_surrogate_raises_nothing(make: Make, receiver: Receiver) -> None:
    message = Message("key/\ud800/中", "wang.lei", "half a pair \ud800", "\ud800\x1b[2J")
    assert isinstance(make(receiver.port, 10.0).send(message), Receipt)


@over_http
def test_one_channel_sends_again_after_a_failure(make: Make, receiver: Receiver) -> None:
    channel = make(receiver.port, 10.0)
    receiver.status = 500
    assert not channel.send(MESSAGE).delivered
    receiver.status = 200
    assert channel.send(MESSAGE).delivered
