"""The ICMP probe on fake sockets: replies, lost echos, and packets that answer no request of ours."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service_room import look
from watchkeeper.agent.probes.services.check import CheckFailed
from watchkeeper.agent.probes.services.icmp import (
    ECHOS,
    ICMP_HEADER,
    IcmpProbe,
    answered_request,
    checksum,
    echo_request,
    open_socket,
)
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device
from watchkeeper.model.reading import Missing, Reason, Value

V4, V6 = socket.AF_INET, socket.AF_INET6
TOKEN = bytes(range(48))


class FakeSocket:
    """A socket that passes each request to `peer`, which returns the answers and the addresses they come from."""

    def __init__(self, family: socket.AddressFamily, peer: Callable[[bytes, str], list[tuple[bytes, str]]]) -> None:
        self.family, self.type, self.peer = family, socket.SOCK_DGRAM, peer
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours.settimeout(0)
        self.waiting: list[tuple[bytes, str]] = []

    def fileno(self) -> int:
        return self.ours.fileno()

    def sendto(self, packet: bytes, address: tuple[str, int]) -> None:
        for answer in self.peer(packet, address[0]):
            self.waiting.append(answer)
            self.theirs.send(b"!")

    def recvfrom(self, _: int) -> tuple[bytes, tuple[str, int]]:
        self.ours.recv(1)
        packet, host = self.waiting.pop(0)
        return packet, (host, 0)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def echo(packet: bytes, kind: int = 0) -> bytes:
    return bytes([kind]) + packet[1:]


def pinged(
    peer: Callable[[bytes, str], list[tuple[bytes, str]]], *hosts: str, timeout_s: float = 0.15
) -> list[dict[str, Value]]:
    sockets: list[FakeSocket] = []

    def opener(family: socket.AddressFamily) -> Any:
        sockets.append(FakeSocket(family, peer))
        return sockets[-1]

    async def run() -> list[dict[str, Value]]:
        probe = IcmpProbe(FakeClock(), opener)
        devices = [Device(host, "room-1", Category.SERVER, "icmp", host, timeout_s=timeout_s) for host in hosts]
        seen = await asyncio.gather(*(look(device, probe) for device in devices))
        await probe.close()
        return list(seen)

    seen = asyncio.run(run())
    assert len(sockets) == len({":" in host for host in hosts})  # one socket for each address family, not each device
    return seen


def test_if_every_echo_comes_back_there_is_no_loss() -> None:
    (seen,) = pinged(lambda packet, host: [(echo(packet), host)], "127.0.0.1")
    assert seen == {"device.answering": "yes", "packet.loss": 0.0, "response.time": 0.0}


@pytest.mark.parametrize("lost", range(1, ECHOS))
def test_lost_echos_are_counted_in_per_cent(lost: int) -> None:
    sent = 0

    def peer(packet: bytes, host: str) -> list[tuple[bytes, str]]:
        nonlocal sent
        sent += 1
        return [] if sent <= lost else [(echo(packet), host)]

    (seen,) = pinged(peer, "127.0.0.1")
    assert seen["device.answering"] == "yes"
    assert seen["packet.loss"] == pytest.approx(100 * lost / ECHOS)
    assert sent == ECHOS


def wrong(packet: bytes, host: str) -> list[tuple[bytes, str]]:
    """Packets of every kind that do not answer this request."""
    number = struct.unpack_from("!H", packet, 6)[0]
    other = ICMP_HEADER.pack(0, 0, 0, 0, (number + 1000) % 65536) + packet[8:]
    return [(packet, host), (echo(packet), "127.0.0.9"), (echo(packet)[:-1], host), (other, host), (b"", host),
            (echo(packet, 3), host), (echo(packet)[:8] + b"x" * 48, host)]  # fmt: skip


@pytest.mark.parametrize("peer", [lambda packet, host: [], wrong])
def test_without_a_matching_reply_the_device_does_not_answer(peer: Any) -> None:
    (seen,) = pinged(peer, "127.0.0.1")
    assert seen["device.answering"] == "no"
    assert seen["packet.loss"] == Missing(Reason.TIMEOUT, "none of 3 echos came back within 0.15 s")
    assert seen["response.time"] == seen["packet.loss"]


def test_an_answer_that_comes_twice_counts_once() -> None:
    (seen,) = pinged(lambda packet, host: [(echo(packet), host)] * 3, "127.0.0.1")
    assert seen["packet.loss"] == 0.0


def test_devices_read_at_the_same_time_do_not_take_each_others_replies() -> None:
    def peer(packet: bytes, host: str) -> list[tuple[bytes, str]]:
        return [(echo(packet, 129 if ":" in host else 0), host)] if host != "127.0.0.2" else []

    one, two, six = pinged(peer, "127.0.0.1", "127.0.0.2", "::1")
    assert (one["device.answering"], two["device.answering"], six["device.answering"]) == ("yes", "no", "yes")


def test_an_error_of_the_network_is_reported() -> None:
    def peer(packet: bytes, host: str) -> list[tuple[bytes, str]]:
        raise OSError(101, "Network is unreachable")

    (seen,) = pinged(peer, "127.0.0.1")
    assert seen["packet.loss"] == Missing(Reason.UNREACHABLE, "the network reports: Network is unreachable")


def test_if_the_kernel_gives_no_socket_the_text_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def no_socket(family: int, kind: int, protocol: int) -> Any:
        tried.append(kind)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", no_socket)
    with pytest.raises(CheckFailed, match=r"net\.ipv4\.ping_group_range") as refused:
        open_socket(V4)
    assert refused.value.missing.reason is Reason.REFUSED
    assert tried == [socket.SOCK_DGRAM, socket.SOCK_RAW]


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2  # RFC 1071, 3


@given(st.binary(max_size=99).filter(lambda data: len(data) % 2 == 0))
def test_data_with_its_checksum_sums_up_to_zero(data: bytes) -> None:
    assert checksum(data + struct.pack("!H", checksum(data))) == 0


def test_a_reply_is_known_by_its_token_behind_an_ip_header_or_without() -> None:
    answer = echo(echo_request(V4, 7, TOKEN))
    assert answered_request(answer, V4, socket.SOCK_DGRAM, TOKEN) == 7
    assert answered_request(b"\x46" + bytes(23) + answer, V4, socket.SOCK_RAW, TOKEN) == 7
    assert answered_request(echo(echo_request(V6, 7, TOKEN), 129), V6, socket.SOCK_RAW, TOKEN) == 7
    assert answered_request(echo_request(V4, 7, TOKEN), V4, socket.SOCK_DGRAM, TOKEN) is None
    assert answered_request(answer, V4, socket.SOCK_DGRAM, TOKEN[::-1]) is None


@given(st.binary(max_size=80), st.sampled_from([V4, V6]), st.sampled_from([socket.SOCK_DGRAM, socket.SOCK_RAW]))
def test_random_bytes_are_no_reply(packet: bytes, family: socket.AddressFamily, kind: int) -> None:
    assert answered_request(packet, family, kind, TOKEN) is None
