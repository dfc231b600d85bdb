"""Checks of the devices together: whether their profiles can be used, and whether two of them are one thing."""

from collections.abc import Iterator, Sequence

from watchkeeper.model.device import PROBE_KINDS, Device
from watchkeeper.profiles import Profiles
from watchkeeper.profiles.asked import misfit
from watchkeeper.profiles.condition import Speaks

_DEFAULT_PORTS = {
    "snmp": 161,
    "ipmi": 623,
    "modbus": 502,
    "nut": 3493,
    "postgresql": 5432,
    "mysql": 3306,
    "redis": 6379,
}

Found = tuple[Device, str, str]
"""A device, the key of its entry, and what is wrong."""


def problems(devices: Sequence[Device], profiles: Profiles | None) -> Iterator[Found]:
    """Profiles that do not exist or do not fit the probe (if `profiles` are given), and a second `host` probe of an
    agent: both would be one machine."""
    hosts: dict[str, str] = {}
    for device in devices:
        if device.probe in tuple(Speaks):
            wrong = misfit(profiles, device.profile, Speaks(device.probe)) if profiles else ""
            if wrong:
                yield device, "profile", f"`{device.device}`: {wrong}"
        elif device.profile != "auto" and device.probe in PROBE_KINDS:
            yield device, "profile", f"`{device.device}` is read by `{device.probe}`, which needs no profile; remove it"
        if device.probe == "host" and (first := hosts.setdefault(device.agent, device.device)) != device.device:
            message = f"`{first}` is the machine of agent `{device.agent}` already; one agent reads one host, its own"
            yield device, "probe", message


def warnings(devices: Sequence[Device]) -> Iterator[Found]:
    """Devices that one agent reads at one address by one protocol: probably one device that is listed twice."""
    seen: dict[tuple[object, ...], str] = {}
    for device in devices:
        if not device.address:
            continue
        try:
            endpoint = device.endpoint(_DEFAULT_PORTS.get(device.probe, 1))
        except ValueError:
            continue
        which = (device.modbus, device.nut, device.http, device.database)
        first = seen.setdefault((device.agent, device.probe, endpoint, which), device.device)
        if first != device.device:
            yield device, "address", f"`{device.device}` is read like `{first}`: same agent, address and protocol"
