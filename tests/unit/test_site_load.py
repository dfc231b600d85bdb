"""The three configuration files: every mistake is found in one reading, with its place."""

import re
import textwrap
from pathlib import Path

import pytest

from watchkeeper.collector.site.load import parse_configuration, read_configuration
from watchkeeper.model.errors import ConfigError

INVENTORY = """\
site: {name: Room, timezone: Asia/Shanghai}
agents:
  - {agent: room-1, owner: ann}
devices:
  - agent: room-1
    device: ups-1
    category: ups
    probe: snmp
    address: 192.0.2.1:161
    snmp: {community: secret-name}
    owner: ann
    vendor: acme
"""

CONTACTS = """\
people:
  - {person: ann, name: Ann, channels: [{via: console}]}
  - {person: bob, name: Bob, channels: [{via: console}]}
roles:
  head: [bob]
shifts:
  - {shift: day, start: 08:30, end: 17:00, rotation: [ann, bob]}
  - {shift: night, start: 17:00, end: 08:30, rotation: [bob]}
swaps:
  - {date: 2026-10-01, shift: day, person: bob}
vendors:
  - {vendor: acme, name: Acme, phone: "1"}
"""

LADDERS = """\
ladders:
  - ladder: fault
    fallback: [head]
    rungs:
      - {rung: duty, after: 0 min, tell: [duty]}
      - {rung: owner, after: 10 min, tell: [owner, head, ann]}
"""


def problems(inventory: str = INVENTORY, contacts: str = CONTACTS, ladders: str = LADDERS) -> list[str]:
    try:
        parse_configuration(inventory, contacts, ladders)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} must be there exactly once"
    return text.replace(old, new)


def test_the_configuration_of_these_tests_is_right() -> None:
    assert problems() == []
    configuration = parse_configuration(INVENTORY, CONTACTS, LADDERS)
    assert [device.owner for device in configuration.inventory.devices] == ["ann"]
    assert configuration.contacts.roles == {"head": ("bob",)}
    assert configuration.ladders.ladders[0].rungs[1].after_s == 600


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{agent: room-1, owner: ann}", "{agent: room-1, owner: anne}", "3:28: there is no person `anne`; did you mean `ann`?"),
        ("{agent: room-1, owner: ann}", "{agent: room-1, interval: 0 s}", "3:31: must be longer than 0 s"),
        ("{agent: room-1, owner: ann}", "{agent: room-1}\n  - {agent: room-1}", "4:13: the agent `room-1` is defined twice; the first is on line 3"),
        ("{agent: room-1, owner: ann}", "{agent: room-1}\n  - {agent: room/1}", "4:13: `room/1` is not a valid name; use letters, digits, `.`, `-` and `_`, at most 200"),
        ("- agent: room-1\n", "- agent: room-2\n", "5:12: there is no agent `room-2`; did you mean `room-1`?"),
        ("device: ups-1", "device: room-1", "6:13: the name `room-1` is already taken; give the device another name"),
        ("owner: ann\n    vendor", "owner: cy\n    vendor", "11:12: there is no person `cy`; known: ann, bob"),
        ("    owner: ann\n", "", "5:5: `ups-1` needs `owner`, the person called after 10 minutes (4.2.6.2)"),
        ("vendor: acme", "vendor: acne", "12:13: there is no vendor `acne`; did you mean `acme`?"),
        ("    address: 192.0.2.1:161\n", "", "5:5: `ups-1` needs `address`, host or host:port, to be read by `snmp`"),
        ("192.0.2.1:161", "snmp://user:pw@192.0.2.1", "9:14: `snmp://***@192.0.2.1` is neither `host` nor `host:port`"),
        ("192.0.2.1:161", "192.0.2.1:65536", "9:14: `192.0.2.1:65536` is neither `host` nor `host:port`"),
        ("    snmp: {community: secret-name}\n", "", "5:5: `ups-1` needs `snmp` to be read by `snmp`"),
        ("probe: snmp", "probe: snpm", "8:12: `ups-1` is read by `snpm`, which is not a kind of probe; known: host, snmp, ipmi, modbus, nut, icmp, tcp, http, postgresql, mysql, redis, process, systemd"),
        ("probe: snmp", "probe: host", "10:11: `ups-1` is read by `host`, which takes no `snmp`; remove it"),
        ("category: ups", "category: ups\n    every: 0 s", "8:12: must be longer than 0 s"),
        ("category: ups", "category: ups\n    timeout: 0 s", "8:14: must be longer than 0 s"),
        ("category: ups", "category: ups\n    retries: -1", "8:14: cannot be negative"),
        ("category: ups", "category: upss", "7:15: `upss` is not one of server, network, storage, ups, pdu, ats, cooling, env, dc-power, meter, bmc, service, watchkeeper; did you mean `ups`?"),
    ],
)  # fmt: skip
def test_an_error_in_the_inventory_has_its_place(old: str, new: str, expected: str) -> None:
    assert problems(inventory=changed(INVENTORY, old, new)) == [f"inventory.yml:{expected}"]


@pytest.mark.parametrize(
    "address", ["ups.example", "ups.example:1161", "192.0.2.1", "[2001:db8::1]", "[2001:db8::1]:161"]
)
def test_an_address_is_a_host_with_or_without_a_port(address: str) -> None:
    assert problems(inventory=changed(INVENTORY, "192.0.2.1:161", f'"{address}"')) == []


def test_a_device_is_defined_once() -> None:
    twice = INVENTORY + "  - {device: ups-1, agent: room-1, category: server, probe: host, owner: ann}\n"
    assert problems(inventory=twice) == [
        "inventory.yml:13:14: the device `ups-1` is defined twice; the first is on line 5"
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: Bob, channels: [{via: console}]", "name: Bob, channels: [{via: sms}]",
         ["3:5: `bob` gets SMS: give `phone` a telephone number, or the channel its own in `to`"]),
        ("name: Bob, channels: [{via: console}]", "name: Bob, phone: at home, channels: [{via: sms}]",
         ["3:37: `bob` gets SMS: give `phone` a telephone number, or the channel its own in `to`"]),
        ("name: Bob, channels: [{via: console}]", "name: Bob, channels: [{via: sms, to: duty}]", ["3:56: this is not a telephone number; write it like `+86 138 0000 0001`"]),
        ("name: Bob, channels: [{via: console}]", "name: Bob, channels: []", ["3:40: `bob` has no channel; give at least one"]),
        ("{person: bob, name: Bob, channels: [{via: console}]}", "{person: bob, name: Bob, channels: [{via: webhook}]}",
         ["3:47: webhook needs `url`, and `secret`, the name of the secret that signs"]),
        ("head: [bob]", "head: []", ["5:3: the role `head` has no person; name one, or remove the role"]),
        ("head: [bob]", "head: [bobb]", ["5:3: there is no person `bobb`; did you mean `bob`?"]),
        ("head: [bob]", "head: [bob]\n  duty: [ann]", ["5:3: the role `duty` is computed from shifts or inventory; remove it here"]),
        ("head: [bob]", "head: [bob]\n  ann: [ann]", ["5:3: `ann` is both a role and a person; give the role another name"]),
        ('{vendor: acme, name: Acme, phone: "1"}', '{vendor: acme, name: Acme, phone: "1"}\n  - {vendor: acme, name: B, phone: "2"}',
         ["13:14: the vendor `acme` is defined twice; the first is on line 12"]),
        ("rotation: [ann, bob]", "rotation: []", ["7:54: the shift `day` has nobody in its rotation; name at least one person"]),
        ("rotation: [ann, bob]", "rotation: [ann, bo]", ["7:54: there is no person `bo`; did you mean `bob`?"]),
        ("shift: night", "shift: day", ["8:13: the shift `day` is defined twice; the first is on line 7"]),
        ("2026-10-01, shift: day", "2026-10-01, shift: evening", ["10:31: there is no shift `evening`; known: day, night"]),
        ("shift: day, person: bob", "shift: day, person: cy", ["10:44: there is no person `cy`; known: ann, bob"]),
        ("shift: day, person: bob}", "shift: day, person: bob}\n  - {date: 2026-10-01, shift: day, person: ann}",
         ["11:12: the shift `day` of 2026-10-01 is swapped twice"]),
        ("end: 17:00", "end: 16:30", ["7:37: nobody is on duty from 16:30 to 17:00: `day` has ended and `night` has not begun"]),
        ("end: 17:00", "end: 17:30", ["7:37: `day` lasts until 17:30, but `night` already starts at 17:00"]),
        ("end: 08:30", "end: 08:00", ["8:39: nobody is on duty from 08:00 to 08:30: `night` has ended and `day` has not begun"]),
        ("end: 08:30", "end: 17:00", ["8:39: `night` lasts until 17:00, but `day` already starts at 08:30"]),
        ("  - {shift: night, start: 17:00, end: 08:30, rotation: [bob]}\n", "",
         ["7:37: nobody is on duty from 17:00 to 08:30: `day` has ended and `day` has not begun"]),
    ],
)  # fmt: skip
def test_an_error_in_the_contacts_has_its_place(old: str, new: str, expected: list[str]) -> None:
    assert problems(contacts=changed(CONTACTS, old, new)) == [f"contacts.yml:{one}" for one in expected]


def test_overlapping_shifts_are_an_error() -> None:
    extra = "  - {shift: double, start: 17:00, end: 08:30, rotation: [ann]}\nswaps:"
    found = problems(contacts=changed(CONTACTS, "swaps:", extra))
    assert found == ["contacts.yml:8:39: `night` lasts until 08:30, but `double` already starts at 17:00"]


def test_no_shifts_are_an_error() -> None:
    contacts = re.sub(r"shifts:\n(  .*\n)+swaps:\n  .*\n", "shifts: []\n", CONTACTS)
    assert problems(contacts=contacts) == [
        "contacts.yml:6:9: no shift is defined, so nobody is ever on duty; write at least one"
    ]


@pytest.mark.parametrize("hours", ["00:00", "08:30", "23:59"])
def test_one_shift_can_last_the_whole_day(hours: str) -> None:
    shifts = f"shifts:\n  - {{shift: day, start: {hours}, end: {hours}, rotation: [ann]}}\nswaps:"
    assert problems(contacts=re.sub(r"shifts:\n(  .*\n)+swaps:", shifts, CONTACTS)) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("tell: [duty]", "tell: []", "5:42: the rung `duty` tells nobody; name a role or a person"),
        ("tell: [owner, head, ann]", "tell: [owner, heed]", "6:44: there is no role or person `heed`; did you mean `head`?"),
        ("fallback: [head]", "fallback: [boss]", "3:15: there is no role or person `boss`; known: duty, owner, head, ann, bob"),
        ("fallback: [head]", "fallback: [owner]", "3:15: an agent may have no owner; name a person, another role or `duty` as well"),
        ("fallback: [head]", "fallback: []", "3:15: name at least one role or person, so that there is always somebody to page"),
        ("after: 0 min", "after: 5 min", "5:7: the first rung must have `after: 0 min`: duty staff start at once (4.2.6.1)"),
        ("fallback: [head]", "fallback: [head]\n    levels: [critical]", "2:3: no ladder has the level `warning`; such a fault would page nobody"),
        ("fallback: [head]", "fallback: [head]\n    levels: [warning, critical, ok]", "4:13: `ok` needs no ladder; the levels are warning and critical"),
    ],
)  # fmt: skip
def test_an_error_in_the_ladders_has_its_place(old: str, new: str, expected: str) -> None:
    assert problems(ladders=changed(LADDERS, old, new)) == [f"ladders.yml:{expected}"]


def test_a_ladder_that_is_never_used_is_a_mistake() -> None:
    second = textwrap.indent(
        "- ladder: late\n  fallback: [ann]\n  rungs: [{rung: duty, after: 0 min, tell: [duty]}]\n", "  "
    )
    expected = "ladders.yml:7:5: `late` is never used: the ladders above it already have its levels"
    assert problems(ladders=LADDERS + second) == [expected]


def test_each_level_can_have_its_own_ladder() -> None:
    head = "ladder: fault\n    levels: [critical]"
    second = (
        "  - {ladder: mild, levels: [warning], fallback: [ann], rungs: [{rung: duty, after: 0 min, tell: [duty]}]}\n"
    )
    assert problems(ladders=changed(LADDERS, "ladder: fault", head) + second) == []


def test_all_problems_of_the_three_files_are_reported_at_once() -> None:
    found = problems(
        inventory=changed(INVENTORY, "vendor: acme", "vendor: nobody"),
        contacts=changed(CONTACTS, "end: 17:00", "end: 16:00"),
        ladders=changed(LADDERS, "fallback: [head]", "fallback: [boss]"),
    )
    assert [one.partition(":")[0] for one in found] == ["contacts.yml", "inventory.yml", "ladders.yml"]


def test_an_unreadable_file_causes_no_problems_in_the_others() -> None:
    found = problems(contacts="people: 3\n", ladders=changed(LADDERS, "after: 0 min", "after: soon"))
    assert found == [
        "contacts.yml:1:1: the file needs `shifts`",
        "contacts.yml:1:9: expected a list, found `3`",
        "ladders.yml:5:29: `soon` is not a duration; write it like `10 min`",
    ]


def test_files_that_cannot_be_read_are_named_and_the_others_are_checked(tmp_path: Path) -> None:
    (tmp_path / "contacts.yml").write_bytes(b"people: \xff\n")
    (tmp_path / "ladders.yml").write_text(changed(LADDERS, "after: 0 min", "after: soon"), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read_configuration(tmp_path)
    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in raised.value.problems] == [
        "contacts.yml:0:0: is not UTF-8: invalid start byte, byte 8",
        "inventory.yml:0:0: cannot be read: No such file or directory",
        "ladders.yml:5:29: `soon` is not a duration; write it like `10 min`",
    ]


def test_an_sms_goes_to_the_persons_phone_or_to_its_own_number() -> None:
    contacts = changed(
        CONTACTS,
        "name: Bob, channels: [{via: console}]",
        'name: Bob, phone: "138 0000 0001", channels: [{via: sms}, {via: sms, to: "+86 10 1"}, {via: console}]',
    )
    bob = parse_configuration(INVENTORY, contacts, LADDERS).contacts.people[1]
    assert [address.to for address in bob.channels] == ["138 0000 0001", "+86 10 1", ""]
