"""The form of docs/protocol.md field by field: every field comes through, every limit is where the page says it is, and
an agent's author is told the place of every mistake."""

import json
import re
from typing import Any

import pytest

from watchkeeper.model.batch import Block, Frame, Item, Lane, Push, Tombstone
from watchkeeper.model.errors import WireError
from watchkeeper.model.reading import Missing, Reason, Series
from watchkeeper.model.verdict import ActiveVerdicts, Companion, Evidence, Level, Verdict, Withdrawal
from watchkeeper.model.wire import (
    decode_evidence,
    decode_push,
    decode_values,
    decode_verdict,
    encode_block,
    encode_event,
    encode_evidence,
    encode_values,
)

NOW = 1_800_000_000.0
TEN_YEARS_S = 10 * 366 * 86_400.0
GONE = Missing(Reason.TIMEOUT, "no answer in 2 s")

BLOCK = Block(3, "ups-1", "snmp", 30.0, (Series("ups-1", "ups.load", "phase 1", "L1", "1.3.6.1"),))
EVIDENCE = Evidence(
    "ups.load",
    97.5,
    "above 90 %",
    "L1",
    91.0,
    NOW - 60,
    "Connection refused",
    (Companion("output.source", "battery", "bus 2"), Companion("leak", GONE, holds=False)),
)
VERDICT = Verdict("v-1", "ups-1", "ups.overload", "phase 1", Level.CRITICAL, NOW - 5, EVIDENCE)
WITHDRAWAL = Withdrawal("w-1", "ups-1", "ups.overload", "phase 1", NOW - 2, "the rule is gone")
ACTIVE = ActiveVerdicts(NOW - 1, (VERDICT,))

BLOCK_JSON = {
    "block": 3, "device": "ups-1", "probe": "snmp", "every_s": 30.0,
    "series": [["ups.load", "phase 1", "L1", "1.3.6.1"]],
}  # fmt: skip
EVIDENCE_JSON = {
    "quantity": "ups.load", "value": 97.5, "expects": "above 90 %", "label": "L1", "says": "Connection refused",
    "first_value": 91.0, "first_age_s": 60.0,
    "companions": [
        {"quantity": "output.source", "value": "battery", "holds": True, "label": "bus 2"},
        {"quantity": "leak", "value": {"missing": "timeout", "detail": "no answer in 2 s"}, "holds": False},
    ],
}  # fmt: skip
VERDICT_JSON = {
    "id": "v-1", "device": "ups-1", "rule": "ups.overload", "instance": "phase 1", "level": "critical", "age_s": 5.0,
    "evidence": EVIDENCE_JSON,
}  # fmt: skip
EVENTS_JSON = [
    {"kind": "verdict", **VERDICT_JSON},
    {
        "kind": "withdrawn", "id": "w-1", "device": "ups-1", "rule": "ups.overload", "instance": "phase 1", "age_s": 2.0,
        "reason": "the rule is gone",
    },
    {"kind": "standing", "age_s": 1.0, "verdicts": [VERDICT_JSON]},
]  # fmt: skip
HEAD = {"protocol": 1, "agent": "room-1", "epoch": "e-1", "sent_at": NOW, "bundle": "b-7", "more": True}
EVENTS = HEAD | {"lane": "events", "items": [{"seq": seq, **event} for seq, event in enumerate(EVENTS_JSON, 4)]}
READINGS = HEAD | {
    "lane": "readings",
    "blocks": [BLOCK_JSON],
    "items": [
        {"seq": 9, "block": 3, "age_s": 1.5, "values": [1.0, None], "missing": {"1": ["timeout", "no answer in 2 s"]}},
        {"seq": 14, "first": 10, "frames": 5},
    ],
}


def changed(body: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The body with another value at a place like `items[0].age_s`."""
    keys = [int(key) if key.isdigit() else key for key in re.findall(r"[^.\[\]]+", place)]
    if ".missing." in place:
        keys[-1] = str(keys[-1])  # an object whose keys are indices
    spot: Any = (body := json.loads(json.dumps(body)))
    for key in keys[:-1]:
        spot = spot[key]
    spot[keys[-1]] = value
    return body


def without(body: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in keys}


# ---- whole ----


def test_what_an_agent_sends_is_what_the_page_says() -> None:
    assert encode_block(BLOCK) == BLOCK_JSON
    assert [encode_event(event, NOW) for event in (VERDICT, WITHDRAWAL, ACTIVE)] == EVENTS_JSON
    assert encode_evidence(Evidence("ups.load", GONE), NOW) == {
        "quantity": "ups.load",
        "value": {"missing": "timeout", "detail": "no answer in 2 s"},
    }


def test_every_field_of_events_arrives() -> None:
    events = (VERDICT, WITHDRAWAL, ACTIVE)
    assert decode_push(json.loads(json.dumps(EVENTS)), NOW) == Push(
        "room-1", "e-1", Lane.EVENTS, NOW, "b-7", more=True, items=tuple(map(Item, (4, 5, 6), events))
    )


def test_every_field_of_readings_arrives() -> None:
    items = (Item(9, Frame(3, NOW - 1.5, encode_values((1.0, GONE)))), Item(14, Tombstone(10, 5)))
    assert decode_push(json.loads(json.dumps(READINGS)), NOW) == Push(
        "room-1", "e-1", Lane.READINGS, NOW, "b-7", more=True, blocks=(BLOCK,), items=items
    )


def test_what_may_be_left_out_may_be_left_out() -> None:
    bare = decode_push(without(HEAD, "bundle", "more") | {"lane": "readings"}, NOW)
    assert bare == Push("room-1", "e-1", Lane.READINGS, NOW, bundle="", more=False, blocks=(), items=())
    assert decode_evidence({"quantity": "q", "value": {"missing": "hung"}}, NOW) == Evidence("q", Missing(Reason.HUNG))


def test_sixteen_companions_are_taken_and_what_may_be_left_out_of_one_may() -> None:
    bare = {"quantity": "q", "value": 1.0}
    taken = decode_evidence({"quantity": "q", "value": 1.0, "companions": [bare] * 16}, NOW)
    assert taken.companions == (Companion("q", 1.0, "", holds=False),) * 16


@pytest.mark.parametrize(("ago_s", "age_s"), [(0.0, 0.0), (0.5, 0.5), (0.123_456, 0.123), (-7.0, 0.0)])
def test_an_age_is_in_milliseconds_and_never_below_zero(ago_s: float, age_s: float) -> None:
    """A clock that was set back must not make an agent send what the collector refuses for ever."""
    sent = encode_event(Withdrawal("w", "d", "r", "", 1000.0 - ago_s, "gone"), 1000.0)
    assert sent["age_s"] == age_s


def test_a_first_value_is_sent_only_with_its_time() -> None:
    assert "first_value" not in encode_evidence(Evidence("q", 1.0, first_value=1.0), NOW)
    assert "first_value" not in encode_evidence(Evidence("q", 1.0, first_at=NOW), NOW)


# ---- limits ----

LONGEST = {
    "agent": 200, "epoch": 200, "bundle": 200, "items[0].id": 200, "items[0].device": 200, "items[0].rule": 200,
    "items[0].instance": 200, "items[0].evidence.quantity": 200, "items[0].evidence.label": 200,
    "items[0].evidence.value": 200, "items[0].evidence.expects": 4000, "items[0].evidence.says": 4000,
    "items[1].reason": 4000, "items[0].evidence.companions[0].quantity": 200,
    "items[0].evidence.companions[0].label": 200, "items[0].evidence.companions[0].value": 200,
}  # fmt: skip


@pytest.mark.parametrize("place", LONGEST)
def test_a_text_may_be_exactly_as_long_as_the_page_says(place: str) -> None:
    decode_push(changed(EVENTS, place, "x" * LONGEST[place]), NOW)
    with pytest.raises(WireError, match=re.escape(f"{place}: longer than {LONGEST[place]}")):
        decode_push(changed(EVENTS, place, "x" * (LONGEST[place] + 1)), NOW)


def test_a_long_explanation_of_a_missing_value_is_cut_and_not_refused() -> None:
    """What a device says is not the agent's choice: refusing it would stop the whole lane."""
    (value,) = decode_values({"values": [None], "missing": {"0": ["fault", "x" * 5000]}})
    assert value == Missing(Reason.FAULT, "x" * 4000)


GOOD_NUMBERS = [
    ("items[0].seq", 1), ("items[0].seq", 13), ("items[1].seq", 2**62 - 1), ("items[0].age_s", 0), ("items[0].age_s", TEN_YEARS_S),
    ("items[0].values[0]", -5000), ("items[0].values[0]", 2**999), ("items[0].values[0]", -(2**999)),
    ("blocks[0].every_s", 0.5), ("sent_at", 0), ("sent_at", -1e14),
]  # fmt: skip


@pytest.mark.parametrize(("place", "number"), GOOD_NUMBERS)
def test_a_number_within_its_limits_is_taken(place: str, number: float) -> None:
    decode_push(changed(READINGS, place, number), NOW)


BAD_NUMBERS = [
    ("items[0].seq", 0), ("items[0].seq", -1), ("items[0].seq", 2**62), ("items[0].seq", 1.0), ("items[0].block", 0),
    ("items[0].age_s", -0.001), ("items[0].age_s", TEN_YEARS_S + 1), ("items[0].values[0]", 2**1000),
    ("items[0].values[0]", -(2**1000)), ("blocks[0].every_s", 0), ("blocks[0].every_s", -1), ("sent_at", 1e15),
    ("sent_at", -1e15), ("sent_at", float("nan")),
]  # fmt: skip


@pytest.mark.parametrize(("place", "number"), BAD_NUMBERS)
def test_a_number_beyond_its_limits_is_refused(place: str, number: float) -> None:
    with pytest.raises(WireError, match="^" + re.escape(place) + ": "):
        decode_push(changed(READINGS, place, number), NOW)


INF = float("inf")


@pytest.mark.parametrize(
    "column",
    [["\0"], ["mains\0"], ["x" * 201], [True], [None], [[]], [{}], [INF], [-INF], [float("nan")], [2**1000]],
    ids=str,
)
@pytest.mark.parametrize("before", [[], [1.0], ["mains"], [INF]])
def test_a_column_in_which_nothing_is_missing_is_checked_too(before: list[Any], column: list[Any]) -> None:
    """It takes a quicker way, because nearly every column is such."""
    frame = {"seq": 9, "block": 3, "age_s": 1.5, "values": before + column}
    place = f"items[0].values[{0 if before == [INF] else len(before)}]"
    with pytest.raises(WireError, match="^" + re.escape(place) + ": "):
        decode_push(READINGS | {"items": [frame]}, NOW)


@pytest.mark.parametrize("column", [[], [1.0], ["x" * 200], [""], [1.0, "mains"], [5], [1e308, 1e308]], ids=str)
def test_a_column_in_which_nothing_is_missing_arrives_as_it_is(column: list[Any]) -> None:
    frame = {"seq": 9, "block": 3, "age_s": 1.5, "values": column}
    (item,) = decode_push(READINGS | {"items": [frame]}, NOW).items
    assert item == Item(9, Frame(3, NOW - 1.5, {"values": column}))


@pytest.mark.parametrize("index", ["0" * 9, "-1", "1.0", "", "2", "²"])
def test_a_reason_for_a_value_that_is_not_there_is_refused(index: str) -> None:
    with pytest.raises(WireError, match=r"^missing: "):
        decode_values({"values": [1.0, None], "missing": {index: ["timeout", ""]}})


def test_a_value_that_is_there_has_no_reason_for_being_missing() -> None:
    with pytest.raises(WireError, match=r"^missing: .*0"):
        decode_values({"values": [1.0], "missing": {"0": ["timeout", ""]}})


# ---- the place of a mistake ----

PLACES = [
    *((READINGS, place) for place in (
        "agent", "epoch", "lane", "sent_at", "bundle", "blocks", "items", "blocks[0]", "blocks[0].block",
        "blocks[0].device", "blocks[0].probe", "blocks[0].every_s", "blocks[0].series", "blocks[0].series[0]",
        "items[0]", "items[0].seq", "items[0].block", "items[0].age_s", "items[0].values", "items[0].values[0]",
        "items[0].missing", "items[0].missing.1", "items[1].first", "items[1].frames",
    )),
    *((EVENTS, place) for place in (
        "items[0].kind", "items[0].id", "items[0].device", "items[0].rule", "items[0].instance", "items[0].level",
        "items[0].age_s", "items[0].evidence", "items[0].evidence.quantity", "items[0].evidence.value",
        "items[0].evidence.expects", "items[0].evidence.label", "items[0].evidence.says",
        "items[0].evidence.first_value", "items[0].evidence.first_age_s", "items[0].evidence.companions",
        "items[0].evidence.companions[1]", "items[0].evidence.companions[0].quantity",
        "items[0].evidence.companions[0].value", "items[0].evidence.companions[0].label", "items[1].id", "items[1].device",
        "items[1].rule", "items[1].instance", "items[1].age_s", "items[1].reason", "items[2].age_s",
        "items[2].verdicts", "items[2].verdicts[0]", "items[2].verdicts[0].id",
        "items[2].verdicts[0].evidence.value",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("body", "place"), PLACES, ids=[place for _, place in PLACES])
def test_something_of_the_wrong_kind_is_refused_with_its_place(body: dict[str, Any], place: str) -> None:
    with pytest.raises(WireError, match="^" + re.escape(place) + ": "):
        decode_push(changed(body, place, value=True), NOW)


OTHER_MISTAKES = [
    (changed(READINGS, "protocol", 7), r"^protocol: .*\b1\b.*\b7\b"),
    (changed(READINGS, "more", 1), "^more: "),
    (changed(READINGS, "lane", "letters"), "^lane: .*events, readings"),
    (changed(READINGS, "blocks[0].series", [["q", "", "", ""], ["q", "", ""]]), r"^blocks\[0\]\.series\[1\]: "),
    (changed(READINGS, "blocks[0].series", [["q", "", "", 4]]), r"^blocks\[0\]\.series\[0\]: "),
    (changed(READINGS, "items[0].missing", {"1": ["timeout", 4]}), r"^items\[0\]\.missing\.1: .*reason"),
    (changed(READINGS, "items[0].missing", {"1": ["timeout"]}), r"^items\[0\]\.missing\.1: .*reason"),
    (changed(READINGS, "items[0].values", [True, None]), r"^items\[0\]\.values\[0\]: .*a number or a state"),
    (changed(READINGS, "items[0].values", [float("inf"), None]), r"^items\[0\]\.values\[0\]: .*finite"),
    (changed(EVENTS, "items[0].evidence.companions[1].holds", 1), r"^items\[0\]\.evidence\.companions\[1\]\.holds: .*true or false"),
    (changed(EVENTS, "items[0].evidence.companions", EVIDENCE_JSON["companions"] * 9),  # type: ignore[operator]
     r"^items\[0\]\.evidence\.companions: more than 16$"),
    (READINGS | {"items": [{**READINGS["items"][0], "seq": seq} for seq in (3, 4, 5, 5)]},  # type: ignore[index]
     r"^items\[3\]\.seq: 5\b.*\b5$"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "said"), OTHER_MISTAKES, ids=[said for _, said in OTHER_MISTAKES])
def test_a_mistake_is_refused_with_its_place_and_what_was_expected(body: dict[str, Any], said: str) -> None:
    with pytest.raises(WireError, match=said):
        decode_push(body, NOW)


@pytest.mark.parametrize("body", [None, [], "push", 1])
def test_what_is_no_push_at_all_is_said_of_the_body(body: Any) -> None:
    with pytest.raises(WireError, match=r"^the body: "):
        decode_push(body, NOW)


def test_a_part_by_itself_names_places_from_its_own_beginning() -> None:
    with pytest.raises(WireError, match=r"^age_s: "):
        decode_verdict(VERDICT_JSON | {"age_s": None}, NOW)
    with pytest.raises(WireError, match=r"^value: "):
        decode_evidence(EVIDENCE_JSON | {"value": None}, NOW)
    with pytest.raises(WireError, match=r"^values: "):
        decode_values({})
