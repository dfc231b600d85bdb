"""An ear for SNMPv3: whose engine a message speaks of, of which moment it is, and what is answered."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traps_room import LINK_DOWN, V1, V2C, Room, advance, bindings, run, secrets, ups, v2
from watchkeeper.agent.traps import listener as hear
from watchkeeper.agent.traps.message import ber
from watchkeeper.agent.traps.message.ber import Undecodable
from watchkeeper.agent.traps.message.decode import V2_TRAP, open_message
from watchkeeper.agent.traps.message.peers import LEARN_EVERY_S, Peer, UnknownEngine
from watchkeeper.agent.traps.message.understand import TrapReader
from watchkeeper.agent.traps.message.usm import Keys, LocalEngine, TrapRefused, User, build_message, engine_id
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Snmp, SnmpAuth, SnmpPriv, SnmpVersion

OURS, OTHER = "10.0.0.7", "10.0.0.8"
SECURE = Snmp(SnmpVersion.V3, "", "ops", SnmpAuth.SHA256, "auth", SnmpPriv.AES, "priv")
USER = User(b"ops", SnmpAuth.SHA256, b"authpass12", SnmpPriv.AES, b"privpass12")
ENGINE = b"\x80\x00\x00\x00\x01device"


def secured(here: LocalEngine, *, user: User = USER, engine: bytes = ENGINE) -> bytes:
    listed = bindings([("1.3.6.1.6.3.1.1.4.1.0", ber.oid(LINK_DOWN))])
    pdu = ber.tlv(V2_TRAP, ber.integer(7), ber.integer(0), ber.integer(0), listed)
    scoped = ber.tlv(ber.SEQUENCE, ber.octets(engine), ber.octets(b""), pdu)
    return build_message(here, 1, b"ops", user.keys(engine), scoped, salt=b"saltsalt")


def asked(monkeypatch: pytest.MonkeyPatch, *engines: bytes) -> SimpleNamespace:
    """Devices that answer so when they are asked for their engine, one after the other."""
    found = SimpleNamespace(questions=[], answers=list(engines), free=asyncio.Event())

    async def engine_of(host: str, port: int, timeout_s: float, retries: int) -> bytes:
        found.questions.append((host, port))
        await found.free.wait()
        return bytes(found.answers.pop(0))

    monkeypatch.setattr(hear, "engine_of", engine_of)
    return found


def test_traps_wait_while_the_device_is_asked_for_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(room: Room) -> None:
        device = asked(monkeypatch, ENGINE)
        for time in range(30):
            room.hear(secured(LocalEngine(ENGINE, 1, time)))
        await asyncio.sleep(0)
        assert device.questions == [(OURS, 1161)], "asked once"
        assert room.woken == []
        device.free.set()
        await room.settled()
        assert room.woken == ["ups-1"] * 20, "and no more are held back"
        room.hear(secured(LocalEngine(ENGINE, 1, 50)))
        assert len(room.woken) == 21
        assert len(device.questions) == 1

    run(story, ups(address=f"{OURS}:1161", snmp=SECURE))


def test_a_device_that_was_replaced_is_asked_again_but_not_for_every_trap(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = b"\x80\x00\x00\x00\x01replaced"

    async def story(room: Room) -> None:
        device = asked(monkeypatch, b"", ENGINE, ENGINE, new)
        device.free.set()
        for engine in (ENGINE, new):
            for seconds in (0, LEARN_EVERY_S - 1, 1):
                advance(room, seconds)
                room.hear(secured(LocalEngine(engine, 1, int(room.clock.boot())), engine=engine))
                await room.settled()
            assert len(room.woken) == (1 if engine == ENGINE else 2)
            advance(room, LEARN_EVERY_S)
        assert len(device.questions) == 4

    run(story, ups(snmp=SECURE))
    assert "engine is not the one" in caplog.text


def test_an_old_trap_sent_again_is_refused(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def story(room: Room) -> None:
        asked(monkeypatch, ENGINE).free.set()
        old = secured(LocalEngine(ENGINE, 5, 100))
        room.hear(old)
        await room.settled()
        advance(room, 200)
        room.hear(old)
        assert room.woken == ["ups-1"]
        room.hear(secured(LocalEngine(ENGINE, 5, 300)))
        room.hear(secured(LocalEngine(ENGINE, 4, 9_999)))
        assert room.woken == ["ups-1"] * 2

    run(story, ups(snmp=SECURE))
    assert "sent before" in caplog.text


def test_an_informs_sender_is_told_our_engine_and_our_time_and_nothing_else() -> None:
    async def story(room: Room) -> None:
        here = LocalEngine.at(engine_id("room-1"), room.clock.wall())
        looking = build_message(LocalEngine(b"", 0, 0), 5, b"", Keys(), ber.tlv(ber.SEQUENCE), reportable=True)
        report = open_message(room.hear(looking))
        assert (report.engine, report.boots, report.time, report.msg_id) == (here.engine, here.boots, here.time, 5)  # type: ignore[union-attr]
        late = secured(LocalEngine(here.engine, here.boots, here.time - 151), engine=here.engine)
        told = open_message(room.hear(late))
        assert told.authenticated  # type: ignore[union-attr]
        assert not told.private  # type: ignore[union-attr]
        wrong = User(b"ops", SnmpAuth.SHA256, b"wrongpass12", SnmpPriv.AES, b"privpass12")
        assert room.hear(secured(here, engine=here.engine, user=wrong)) == b""
        assert room.hear(looking, OTHER) == b"", "of a device that speaks no v3"
        assert room.woken == []

    run(story, ups(snmp=SECURE), ups("ups-2", OTHER))


def test_versions_do_not_stand_in_for_each_other() -> None:
    async def story(room: Room) -> None:
        room.hear(v2())  # of a device of v3
        room.hear(secured(LocalEngine(ENGINE, 1, 1)), OTHER)  # of one of v2c
        room.hear(v2(version=0), "10.0.0.9")  # v1 and v2c share their community
        assert room.ear.counts["dropped (refused)"] == 2

    run(story, ups(snmp=SECURE), ups("ups-2", OTHER, V2C), ups("ups-3", "10.0.0.9", V1))


@given(st.data())
def test_whatever_a_device_sends_is_understood_or_refused(data: st.DataObject) -> None:
    """Also where nothing is authenticated, so that what was tampered with is read to its end."""
    bare = Peer(ups(), Snmp(SnmpVersion.V3, user="ops"), engine=ENGINE)
    understanding = TrapReader("room-1", FakeClock(), secrets())
    ours = engine_id("room-1")
    nobody = User(b"ops")
    whole = [
        secured(LocalEngine(ENGINE, 1, 1), user=nobody),
        secured(LocalEngine(ours, 1, 1), user=nobody, engine=ours),
        secured(LocalEngine(ENGINE, 1, 1)),
    ]
    assert understanding.read(whole[0], [bare]).trap
    broken = bytearray(data.draw(st.sampled_from(whole)))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Undecodable, TrapRefused, UnknownEngine):
        understanding.read(bytes(broken), [bare, Peer(ups(), SECURE, engine=ENGINE)])
