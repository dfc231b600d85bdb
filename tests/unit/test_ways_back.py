"""Which channels have a way back, as collector.yml allows it, and what the collector starts for it."""

import shutil
from pathlib import Path

import pytest

from tests.collector_room import ROOT
from watchkeeper.channels.ports import Address, Message, Via
from watchkeeper.collector.notify.message.answer_line import WayBack, with_answer_line
from watchkeeper.collector.process.replies.ways import ReplyTaker, WaysBack
from watchkeeper.collector.running import RunningCollector
from watchkeeper.collector.site.inventory import Language
from watchkeeper.collector.site.settings import ConfigFile, read_config
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import ConfigError, SecretError, StoreError

SECRETS = Secrets(
    environ={"WATCHKEEPER_SECRET_MAIL": "mailtos://u:p@x.example", "WATCHKEEPER_SECRET_ROBOT": "wecombot://key"}
)


def test_only_what_is_allowed_and_works_has_a_way_back(tmp_path: Path) -> None:
    sms = Address(Via.SMS, to="13800000001", spool=str(tmp_path))
    mail, robot, lost = (Address(Via.APPRISE, secret=name) for name in ("mail", "robot", "lost"))
    hook, console = Address(Via.WEBHOOK, "https://x.example", "mail"), Address(Via.CONSOLE)
    both = WaysBack(SECRETS, sms=True, mail=True)
    assert both(sms) is WayBack.NONE, "there is no inbox"
    (tmp_path / "inbox").mkdir()
    ways = [both(one) for one in (sms, mail, robot, lost, hook, console)]
    assert ways == [WayBack.SMS, WayBack.MAIL, WayBack.NONE, WayBack.NONE, WayBack.NONE, WayBack.NONE]
    assert {WaysBack(SECRETS)(one) for one in (sms, mail)} == {WayBack.NONE}


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"kind": "page"},
        {"kind": "page", "trouble": None},
        {"kind": "recovered", "trouble": 17},
        {"kind": "test", "trouble": 17},
    ],
)
def test_what_cannot_be_answered_has_no_line(facts: dict[str, object]) -> None:
    message = Message("k", "li.na", "subject", "text\nlink", facts)
    assert with_answer_line(message, WayBack.SMS, Language.ENGLISH) == message


def test_the_line_is_where_it_is_not_left_out() -> None:
    message = Message("k", "li.na", "subject", "text\nlink", {"kind": "page", "trouble": 17})
    first, *_ = with_answer_line(message, WayBack.SMS, Language.ENGLISH).text.split("\n")
    _, middle, last = with_answer_line(message, WayBack.MAIL, Language.ENGLISH).text.split("\n")
    assert first == middle
    assert first.startswith("Reply 17")
    assert last == "link"
    assert with_answer_line(message, WayBack.NONE, Language.ENGLISH) == message


def config(folder: Path, more: str) -> ConfigFile:
    for name in ("inventory.yml", "contacts.yml", "ladders.yml"):
        shutil.copy(ROOT / "configs" / name, folder)
    file = folder / "collector.yml"
    file.write_text(f"store: c.db\n{more}", encoding="utf-8")
    return read_config(file)


@pytest.mark.parametrize(
    ("more", "started"),
    [
        ("", []),
        ("sms_replies: yes\n", ["SMS replies"]),
        (
            "sms_replies: yes\nmail_replies: {host: imap.x.example, user: w, secret: box}\n",
            ["SMS replies", "mail replies"],
        ),
    ],
)
def test_the_collector_starts_what_is_allowed(
    more: str, started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHKEEPER_SECRET_BOX", "a password")
    collector = RunningCollector(config(tmp_path, more))
    try:
        assert [one.worker._thread.name for one in collector.replies] == started
    finally:
        collector.store.close()


def test_a_mailbox_without_its_password_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no secret called `box`"):
        RunningCollector(config(tmp_path, "mail_replies: {host: imap.x.example, user: w, secret: box}\n"))
    with pytest.raises(ConfigError, match="is not a port"):
        config(tmp_path, "mail_replies: {host: imap.x.example, user: w, secret: box, port: 0}\n")


def test_the_outbox_is_woken_only_when_something_came_in() -> None:
    found, woken = [0, 2], []
    taker = ReplyTaker("replies", lambda: found.pop(0), 2.0, lambda: woken.append(1), FakeClock(0.0))
    assert (taker._turn(), woken) == (2.0, [])
    assert (taker._turn(), woken) == (2.0, [1])


def test_a_store_that_does_not_answer_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> int:
        raise StoreError("the disk sleeps")

    taker = ReplyTaker("replies", fail, 2.0, lambda: None, FakeClock(0.0))
    assert taker._turn() == 2.0
    assert "replies wait for the store: the disk sleeps" in caplog.text
