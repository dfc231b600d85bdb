"""An ear: who is heard, what is dropped before it costs anything, and what the log says of it."""

import asyncio
import errno
import logging
import socket
from typing import Any

import pytest

from tests.traps_room import MEMORY, Room, advance, run, ups, v2
from watchkeeper.agent.traps import listener as hear
from watchkeeper.agent.traps.limits import A_SECOND, BURST, QUIET_S, STRANGERS_QUIET_S
from watchkeeper.agent.traps.socket import why
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import TrapSettings
from watchkeeper.model.device import Device, Snmp

OURS, OTHER = "10.0.0.7", "10.0.0.8"
TWO = (ups(), ups("ups-2", OTHER))


def counting(room: Room, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is decoded at all."""
    decoded: list[bytes] = []
    read = room.ear._understanding.read

    def counted(datagram: bytes, peers: Any) -> Any:
        decoded.append(datagram)
        return read(datagram, peers)

    monkeypatch.setattr(room.ear._understanding, "read", counted)
    return decoded


# ---- the limit ----


def test_a_flood_is_cut_off_before_it_is_decoded_and_starves_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def story(room: Room) -> None:
        decoded = counting(room, monkeypatch)
        for _ in range(10_000):
            room.hear(v2())
        assert len(decoded) == BURST
        room.hear(v2(), OTHER)
        assert len(decoded) == BURST + 1
        advance(room, 1)
        for _ in range(100):
            room.hear(v2())
        assert len(decoded) == BURST + 1 + A_SECOND
        advance(room, QUIET_S)
        room.ear.beat()

    room = run(story, *TWO)
    assert room.woken.count("ups-2") == 1
    assert room.ear.counts["dropped (flood)"] == 9_900 + 98
    floods = [record.getMessage() for record in caplog.records if "flood" in record.getMessage()]
    assert len(floods) == 3, "when it begins, when it is over, and in the sum"
    assert "10.0.0.7" in floods[0]
    assert "over; 9998 were dropped" in floods[1]


def test_a_flood_over_the_wire_lets_another_sources_trap_through(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(room: Room) -> None:
        decoded = counting(room, monkeypatch)
        room.listen()
        with sender("127.0.0.1") as mad, sender("127.0.0.2") as calm:
            for number in range(10_000):
                mad.sendto(v2(), ("127.0.0.1", room.port))
                if number == 5_000:
                    calm.sendto(v2(MEMORY), ("127.0.0.1", room.port))
                if number % 50 == 0:
                    await asyncio.sleep(0)  # the sender is in our own loop
            mad.sendto(v2(), ("127.0.0.1", room.port))
            await room.until_woken(once=lambda: "ups-2" in room.woken)
        assert decoded.count(v2(MEMORY)) == 1
        assert decoded.count(v2()) <= BURST

    run(story, ups(address="127.0.0.1"), ups("ups-2", "127.0.0.2"))


def sender(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 0))
    return made


def test_strangers_are_not_decoded_and_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(room: Room) -> None:
        decoded = counting(room, monkeypatch)
        for host in range(200):
            room.hear(v2(), f"192.0.2.{host}")
        assert decoded == []
        assert len(room.ear._gate._buckets) == 2, "nothing is kept of them"
        advance(room, STRANGERS_QUIET_S - 1)
        room.ear.beat()
        room.hear(v2(), "192.0.2.1")

    run(story, *TWO)
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert told.startswith("traps: strangers, unknown source: 192.0.2.0 is the address of no SNMP device of this agent")


def test_a_new_bundle_gives_nobody_a_full_bucket() -> None:
    async def story(room: Room) -> None:
        for _ in range(200):
            room.hear(v2())
        room.ear.adopt(None, [ups(), ups("new", "10.0.0.9")])
        room.hear(v2())
        assert len(room.woken) == BURST
        room.hear(v2(), OTHER)
        room.hear(v2(), "10.0.0.9")
        assert room.woken[int(BURST) :] == ["new"]

    run(story, *TWO)


# ---- who ----


def test_the_community_must_be_the_devices_own() -> None:
    async def story(room: Room) -> None:
        for community in ("public", "", "our", "ours ", "oursours"):
            assert room.hear(v2(community=community, inform=True)) == b""
        assert room.woken == []
        assert room.hear(v2(inform=True))[-1:] == v2(inform=True)[-1:]

    assert run(story, *TWO).woken == ["ups-1"]


def test_two_devices_at_one_address_are_told_apart_by_their_communities() -> None:
    async def story(room: Room) -> None:
        room.hear(v2())
        room.hear(v2(community="wrongpass12"))

    assert run(story, ups(), ups("ups-2", OURS, Snmp(community="other"))).woken == ["ups-1", "ups-2"]


def test_a_secret_that_is_missing_is_said_without_any_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def story(room: Room) -> None:
        room.hear(v2())

    run(story, ups(snmp=Snmp(community="nowhere")))
    assert "no secret called `nowhere`" in caplog.text
    assert "ours" not in caplog.text.replace("of ours", "")


def test_a_missing_secret_of_one_device_does_not_keep_another_at_its_address_from_being_heard() -> None:
    async def story(room: Room) -> None:
        room.hear(v2())

    assert run(story, ups("gone", snmp=Snmp(community="nowhere")), ups()).woken == ["ups-1"]


def test_noise_is_counted_and_costs_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    async def story(room: Room) -> None:
        for noise in (b"", b"\x30", b"GET / HTTP/1.0", bytes(2_000)):
            assert room.hear(noise) == b""
        room.hear(v2())

    room = run(story, *TWO)
    assert room.woken == ["ups-1"]
    assert room.ear.counts == {"dropped (not SNMP)": 4, "taken": 1}
    assert caplog.text.count("not SNMP") == 1


def test_a_bug_costs_one_datagram_and_its_text_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(room: Room) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(hear, "events_of", lambda *_: 1 / len(b""))
            room.hear(v2())
        room.hear(v2())

    assert run(story, *TWO).woken == ["ups-1"]
    assert "ZeroDivisionError at" in caplog.text


# ---- names ----


def test_names_are_looked_up_again_and_keep_their_address_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, list[str]] = {"ups.room": ["10.0.0.7", "fd00::7"]}

    async def looked_up(host: str, *_: object, **__: object) -> list[Any]:
        if host not in known:
            raise socket.gaierror
        return [(0, 0, 0, "", (address, 0)) for address in known[host]]

    async def story(room: Room) -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)
        await room.settled()
        room.hear(v2(), "fd00::7")
        assert room.woken == ["ups-1"]
        known.clear()
        advance(room, hear.RESOLVE_S)
        room.ear.beat()
        await room.settled()
        room.hear(v2())
        assert room.woken == ["ups-1"] * 2, "the resolver is away"
        known["ups.room"] = ["10.0.0.70"]
        advance(room, hear.RESOLVE_S)
        room.ear.beat()
        await room.settled()
        room.hear(v2())
        room.hear(v2(), "10.0.0.70")
        assert room.woken == ["ups-1"] * 3

    run(story, ups(address="ups.room:1161"))


# ---- the port ----


def test_a_port_that_is_taken_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story(room: Room) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rival:
            rival.bind(("127.0.0.1", 0))
            port = rival.getsockname()[1]
            room.ear.adopt(TrapSettings(f"127.0.0.1:{port}"), room.devices)
            for _ in range(3):
                advance(room, hear.RETRY_S)
                room.ear.beat()
            assert not room.ear._receiver.open
        room.ear.beat()
        assert not room.ear._receiver.open, "not before its time"
        advance(room, hear.RETRY_S)
        room.ear.beat()
        assert room.ear._receiver.open
        assert caplog.text.count("another program has port") == 1
        assert caplog.text.count(f"heard at 127.0.0.1:{port}") == 2  # "not heard at" among them
        room.ear.adopt(None, room.devices)
        assert not room.ear._receiver.open

    run(story, *TWO)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EADDRINUSE, "another program has port 162"),
        (errno.EACCES, "docs/traps.md"),
        (errno.EADDRNOTAVAIL, "no such address"),
        (errno.ENETDOWN, "Network is down"),
    ],
)
def test_what_keeps_it_from_hearing_is_a_sentence(number: int, said: str) -> None:
    assert said in why(OSError(number, "Network is down"), 162)


def test_a_device_without_snmp_is_not_heard() -> None:
    async def story(room: Room) -> None:
        room.hear(v2())

    plain = Device("web", "room-1", ups().category, "http", OURS)
    assert run(story, plain).ear.counts == {"dropped (unknown source)": 1}


def test_secrets_are_read_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one that was changed on the disk counts at once, and none lies about."""
    read: list[str] = []
    get = Secrets.get

    def noted(self: Secrets, name: str) -> Any:
        read.append(name)
        return get(self, name)

    monkeypatch.setattr(Secrets, "get", noted)

    async def story(room: Room) -> None:
        assert read == []
        room.hear(v2())
        room.hear(v2())
        assert read == ["community", "community"]

    run(story, *TWO)
