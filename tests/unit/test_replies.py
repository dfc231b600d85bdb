"""What a person writes back: the code, the words in two languages, and what is never guessed. And whether an answer is too Lateness."""

from dataclasses import replace

import pytest

from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.replies.codes import CODE, LETTERS, code_of, key_of
from watchkeeper.collector.policy.replies.lateness import Lateness, lateness
from watchkeeper.collector.policy.replies.reading import AnswerKind, ClearAnswer, Unclear, code_in, read_reply
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.model.verdict import Level

ACK, HERE, UP, NOTE = AnswerKind.ACKNOWLEDGE, AnswerKind.ON_SITE, AnswerKind.ESCALATE, AnswerKind.COMMENT


@pytest.mark.parametrize(
    ("text", "kind", "note"),
    [
        ("17KM ok", ACK, ""),
        ("17km OK", ACK, ""),
        ("  17 km   ok  ", ACK, ""),
        ("17-KM: ok!", ACK, ""),
        ("ok 17KM", ACK, ""),
        ("OK, 17km, on my way", ACK, "on my way"),
        ("17KM ok back at 10pm, 5km away", ACK, "back at 10pm, 5km away"),
        ("１７ＫＭ　ＯＫ", ACK, ""),
        ("17KM收到", ACK, ""),
        ("17KM 收到了，马上来", ACK, "马上来"),
        ("收到 17KM", ACK, ""),
        ("17km 我在处理。", ACK, ""),
        ("17KM here", HERE, ""),
        ("17KM On Site", HERE, ""),
        ("17KM 已在现场！", HERE, ""),
        ("17KM 已收到", ACK, ""),
        ("17KM 到场了", HERE, ""),
        ("17KM up no spare part", UP, "no spare part"),
        ("17KM 升级，没有备件", UP, "没有备件"),
        ("17KM 解决不了", UP, ""),
        ("17KM note the fan is loud? 18AB", None, ""),
        ("17KM note the fan is not loud", NOTE, "the fan is not loud"),
        ("17KM 备注：风扇 很响", NOTE, "风扇 很响"),
        ("17KM ok\r\n\r\n-- \r\nDo not print this mail", ACK, ""),
        ("17KM ok\n> Reply 18AB up", ACK, ""),
        ("17KM ok\nOn Fri, 1 Jan 2027, Watchkeeper wrote:\n18AB up", ACK, ""),
        ("17KM 收到\n发件人：Watchkeeper\n18AB", ACK, ""),
    ],
)
def test_a_clear_answer(text: str, kind: AnswerKind | None, note: str) -> None:
    assert read_reply(text) == (ClearAnswer("17KM", kind, note) if kind else Unclear())


@pytest.mark.parametrize(
    "text",
    [
        "17KM", "17KM ok?", "17KM not ok", "17KM ok not me", "17KM ok no", "17KM ok up", "17KM up not needed", "17KM okay-ish",
        "17KM note", "17KM resolve", "17KM 升级固件后恢复", "17KM 好像坏了", "17KM 不升级", "17KM 升级了吗", "17KM 收到 不来", "17KM upwards",
        "17KM 升级 别", "17KM 已升级", "is 17KM ok", "17KM maintenance 2h",
    ],
)  # fmt: skip
def test_what_is_not_clear_is_not_guessed(text: str) -> None:
    assert read_reply(text) == Unclear("17KM")


@pytest.mark.parametrize(
    "text", ["", "ok", "17 ok", "17KMok", "x17KM ok", "17KM 18KN ok", "17KM ok 18KN up", "> 17KM ok", "017KM ok"]
)
def test_a_text_without_one_code_answers_nothing(text: str) -> None:
    assert read_reply(text) == Unclear()


def test_a_code_from_the_subject_counts_and_must_not_differ() -> None:
    assert code_in("Re: [严重] ups-1: 17ＫＭ") == "17KM"
    assert code_in("17KM 18AB") == ""
    assert read_reply("ok, on my way", "17KM") == ClearAnswer("17KM", ACK, "on my way")
    assert read_reply("17KM ok", "17KM") == ClearAnswer("17KM", ACK)
    assert read_reply("18AB ok", "17KM") == Unclear()


def test_no_slip_of_a_finger_makes_the_code_of_another_trouble() -> None:
    """Every wrong digit and every swap of two digits: the letters do not fit, whatever message is answered."""
    for number in (1, 7, 17, 120, 9999, 123_456, 98_765_432_101):
        letter = code_of(number, "li.na", "any")[-2]
        digits = str(number)
        wrong = {digits[:at] + one + digits[at + 1 :] for at in range(len(digits)) for one in "0123456789"}
        wrong |= {digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :] for at in range(len(digits) - 1)}
        for slip in wrong - {digits}:
            if not slip.startswith("0"):
                assert code_of(int(slip), "li.na", "any")[-2] != letter, (number, slip)


def test_a_code_is_of_one_person_and_one_message() -> None:
    people = {code_of(17, person, "k") for person in ("li.na", "zhang.wei", "sun.tao", "wang.lei")}
    assert len(people) > 1
    keys = [f"17-1795251000/page/{rung}/li.na" for rung in ("duty", "owner", "vendor")]
    codes = [code_of(17, "li.na", key) for key in keys]
    assert len(set(codes)) == 3
    for code, key in zip(codes, keys, strict=True):
        assert CODE.fullmatch(code)
        assert key_of(code, 17, "li.na", keys) == key
        assert key_of(code, 17, "li.na", [one for one in keys if one != key]) == ""
    assert len(LETTERS) == 23


TROUBLE = Trouble(cause=1, agent="room-1", level=Level.CRITICAL, opened_at=100.0, began_at=100.0, trouble=17)
STEPS = (ScheduledRung("duty", 0, "l", 100.0, 100.0, "clock"), ScheduledRung("owner", 1, "l", 700.0))


def reason(kind: AnswerKind, known: Trouble = TROUBLE, told_at: float = 100.0, *, ended_since: bool = False) -> str:
    steps = (STEPS[0], replace(STEPS[1], decided_at=700.0)) if told_at < 100.0 else STEPS
    return lateness(kind, "li.na", told_at, known, steps, ended_since=ended_since)


def test_an_answer_to_the_present_state_counts() -> None:
    assert {reason(kind) for kind in AnswerKind} == {""}


def test_after_the_end_only_a_comment_counts() -> None:
    over = replace(TROUBLE, state=TroubleState.RESOLVED, ended_at=200.0)
    assert [reason(kind, over) for kind in AnswerKind] == [Lateness.OVER, Lateness.OVER, Lateness.OVER, ""]
    assert [reason(kind, ended_since=True) for kind in AnswerKind] == [
        Lateness.CAME_BACK,
        Lateness.CAME_BACK,
        Lateness.CAME_BACK,
        "",
    ]


def test_an_old_acknowledgement_takes_nothing_from_who_works_on_it_now() -> None:
    taken = replace(TROUBLE, acknowledged_by="olga", acknowledged_at=150.0)
    assert reason(ACK, taken) == Lateness.TAKEN
    assert reason(ACK, taken, told_at=150.0) == "", "the message told who works on it: now it is a decision"
    assert reason(HERE, taken) == reason(UP, taken) == ""
    assert reason(ACK, replace(taken, acknowledged_by="li.na")) == ""


def test_an_old_escalation_climbs_no_further() -> None:
    decided = (STEPS[0], replace(STEPS[1], decided_at=700.0))
    assert lateness(UP, "li.na", 100.0, TROUBLE, decided, ended_since=False) == Lateness.ESCALATED
    assert lateness(UP, "li.na", 700.0, TROUBLE, decided, ended_since=False) == ""
    assert lateness(ACK, "li.na", 100.0, TROUBLE, decided, ended_since=False) == ""
