"""Finds and identifies the devices of a network that answer SNMP with one of the given logins, or IPMI."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.opening import open_snmp_session
from watchkeeper.agent.probes.snmp.plan import DeviceReader
from watchkeeper.agent.probes.snmp.recognise import SYS_DESCR, SYS_OBJECT_ID, recognise
from watchkeeper.agent.tools.target import Target
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Category, Snmp, SnmpVersion
from watchkeeper.profiles import Profile, Profiles
from watchkeeper.profiles.decode import raw_text

MAX_ADDRESSES = 65_536
"""A network with more addresses is a mistake."""

MAX_HOSTS_AT_ONCE = 64
SYS_NAME = "1.3.6.1.2.1.1.5.0"
RMCP_PORT = 623
PING = bytes.fromhex("0600ff06 000011be 80000000")
"""RMCP/ASF presence ping (ASF 2.0, 3.2.4.2)."""
PONG = 0x40


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that answers. `name` and `description` are its own; `profile` is the one that fits, if any; `snmp` is
    the login that it answers, None if it only answers IPMI."""

    address: str
    category: Category
    name: str
    description: str
    profile: Profile | None = None
    snmp: Snmp | None = None


def addresses(network: str) -> list[str]:
    """Every host address of a CIDR block. Raises ValueError."""
    block = ipaddress.ip_network(network, strict=False)
    if block.num_addresses > MAX_ADDRESSES:
        raise ValueError(f"{network} has {block.num_addresses} addresses; at most {MAX_ADDRESSES} at a time")
    return [str(address) for address in block.hosts()]


async def find(
    hosts: Iterable[str], logins: Sequence[Callable[[str], Target]], secrets: Secrets, profiles: Profiles
) -> list[FoundDevice]:
    """Ask every host, many at the same time: by each login in turn until one is answered, and by IPMI."""
    limit = asyncio.Semaphore(MAX_HOSTS_AT_ONCE)

    async def ask(host: str) -> list[FoundDevice]:
        async with limit:
            device = await _by_snmp(host, logins, secrets, profiles)
            bmc = await _by_ipmi(host)
            return [found for found in (device, bmc) if found]

    return [found for answered in await asyncio.gather(*map(ask, hosts)) for found in answered]


async def _by_snmp(
    host: str, logins: Sequence[Callable[[str], Target]], secrets: Secrets, profiles: Profiles
) -> FoundDevice | None:
    for login in logins:
        target = login(host)
        device = replace(target.device, timeout_s=1.0)
        try:
            session = await open_snmp_session(device, secrets)
        except NoAnswer:
            continue
        try:
            return await _identify(DeviceReader(session, device, _version(device.snmp)), profiles)
        except NoAnswer:
            continue
        finally:
            session.close()
    return None


def _version(snmp: Snmp | None) -> SnmpVersion:
    return snmp.version if snmp else SnmpVersion.V2C


async def _identify(reader: DeviceReader, profiles: Profiles) -> FoundDevice:
    system = await reader.get((SYS_DESCR, SYS_OBJECT_ID, SYS_NAME))
    profile = (await recognise(reader, profiles)).profile
    return FoundDevice(
        reader.device.address.removesuffix(":161"),
        profile.category if profile else Category.NETWORK,
        raw_text(system.get(SYS_NAME, "")),
        raw_text(system.get(SYS_DESCR, "")),
        profile,
        reader.device.snmp,
    )


async def _by_ipmi(host: str) -> FoundDevice | None:
    """A BMC answers an RMCP presence ping without a login."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as udp:
        try:
            udp.connect((host, RMCP_PORT))
            udp.send(PING)
            async with asyncio.timeout(1.0):
                answer = await loop.sock_recv(udp, 64)
        except OSError:  # TimeoutError is one
            return None
    return FoundDevice(host, Category.BMC, "", "answers IPMI") if len(answer) > 8 and answer[8] == PONG else None  # noqa: PLR2004 -- the position of the message type


def names(found: Iterable[FoundDevice]) -> Iterator[tuple[str, FoundDevice]]:
    """A unique name for each device: its sysName, or else its profile or category with a number."""
    taken: set[str] = set()
    for device in found:
        own = re.sub(r"[^\w.-]+", "-", device.name.strip().lower()).strip("-.")
        base = own or (device.profile.profile if device.profile else device.category.value)
        numbered = (f"{base}-{number}" for number in count(1))
        name = next(name for name in chain((own,) if own else (), numbered) if name not in taken)
        taken.add(name)
        yield name, device


def stanza(found: Iterable[FoundDevice], agent: str, owner: str) -> Iterator[str]:
    """The lines of inventory.yml for these devices. Secrets appear by name."""
    yield "devices:"
    for name, device in names(found):
        yield f"  - device: {name}"
        yield f"    agent: {agent}"
        yield f"    category: {device.category}" + ("" if device.profile else "  # a guess: no profile fits")
        yield f"    probe: {'snmp' if device.snmp else 'ipmi'}"
        yield f"    address: '{device.address}'"
        yield f"    owner: {owner}"
        if device.snmp:
            yield f"    snmp: {{{', '.join(_snmp(device.snmp))}}}"
        else:
            yield "    ipmi: {user: monitor, password: bmc-password}  # the NAME of a secret"


def _snmp(snmp: Snmp) -> Iterator[str]:
    yield f"version: {snmp.version}"
    if snmp.version is not SnmpVersion.V3:
        yield f"community: {snmp.community}"
        return
    yield f"user: {snmp.user}"
    for key in ("auth", "auth_secret", "priv", "priv_secret"):
        if getattr(snmp, key):
            yield f"{key}: {getattr(snmp, key)}"
