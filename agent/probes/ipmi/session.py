"""One RMCP+ session to a BMC (IPMI 2.0, section 13), by python-ipmi. Everything here blocks: run it in a thread."""

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
IPMI_DEAD_PORT = "nothing listens there (ICMP port unreachable)"
IPMI_BAD_LOGIN = "login refused: user or password wrong, or the user may not use IPMI over LAN"
BAD_CIPHER = "the BMC does not accept this cipher suite; see `cipher` in the inventory"
BAD_ROLE = "the BMC does not grant this user the privilege level User"
NO_SESSION_LEFT = "the BMC has no session left; other clients keep too many open"
GARBLED = "the answer cannot be understood"

_STATUS_TEXTS = {
    **dict.fromkeys((0x01, 0x0A), NO_SESSION_LEFT),
    **dict.fromkeys((0x08, 0x09), BAD_ROLE),
    **dict.fromkeys((0x03, 0x04, 0x05, 0x06, 0x0F, 0x10, 0x11), BAD_CIPHER),
}  # RMCP+ status codes (table 13-15), grouped by what an operator can do
_NO_ROLE = (0x80, 0x81)  # completion codes of Set Session Privilege Level (22.18)
_LOGIN_REFUSED = (
    errors.AuthenticationError,
    errors.CompletionCodeError,
    errors.IpmiLongPasswordError,
    errors.MessageStatusCodeError,
    errors.NotSupportedError,
)
# Errors of the library if no answer comes, or if it cannot decode the answer
_REQUEST_FAILED = (errors.RetryError, errors.DecodingError, OSError, struct.error, ValueError, LookupError)


@dataclass(frozen=True, slots=True)
class IpmiLogin:
    """Address, user and password. Kept only while a session is opened; its repr leaves out the password."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    cipher: int
    timeout_s: float
    attempts: int
    limit_s: float


class _RmcpInterface(RmcpPlus):  # type: ignore[misc]  # python-ipmi ships no types
    """The library's interface with four changes: IPv6 works; there is no presence ping (it is sent only once, and some
    BMCs that accept logins do not answer it); the timeout also ends a wait in which only rubbish arrives; and after a deadline
    nothing is sent."""

    def __init__(self, login: IpmiLogin) -> None:
        super().__init__(keep_alive_interval=0, max_retries=login.attempts - 1, cipher_suite=login.cipher)
        self._endpoint = login.host, login.port
        self._timeout_s = login.timeout_s
        self._until = 0.0
        self.deadline = time.monotonic() + login.limit_s

    def open(self) -> None:
        """Open a socket for the address family of the host's first address."""
        found = socket.getaddrinfo(*self._endpoint, type=socket.SOCK_DGRAM)
        self._sock = socket.socket(found[0][0], socket.SOCK_DGRAM)
        self.set_timeout(self._timeout_s)

    def ping(self) -> None:
        """Send no presence ping."""

    def _send_rmcp_msg(self, sdu: bytes | None, class_of_msg: int) -> None:
        now = time.monotonic()
        if now >= self.deadline:
            raise TimeoutError
        self._until = min(now + self._timeout_s, self.deadline)
        super()._send_rmcp_msg(sdu, class_of_msg)

    def _receive_rmcp_msg(self) -> Any:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return super()._receive_rmcp_msg()


class PyIpmiSession:
    """Implements `commands.IpmiSession`. Raises NoAnswer if no session can be opened."""

    def __init__(self, login: IpmiLogin) -> None:
        self._timeout_s = login.timeout_s
        self._interface = _RmcpInterface(login)
        self._ipmi = pyipmi.create_connection(self._interface)
        self._ipmi.session.set_session_type_rmcp(login.host, login.port)
        self._ipmi.session.set_priv_level("user")  # enough for reading
        self._ipmi.target = pyipmi.Target(ipmb_address=BMC_ADDRESS)
        try:
            self._log_in(login)
        except _LOGIN_REFUSED as error:
            self.close(log_out=True)
            raise NoAnswer(Reason.REFUSED, _refusal(error)) from None
        except _REQUEST_FAILED as error:
            self.close(log_out=False)
            raise _failure(error) from None

    def _log_in(self, login: IpmiLogin) -> None:
        """Log in, then remove the password from the library's session: its debug log shows the session."""
        self._ipmi.session.set_auth_type_user(login.user, login.password)
        try:
            self._ipmi.open()
        finally:
            self._ipmi.session.set_auth_type_user(login.user, "")

    @property
    def attempts(self) -> int:
        """Implements `IpmiSession.attempts`."""
        return int(self._interface.max_retries) + 1

    @attempts.setter
    def attempts(self, attempts: int) -> None:
        self._interface.max_retries = attempts - 1

    @property
    def limit_s(self) -> float:
        """Implements `IpmiSession.limit_s`."""
        return max(0.0, self._interface.deadline - time.monotonic())

    @limit_s.setter
    def limit_s(self, seconds: float) -> None:
        self._interface.deadline = time.monotonic() + seconds

    def ask(self, command: Command, data: bytes = b"", address: BusAddress = AT_BMC) -> bytes:
        """Implements `IpmiSession.ask`."""
        target = self._ipmi.target if address.owner == BMC_ADDRESS else _bridged(address)
        request = bytes([command.number]) + data
        try:
            answer = self._interface.send_and_receive_raw(target, address.lun, command.netfn, request)
            code = answer[0]
        except errors.CompletionCodeError as error:
            raise Declined(error.cc) from None
        except errors.AuthenticationError:
            raise NoAnswer(Reason.MALFORMED, "the answer is not signed with the session's key") from None
        except _REQUEST_FAILED as error:
            raise _failure(error) from None
        if code:
            raise Declined(code)
        return bytes(answer[1:])

    def close(self, *, log_out: bool) -> None:
        """Implements `IpmiSession.close`."""
        try:
            if log_out:
                self.attempts = 1
                self.limit_s = self._timeout_s
                self._ipmi.session.close()
        except (*_LOGIN_REFUSED, *_REQUEST_FAILED):
            pass  # the BMC ends a session that is idle for a minute anyway
        finally:
            self._interface.close()


def _bridged(address: BusAddress) -> Any:
    """The library's target for a controller behind the BMC, reached by Send Message (IPMI 2.0, 6.13)."""
    return pyipmi.Target(
        ipmb_address=address.owner, routing=[(0x81, BMC_ADDRESS, address.channel), (BMC_ADDRESS, address.owner, None)]
    )


def _refusal(error: Exception) -> str:
    """Why the BMC or the library refused the session, and what to do."""
    match error:
        case errors.IpmiLongPasswordError():
            text = "the password is longer than the 20 bytes that IPMI 2.0 allows"
        case errors.NotSupportedError():
            text = "the BMC does not speak IPMI 2.0 (RMCP+)"
        case errors.CompletionCodeError(cc=code):
            text = BAD_ROLE if code in _NO_ROLE else f"the BMC opens no session (completion code {code:#04x})"
        case errors.MessageStatusCodeError(msc=code):
            text = _STATUS_TEXTS.get(code, IPMI_BAD_LOGIN)
        case _:
            text = IPMI_BAD_LOGIN
    return text


def _failure(error: Exception) -> NoAnswer:
    """Why a request failed."""
    match error:
        case errors.RetryError() | TimeoutError():
            return NoAnswer(Reason.TIMEOUT, SILENT)
        case ConnectionRefusedError():
            return NoAnswer(Reason.UNREACHABLE, IPMI_DEAD_PORT)
        case socket.gaierror() | UnicodeError():
            return NoAnswer(Reason.UNREACHABLE, "the name is not known to the resolver")
        case OSError(errno=number):
            return NoAnswer(Reason.UNREACHABLE, f"the network reports: {os.strerror(number or 0)}")
    return NoAnswer(Reason.MALFORMED, GARBLED)
