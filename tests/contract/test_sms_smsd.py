"""SMS by the real gammu-smsd with its dummy modem, which sends nothing and forgets nothing."""

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from watchkeeper.channels.ports import Message, Proof
from watchkeeper.channels.sms import SmsChannel, smsbackup, split, written
from watchkeeper.channels.sms_inbox import QUIET_S, Sms, read_inbox, set_aside
from watchkeeper.model.clock import SystemClock

SMSD = shutil.which("gammu-smsd")
pytestmark = pytest.mark.skipif(SMSD is None, reason="needs gammu-smsd (Debian: gammu-smsd)")
LINK = "https://watch.example/incidents/1"


class Smsd:
    """gammu-smsd with all its files in one folder."""

    def __init__(self, folder: Path, inbox_format: str = "unicode") -> None:
        self.folder, self.log = folder, folder / "log"
        for name in ("inbox", "outbox", "sent", "error", "modem"):
            (folder / name).mkdir()
        paths = "".join(
            f"{key} = {folder / name}/\n"
            for key, name in (
                ("inboxpath", "inbox"),
                ("outboxpath", "outbox"),
                ("sentsmspath", "sent"),
                ("errorsmspath", "error"),
            )
        )
        (folder / "smsdrc").write_text(
            f"[gammu]\nmodel = dummy\nconnection = none\nport = {folder / 'modem'}\n"
            f"[smsd]\nservice = files\ncommtimeout = 1\nsendtimeout = 5\nmaxretries = 1\nretrytimeout = 1\ndebuglevel = 255\ninboxformat = {inbox_format}\nlogfile = {self.log}\n{paths}",
            encoding="utf-8",
        )  # fmt: skip
        self.program = subprocess.Popen(
            [str(SMSD), "-c", str(folder / "smsdrc")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        self.program.terminate()
        self.program.wait(10)

    def said(self) -> str:
        """Its log, which has the coding and the text of every SMS that was sent."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def smsd(tmp_path: Path) -> Iterator[Smsd]:
    running = Smsd(tmp_path)
    try:
        yield running
    finally:
        running.stop()


def send(smsd: Smsd, message: Message) -> list[str]:
    """Send, and return the parts in which the modem must have got it."""
    receipt = SmsChannel("+86 138 0000 0001", smsd.folder, SystemClock(), 40.0).send(message)
    assert (receipt.delivered, receipt.proof) == (True, Proof.ACCEPTED), smsd.said()[-3000:]
    assert not list((smsd.folder / "outbox").iterdir())
    return split(written(message))


@pytest.mark.parametrize(
    ("text", "coding", "parts"),
    [
        ("改由电池供电，请立即处理 🔥", "Unicode SMS", 1),
        ("改由电池供电，请立即处理 🔥" * 20 + "\n" + LINK, "Unicode SMS", 3),
        ("on battery: [call] the vendor\n" + LINK, "7 bit SMS", 1),
        ("on battery " * 100 + "\n" + LINK, "7 bit SMS", 3),
    ],
    ids=["chinese", "long-chinese", "english", "long-english"],
)
def test_the_modem_gets_every_character(text: str, coding: str, parts: int, smsd: Smsd) -> None:
    sent = send(smsd, Message("k", "p", "ups-1", text))
    log = smsd.said()
    assert log.count(coding) == len(sent) == parts
    assert 'Recipient number "+8613800000001"' in log
    for line in (line for part in sent for line in part.split("\n")):
        assert line in log
    assert "(total: " + str(parts) + ")" in log


@pytest.mark.parametrize("inbox_format", ["unicode", "standard", "detail"])
@pytest.mark.parametrize(
    "text",
    ["17KM 收到 马上来", "17KM ok [on my way]", "17KM 备注 " + "风扇很响" * 30],
    ids=["chinese", "english", "long"],
)
def test_what_comes_in_is_read_whole(text: str, inbox_format: str, tmp_path: Path) -> None:
    """The dummy modem has its SMS as files; gammu-smsd reads them, writes them into the inbox, and deletes them."""
    box = tmp_path / "modem" / "sms" / "1"
    running = Smsd(tmp_path, inbox_format)
    try:
        box.mkdir(parents=True, exist_ok=True)
        for number, section in enumerate(smsbackup("+8613800000001", text, 7).split("\n\n"), 1):
            held = section.replace("PDU = Submit", "PDU = Deliver").replace("State = UnSent", "State = UnRead")
            stamped = held.replace("Number =", "DateTime = 20270115T120000\nNumber =")
            part = box / f".{number}"
            part.write_text(re.sub(r"SMSBackup\d+", "SMSBackup000", stamped), encoding="ascii")
            part.rename(box / f"{number}")
        found = wait_for(
            lambda: read_inbox(tmp_path, SystemClock().wall() + QUIET_S),
            running,
            1 if inbox_format == "detail" else len(split(text)),
        )
    finally:
        running.stop()
    assert [(sms.sender, sms.text) for sms in found] == [("+8613800000001", text)], running.said()[-3000:]
    set_aside(found[0])
    assert read_inbox(tmp_path, SystemClock().wall() + 60) == []


def wait_for(look: Callable[[], list[Sms]], running: Smsd, parts: int) -> list[Sms]:
    """What is in the inbox once gammu-smsd has said so of every part."""
    for _ in range(200):
        if running.log.exists() and running.said().count("Received IN") >= parts:
            break
        threading.Event().wait(0.1)
    return look()
