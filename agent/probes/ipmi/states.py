"""The meaning of the bits of discrete sensors (IPMI 2.0, tables 42-2 and 42-3), for readings and for the event log.

The mark before a text is its level: `!` warning, `!!` critical, `?` unknown (nothing about the device's health), `-`
the part is not installed, no mark ok. The specification names the states; the levels are ours.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Level

THRESHOLD, SPECIFIC, REDUNDANCY = 0x01, 0x6F, 0x0B
"""Event/reading type codes (table 42-1)."""

NOT_INSTALLED = Missing(Reason.ABSENT, "the part is not installed")
_WORST = (Level.CRITICAL, Level.WARNING, Level.UNKNOWN, Level.OK)
_MARKS = {"!!": Level.CRITICAL, "!": Level.WARNING, "?": Level.UNKNOWN}


class SensorState(NamedTuple):
    """One offset of a sensor: its text, its level, and whether it means that the part is not installed."""

    text: str
    level: Level
    absent: bool = False


_UNDEFINED = SensorState("a state that this sensor type does not have", Level.UNKNOWN)


def _parse_table(table: str) -> dict[int, tuple[str, tuple[SensorState, ...]]]:
    """Parse rows `TYPE QUANTITY | state | state`, the states in the order of their offsets. An indented line continues
    its row."""
    rows = (row.split("|") for row in table.replace("\n    ", " ").split("\n") if row)
    return {int(head[:2], 16): (head[2:].strip(), tuple(map(_parse_state, texts))) for head, *texts in rows}


def _parse_state(marked: str) -> SensorState:
    marked = marked.strip()
    text = marked.lstrip("!?-")
    mark = marked.removesuffix(text)
    return SensorState(text or _UNDEFINED.text, _MARKS.get(mark, Level.OK), mark == "-")


_GENERIC_STATES = _parse_table("""
01 | !lower non-critical going low | lower non-critical going high | !!lower critical going low | lower critical
    going high | !!lower non-recoverable going low | lower non-recoverable going high | upper non-critical going low
    | !upper non-critical going high | upper critical going low | !!upper critical going high | upper
    non-recoverable going low | !!upper non-recoverable going high
02 | idle | active | busy
03 | state deasserted | !state asserted
04 | no failure predicted | !failure predicted
05 | limit not exceeded | !!limit exceeded
06 | performance met | !performance lags
07 | ok | !non-critical | !!critical | !!non-recoverable | !non-critical, was worse | !!critical, was
    non-recoverable | !!non-recoverable | monitor | informational
08 | -absent | present
09 | ?disabled | enabled
0a | running | in test | ?power off | on line | !off line | ?off duty | !degraded | power save | !!install error
0b | fully redundant | !!redundancy lost | !redundancy degraded | !not redundant, sufficient resources | !not
    redundant, sufficient resources again | !!not redundant, insufficient resources | !redundancy degraded from
    fully redundant | !redundancy degraded from not redundant
0c | D0 | D1 | D2 | D3
""")

_SENSOR_TYPES = _parse_table("""
01 temperature.health
02 voltage.health
03 current.health
04 fan.health
05 intrusion | !!housing opened | !!drive bay opened | !!I/O card area opened | !!processor area opened | ?unplugged
    from the LAN | !!unauthorized dock | !!fan area opened
06 device.alarm | !front panel lockout violated | !wrong user password | !wrong setup password | !wrong network boot
    password | !wrong pre-boot password | !wrong out-of-band password
07 processor.health | !!IERR | !!thermal trip | !!FRB1/BIST failure | !!FRB2/hang in POST | !!FRB3/failed to start |
    !!configuration error | !!uncorrectable CPU-complex error | present | !disabled | terminator present |
    !throttled | !!uncorrectable machine check | !correctable machine check
08 psu.health | present | !!failure | !failure predicted | !!input lost | !!input lost or out of range | !input out
    of range | !!configuration error | standby
09 power.health | ?power off | power cycle | !!240 VA power down | !!interlock power down | !!input lost | !!soft
    power control failure | !!failure | !failure predicted
0a cooling.health
0b sensor.health
0c memory.health | !correctable ECC error | !!uncorrectable ECC error | !!parity error | !!memory scrub failed |
    !memory device disabled | !correctable ECC error logging limit reached | present | !!configuration error | spare
    | !throttled | !!critical overtemperature
0d drive.health | present | !!drive fault | !failure predicted | hot spare | consistency check in progress | !in
    critical array | !!in failed array | !rebuild in progress | !!rebuild aborted
0e memory.health
0f board.health | !!POST error | !!firmware hang | firmware progress
10 device.alarm | !correctable memory error logging disabled | !logging of an event disabled | log cleared | !all
    event logging disabled | !event log full | !event log almost full | !correctable machine check logging disabled
11 device.alarm | !!watchdog: BIOS reset | !!watchdog: OS reset | !!watchdog: OS shut down | !!watchdog: OS power
    down | !!watchdog: OS power cycle | !!watchdog: OS NMI | !watchdog: OS expired | !watchdog: OS about to expire
12 board.health | system reconfigured | OEM system boot event | !!undetermined hardware failure | entry in the
    auxiliary log | action on an event | clock set
13 board.health | !!front panel NMI | !!bus timeout | !!I/O channel check NMI | !!software NMI | !!PCI PERR | !!PCI
    SERR | !!EISA failsafe timeout | !bus correctable error | !!bus uncorrectable error | !!fatal NMI | !!bus fatal
    error | !bus degraded
14 device.alarm | power button | sleep button | reset button | !latch open | service requested
15 board.health
16 board.health
17 board.health
18 board.health
19 board.health | !!soft power control failure | !!thermal trip
1a board.health
1b communication.health | connected | !!wrong cable
1c board.health
1d device.alarm | power up | hard reset | warm reset | PXE boot requested | boot to diagnostics | hard reset by the
    OS | warm reset by the OS | system restart
1e device.alarm | !!no bootable medium | !!disk not bootable | !!PXE server not found | !!invalid boot sector |
    !!boot selection timed out
1f device.alarm | A: booted | C: booted | PXE booted | diagnostics booted | CD-ROM booted | ROM booted | booted |
    installation started | installation completed | !installation aborted | !installation failed
20 device.alarm | !!stop while the OS was loading | !!run-time critical stop | OS stopped | OS shut down | !shutdown
    on an event | !agent not responding
21 board.health | !!fault | identify | device installed | ready for installation | ready for removal | ?slot power
    off | removal requested | interlock | ?disabled | spare
22 power.state | S0 working | S1 sleeping | S2 sleeping | S3 sleeping | S4 suspended to disk | S5 soft off | S4/S5
    soft off | G3 mechanical off | sleeping | G1 sleeping | S5 off by override | legacy on | legacy off | ? |
    ?unknown
23 device.alarm | !watchdog: expired | !!watchdog: hard reset | !!watchdog: power down | !!watchdog: power cycle | ?
    | ? | ? | ? | !watchdog: about to expire
24 device.alarm | page sent | LAN alert sent | trap sent | SNMP trap sent
25 board.health | present | -absent | ?disabled
26 board.health
27 network.health | !!heartbeat lost | heartbeat
28 device.health | !sensor access degraded | !controller access degraded | !!management controller off line |
    !!management controller unavailable | !sensor failure | !FRU failure
29 battery.health | !low | !!failed | present
2a device.alarm | session activated | session deactivated | !wrong user or password | !wrong password, user locked
2b device.alarm | hardware changed | firmware changed | !!hardware incompatible | !!firmware incompatible |
    !!hardware not supported | !!firmware not supported | hardware change successful | firmware change successful
2c board.health | -not installed | ?inactive | activation requested | activation in progress | active |
    ?deactivation requested | ?deactivation in progress | !!communication lost
""")
_OEM: tuple[str, tuple[SensorState, ...]] = ("device.alarm", ())
# Sensor type: the offset that means that the part is installed
_PRESENCE: Mapping[int, int] = {0x07: 7, 0x08: 0, 0x0C: 6, 0x0D: 0, 0x29: 2}
_ALWAYS_SET = frozenset({0x1B, 0x22, 0x25, 0x27, 0x2C})  # sensor types that always have one offset set

_STATE_NAMES: Mapping[str, Mapping[Level, str]] = {
    "intrusion": {Level.OK: "closed", Level.WARNING: "open", Level.CRITICAL: "open", Level.UNKNOWN: "unknown"}
}
_POWER_STATES: Mapping[int, str] = {
    **dict.fromkeys((0, 0x0B), "on"),
    **dict.fromkeys((1, 2, 3, 4, 8, 9), "sleeping"),
    **dict.fromkeys((5, 6, 7, 0x0A, 0x0C), "off"),
}


def texts() -> set[str]:
    """The text of every state."""
    rows = (row for table in (_GENERIC_STATES, _SENSOR_TYPES) for _, row in table.values())
    return {state.text for row in rows for state in row} | {_UNDEFINED.text}


def quantity_of(sensor_type: int, event_type: int) -> str:
    """The state quantity of a discrete sensor. An OEM's own type is only known to be an alarm."""
    if event_type == REDUNDANCY:
        return "redundancy.health"
    quantity = _SENSOR_TYPES.get(sensor_type, _OEM)[0]
    return "device.alarm" if quantity == "power.state" and event_type != SPECIFIC else quantity


def sensor_state(sensor_type: int, event_type: int, offset: int) -> SensorState:
    """The state of one offset."""
    table, row = (_SENSOR_TYPES, sensor_type) if event_type == SPECIFIC else (_GENERIC_STATES, event_type)
    states = table.get(row, _OEM)[1]
    return states[offset] if offset < len(states) else _UNDEFINED


def discrete_value(sensor_type: int, event_type: int, states: int, known: int) -> Value:
    """The value of a discrete sensor: the worst of its set bits. `known` are the bits that it can set."""
    offsets = tuple(_set_bits(states))
    quantity = quantity_of(sensor_type, event_type)
    if quantity == "power.state":
        return next((state for offset in offsets if (state := _POWER_STATES.get(offset))), "unknown")
    if not offsets:
        return _value_without_bits(quantity, sensor_type, event_type, known)
    found = [sensor_state(sensor_type, event_type, offset) for offset in offsets]
    present = [state.level for state in found if not state.absent]
    return _state_name(quantity, _worst(present)) if present else NOT_INSTALLED


def _value_without_bits(quantity: str, sensor_type: int, event_type: int, known: int) -> Value:
    """The value if no bit is set: ok for sensor types whose bits are faults."""
    if event_type != SPECIFIC or sensor_type in _ALWAYS_SET or not _SENSOR_TYPES.get(sensor_type, _OEM)[1]:
        return _state_name(quantity, Level.UNKNOWN)
    presence = _PRESENCE.get(sensor_type)
    if presence is not None and known >> presence & 1:
        return NOT_INSTALLED
    return _state_name(quantity, Level.OK)


def _worst(levels: Iterable[Level]) -> Level:
    """The worst of the levels; ok if there are none."""
    return min(levels, key=_WORST.index, default=Level.OK)


def _state_name(quantity: str, level: Level) -> str:
    return _STATE_NAMES.get(quantity, {}).get(level, level.value)


def _set_bits(states: int) -> Iterator[int]:
    return (bit for bit in range(15) if states >> bit & 1)  # the sixteenth is always set (35.14)
