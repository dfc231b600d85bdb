"""The commands for a BMC (IPMI 2.0, appendix G), a session's port, and what failures mean."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from watchkeeper.model.reading import Missing, Reason

BMC_ADDRESS = 0x20
"""The slave address of every BMC."""

SENSOR_GONE = 0xCB
"""Completion code: the sensor, record or data does not exist."""
RESERVATION_LOST = 0xC5
"""Completion code: the reservation is cancelled."""
_BUSY = (0xC0, 0xC3, 0xCE, 0xD0, 0xD1, 0xD2, 0xD3)
_FORBIDDEN = 0xD4
_TOO_SHORT = -1


class Declined(Exception):
    """One command failed; others may still work. Either the BMC answered with this completion code (table 5-2), or its
    answer was too short."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.missing = _missing_for(code)
        super().__init__(self.missing.detail)


def _missing_for(code: int) -> Missing:
    if code == _TOO_SHORT:
        return Missing(Reason.MALFORMED, "the answer is too short")
    if code in _BUSY:
        return Missing(Reason.TIMEOUT, f"the BMC cannot answer this now (completion code {code:#04x})")
    if code == _FORBIDDEN:
        return Missing(Reason.REFUSED, "the BMC does not allow it with the privilege level User")
    return Missing(Reason.ABSENT, f"the BMC does not have it (completion code {code:#04x})")


class Command(NamedTuple):
    """A command: its network function and number, and the least bytes of its answer after the completion code."""

    netfn: int
    number: int
    least: int = 0


GET_CHASSIS_CAPABILITIES = Command(0x00, 0x00, 1)
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
    """The controller that carries out a command: its slave address, the channel behind the BMC, and the unit (LUN)."""

    owner: int = BMC_ADDRESS
    channel: int = 0
    lun: int = 0


AT_BMC = BusAddress()


class IpmiSession(Protocol):
    """An open session. `attempts` is how often a request is sent before it is given up. From `limit_s` seconds after it was set,
    every request fails at once: whatever the BMC sends, a thread ends."""

    attempts: int
    limit_s: float

    def ask(self, command: Command, data: bytes = b"", address: BusAddress = AT_BMC) -> bytes:
        """Send a command; return its answer after the completion code. Raises Declined and NoAnswer."""

    def close(self, *, log_out: bool) -> None:
        """Close the socket. `log_out` tells the BMC first, which takes up to the timeout."""


Ask = Callable[..., bytes]
"""`IpmiSession.ask` (command, data, address) with a check: the answer is as long as the command demands."""


def checked_ask(session: IpmiSession) -> Ask:
    """The session's `ask`. An answer that is too short raises Declined."""

    def ask(command: Command, data: bytes = b"", address: BusAddress = AT_BMC) -> bytes:
        answer = session.ask(command, data, address)
        if len(answer) < command.least:
            raise Declined(_TOO_SHORT)
        return answer

    return ask
