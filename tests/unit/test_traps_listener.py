"""The trap listener: whose traps are accepted, what is dropped before it is decoded, and the log lines."""

import asyncio
import errno
import logging
import socket
from typing import Any

import pytest

from tests.traps_room import MEMORY, Room, advance, run, ups, v2
from watchkeeper.agent.traps import listener as listener_module
from watchkeeper.agent.traps.limits import BUCKET_SIZE, BURST_OVER_S, REFILL_PER_S, UNKNOWN_BURST_OVER_S
from watchkeeper.agent.traps.message import understand
from watchkeeper.agent.traps.socket import bind_problem
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import TrapSettings
from watchkeeper.model.device import Device, Snmp

OURS, OTHER = "10.0.0.7", "10.0.0.8"
TWO = (ups(), ups("ups-2", OTHER))


def counting(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The datagrams whose PDU is decoded."""
    decoded: list[bytes] = []
    read = understand.trap_of

    def counted(pdu: Any) -> Any:
        decoded.append(pdu.data)
        return read(pdu)

    monkeypatch.setattr(understand, "trap_of", counted)
    return decoded


# ---- the limit ----


def test_a_flood_is_dropped_before_decoding_and_blocks_no_other_device(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(room: Room) -> None:
        decoded = counting(monkeypatch)
        for _ in range(10_000):
            room.receive(v2())
        assert len(decoded) == BUCKET_SIZE
        room.receive(v2(), OTHER)
        assert len(decoded) == BUCKET_SIZE + 1
        advance(room, 1)
        for _ in range(100):
            room.receive(v2())
        assert len(decoded) == BUCKET_SIZE + 1 + REFILL_PER_S
        advance(room, BURST_OVER_S)
        room.listener.beat()

    room = run(scenario, *TWO)
    assert room.woken.count("ups-2") == 1
    assert room.listener.counts["dropped (flood)"] == 9_900 + 98
    floods = [record.getMessage() for record in caplog.records if "flood" in record.getMessage()]
    assert len(floods) == 3, "at its start, at its end, and in the summary"
    assert "10.0.0.7" in floods[0]
    assert "over; 9998 were dropped" in floods[1]


def test_during_a_flood_over_the_network_another_devices_trap_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(room: Room) -> None:
        decoded = counting(monkeypatch)
        room.listen()
        with sender("127.0.0.1") as flooding, sender("127.0.0.2") as quiet:
            for number in range(10_000):
                flooding.sendto(v2(), ("127.0.0.1", room.port))
                if number == 5_000:
                    quiet.sendto(v2(MEMORY), ("127.0.0.1", room.port))
                if number % 50 == 0:
                    await asyncio.sleep(0)  # the sender runs in the same loop
            flooding.sendto(v2(), ("127.0.0.1", room.port))
            await room.until_woken(once=lambda: "ups-2" in room.woken)
        assert decoded.count(v2(MEMORY)) == 1
        assert decoded.count(v2()) <= BUCKET_SIZE

    run(scenario, ups(address="127.0.0.1"), ups("ups-2", "127.0.0.2"))


def sender(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((address, 0))
    return opened


def test_datagrams_of_unknown_sources_are_not_decoded_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(room: Room) -> None:
        decoded = counting(monkeypatch)
        for host in range(200):
            room.receive(v2(), f"192.0.2.{host}")
        assert decoded == []
        assert len(room.listener._limiter._sources) == 2, "nothing is kept for them"
        advance(room, UNKNOWN_BURST_OVER_S - 1)
        room.listener.beat()
        room.receive(v2(), "192.0.2.1")

    run(scenario, *TWO)
    (line,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert line.startswith("traps: other senders, unknown source: 192.0.2.0 is the address of no SNMP device")


def test_a_new_bundle_does_not_refill_the_bucket_of_a_known_device() -> None:
    async def scenario(room: Room) -> None:
        for _ in range(200):
            room.receive(v2())
        room.listener.adopt(None, [ups(), ups("new", "10.0.0.9")])
        room.receive(v2())
        assert len(room.woken) == BUCKET_SIZE
        room.receive(v2(), OTHER)
        room.receive(v2(), "10.0.0.9")
        assert room.woken[int(BUCKET_SIZE) :] == ["new"]

    run(scenario, *TWO)


def test_forgeries_with_the_address_of_a_device_mute_no_trap_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(room: Room) -> None:
        for number in range(10_000):
            room.receive(v2(community=f"guess-{number}"))
            room.receive(v2(community="guess", inform=True))
            room.receive(b"\x30\x03\x02\x01\x03")
        assert room.woken == []
        for _ in range(int(BUCKET_SIZE)):
            room.receive(v2())
        assert room.woken == ["ups-1"] * int(BUCKET_SIZE)

    room = run(scenario, *TWO)
    assert room.listener.counts["accepted"] == BUCKET_SIZE
    assert "flood" not in caplog.text
    assert len([one for one in caplog.records if "10.0.0.7" in one.getMessage()]) == 2, "one line for each reason"


def test_a_flood_of_one_device_behind_an_address_mutes_no_other_device_there() -> None:
    async def scenario(room: Room) -> None:
        for _ in range(1_000):
            room.receive(v2())
        room.receive(v2(community="wrongpass12"))

    assert run(scenario, ups(), ups("ups-2", OURS, Snmp(community="other"))).woken.count("ups-2") == 1


# ---- senders ----


def test_the_community_must_be_the_devices_own() -> None:
    async def scenario(room: Room) -> None:
        for community in ("public", "", "our", "ours ", "oursours"):
            assert room.receive(v2(community=community, inform=True)) == b""
        assert room.woken == []
        assert room.receive(v2(inform=True))[-1:] == v2(inform=True)[-1:]

    assert run(scenario, *TWO).woken == ["ups-1"]


def test_two_devices_at_one_address_are_distinguished_by_their_communities() -> None:
    async def scenario(room: Room) -> None:
        room.receive(v2())
        room.receive(v2(community="wrongpass12"))

    assert run(scenario, ups(), ups("ups-2", OURS, Snmp(community="other"))).woken == ["ups-1", "ups-2"]


def test_a_missing_secret_is_named_without_any_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(room: Room) -> None:
        room.receive(v2())

    run(scenario, ups(snmp=Snmp(community="nowhere")))
    assert "no secret called `nowhere`" in caplog.text
    assert "ours" not in caplog.text.replace("of ours", "")


def test_a_missing_secret_of_one_device_does_not_block_another_at_its_address() -> None:
    async def scenario(room: Room) -> None:
        room.receive(v2())

    assert run(scenario, ups("gone", snmp=Snmp(community="nowhere")), ups()).woken == ["ups-1"]


def test_noise_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(room: Room) -> None:
        for noise in (b"", b"\x30", b"GET / HTTP/1.0", bytes(2_000)):
            assert room.receive(noise) == b""
        room.receive(v2())

    room = run(scenario, *TWO)
    assert room.woken == ["ups-1"]
    assert room.listener.counts == {"dropped (not SNMP)": 4, "accepted": 1}
    assert caplog.text.count("not SNMP") == 1


def test_a_bug_costs_one_datagram_and_is_logged_without_its_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(room: Room) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(listener_module, "events_of", lambda *_: 1 / len(b""))
            room.receive(v2())
        room.receive(v2())

    assert run(scenario, *TWO).woken == ["ups-1"]
    assert "ZeroDivisionError at" in caplog.text


# ---- names ----


def test_names_are_resolved_again_and_keep_their_address_if_the_resolver_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, list[str]] = {"ups.room": ["10.0.0.7", "fd00::7"]}

    async def getaddrinfo(host: str, *_: object, **__: object) -> list[Any]:
        if host not in known:
            raise socket.gaierror
        return [(0, 0, 0, "", (address, 0)) for address in known[host]]

    async def scenario(room: Room) -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        await room.settled()
        room.receive(v2(), "fd00::7")
        assert room.woken == ["ups-1"]
        known.clear()
        advance(room, listener_module.RESOLVE_S)
        room.listener.beat()
        await room.settled()
        room.receive(v2())
        assert room.woken == ["ups-1"] * 2, "the resolver is away"
        known["ups.room"] = ["10.0.0.70"]
        advance(room, listener_module.RESOLVE_S)
        room.listener.beat()
        await room.settled()
        room.receive(v2())
        room.receive(v2(), "10.0.0.70")
        assert room.woken == ["ups-1"] * 3

    run(scenario, ups(address="ups.room:1161"))


# ---- the port ----


def test_a_port_in_use_is_logged_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(room: Room) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rival:
            rival.bind(("127.0.0.1", 0))
            port = rival.getsockname()[1]
            room.listener.adopt(TrapSettings(f"127.0.0.1:{port}"), room.devices)
            for _ in range(3):
                advance(room, listener_module.LISTEN_RETRY_S)
                room.listener.beat()
            assert not room.listener._socket.open
        room.listener.beat()
        assert not room.listener._socket.open, "not before the retry is due"
        advance(room, listener_module.LISTEN_RETRY_S)
        room.listener.beat()
        assert room.listener._socket.open
        assert caplog.text.count("another program has port") == 1
        assert caplog.text.count(f"cannot listen on 127.0.0.1:{port}") == 1
        assert caplog.text.count(f"listening on 127.0.0.1:{port}") == 1
        room.listener.adopt(None, room.devices)
        assert not room.listener._socket.open

    run(scenario, *TWO)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EADDRINUSE, "another program has port 162"),
        (errno.EACCES, "docs/traps.md"),
        (errno.EADDRNOTAVAIL, "no such address"),
        (errno.ENETDOWN, "Network is down"),
    ],
)
def test_the_reason_why_it_cannot_listen_is_explained(number: int, text: str) -> None:
    assert text in bind_problem(OSError(number, "Network is down"), 162)


def test_traps_of_a_device_without_snmp_are_dropped() -> None:
    async def scenario(room: Room) -> None:
        room.receive(v2())

    plain = Device("web", "room-1", ups().category, "http", OURS)
    assert run(scenario, plain).listener.counts == {"dropped (unknown source)": 1}


def test_secrets_are_read_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret changed on the disk counts at once, and no secret is kept in memory."""
    read: list[str] = []
    get = Secrets.get

    def noted(self: Secrets, name: str) -> Any:
        read.append(name)
        return get(self, name)

    monkeypatch.setattr(Secrets, "get", noted)

    async def scenario(room: Room) -> None:
        assert read == []
        room.receive(v2())
        room.receive(v2())
        assert read == ["community", "community"]

    run(scenario, *TWO)
