"""SMS: the file for gammu-smsd, what becomes of it, and how long a text may be. tests/contract/test_sms_smsd.py has the real one."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from watchkeeper.channels.ports import Address, Message, Proof, Receipt, Via, dialled
from watchkeeper.channels.sms import PARTS, STUCK_S, SmsChannel, smsbackup, split, written
from watchkeeper.model.clock import FakeClock

LINK = "https://watch.example/incidents/1"
MESSAGE = Message(
    "1/duty/wang", "wang", "【严重】ups-1：改由电池供电", f"输出供电来源：电池\n{LINK}", {"level": "critical"}
)


class Spool:
    """The folders of a gammu-smsd that does `then` with each file when somebody waits for it."""

    def __init__(self, folder: Path, then: Callable[["Spool", Path], None] | None) -> None:
        self.folder, self.then = folder, then
        for name in ("outbox", "sent", "error"):
            (folder / name).mkdir()
        self.clock = FakeClock()

    def waiting(self) -> list[Path]:
        return sorted((self.folder / "outbox").iterdir())

    def pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for file in self.waiting():
            if self.then:
                self.then(self, file)

    def move(self, file: Path, to: str) -> None:
        file.rename(self.folder / to / file.name)

    def send(self, message: Message = MESSAGE, number: str = "+86 138-0000 0001") -> Receipt:
        return SmsChannel(number, self.folder, self.clock, 20.0, self.pause).send(message)


def words_of(file: Path) -> str:
    """The text inside a file of the format smsbackup."""
    digits = re.findall(r"^Text\d\d = ([0-9A-F]+)$", file.read_text(encoding="ascii"), re.MULTILINE)
    return bytes.fromhex("".join(digits)).decode("utf-16-be")


def test_a_message_that_the_network_took_is_accepted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, lambda spool, file: spool.move(file, "sent"))
    receipt = spool.send()
    assert (receipt.delivered, receipt.proof) == (True, Proof.ACCEPTED)
    [sent] = (tmp_path / "sent").iterdir()
    assert sent.name.startswith("OUTA20270115_080000_00_+8613800000001_watchkeeper")
    assert sent.suffix == ".smsbackup"
    assert words_of(sent) == f"{MESSAGE.subject}\n{MESSAGE.text}"


def test_a_message_that_cannot_be_sent_is_not_delivered(tmp_path: Path) -> None:
    receipt = Spool(tmp_path, lambda spool, file: spool.move(file, "error")).send()
    assert (receipt.delivered, receipt.permanent) == (False, False)


def test_a_message_that_is_still_waiting_at_the_deadline_is_only_handed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path, None)
    receipt = spool.send()
    assert (receipt.delivered, receipt.proof) == (True, Proof.HANDED_OVER)
    assert 20 <= spool.clock.boot() - 1000 < 21


def test_an_outbox_that_nobody_empties_takes_no_message(tmp_path: Path) -> None:
    spool = Spool(tmp_path, None)
    old = tmp_path / "outbox" / "OUTM20270115_000000_00_+1_x.txt"
    old.write_text("x", encoding="utf-8")
    os.utime(old, (spool.clock.wall() - STUCK_S + 1,) * 2)
    assert spool.send().delivered
    spool.clock.advance(1)
    before = len(spool.waiting())
    receipt = spool.send()
    assert not receipt.delivered
    assert "does not send" in receipt.detail
    assert len(spool.waiting()) == before


def test_a_critical_page_is_sent_before_other_messages(tmp_path: Path) -> None:
    spool = Spool(tmp_path, None)
    spool.send(Message("k", "p", "recovered", "x", {"kind": "recovered", "level": "critical"}))
    spool.send()
    assert [file.name[:4] for file in spool.waiting()] == ["OUTA", "OUTM"]


@pytest.mark.parametrize("number", ["", "none", "12", "0" * 16])
def test_without_a_number_there_is_nothing_to_try(number: str, tmp_path: Path) -> None:
    receipt = Spool(tmp_path, None).send(number=number)
    assert (receipt.delivered, receipt.permanent) == (False, True)


def test_a_missing_outbox_is_a_failed_receipt(tmp_path: Path) -> None:
    receipt = SmsChannel("+861", tmp_path / "nowhere", FakeClock(), 1.0).send(MESSAGE)
    assert (receipt.delivered, receipt.permanent) == (False, False)
    assert "No such file or directory" in receipt.detail


def test_nothing_is_left_behind_where_the_outbox_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, None)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    receipt = spool.send()
    assert not receipt.delivered
    assert spool.waiting() == []


def test_text_with_half_a_pair_raises_nothing(tmp_path: Path) -> None:
    assert Spool(tmp_path, None).send(Message("k", "p", "half \ud800", "x")).delivered


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3),
        ("机" * 70, 1), ("机" * 71, 2), ("机" * 134, 2), ("机" * 135, 3),
        ("[" * 80, 1), ("[" * 81, 2),  # two septets each
        ("🔥" * 35, 1), ("🔥" * 36, 2),  # two units each
        ("°", 1), ("a" * 100 + "°", 2),  # not in the GSM alphabet
    ],
)  # fmt: skip
def test_the_number_of_parts(text: str, parts: int) -> None:
    assert len(split(text)) == parts
    assert "".join(split(text)) == text


def test_no_part_ends_inside_a_character() -> None:
    assert split("a" * 152 + "[" * 8) == ["a" * 152, "[" * 8]
    assert split("机" * 66 + "🔥" * 9) == ["机" * 66, "🔥" * 9]


def test_a_file_names_the_coding_and_the_place_of_each_part() -> None:
    file = smsbackup("+861", "机" * 80, 0xA7)
    assert file.count("Coding = Unicode_No_Compression") == 2
    assert re.findall(r"UDH = (\w+)", file) == ["050003A70201", "050003A70202"]
    assert re.findall(r"Length = (\d+)", file) == ["67", "13"]
    alone = smsbackup("+861", "on battery", 0)
    assert "Coding = Default_No_Compression" in alone
    assert "UDH" not in alone


@pytest.mark.parametrize("line", ["机房 UPS 改由电池供电。", "The UPS is on battery. "])
def test_a_long_text_is_cut_to_subject_first_lines_and_link(line: str) -> None:
    message = Message("k", "p", "subject", "\n".join([line * 40, LINK]))
    text = written(message)
    assert len(split(text)) == PARTS
    assert text.startswith("subject\n" + line)
    assert text.endswith("...\n" + LINK)


@pytest.mark.parametrize(
    ("number", "digits"),
    [("138 0000 0001", "13800000001"), ("+86-(10) 1234.5678", "+861012345678"), ("１２３４５", ""), ("+1_2;x", "")],
)
def test_a_number_as_it_is_dialled(number: str, digits: str) -> None:
    assert dialled(number) == digits


def test_an_address_names_a_number_and_a_folder() -> None:
    assert list(Address(Via.SMS).check()) == []
    assert [key for key, _ in Address(Via.SMS, to="duty phone", spool="gammu").check()] == ["to", "spool"]
