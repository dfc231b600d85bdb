"""Opens a session to a device: its address and secrets, and the engine that reads it."""

import asyncio
from collections.abc import Awaitable, Callable

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.engine import SNMP_PORT, SnmpLogin, SnmpSession, resolve_host
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Device, SnmpEngine, SnmpVersion
from watchkeeper.model.errors import SecretError
from watchkeeper.model.reading import Reason

SnmpOpener = Callable[[Device, Secrets], Awaitable[SnmpSession]]
"""Opens a session to a device, with secrets found by name. Raises NoAnswer."""


async def open_snmp_session(device: Device, secrets: Secrets) -> SnmpSession:
    """Open a session with the device's secrets. Raises NoAnswer."""
    login = await login_to(device, secrets)
    snmp = login.snmp
    try:
        if snmp.engine is SnmpEngine.PYSNMP or snmp.answers_from:  # the other engines' sockets hear one address
            return await asyncio.to_thread(_pysnmp_session, login)
        if snmp.engine is SnmpEngine.AUTO and snmp.version is SnmpVersion.V3 and snmp.auth is not None:
            return _usm_session(login)
        return _gufo_session(login)
    except (OSError, ValueError) as error:
        raise NoAnswer(Reason.UNREACHABLE, f"no session: {error}") from None


async def login_to(device: Device, secrets: Secrets) -> SnmpLogin:
    """The device's address and secrets. Raises NoAnswer."""
    snmp = device.snmp
    if snmp is None:
        raise NoAnswer(Reason.REFUSED, "the inventory has no `snmp` for this device")
    try:
        community, auth, priv = (
            secrets.get(name).reveal() if name else "" for name in (snmp.community, snmp.auth_secret, snmp.priv_secret)
        )
        host, port = device.endpoint(SNMP_PORT)
    except SecretError as error:
        raise NoAnswer(Reason.REFUSED, str(error)) from None
    except ValueError:
        raise NoAnswer(Reason.UNREACHABLE, f"`{device.address}` is not HOST or HOST:PORT") from None
    address, *others = await resolve_host(host, port, device.timeout_s)
    return SnmpLogin(address, port, device.timeout_s, snmp, community, auth, priv, tuple(others))


def _gufo_session(login: SnmpLogin) -> SnmpSession:
    from watchkeeper.agent.probes.snmp.gufo_engine import GufoSession  # noqa: PLC0415 -- an agent that watches only its host does not need it

    return GufoSession(login)


def _usm_session(login: SnmpLogin) -> SnmpSession:
    from watchkeeper.agent.probes.snmp.usm_engine import UsmSession  # noqa: PLC0415 -- only SNMPv3 needs it

    return UsmSession(login)


def _pysnmp_session(login: SnmpLogin) -> SnmpSession:
    """Opened in a thread, because it takes 75 ms. The first one loads 13 MB, which most agents do not need."""
    from watchkeeper.agent.probes.snmp.pysnmp_engine import PysnmpSession  # noqa: PLC0415 -- the library takes 13 MB

    return PysnmpSession(login)


def masked_url(device: Device) -> str:
    """The device's address as a URL, without its secret."""
    return f"snmp://***@{device.address}"
