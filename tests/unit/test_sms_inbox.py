"""SMS that came in, in every form in which gammu-smsd writes them; and whose telephone they came from."""

import os
from pathlib import Path

import pytest

from watchkeeper.channels.ports import Address, Via
from watchkeeper.channels.sms import smsbackup
from watchkeeper.channels.sms_inbox import QUIET_S, read_inbox, set_aside, usable_inbox
from watchkeeper.collector.policy.replies.senders import person_of_mail, person_of_phone, same_phone
from watchkeeper.collector.site.inventory import Person

NOW = 1_800_000_000.0


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path


def put(spool: Path, name: str, content: bytes, age_s: float = 60.0) -> Path:
    file = spool / "inbox" / name
    file.write_bytes(content)
    os.utime(file, (NOW - age_s,) * 2)
    return file


def utf16(text: str) -> bytes:
    return b"\xfe\xff" + text.encode("utf-16-be")


@pytest.mark.parametrize(
    "content",
    [
        utf16("17KM 收到 🔥"),
        utf16("17KM 收到 🔥") + b"\0\0\0\0\x4e\x00",  # it counts bytes as characters, and writes what lies behind
        "17KM 收到 🔥".encode(),
        smsbackup("+8613800000001", "17KM 收到 🔥", 1).encode(),
        b"; Saved 20270115T120000\n\n" + smsbackup("+8613800000001", "17KM 收到 🔥", 1).replace("\n", "\r\n").encode(),
    ],
    ids=["unicode", "unicode-too-long", "standard", "detail", "detail-with-comments"],
)
def test_every_format_of_the_inbox(spool: Path, content: bytes) -> None:
    put(spool, "IN20270115_120000_00_+8613800000001_00.txt", content)
    (sms,) = read_inbox(spool, NOW)
    assert (sms.sender, sms.text) == ("+8613800000001", "17KM 收到 🔥")


def test_a_long_sms_is_joined_in_its_order_and_only_when_it_is_complete(spool: Path) -> None:
    name = "IN20270115_120000_00_+8613800000001_{:02}.txt"
    put(spool, name.format(1), utf16("fan is loud"))
    put(spool, name.format(0), utf16("17KM note the "), age_s=QUIET_S - 1)
    assert read_inbox(spool, NOW) == []
    (sms,) = read_inbox(spool, NOW + 1)
    assert sms.text == "17KM note the fan is loud"
    set_aside(sms)
    assert read_inbox(spool, NOW + 99) == []
    assert len(list((spool / "inbox" / "read").iterdir())) == 2


def test_a_file_from_the_future_does_not_wait_for_it(spool: Path) -> None:
    put(spool, "IN20270115_120000_00_+8613800000001_00.txt", utf16("17KM ok"), age_s=-86_400)
    assert len(read_inbox(spool, NOW)) == 1


def test_the_same_name_again_is_another_sms_and_overwrites_nothing(spool: Path) -> None:
    """gammu-smsd uses a name again that it no longer finds."""
    name, sources = "IN20270115_120000_00_+8613800000001_00.txt", set()
    for text in ("17KM ok", "17KM up"):
        put(spool, name, utf16(text))
        (sms,) = read_inbox(spool, NOW)
        sources.add(sms.source)
        set_aside(sms)
    assert len(sources) == 2
    assert len(list((spool / "inbox" / "read").iterdir())) == 2


@pytest.mark.parametrize(
    "name", ["OUT20270115_120000_00_+86138_00.txt", "IN2027_00_+86138_00.txt", "note.txt", ".IN20270115_120000_00_+86138_00.txt", "IN20270115_120000_00_1_00.txt~"]
)  # fmt: skip
def test_other_files_are_left_alone(spool: Path, name: str) -> None:
    put(spool, name, utf16("17KM ok"))
    assert read_inbox(spool, NOW) == []


def test_data_and_damaged_files_have_no_text_of_ours(spool: Path) -> None:
    put(spool, "IN20270115_120000_00_+8613800000001_00.bin", b"17KM ok")
    put(spool, "IN20270115_120001_00_+8613800000001_00.txt", b"\xfe\xff\x00")
    put(spool, "IN20270115_120002_00_+8613800000001_00.txt", b"[SMSBackup000]\nText00 = 003\n")
    put(spool, "IN20270115_120003_00_+8613800000001_00.txt", b"")
    assert all("17KM" not in sms.text for sms in read_inbox(spool, NOW))
    assert len(read_inbox(spool, NOW)) == 4


def test_an_inbox_that_is_not_there_is_no_way_back(tmp_path: Path) -> None:
    assert not usable_inbox(tmp_path)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+8613800000001", "13800000001", True),
        ("008613800000001", "+8613800000001", True),
        ("+861055550100", "01055550100", True),
        ("+8613800000001", "+8613800000002", False),
        ("13800000001", "3800000001", False),
        ("+8613800000001", "0000001", False),
        ("+8613800000001", "00000001", False),
        ("+4413800000001", "+8613800000001", False),
        ("10086", "+8610086", False),
        ("10086", "10086", True),
    ],
)
def test_the_forms_of_a_number(one: str, other: str, same: bool) -> None:
    assert same_phone(one, other) is same
    assert same_phone(other, one) is same


def person(name: str, phone: str = "", to: str = "", mail: str = "") -> Person:
    return Person(name, name, (Address(Via.SMS, to=to),) if to else (), phone=phone, mail=mail)


def test_a_sender_is_one_person_or_nobody() -> None:
    people = [
        person("a", "+86 138 0000 0001", mail="A@x.example"),
        person("b", to="138-0000-0002"),
        person("c", "139 0000 0003"),
        person("d", "139 0000 0003", mail="d@x.example"),
    ]
    found = [person_of_phone(people, number) for number in ("13800000001", "+8613800000002", "13900000003", "INFO", "")]
    assert [one.person if one else None for one in found] == ["a", "b", None, None, None]
    assert person_of_mail(people, "a@X.example") == people[0]
    assert person_of_mail(people, "") is None
    assert person_of_mail([*people, person("e", mail="a@x.example")], "a@x.example") is None
