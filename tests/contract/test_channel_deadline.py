"""The hard deadline: receivers that trickle or send without end, over HTTP, SMTP and IMAP, hold no sender and leave no thread behind."""

import smtplib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from watchkeeper.channels.apprise import AppriseChannel
from watchkeeper.channels.deadline import RECEIVED_LIMIT, within
from watchkeeper.channels.mail_inbox import Imap, Mailbox
from watchkeeper.channels.ports import Channel, Message
from watchkeeper.channels.webhook import WebhookChannel
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import ChannelError

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise 2.2's import
MESSAGE = Message("k", "p", "s", "t")
TIMEOUT_S = 0.3
LONG_S = 60.0
CHUNK = 1 << 20


@contextmanager
def trickling(start: bytes, drip: bytes) -> Iterator[tuple[int, threading.Event]]:
    """A server that sends `start`, and then `drip` again and again, until its client goes away. The event says that it has."""
    gone = threading.Event()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            with client, suppress(OSError):
                client.sendall(start)
                client.settimeout(0.02)
                while True:
                    with suppress(TimeoutError):
                        if not client.recv(4096):
                            break
                    client.sendall(drip)
            gone.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], gone
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def webhook(port: int) -> Channel:
    return WebhookChannel(f"http://127.0.0.1:{port}/", Secret("s"), FakeClock(), TIMEOUT_S)


def service(port: int) -> Channel:
    return AppriseChannel(Secret(f"json://127.0.0.1:{port}/"), TIMEOUT_S)


def mail(port: int) -> Channel:
    return AppriseChannel(
        Secret(f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&from=a@b.example&to=c@d.example"), TIMEOUT_S
    )


@pytest.mark.parametrize(
    ("make", "start", "drip"),
    [
        (webhook, b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
        (webhook, b"", b"H"),
        (service, b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
        (service, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (mail, b"", b"220-wait\r\n"),
    ],
    ids=["webhook-headers", "webhook-status", "service-headers", "service-body", "mail"],
)
def test_a_receiver_that_trickles_is_left_at_the_deadline(
    make: Callable[[int], Channel], start: bytes, drip: bytes
) -> None:
    with trickling(start, drip) as (port, gone):
        receipt = make(port).send(MESSAGE)
        assert (receipt.delivered, receipt.permanent) == (False, False)
        assert "0.3 s" in receipt.detail
        assert gone.wait(10), "the connection is still open"
    for thread in threading.enumerate():
        if thread.name == "delivery":
            thread.join(10)
            assert not thread.is_alive(), "a thread was left behind"


@contextmanager
def endless(start: bytes, more: bytes) -> Iterator[tuple[int, list[int]]]:
    """A server that sends `start`, and then `more` as fast as it is taken. The list counts the bytes."""
    sent = [0]
    clients: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            clients.append(client)
            client.sendall(start)
            while True:
                sent[0] += client.send(more)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], sent
        finally:
            for one in (listener, *clients):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in clients:
                one.close()


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 500 Oops\r\nContent-Length: 999999999\r\n\r\n"],
    ids=["accepts", "fails"],
)
def test_of_an_answer_without_end_a_little_is_read(start: bytes) -> None:
    with endless(start, b"x" * CHUNK) as (port, sent):
        AppriseChannel(Secret(f"json://127.0.0.1:{port}/"), LONG_S).send(MESSAGE)
    assert sent[0] < 64 * CHUNK, "what fits into the buffers of two sockets"


def test_a_mail_server_that_greets_without_end_is_left() -> None:
    url = "mailto://127.0.0.1:{}?smtp=127.0.0.1&from=a@b.example&to=c@d.example"
    with endless(b"", b"220-welcome\r\n" * 10_000) as (port, sent):
        receipt = AppriseChannel(Secret(url.format(port)), LONG_S).send(MESSAGE)
    assert (receipt.delivered, receipt.permanent) == (False, False)
    assert "does not end" in receipt.detail
    assert sent[0] > RECEIVED_LIMIT


@pytest.mark.parametrize(
    ("start", "more", "problem"),
    [
        (b"* OK ready\r\n", b"* 1 EXISTS\r\n" * 10_000, "does not stop answering"),
        (b"* OK ready\r\n* 1 FETCH (BODY[] {99999999999999}\r\n", b"x", "mailbox"),
    ],
    ids=["lines", "literal"],
)
def test_a_mailbox_that_answers_without_end_is_left(start: bytes, more: bytes, problem: str) -> None:
    with endless(start, more) as (port, _):
        box = Mailbox(lambda: Imap("127.0.0.1", port, timeout=LONG_S), "me", Secret("s"), "INBOX")
        with pytest.raises(ChannelError, match=problem):
            box.visit(lambda _: True, LONG_S)


def test_a_mailbox_that_trickles_is_left_at_the_deadline() -> None:
    with trickling(b"* OK ready\r\n", b"* 1 EXISTS\r\n") as (port, gone):
        box = Mailbox(lambda: Imap("127.0.0.1", port, timeout=LONG_S), "me", Secret("s"), "INBOX")
        with pytest.raises(ChannelError, match=r"within 0\.3 s"):
            box.visit(lambda _: True, TIMEOUT_S)
        assert gone.wait(10), "the connection is still open"


def test_after_the_deadline_nothing_is_connected_any_more() -> None:
    late: list[object] = []
    go, ended = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def call() -> None:
            go.wait(10)
            try:
                late.append(socket.create_connection(listener.getsockname()))
            except OSError as error:
                late.append(error)
            ended.set()

        assert within(0.05, call) is None
        go.set()
        assert ended.wait(10)
    assert isinstance(late[0], TimeoutError)


def test_a_call_in_time_gives_its_result_or_its_error() -> None:
    assert within(10, lambda: 7) == 7
    with pytest.raises(smtplib.SMTPException):
        within(10, lambda: (_ for _ in ()).throw(smtplib.SMTPException()))
    with pytest.raises(TimeoutError):
        within(10, lambda: (_ for _ in ()).throw(TimeoutError()))


def test_other_connections_are_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        there, _ = listener.accept()
        with there:
            assert within(0.05, threading.Event().wait) is None
            there.sendall(b"still here")
            assert ours.recv(100) == b"still here"
