"""The agent's side of docs/protocol.md: the body of a push, its items with their ages, and the answer."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from watchkeeper.model.batch import Answer, Block, Frame, Item, Lane, Push, Request, Tombstone
from watchkeeper.model.errors import WireError
from watchkeeper.model.reading import Missing, Reason, Series
from watchkeeper.model.verdict import ActiveVerdicts, Evidence, Level, Verdict, Withdrawal
from watchkeeper.model.wire import (
    decode_answer,
    decode_push,
    encode_block,
    encode_event,
    encode_push,
    encode_values,
    event_item,
    frame_columns,
    frame_item,
    to_json,
    tombstone_item,
)

NOW = 1_800_000_000.0
TEN_YEARS_S = 10 * 366 * 86_400.0
BLOCK = Block(3, "ups-1", "snmp", 30.0, (Series("ups-1", "ups.load", "phase 1", "L1", "1.3.6.1"),))
VERDICT = Verdict(
    "v-1", "ups-1", "ups.overload", "phase 1", Level.CRITICAL, NOW - 5.0,
    Evidence("ups.load", 97.5, "above 90 %", "L1", 91.0, NOW - 60.0, "Connection refused"),
)  # fmt: skip
HEAD = Push("room-1", "e-1", Lane.READINGS, NOW, "b-7", more=True, blocks=(BLOCK,))

# ---- a push ----


def test_what_the_agent_writes_of_readings_is_what_the_collector_reads() -> None:
    gone = Missing(Reason.TIMEOUT, "no answer")
    items = [tombstone_item(4, 2, 3), frame_item(5, 1.5, 3, frame_columns((97.0, "mains", gone)))]
    body = json.loads(encode_push(HEAD, items))
    expected = (Item(4, Tombstone(2, 3)), Item(5, Frame(3, NOW - 1.5, encode_values((97.0, "mains", gone)))))
    assert decode_push(body, NOW) == replace(HEAD, items=expected)


def test_what_the_agent_writes_of_events_grows_older_while_it_waits() -> None:
    """It was written five seconds before it is sent."""
    events = (VERDICT, Withdrawal("w", "ups-1", "ups.overload", "", NOW - 2.0, "gone"), ActiveVerdicts(NOW, (VERDICT,)))
    items = [event_item(seq, to_json(encode_event(event, NOW)), 5.0) for seq, event in enumerate(events, 1)]
    head = replace(HEAD, lane=Lane.EVENTS, blocks=())
    body = json.loads(encode_push(head, items))
    assert decode_push(body, NOW + 5.0) == replace(head, items=tuple(map(Item, (1, 2, 3), events)))


def test_a_push_is_compact_json_with_its_items_as_they_were_written() -> None:
    bare = Push("room-1", "e-1", Lane.EVENTS, 1.0)
    assert encode_push(bare, ["{1}", "{2}"]) == (
        '{"protocol":1,"agent":"room-1","epoch":"e-1","lane":"events","sent_at":1.0,"bundle":"","more":false,'
        '"blocks":[],"items":[{1},{2}]}'
    )
    assert encode_push(bare, []).endswith('"items":[]}')


def test_what_is_no_json_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json(math.nan)


AGES = [(0.0, 0.0), (0.123_456, 0.123), (-5.0, 0.0), (TEN_YEARS_S, TEN_YEARS_S), (TEN_YEARS_S + 5.0, TEN_YEARS_S)]


@pytest.mark.parametrize(("age", "sent"), AGES)
def test_an_age_is_one_that_the_collector_takes(age: float, sent: float) -> None:
    """A clock that jumped must not make an agent send what is refused for ever."""
    assert json.loads(frame_item(1, age, 3, frame_columns((1.0,))))["age_s"] == sent
    event = to_json(encode_event(VERDICT, VERDICT.since))
    body = json.loads(event_item(1, event, age))
    assert body["age_s"] == sent
    assert body["evidence"]["first_age_s"] == pytest.approx(min(max(age + 55.0, 0.0), TEN_YEARS_S), abs=0.0006)


# ---- an answer ----

ANSWER: dict[str, Any] = {
    "lane": "events", "through": 7, "bundle": "b-8", "requests": [{"kind": "poll-now", "device": "ups-1"}, {"kind": "new"}],
}  # fmt: skip


def test_every_field_of_an_answer_arrives() -> None:
    requests = (Request("poll-now", "ups-1"), Request("new", ""))
    assert decode_answer(ANSWER, Lane.EVENTS) == Answer(Lane.EVENTS, 7, "b-8", requests)
    assert decode_answer({"lane": "events", "through": 0}, Lane.EVENTS) == Answer(Lane.EVENTS, 0, "", ())
    assert decode_answer(ANSWER | {"requests": [{}]}, Lane.EVENTS).requests == (Request("", ""),)


def test_a_confirmed_removal_arrives_with_its_part_and_person() -> None:
    request = {"kind": "removed", "device": "ups-1", "part": "psu 2", "by": "li.na", "other": 1}
    answer = decode_answer(ANSWER | {"requests": [request]}, Lane.EVENTS)
    assert answer.requests == (Request("removed", "ups-1", "psu 2", "li.na"),)


# ---- facts of a block ----


def pushed(block: dict[str, Any]) -> Block:
    body = {"protocol": 1, "agent": "a", "epoch": "e", "lane": "readings", "sent_at": 1.0, "blocks": [block]}
    return decode_push(body, NOW).blocks[0]


def test_facts_arrive_and_an_older_agent_has_none() -> None:
    facts = (("profile", "p (A, ups)"), ("why", ""))
    assert pushed(encode_block(replace(BLOCK, facts=facts))).facts == facts
    assert "facts" not in encode_block(BLOCK)
    assert pushed(encode_block(BLOCK)) == BLOCK


def test_a_block_has_at_most_fifty_facts() -> None:
    many = {**encode_block(BLOCK), "facts": [["name", str(number)] for number in range(60)]}
    assert pushed(many).facts == tuple(("name", str(number)) for number in range(50))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, r"^blocks\[0\].facts: expected an array"),
        ([["a"]], r"^blocks\[0\].facts\[0\]: expected \[name, text\]"),
        ([["a", "b", "c"]], r"facts\[0\]: expected"),
        ([["a", "b"], ["a", 1]], r"facts\[1\]: expected"),
        (["ab"], r"facts\[0\]: expected"),
        ([["n" * 201, "b"]], r"facts\[0\]: longer than 200"),
        ([["n", "b" * 4001]], r"facts\[0\]: longer than 4000"),
        ([["n", "\0"]], r"facts\[0\]: contains"),
    ],
)
def test_what_is_no_fact_is_refused_with_its_place(facts: Any, said: str) -> None:
    with pytest.raises(WireError, match=said):
        pushed({**encode_block(BLOCK), "facts": facts})


WRONG_ANSWERS: list[tuple[Any, str]] = [
    ([], r"^the body: "),
    (ANSWER | {"lane": "readings"}, r"^lane: .*events"),
    (ANSWER | {"lane": None}, r"^lane: "),
    (ANSWER | {"through": -1}, r"^through: "),
    (ANSWER | {"through": True}, r"^through: "),
    (ANSWER | {"through": 7.0}, r"^through: "),
    (ANSWER | {"through": None}, r"^through: "),
    (ANSWER | {"requests": {}}, r"^requests: "),
    (ANSWER | {"requests": [{}, "poll-now"]}, r"^requests\[1\]: "),
]


@pytest.mark.parametrize(("body", "said"), WRONG_ANSWERS, ids=[f"{number}" for number in range(len(WRONG_ANSWERS))])
def test_an_answer_that_is_none_settles_nothing(body: Any, said: str) -> None:
    """A proxy's page, or another lane's answer, must not take anything off the disk."""
    with pytest.raises(WireError, match=said):
        decode_answer(body, Lane.EVENTS)
