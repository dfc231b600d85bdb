"""One RMCP+ session to a BMC (IPMI 2.0, section 13), by python-ipmi. Everything here blocks, and belongs into a thread."""

import os
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import pyipmi
from pyipmi import errors
from pyipmi.interfaces.rmcpplus import RmcpPlus

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.ipmi.commands import AT_BMC, BMC_ADDRESS, BusAddress, Command, Declined
from watchkeeper.model.reading import Reason

IPMI_PORT = 623

SILENT = "no answer; BMC down, IPMI over LAN switched off there, or a firewall between"
DEAD_PORT = "nothing listens there (ICMP port unreachable)"
BAD_LOGIN = "login refused: user or password wrong, or the user may not use IPMI over LAN"
BAD_CIPHER = "the BMC does not accept this cipher suite; see `cipher` in the inventory"
BAD_ROLE = "the BMC does not grant this user the privilege level User"
FULL = "the BMC has no session left; others keep too many open"
GARBLED = "an answer that cannot be understood"

_STATUS = {
    **dict.fromkeys((0x01, 0x0A), FULL),
    **dict.fromkeys((0x08, 0x09), BAD_ROLE),
    **dict.fromkeys((0x03, 0x04, 0x05, 0x06, 0x0F, 0x10, 0x11), BAD_CIPHER),
}  # RMCP+ status codes (table 13-15) by what an operator can do about them
_NO_ROLE = (0x80, 0x81)  # Set Session Privilege Level (22.18)
_REFUSED = (
    errors.AuthenticationError,
    errors.CompletionCodeError,
    errors.IpmiLongPasswordError,
    errors.MessageStatusCodeError,
    errors.NotSupportedError,
)
# What the library raises of silence, and its decoding of an answer that is too short or says nonsense
_NOTHING = (errors.RetryError, errors.DecodingError, OSError, struct.error, ValueError, LookupError)


@dataclass(frozen=True, slots=True)
class IpmiLogin:
    """Whom to ask, and as whom. Lives only while a session is opened, and never shows its password."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    cipher: int
    timeout_s: float
    attempts: int


class _RmcpInterface(RmcpPlus):  # type: ignore[misc]  # python-ipmi ships no types
    """The library's interface, with IPv6, without the presence ping (which it sends once only, and which BMCs that log in
    well do not all answer), and with an end to its patience where rubbish comes instead of an answer."""

    def __init__(self, login: IpmiLogin) -> None:
        super().__init__(keep_alive_interval=0, max_retries=login.attempts - 1, cipher_suite=login.cipher)
        self._place = login.host, login.port
        self._timeout_s = login.timeout_s
        self._until = 0.0

    def open(self) -> None:
        """A socket of the family that the host's first address has."""
        found = socket.getaddrinfo(*self._place, type=socket.SOCK_DGRAM)
        self._sock = socket.socket(found[0][0], socket.SOCK_DGRAM)
        self.set_timeout(self._timeout_s)

    def ping(self) -> None:
        """Not sent."""

    def _send_rmcp_msg(self, sdu: bytes | None, class_of_msg: int) -> None:
        self._until = time.monotonic() + self._timeout_s
        super()._send_rmcp_msg(sdu, class_of_msg)

    def _receive_rmcp_msg(self) -> Any:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return super()._receive_rmcp_msg()


class PyIpmiSession:
    """See `ipmi_commands.Session`. Raises NoAnswer where none can be opened."""

    def __init__(self, login: IpmiLogin) -> None:
        self._wire = _RmcpInterface(login)
        self._ipmi = pyipmi.create_connection(self._wire)
        self._ipmi.session.set_session_type_rmcp(login.host, login.port)
        self._ipmi.session.set_priv_level("user")  # enough to read everything
        self._ipmi.target = pyipmi.Target(ipmb_address=BMC_ADDRESS)
        try:
            self._log_in(login)
        except _REFUSED as error:
            self.close(politely=True)
            raise NoAnswer(Reason.REFUSED, _refusal(error)) from None
        except _NOTHING as error:
            self.close(politely=False)
            raise _no_answer(error) from None

    def _log_in(self, login: IpmiLogin) -> None:
        """The library's debug log shows a session with its password, so that it must not keep it."""
        self._ipmi.session.set_auth_type_user(login.user, login.password)
        try:
            self._ipmi.open()
        finally:
            self._ipmi.session.set_auth_type_user(login.user, "")

    @property
    def attempts(self) -> int:
        """See `Session`."""
        return int(self._wire.max_retries) + 1

    @attempts.setter
    def attempts(self, attempts: int) -> None:
        self._wire.max_retries = attempts - 1

    def ask(self, command: Command, data: bytes = b"", place: BusAddress = AT_BMC) -> bytes:
        """See `Session.ask`."""
        target = self._ipmi.target if place.owner == BMC_ADDRESS else _bridged(place)
        try:
            answer = self._wire.send_and_receive_raw(target, place.lun, command.netfn, bytes([command.number]) + data)
            code = answer[0]
        except errors.CompletionCodeError as error:
            raise Declined(error.cc) from None
        except errors.AuthenticationError:
            raise NoAnswer(Reason.MALFORMED, "an answer that is not signed with the session's key") from None
        except _NOTHING as error:
            raise _no_answer(error) from None
        if code:
            raise Declined(code)
        return bytes(answer[1:])

    def close(self, *, politely: bool) -> None:
        """See `Session.close`."""
        try:
            if politely:
                self.attempts = 1
                self._ipmi.session.close()
        except (*_REFUSED, *_NOTHING):
            pass  # whether it has heard us or not: it drops what is idle for a minute
        finally:
            self._wire.close()


def _bridged(place: BusAddress) -> Any:
    """A controller behind the BMC, by Send Message (IPMI 2.0, 6.13)."""
    return pyipmi.Target(
        ipmb_address=place.owner, routing=[(0x81, BMC_ADDRESS, place.channel), (BMC_ADDRESS, place.owner, None)]
    )


def _refusal(error: Exception) -> str:
    """What an operator can do about a session that the BMC or the library refused."""
    match error:
        case errors.IpmiLongPasswordError():
            text = "the password is longer than the 20 bytes that IPMI 2.0 allows"
        case errors.NotSupportedError():
            text = "the BMC does not speak IPMI 2.0 (RMCP+)"
        case errors.CompletionCodeError(cc=code):
            text = BAD_ROLE if code in _NO_ROLE else f"the BMC opens no session (completion code {code:#04x})"
        case errors.MessageStatusCodeError(msc=code):
            text = _STATUS.get(code, BAD_LOGIN)
        case _:
            text = BAD_LOGIN
    return text


def _no_answer(error: Exception) -> NoAnswer:
    """Why a request brought nothing."""
    match error:
        case errors.RetryError() | TimeoutError():
            return NoAnswer(Reason.TIMEOUT, SILENT)
        case ConnectionRefusedError():
            return NoAnswer(Reason.UNREACHABLE, DEAD_PORT)
        case socket.gaierror() | UnicodeError():
            return NoAnswer(Reason.UNREACHABLE, "its name is not known to the resolver")
        case OSError(errno=number):
            return NoAnswer(Reason.UNREACHABLE, f"no way there: {os.strerror(number or 0)}")
    return NoAnswer(Reason.MALFORMED, GARBLED)
