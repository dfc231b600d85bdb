"""A device that loses the objects of its maker (a card that lost its UPS) keeps its profile, so that it is seen to be blind."""

import asyncio

from tests.notes import Notes
from watchkeeper.agent.probes.snmp.probe import SNMP_RENEW_S, SnmpProbe
from watchkeeper.agent.probes.snmp.recognise import KEPT
from watchkeeper.agent.probes.testing import MemoryDevice
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

MAKER = "1.3.6.1.4.1.99999.1"
CARD = f"""profile: card
vendor: Acme
category: ups
verified: none
match: [{{answers: {MAKER}}}]
readings:
  - {{quantity: battery.charge, oid: {MAKER}.1.0, raw_unit: 1 %, source: "A::b"}}
  - {{quantity: output.load, oid: {MAKER}.2.0, raw_unit: 1 %, source: "A::c"}}
"""
LINUX: dict[str, Raw] = {
    "1.3.6.1.2.1.1.1.0": b"Linux card 5.10",
    "1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.8072.3.2.10",
    "1.3.6.1.2.1.1.3.0": 100_000,
    **{
        f"1.3.6.1.2.1.25.2.3.1.{column}.{row}": value
        for row in (1, 31, 32)
        for column, value in ((2, "1.3.6.1.2.1.25.2.1.4"), (3, b"/%d" % row), (4, 4096), (5, 1000), (6, 100))
    },
}
UPS: dict[str, Raw] = {f"{MAKER}.1.0": 97, f"{MAKER}.2.0": 40}
DEVICE = Device("ups-1", "room", Category.UPS, "snmp", "10.0.0.7", snmp=Snmp(community="c"))


class Room:
    """The card and the probes that read it, one after another, with one memory."""

    def __init__(self) -> None:
        self.clock, self.card, self.notes = FakeClock(), MemoryDevice(LINUX | UPS), Notes()
        self.start()

    def start(self) -> None:
        profiles = load_profiles([Document("card.yml", CARD)])
        self.probe = SnmpProbe(profiles, Secrets(environ={}), self.clock, self.card.open, self.notes)

    def read(self) -> tuple[str, str]:
        """The profile, and why."""
        asyncio.run(self.probe.sweep(DEVICE))
        self.clock.advance(SNMP_RENEW_S)
        known = self.probe.recognised("ups-1")
        return ", ".join(one.profile for one in self.probe.profiles_of("ups-1")), known.why

    def lose(self) -> None:
        for oid in UPS:
            del self.card.objects[oid]


def test_a_card_that_lost_its_ups_does_not_become_a_computer() -> None:
    room = Room()
    first = room.read()
    assert first[0] == "card"
    room.lose()
    assert [room.read() for _ in range(3)][-1] == ("card", KEPT)
    room.card.objects.update(UPS)
    assert [room.read() for _ in range(2)][-1] == first


def test_nor_does_it_after_a_restart_of_the_agent() -> None:
    room = Room()
    room.read()
    room.lose()
    room.start()
    assert room.read() == ("card", KEPT)


def test_another_device_at_its_place_is_recognised_anew() -> None:
    for restarted in (False, True):
        room = Room()
        room.read()
        room.lose()
        room.card.objects["1.3.6.1.2.1.1.1.0"] = b"Linux box 6.1"
        if restarted:
            room.start()
        assert [room.read()[0] for _ in range(3)][-1] != "card"


def test_a_device_that_never_gave_a_value_is_recognised_by_what_it_answers() -> None:
    room = Room()
    room.lose()
    room.start()
    assert room.read()[0] != "card"
    assert room.notes.texts, "what it is read by now is remembered"


def test_a_card_whose_ups_comes_after_the_start_is_recognised_then() -> None:
    room = Room()
    room.lose()
    generic = [room.read()[0] for _ in range(2)][-1]
    assert generic != "card"
    before = len(room.card.sessions[0].requests)
    room.read()
    asked = {name for request in room.card.sessions[0].requests[before:] for name in request}
    assert "1.3.6.1.2.1.33.1" not in asked, "it is not surveyed again as long as nothing comes"
    room.card.objects.update(UPS)
    assert [room.read()[0] for _ in range(2)][-1] == "card"
