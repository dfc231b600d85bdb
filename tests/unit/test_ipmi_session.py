"""Opening a session to a BMC: mistakes in the configuration, and rubbish sent by a faulty BMC."""

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.ipmi.probe import open_ipmi_session
from watchkeeper.agent.probes.ipmi.session import IpmiLogin, PyIpmiSession
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Category, Device, Ipmi
from watchkeeper.model.reading import Missing, Reason

OPEN_SESSION = 0x10


def opened(address: str = "127.0.0.1", **environ: str) -> Missing:
    device = Device("b", "a", Category.BMC, "ipmi", address, timeout_s=0.2, ipmi=Ipmi("ops", "bmc"))
    with pytest.raises(NoAnswer) as caught:
        open_ipmi_session(device, Secrets(environ=environ), 1)
    return caught.value.missing


def test_mistakes_are_named_before_anything_is_sent() -> None:
    secrets = {"WATCHKEEPER_SECRET_BMC": "hunter2 hunter2 hunter2"}
    assert "no secret called `bmc`" in opened().detail
    assert "HOST:PORT" in opened("127.0.0.1:ipmi", **secrets).detail
    assert opened("127.0.0.1:70000", **secrets).reason is Reason.UNREACHABLE
    with pytest.raises(NoAnswer, match="no `ipmi`"):
        open_ipmi_session(Device("b", "a", Category.BMC, "ipmi", "h"), Secrets(environ={}), 1)


def capabilities(request: bytes) -> bytes:
    """An answer to Get Channel Authentication Capabilities, without a session, that offers IPMI 2.0 (22.13)."""
    sequence = request[18]
    body = bytes([0x20, sequence, 0x38, 0, 1, 0x80, 0, 0x02, 0, 0, 0, 0])
    message = bytes([0x81, 0x1C, -(0x81 + 0x1C) & 0xFF]) + body + bytes([-sum(body) & 0xFF])
    return bytes([6, 0, 0xFF, 7, *[0] * 9, len(message)]) + message


@contextlib.contextmanager
def faulty_bmc(rubbish: Callable[[], bytes]) -> Iterator[int]:
    """A server that starts like a BMC and then answers with endless rubbish. Yields its port."""
    stopping = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(0.01)

        def serve() -> None:
            client = None
            while not stopping.is_set():
                with contextlib.suppress(OSError):
                    request, client = opened.recvfrom(4096)
                    if request[4] == 0 and rubbish is not noise:
                        opened.sendto(capabilities(request), client)
                        client = None
                if client:
                    opened.sendto(rubbish(), client)

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield opened.getsockname()[1]
        finally:
            stopping.set()
            server.join()


chance = random.Random(3)  # noqa: S311 -- no secret


def noise() -> bytes:
    return chance.randbytes(chance.randrange(60))


def broken_open_session() -> bytes:
    return bytes([6, 0, 0xFF, 7, 6, OPEN_SESSION + 1]) + noise()


def answer_to_another_session() -> bytes:
    return bytes([6, 0, 0xFF, 7, 6, OPEN_SESSION + 1, *[0] * 8, 8, 0, 0xEE, *[0] * 7])


@pytest.mark.parametrize(
    ("rubbish", "reason"),
    [(noise, Reason.MALFORMED), (broken_open_session, Reason.TIMEOUT), (answer_to_another_session, Reason.TIMEOUT)],
)
def test_endless_rubbish_delays_no_longer_than_the_timeout(rubbish: Callable[[], bytes], reason: Reason) -> None:
    timeout_s = 10.0 if reason is Reason.MALFORMED else 0.3
    with faulty_bmc(rubbish) as port, pytest.raises(NoAnswer) as caught:
        PyIpmiSession(IpmiLogin("127.0.0.1", port, "ops", "hunter2", 3, timeout_s, 1, 60.0))
    assert caught.value.missing.reason is reason


def test_a_login_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(IpmiLogin("127.0.0.1", 1, "ops", "hunter2", 3, 0.3, 1, 60.0))
