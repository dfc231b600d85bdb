"""SMS by the real gammu-smsd with its dummy modem, which sends nothing and forgets nothing."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from watchkeeper.channels.ports import Message, Proof
from watchkeeper.channels.sms import SmsChannel
from watchkeeper.model.clock import SystemClock

SMSD = shutil.which("gammu-smsd")
pytestmark = pytest.mark.skipif(SMSD is None, reason="needs gammu-smsd (Debian: gammu-smsd)")
LINK = "https://watch.example/incidents/1"


class Smsd:
    """gammu-smsd with all its files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        for name in ("inbox", "outbox", "sent", "error", "modem"):
            (folder / name).mkdir()
        paths = "".join(
            f"{key} = {folder / name}/\n"
            for key, name in (("inboxpath", "inbox"), ("outboxpath", "outbox"), ("sentsmspath", "sent"), ("errorsmspath", "error"))
        )
        (folder / "smsdrc").write_text(
            f"[gammu]\nmodel = dummy\nconnection = none\nport = {folder / 'modem'}\n"
            f"[smsd]\nservice = files\ncommtimeout = 1\nsendtimeout = 5\nmaxretries = 1\nretrytimeout = 1\ndebuglevel = 255\nlogfile = {self.log}\n{paths}",
            encoding="utf-8",
        )  # fmt: skip
        self.program = subprocess.Popen([str(SMSD), "-c", str(folder / "smsdrc")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self.program.terminate()
        self.program.wait(10)

    def parts(self) -> list[str]:
        """What the log says of each SMS that was sent."""
        return re.findall(r"Sending SMS.*", self.log.read_text(encoding="utf-8", errors="replace"))


@pytest.fixture
def smsd(tmp_path: Path) -> Iterator[Smsd]:
    running = Smsd(tmp_path)
    try:
        yield running
    finally:
        running.stop()


def until(true: Callable[[], bool]) -> bool:
    give_up_at = time.monotonic() + 30
    while not true() and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return true()


def channel(smsd: Smsd, number: str = "+8613800000001") -> SmsChannel:
    return SmsChannel(number, smsd.folder, SystemClock(), 40.0)


@pytest.mark.parametrize(
    ("text", "coding"),
    [("改由电池供电，请立即处理\n" + LINK, "Unicode"), ("on battery\n" + LINK, "Default")],
    ids=["chinese", "english"],
)
def test_gammu_smsd_sends_it(text: str, coding: str, smsd: Smsd) -> None:
    receipt = channel(smsd).send(Message("k", "p", "ups-1", text))
    assert (receipt.delivered, receipt.proof) == (True, Proof.ACCEPTED), smsd.log.read_text(errors="replace")[-3000:]
    assert not list((smsd.folder / "outbox").iterdir())
