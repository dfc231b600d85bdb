"""What a BMC can be asked (IPMI 2.0, appendix G), whoever carries it there, and what it means that it brings nothing."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from watchkeeper.model.reading import Missing, Reason

BMC_ADDRESS = 0x20
"""The slave address that every BMC has."""

SENSOR_GONE = 0xCB
"""Completion code: the sensor, record or data is not there."""
RESERVATION_LOST = 0xC5
"""Completion code: the reservation is cancelled."""
_BUSY = (0xC0, 0xC3, 0xCE, 0xD0, 0xD1, 0xD2, 0xD3)
_FORBIDDEN = 0xD4
_SHORT = -1


class Declined(Exception):
    """One command brought nothing, the others may: the BMC said no, by this completion code (table 5-2), or too little."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.missing = _declined(code)
        super().__init__(self.missing.detail)


def _declined(code: int) -> Missing:
    if code == _SHORT:
        return Missing(Reason.MALFORMED, "an answer that is too short")
    if code in _BUSY:
        return Missing(Reason.TIMEOUT, f"the BMC cannot answer this now (completion code {code:#04x})")
    if code == _FORBIDDEN:
        return Missing(Reason.REFUSED, "the BMC does not allow it with the privilege level User")
    return Missing(Reason.ABSENT, f"the BMC does not have it (completion code {code:#04x})")


class Command(NamedTuple):
    """A command: its network function and number, and how many bytes its answer has at least behind the completion code."""

    netfn: int
    number: int
    least: int = 0


GET_CHASSIS_STATUS = Command(0x00, 0x01, 3)
GET_SENSOR_READING_FACTORS = Command(0x04, 0x23, 7)
GET_SENSOR_READING = Command(0x04, 0x2D, 2)
GET_DEVICE_ID = Command(0x06, 0x01)
GET_SDR_REPOSITORY_INFO = Command(0x0A, 0x20, 13)
RESERVE_SDR_REPOSITORY = Command(0x0A, 0x22, 2)
GET_SDR = Command(0x0A, 0x23, 3)
GET_SEL_INFO = Command(0x0A, 0x40, 13)
GET_SEL_ENTRY = Command(0x0A, 0x43, 18)


class BusAddress(NamedTuple):
    """Where a command is carried out: at which controller, on which channel behind the BMC, at which of its units."""

    owner: int = BMC_ADDRESS
    channel: int = 0
    lun: int = 0


AT_BMC = BusAddress()


class IpmiSession(Protocol):
    """An open session. `attempts` is how often a request is sent before its answer is given up."""

    attempts: int

    def ask(self, command: Command, data: bytes = b"", place: BusAddress = AT_BMC) -> bytes:
        """What the answer says behind its completion code. Raises Declined and NoAnswer."""

    def close(self, *, politely: bool) -> None:
        """Let go of the socket; politely, the BMC is told, which takes up to the timeout."""


Ask = Callable[..., bytes]
"""(command, data, place): as `Session.ask`, and the answer is as long as the command says."""


def asking(session: IpmiSession) -> Ask:
    """The session's `ask`, with answers that are too short as Declined."""

    def ask(command: Command, data: bytes = b"", place: BusAddress = AT_BMC) -> bytes:
        answer = session.ask(command, data, place)
        if len(answer) < command.least:
            raise Declined(_SHORT)
        return answer

    return ask
