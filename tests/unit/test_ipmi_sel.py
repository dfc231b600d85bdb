"""Entries of a BMC's event log, and how long each is shown."""

from watchkeeper.agent.probes.ipmi.commands import BusAddress
from watchkeeper.agent.probes.ipmi.sel import LogEntry, LogEvents
from watchkeeper.agent.probes.ipmi.states import sensor_state
from watchkeeper.model.event import EVENT_OVER, EVENT_SHOWN_S, MAX_EVENTS
from watchkeeper.model.reading import Value
from watchkeeper.model.verdict import Level


def event(
    *, number: int = 0x1F, kind: int = 1, event_type: int = 1, offset: int = 9, over: bool = False, record_type: int = 2
) -> LogEntry:
    raw = [7, 0, record_type, 1, 2, 3, 0x60, 0x20, 0, 4, kind, number, event_type | over << 7, 0x50 | offset, 95, 90]
    entry = LogEntry.of(bytes(raw))
    assert entry is not None
    return entry


def shown(events: LogEvents, at: float) -> dict[str, Value]:
    return {row.label: row.value for row in events.rows(at)}


def test_an_event_shows_its_level_for_a_minute_and_is_missing_afterwards() -> None:
    events = LogEvents()
    events.take([event()], {"0x1f": "CPU1 Temp"}, 100.0)
    assert shown(events, 100.0) == {"CPU1 Temp: upper critical going high": "critical"}
    assert shown(events, 99.9 + EVENT_SHOWN_S) == {"CPU1 Temp: upper critical going high": "critical"}
    assert shown(events, 100.0 + EVENT_SHOWN_S) == {"CPU1 Temp: upper critical going high": EVENT_OVER}
    assert [row[:2] for row in events.rows(0)] == [("device.event", "sel 0x1f 01.01.9")]


def test_a_state_that_ends_closes_its_event_and_no_other() -> None:
    events = LogEvents()
    events.take([event(offset=7), event(offset=9), event(offset=9, over=True)], {}, 0.0)
    assert list(shown(events, 1.0).values()) == ["warning", "none"]
    assert list(shown(events, 1e6).values()) == [EVENT_OVER, "none"]
    events.take([event(offset=2, over=True)], {}, 2.0)  # the end of a state whose start was never reported
    assert len(shown(events, 3.0)) == 2


def test_a_healthy_state_ends_the_sensors_other_states() -> None:
    events = LogEvents()
    lost, regained = (event(kind=8, event_type=0x0B, offset=offset) for offset in (1, 0))
    events.take([lost], {}, 0.0)
    events.take([regained], {}, 5.0)
    assert shown(events, 6.0) == {"Power supply: redundancy lost": "none", "Power supply: fully redundant": "notice"}


def test_the_newest_events_are_kept() -> None:
    events = LogEvents()
    events.take([event(number=number) for number in range(MAX_EVENTS + 20)], {}, 0.0)
    events.take([event(number=20)], {}, 1.0)
    kept = [row.instance for row in events.rows(1.0)]
    assert len(kept) == MAX_EVENTS
    assert kept[-1] == "sel 0x14 01.01.9"
    assert kept[0] == "sel 0x15 01.01.9"


def test_an_unlisted_sensor_is_called_by_its_type() -> None:
    bios = LogEntry(BusAddress(0x33), 0, 0x0C, 0x6F, 1)
    assert (bios.text({}), bios.level) == ("Memory: uncorrectable ECC error", "critical")
    assert bios.instance == "sel 0x33/0/0x00 0c.6f.1"


def test_an_oem_record_is_unknown() -> None:
    oem = LogEntry.of(bytes([1, 0, 0xC1, 0, 0, 0, 0, *range(1, 10)]))
    assert oem is not None
    assert (oem.level, oem.text({})) == ("unknown", "OEM record c1 01 02 03 04 05 06 07 08 09")
    assert LogEntry.of(bytes([1, 0, 0x55, *[0] * 13])) is None


def test_an_entry_of_a_real_board() -> None:
    """The example that openUBMC's documentation of Get SEL Entry prints."""
    entry = LogEntry.of(bytes.fromhex("0100025b0bef6120000410 4e6f02ffff"))
    assert entry is not None
    assert (entry.instance, entry.level, entry.text({"0x4e": "SEL"})) == (
        "sel 0x4e 10.6f.2",
        "notice",
        "SEL: log cleared",
    )


def test_a_threshold_event_is_bad_only_in_the_harmful_direction() -> None:
    levels = [sensor_state(1, 1, offset).level for offset in range(12)]
    bad = {
        0: Level.WARNING,
        2: Level.CRITICAL,
        4: Level.CRITICAL,
        7: Level.WARNING,
        9: Level.CRITICAL,
        11: Level.CRITICAL,
    }
    assert levels == [bad.get(offset, Level.OK) for offset in range(12)]
