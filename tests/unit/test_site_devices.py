"""Devices of the inventory that contradict each other, and profiles that do not fit, each with its place."""

import pytest

from tests.unit.test_site_load import CONTACTS, INVENTORY, LADDERS
from watchkeeper.collector.site.load import parse_configuration
from watchkeeper.model.errors import ConfigError
from watchkeeper.profiles import load_profiles

PROFILES = load_profiles()


def checked(*devices: str) -> tuple[list[str], list[str]]:
    """(problems, warnings) of an inventory with these devices, from line 13 on."""
    inventory = INVENTORY + "".join(f"  - {{agent: room-1, owner: ann, {text}}}\n" for text in devices)
    try:
        return [], list(map(str, parse_configuration(inventory, CONTACTS, LADDERS, PROFILES).warnings))
    except ConfigError as error:
        return [str(problem) for problem in error.problems], []


def test_profiles_that_fit_are_accepted() -> None:
    fitting = (
        "device: a, category: ups, probe: snmp, address: a, profile: ups-mib, snmp: {community: c}",
        "device: b, category: ups, probe: nut, address: b, nut: {ups: u}",
        "device: c, category: ups, probe: nut, address: c, profile: nut, nut: {ups: u}",
        "device: d, category: server, probe: host",
    )
    assert checked(*fitting) == ([], [])


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            "device: x, category: ups, probe: snmp, address: a, profile: ups-mibb, snmp: {community: c}",
            "inventory.yml:13:86: `x`: there is no profile `ups-mibb`; did you mean `ups-mib`?",
        ),
        (
            "device: x, category: ups, probe: snmp, address: a, profile: qqq, snmp: {community: c}",
            "inventory.yml:13:86: `x`: there is no profile `qqq`; name a profile that speaks snmp",
        ),
        (
            "device: x, category: ups, probe: snmp, address: a, profile: nut, snmp: {community: c}",
            "inventory.yml:13:86: `x`: the profile `nut` reads by nut, not by snmp; name a profile that speaks snmp",
        ),
        (
            "device: x, category: ups, probe: nut, address: a, profile: ups-mib, nut: {ups: u}",
            "inventory.yml:13:85: `x`: the profile `ups-mib` reads by snmp, not by nut; name a profile that speaks nut",
        ),
        (
            "device: x, category: ups, probe: modbus, address: a",
            "inventory.yml:13:5: `x`: a Modbus device cannot be recognised; name a profile that speaks modbus",
        ),
        (
            "device: x, category: server, probe: host, profile: ups-mib",
            "inventory.yml:13:76: `x` is read by `host`, which needs no profile; remove it",
        ),
        (
            "device: x, category: bmc, probe: ipmi, address: a, profile: ups-mib, ipmi: {user: u, password: p}",
            "inventory.yml:13:86: `x` is read by `ipmi`, which needs no profile; remove it",
        ),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(entry: str, problem: str) -> None:
    problems, _ = checked(entry)
    assert len(problems) == 1
    assert problems[0].partition(": ")[2] == problem.partition(": ")[2]
    assert problems[0].startswith("inventory.yml:13:")


def test_without_profiles_only_names_are_checked() -> None:
    inventory = INVENTORY.replace("address: 192.0.2.1:161", "address: 192.0.2.1:161\n    profile: none-such")
    assert parse_configuration(inventory, CONTACTS, LADDERS).inventory.devices[0].profile == "none-such"


def test_one_agent_has_one_host() -> None:
    problems, _ = checked("device: a, category: server, probe: host", "device: b, category: server, probe: host")
    assert problems == [
        "inventory.yml:14:69: `a` is the machine of agent `room-1` already; one agent reads one host, its own"
    ]


@pytest.mark.parametrize(
    ("one", "two", "warned"),
    [
        ("probe: icmp, address: 10.0.0.1", "probe: icmp, address: 10.0.0.1", True),
        ("probe: icmp, address: 10.0.0.1", "probe: tcp, address: '10.0.0.1:22'", False),
        ("probe: icmp, address: 10.0.0.1", "probe: icmp, address: 10.0.0.2", False),
        ("probe: tcp, address: '10.0.0.1:22'", "probe: tcp, address: '10.0.0.1:23'", False),
        ("probe: http, address: 10.0.0.1, http: {path: /a}", "probe: http, address: 10.0.0.1, http: {path: /b}", False),
        ("probe: http, address: 10.0.0.1, http: {path: /a}", "probe: http, address: 10.0.0.1, http: {path: /a}", True),
        ("probe: nut, address: 10.0.0.1, nut: {ups: a}", "probe: nut, address: 10.0.0.1, nut: {ups: b}", False),
        ("probe: process, process: {matches: a}", "probe: process, process: {matches: a}", False),
    ],
)
def test_two_devices_that_are_probably_one_are_a_warning(one: str, two: str, warned: bool) -> None:
    problems, warnings = checked(f"device: a, category: service, {one}", f"device: b, category: service, {two}")
    assert problems == []
    assert len(warnings) == warned
    for warning in warnings:
        assert warning.startswith("inventory.yml:14:")
        assert warning.endswith("`b` is read like `a`: same agent, address and protocol")


def test_a_written_default_port_is_the_same_address() -> None:
    _, warnings = checked("device: b, category: ups, probe: snmp, address: 192.0.2.1, snmp: {community: other}")
    assert [warning.partition(": ")[2] for warning in warnings] == [
        "`b` is read like `ups-1`: same agent, address and protocol"
    ]
