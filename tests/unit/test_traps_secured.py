"""The trap listener and SNMPv3: engine discovery, time windows, and answers to informs."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traps_room import LINK_DOWN, V1, V2C, Room, advance, bindings, run, secrets, ups, v2
from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import Undecodable
from watchkeeper.agent.snmpv3.message import open_message
from watchkeeper.agent.snmpv3.usm import Keys, LocalEngine, User, UsmRefused, build_message, engine_id
from watchkeeper.agent.traps import listener as listener_module
from watchkeeper.agent.traps.limits import BUCKET_SIZE, DOUBTFUL_AT_ONCE
from watchkeeper.agent.traps.message.decode import INFORM, V2_TRAP
from watchkeeper.agent.traps.message.peers import LEARN_EVERY_S, Peer, UnknownEngine
from watchkeeper.agent.traps.message.understand import TrapReader
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Snmp, SnmpAuth, SnmpPriv, SnmpVersion

OURS, OTHER = "10.0.0.7", "10.0.0.8"
SECURE = Snmp(SnmpVersion.V3, "", "ops", SnmpAuth.SHA256, "auth", SnmpPriv.AES, "priv")
USER = User(b"ops", SnmpAuth.SHA256, b"authpass12", SnmpPriv.AES, b"privpass12")
ENGINE = b"\x80\x00\x00\x00\x01device"


def secured(local: LocalEngine, *, user: User = USER, engine: bytes = ENGINE) -> bytes:
    listed = bindings([("1.3.6.1.6.3.1.1.4.1.0", ber.oid(LINK_DOWN))])
    pdu = ber.tlv(V2_TRAP, ber.integer(7), ber.integer(0), ber.integer(0), listed)
    scoped = ber.tlv(ber.SEQUENCE, ber.octets(engine), ber.octets(b""), pdu)
    return build_message(local, 1, b"ops", user.keys(engine), scoped, salt=b"saltsalt")


def answering(monkeypatch: pytest.MonkeyPatch, *engines: bytes) -> SimpleNamespace:
    """A device that gives these engine ids, one for each discovery, while it is `released`."""
    device = SimpleNamespace(questions=[], answers=list(engines), released=asyncio.Event())

    async def engine_of(host: str, port: int, timeout_s: float, retries: int) -> bytes:
        device.questions.append((host, port))
        await device.released.wait()
        return bytes(device.answers.pop(0))

    monkeypatch.setattr(listener_module, "engine_of", engine_of)
    return device


def test_traps_wait_while_the_device_is_asked_for_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(room: Room) -> None:
        device = answering(monkeypatch, ENGINE)
        for time in range(30):
            room.receive(secured(LocalEngine(ENGINE, 1, time)))
        await asyncio.sleep(0)
        assert device.questions == [(OURS, 1161)], "asked once"
        assert room.woken == []
        device.released.set()
        await room.settled()
        assert room.woken == ["ups-1"] * 20, "no more than 20 are kept"
        room.receive(secured(LocalEngine(ENGINE, 1, 50)))
        assert len(room.woken) == 21
        assert len(device.questions) == 1

    run(scenario, ups(address=f"{OURS}:1161", snmp=SECURE))


def test_a_replaced_device_is_asked_again_but_not_for_every_trap(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = b"\x80\x00\x00\x00\x01replaced"

    async def scenario(room: Room) -> None:
        device = answering(monkeypatch, b"", ENGINE, ENGINE, new)
        device.released.set()
        for engine in (ENGINE, new):
            for seconds in (0, LEARN_EVERY_S - 1, 1):
                advance(room, seconds)
                room.receive(secured(LocalEngine(engine, 1, int(room.clock.boot())), engine=engine))
                await room.settled()
            assert len(room.woken) == (1 if engine == ENGINE else 2)
            advance(room, LEARN_EVERY_S)
        assert len(device.questions) == 4

    run(scenario, ups(snmp=SECURE))
    assert "engine is not the one" in caplog.text


def test_an_old_trap_sent_again_is_refused(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(room: Room) -> None:
        answering(monkeypatch, ENGINE).released.set()
        old = secured(LocalEngine(ENGINE, 5, 100))
        room.receive(old)
        await room.settled()
        advance(room, 200)
        room.receive(old)
        assert room.woken == ["ups-1"]
        room.receive(secured(LocalEngine(ENGINE, 5, 300)))
        room.receive(secured(LocalEngine(ENGINE, 4, 9_999)))
        assert room.woken == ["ups-1"] * 2

    run(scenario, ups(snmp=SECURE))
    assert "sent before" in caplog.text


def test_the_sender_of_an_inform_learns_only_our_engine_id_and_time() -> None:
    async def scenario(room: Room) -> None:
        local = LocalEngine.at(engine_id("room-1"), room.clock.wall())
        discovery = build_message(LocalEngine(b"", 0, 0), 5, b"", Keys(), ber.tlv(ber.SEQUENCE), reportable=True)
        report = open_message(room.receive(discovery))
        assert (report.engine, report.boots, report.time, report.msg_id) == (local.engine, local.boots, local.time, 5)  # type: ignore[union-attr]
        late = secured(LocalEngine(local.engine, local.boots, local.time - 151), engine=local.engine)
        answer = open_message(room.receive(late))
        assert answer.authenticated  # type: ignore[union-attr]
        assert not answer.private  # type: ignore[union-attr]
        wrong = User(b"ops", SnmpAuth.SHA256, b"wrongpass12", SnmpPriv.AES, b"privpass12")
        assert room.receive(secured(local, engine=local.engine, user=wrong)) == b""
        assert room.receive(discovery, OTHER) == b"", "from a device without v3"
        assert room.woken == []

    run(scenario, ups(snmp=SECURE), ups("ups-2", OTHER))


def test_a_trap_in_another_version_than_the_inventory_says_is_refused() -> None:
    async def scenario(room: Room) -> None:
        room.receive(v2())  # from a device with v3
        room.receive(secured(LocalEngine(ENGINE, 1, 1)), OTHER)  # from one with v2c
        room.receive(v2(version=0), "10.0.0.9")  # v1 and v2c share the community
        assert room.listener.counts["dropped (refused)"] == 2

    run(scenario, ups(snmp=SECURE), ups("ups-2", OTHER, V2C), ups("ups-3", "10.0.0.9", V1))


@given(st.data())
def test_an_altered_message_is_decoded_or_refused(data: st.DataObject) -> None:
    """Also without authentication, where an altered message is decoded to its end."""
    bare = Peer(ups(), Snmp(SnmpVersion.V3, user="ops"), engine=ENGINE)
    reader = TrapReader("room-1", FakeClock(), secrets())
    ours = engine_id("room-1")
    without_auth = User(b"ops")
    whole = [
        secured(LocalEngine(ENGINE, 1, 1), user=without_auth),
        secured(LocalEngine(ours, 1, 1), user=without_auth, engine=ours),
        secured(LocalEngine(ENGINE, 1, 1)),
    ]
    assert reader.read(whole[0], [bare]).trap
    broken = bytearray(data.draw(st.sampled_from(whole)))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Undecodable, UsmRefused, UnknownEngine):
        reader.read(bytes(broken), [bare, Peer(ups(), SECURE, engine=ENGINE)])


# ---- forgeries ----


def known_engine(room: Room, device: SimpleNamespace) -> None:
    """Let the listener learn the device's engine."""
    device.released.set()
    room.receive(secured(LocalEngine(ENGINE, 1, 0)))


FORGER = User(b"ops", SnmpAuth.SHA256, b"guess-guess", SnmpPriv.AES, b"guess-guess")


def test_forged_messages_use_up_nothing_of_what_a_secured_device_may_send(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(room: Room) -> None:
        known_engine(room, answering(monkeypatch, ENGINE, *[ENGINE] * 99))
        await room.settled()
        for time in range(3_000):
            room.receive(secured(LocalEngine(ENGINE, 1, time), user=FORGER))  # a bad digest
            room.receive(secured(LocalEngine(b"\x80elsewhere", 1, time), engine=b"\x80elsewhere"))
            room.receive(v2())
        await room.settled()
        assert room.woken == ["ups-1"]
        for time in range(1, int(BUCKET_SIZE)):
            room.receive(secured(LocalEngine(ENGINE, 1, time)))
        assert room.woken == ["ups-1"] * int(BUCKET_SIZE)

    run(scenario, ups(snmp=SECURE, address=f"{OURS}:1161"))


def test_a_recorded_trap_that_is_sent_again_uses_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(room: Room) -> None:
        known_engine(room, answering(monkeypatch, ENGINE))
        await room.settled()
        recorded = secured(LocalEngine(ENGINE, 1, 1))
        for _ in range(1_000):
            room.receive(recorded)
        room.receive(secured(LocalEngine(ENGINE, 1, 2)))
        assert room.woken == ["ups-1"] * 3
        assert "dropped (flood)" not in room.listener.counts

    run(scenario, ups(snmp=SECURE, address=f"{OURS}:1161"))


def test_an_inform_whose_answer_was_lost_is_answered_again_and_counts_once() -> None:
    async def scenario(room: Room) -> None:
        local = LocalEngine.at(engine_id("room-1"), room.clock.wall())
        listed = bindings([("1.3.6.1.6.3.1.1.4.1.0", ber.oid(LINK_DOWN))])
        pdu = ber.tlv(INFORM, ber.integer(7), ber.integer(0), ber.integer(0), listed)
        scoped = ber.tlv(ber.SEQUENCE, ber.octets(local.engine), ber.octets(b""), pdu)
        inform = build_message(local, 1, b"ops", USER.keys(local.engine), scoped, salt=b"saltsalt")
        assert all(room.receive(inform) for _ in range(3))
        assert room.woken == ["ups-1"]

    run(scenario, ups(snmp=SECURE))


def test_messages_that_prove_nothing_get_few_answers() -> None:
    """Else anybody could use us to flood a device with reports."""

    async def scenario(room: Room) -> None:
        discovery = build_message(LocalEngine(b"", 0, 0), 1, b"", Keys(), ber.tlv(ber.SEQUENCE), reportable=True)
        answered = sum(bool(room.receive(discovery)) for _ in range(1_000))
        assert answered == DOUBTFUL_AT_ONCE

    run(scenario, ups(snmp=SECURE))
