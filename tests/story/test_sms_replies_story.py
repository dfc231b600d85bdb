"""People answer by SMS: each answer once, and none that is unknown, unclear, forged or late changes what it must not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.reply_room import Modem, modem
from watchkeeper.collector.process import actions
from watchkeeper.collector.store.schema import trouble
from watchkeeper.model.verdict import Level


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Modem]:
    with modem(f"sqlite:///{tmp_path}/collector.db", tmp_path) as made:
        yield made


@pytest.fixture
def everywhere(store_url: str, tmp_path: Path) -> Iterator[Modem]:
    with modem(store_url, tmp_path) as made:
        yield made


def test_a_page_by_sms_tells_how_to_answer_and_the_answer_counts(phone: Modem) -> None:
    code = phone.fault()
    (page,) = phone.world.told
    assert page.message.text.split("\n")[0] == f"回复 {code} 收到 / {code} 到场 / {code} 升级 / {code} 备注 …"
    phone.answer(f"{code} 收到 马上来")
    (trouble,) = phone.world.troubles()
    assert trouble.acknowledged_by == "day"
    assert phone.notes() == [("acknowledged", "马上来 (通过短信)")]
    assert phone.outcomes() == [("day", "acknowledge", "applied")]
    assert not [file for file in phone.inbox.iterdir() if file.is_file()]
    assert len(list((phone.inbox / "read").iterdir())) == 1
    phone.world.advance(11)
    assert (10.0, "olga", "owner") in phone.world.pages("page"), "an acknowledgement stops no rung"


def test_the_line_is_only_where_there_is_a_way_back(phone: Modem) -> None:
    phone.fault()
    phone.world.advance(25)
    lines = {one.via: one.message.text.count("Reply ") + one.message.text.count("回复 ") for one in phone.world.told}
    assert lines == {"sms": 1, "console": 0}
    phone.world.push(phone.world.verdict(Level.OK))
    phone.world.advance(2)
    recovered = [one.message.text for one in phone.world.told if one.kind == "recovered"]
    assert recovered
    assert not any("Reply " in text or "回复 " in text for text in recovered), "nobody needs to answer"


def test_every_word_does_what_it_says(everywhere: Modem) -> None:
    code = everywhere.fault()
    everywhere.answer(f"{code} up, no spare part")
    assert (0.0, "olga", "owner") in everywhere.world.pages("page")
    mine = everywhere.code("olga")
    assert mine[:-2] == code[:-2]
    everywhere.answer(f"{mine} here", "olga")
    everywhere.answer(f"{mine} note a new fan is ordered", "olga")
    (trouble,) = everywhere.world.troubles()
    assert (trouble.on_site_by, trouble.acknowledged_by) == ("olga", "olga")
    assert everywhere.notes() == [
        ("escalated", "owner: no spare part (通过短信)"),
        ("on-site", "(by SMS)"),
        ("commented", "a new fan is ordered (by SMS)"),
    ]
    assert {outcome for *_, outcome in everywhere.outcomes()} == {"applied"}


def test_a_reply_that_is_read_twice_changes_nothing_twice(everywhere: Modem) -> None:
    code = everywhere.fault()
    (file,) = everywhere.receive(f"{code} note the fan is loud")
    content, stamp = file.read_bytes(), file.stat().st_mtime
    assert everywhere.replies.take() == 1
    file.write_bytes(content)  # a crash before it was moved away
    os.utime(file, (stamp, stamp))
    everywhere.start()
    assert everywhere.replies.take() == 1
    assert everywhere.notes() == [("commented", "the fan is loud (通过短信)")]
    assert len(everywhere.outcomes()) == 1


def test_a_failing_store_keeps_the_sms_and_changes_nothing(everywhere: Modem, monkeypatch: pytest.MonkeyPatch) -> None:
    code = everywhere.fault()
    (file,) = everywhere.receive(f"{code} ok")
    with monkeypatch.context() as broken:
        broken.setattr("watchkeeper.collector.process.actions.policy.acknowledge", lambda *_: 1 / 0)
        assert (everywhere.replies.take(), everywhere.replies.take()) == (1, 0)
    assert file.exists()
    assert everywhere.outcomes() == []
    everywhere.start()
    assert everywhere.replies.take() == 1
    assert everywhere.outcomes() == [("day", "acknowledge", "applied")]


@pytest.mark.parametrize("sender", ["+8613800000009", "10086", "INFO", "", "8613800000001"])
def test_an_unknown_sender_is_counted_and_ignored(phone: Modem, sender: str, caplog: pytest.LogCaptureFixture) -> None:
    code = phone.fault()
    phone.answer(f"{code} ok", sender=sender or "x")
    assert phone.outcomes() == []
    assert phone.world.troubles()[0].acknowledged_by is None
    assert phone.world.tally("replies-unknown-sms") == 1
    assert "is ignored: the number is not that of exactly one person" in caplog.text
    assert phone.refusals() == [], "nobody is answered whom we do not know"
    assert phone.replies.take() == 0


def test_a_telephone_of_two_people_is_nobody_s(phone: Modem) -> None:
    code = phone.fault()
    phone.answer(f"{code} ok", "amy")
    assert phone.outcomes() == []
    assert phone.world.tally("replies-unknown-sms") == 1


@pytest.mark.parametrize("sender", ["13800000001", "008613800000001", "+8613800000001", "013800000001"])
def test_the_same_telephone_in_other_forms(phone: Modem, sender: str) -> None:
    code = phone.fault()
    phone.answer(f"{code} ok", sender=sender)
    assert phone.outcomes() == [("day", "acknowledge", "applied")]


def test_the_code_of_another_person_answers_nothing(phone: Modem) -> None:
    code = phone.fault()
    phone.answer(f"{code} ok", "olga")
    assert phone.outcomes() == [("olga", "acknowledge", "refused")]
    assert phone.notes() == []
    (refusal,) = phone.refusals()
    assert "No message to you has this code." in refusal


@pytest.mark.parametrize("text", ["ok", "{code}", "{code} ok?", "{code} resolve", "{code} maintenance 2h", "hello", ""])
def test_an_unclear_reply_is_refused_with_how_to_write(phone: Modem, text: str) -> None:
    code = phone.fault()
    phone.answer(text.format(code=code))
    assert phone.outcomes() == [("day", "", "refused")]
    assert phone.notes() == []
    (refusal,) = phone.refusals()
    assert "未能识别您的回复。" in refusal
    if "{code}" in text:
        new = phone.code()
        phone.answer(f"{new} 收到")
        assert phone.outcomes()[-1] == ("day", "acknowledge", "applied"), "the refusal has a code that works"


def test_a_machine_that_answers_everything_is_not_answered_for_ever(phone: Modem) -> None:
    phone.fault()
    for _ in range(8):
        phone.answer("I am on holiday")
    assert len(phone.refusals()) == 3


def test_an_answer_after_the_end_is_noted_and_opens_nothing(everywhere: Modem) -> None:
    code = everywhere.fault()
    everywhere.world.push(everywhere.world.verdict(Level.OK))
    everywhere.world.advance(2)
    everywhere.answer(f"{code} 收到")
    (trouble,) = everywhere.world.troubles()
    assert (trouble.state.value, trouble.acknowledged_by) == ("resolved", None)
    assert everywhere.notes() == [("commented", "此回答来得太晚，未产生作用：我在处理 (通过短信)")]
    assert everywhere.outcomes() == [("day", "acknowledge", "late")]
    (refusal,) = everywhere.refusals()
    assert "故障已结束。" in refusal
    assert "回复" not in refusal.split("\n", 1)[1], "there is nothing to answer any more"


def test_an_answer_to_an_earlier_recurrence_does_not_hold_the_ladder_of_this_one(phone: Modem) -> None:
    code = phone.fault()
    phone.world.push(phone.world.verdict(Level.OK))
    phone.world.advance(2)
    phone.world.push(phone.world.verdict(Level.CRITICAL))
    phone.answer(f"{code} 收到")
    (trouble,) = phone.world.troubles()
    assert (trouble.recurrence, trouble.acknowledged_by) == (2, None)
    assert phone.outcomes() == [("day", "acknowledge", "late")]
    phone.answer(f"{phone.code()} 收到")
    assert phone.world.troubles()[0].acknowledged_by == "day"


def test_an_old_escalation_climbs_no_further_and_the_new_code_does(phone: Modem) -> None:
    code = phone.fault()
    phone.world.advance(11)
    phone.answer(f"{code} 升级")
    assert {rung for _, _, rung in phone.world.pages("page")} == {"duty", "owner"}
    assert phone.outcomes() == [("day", "escalate", "late")]
    new = phone.code()
    phone.world.clock.advance(20)
    phone.answer(f"{new} 升级")
    assert {rung for _, _, rung in phone.world.pages("page")} == {"duty", "owner", "on-site"}
    phone.answer(f"{new} 升级")
    assert {rung for _, _, rung in phone.world.pages("page")} == {"duty", "owner", "on-site"}, "the same code, once"


def test_an_old_acknowledgement_takes_nothing_over(phone: Modem) -> None:
    code = phone.fault()
    phone.world.advance(1)
    phone.world.act(actions.acknowledge, 1, "olga")
    phone.answer(f"{code} 收到")
    assert phone.world.troubles()[0].acknowledged_by == "olga"
    assert phone.outcomes() == [("day", "acknowledge", "late")]
    assert "Olga" in phone.refusals()[0]
    phone.answer(f"{phone.code()} 收到")
    assert phone.world.troubles()[0].acknowledged_by == "day", "now it is a decision"


def test_an_answer_after_the_last_rung_is_refused_with_the_reason(phone: Modem) -> None:
    phone.fault()
    phone.world.act(actions.comment, 1, "olga", "x")
    actions.escalate(phone.world.runtime.notifier(), 1, "olga", phone.world.clock.wall(), rung="vendor")
    phone.world.advance(15)
    phone.answer(f"{phone.code('olga')} up", "olga")
    assert phone.outcomes() == [("olga", "escalate", "refused")]
    assert "every rung of its ladder has been decided" in phone.refusals()[0]


def test_an_inbox_that_cannot_be_used_is_logged_once_and_stops_nothing(
    phone: Modem, caplog: pytest.LogCaptureFixture
) -> None:
    code = phone.fault()
    phone.inbox.rename(phone.spool / "elsewhere")
    assert (phone.replies.take(), phone.replies.take()) == (0, 0)
    assert caplog.text.count("inbox cannot be used: let this user read and write there") == 1
    (phone.spool / "elsewhere").rename(phone.inbox)
    phone.answer(f"{code} ok")
    assert phone.outcomes() == [("day", "acknowledge", "applied")]


def test_an_answer_to_a_trouble_that_was_merged_goes_to_its_cause_and_says_so(phone: Modem) -> None:
    code = phone.fault()
    phone.world.advance(3)
    phone.world.push(phone.world.verdict(Level.CRITICAL, device="web-1", rule="server.cpu", quantity="cpu.utilization"))
    with phone.world.store.write() as connection:
        connection.execute(sa.update(trouble).where(trouble.c.trouble == 1), {"state": "merged", "merged_into": 2})
    phone.answer(f"{code} 收到")
    assert [one.acknowledged_by for one in phone.world.troubles()] == [None, "day"]
    assert phone.notes() == [("acknowledged", "(通过短信; 回答的是故障 1，它已并入本故障)")]
    phone.answer(f"{code} 升级")
    assert phone.outcomes()[-1] == ("day", "escalate", "late"), "the cause has climbed since that message"
