"""The decoder agrees with docs/protocol.md; everything else is refused, with the place."""

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from watchkeeper.model.batch import Frame, Item, Tombstone
from watchkeeper.model.errors import WireError
from watchkeeper.model.plain import plain_line
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import ActiveVerdicts, Event, Evidence, Level, Verdict, Withdrawal
from watchkeeper.model.wire import decode_push, decode_values, encode_event, encode_values

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
NOW = 1_800_000_000.0


def examples() -> list[Any]:
    """Every JSON value of the page's code blocks."""
    decoder, found = json.JSONDecoder(), []
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        text = block.replace("[ ... ]", "[]").strip()
        while text:
            value, end = decoder.raw_decode(text)
            found.append(value)
            text = text[end:].strip()
    return found


def event(**change: Any) -> dict[str, Any]:
    item = next(one for one in examples() if one.get("kind") == "verdict")
    return push(lane="events", blocks=[], items=[item | change])


def push(**change: Any) -> dict[str, Any]:
    one: dict[str, Any] = copy.deepcopy(next(one for one in examples() if "protocol" in one))
    return one | change


def frame(**change: Any) -> dict[str, Any]:
    return push(items=[push()["items"][1] | change])


def test_the_examples_of_the_page_are_decoded() -> None:
    whole = decode_push(push(), NOW)
    first, second = whole.items
    assert first == Item(41, Frame(1, NOW - 1.25, {"values": [97.0, "mains"]}))
    assert isinstance(second.body, Frame)
    assert (second.body.block, second.body.at) == (1, NOW - 0.2)
    assert decode_values(second.body.columns) == (Missing(Reason.TIMEOUT, "no answer in 2 s"), "mains")
    assert whole.blocks[0].series[0].source == "1.3.6.1.2.1.33.1.2.4.0"
    events = [one for one in examples() if one.get("kind") in ("verdict", "withdrawn", "standing")]
    said = [item.body for item in decode_push(push(lane="events", blocks=[], items=events), NOW).items]
    assert [type(one) for one in said] == [Verdict, Withdrawal, ActiveVerdicts]
    (verdict,) = (one for one in said if isinstance(one, Verdict))
    assert (verdict.since, verdict.evidence.first_at) == (NOW - 0.4, NOW - 60.4)
    stone = next(one for text in re.findall(r"`(\{\"seq\".*?\})`", PAGE) if "frames" in (one := json.loads(text)))
    assert decode_push(push(items=[stone]), NOW).items == (Item(90, Tombstone(3, 88)),)


REFUSED = {
    "NUL in a name": (event(rule="a\0b"), "items[0].rule"),
    "NUL in an instance": (event(instance="\0"), "items[0].instance"),
    "NUL in an id": (event(id="v\0"), "items[0].id"),
    "NUL in a reason": (push(lane="events", blocks=[], items=[{"seq": 8, "kind": "withdrawn", "id": "c", "device": "d",
                        "rule": "r", "instance": "", "age_s": 0, "reason": "\0"}]), "items[0].reason"),
    "NUL in a value": (event(evidence={"quantity": "q", "value": "\0"}), "items[0].evidence.value"),
    "NUL in a detail": (event(evidence={"quantity": "q", "value": {"missing": "timeout", "detail": "\0"}}),
                        "items[0].evidence.value"),
    "NUL in a label": (event(evidence={"quantity": "q", "value": 1, "label": "\0"}), "items[0].evidence.label"),
    "NUL in a state": (frame(values=["\0", "mains"], missing={}), "items[0].values[0]"),
    "NUL in a missing": (frame(missing={"0": ["timeout", "\0"]}), "items[0].missing.0"),
    "NUL in a series": (push(blocks=[push()["blocks"][0] | {"series": [["q", "\0", "", ""]]}]), "blocks[0].series[0]"),
    "NUL in the epoch": (push(epoch="\0"), "epoch"),
    "a number beyond any float, in evidence": (event(evidence={"quantity": "q", "value": 10**400}), "items[0].evidence.value"),
    "infinity in evidence": (event(evidence={"quantity": "q", "value": math.inf}), "items[0].evidence.value"),
    "yes or no in evidence": (event(evidence={"quantity": "q", "value": True}), "items[0].evidence.value"),
    "nothing in evidence": (event(evidence={"quantity": "q", "value": None}), "items[0].evidence.value"),
    "a number beyond any float, as a value": (frame(values=[10**400, "x"], missing={}), "items[0].values[0]"),
    "infinity as a value": (frame(values=[-math.inf, "x"], missing={}), "items[0].values[0]"),
    "yes or no as a value": (frame(values=[False, "x"], missing={}), "items[0].values[0]"),
    "a list as a value": (frame(values=[[], "x"], missing={}), "items[0].values[0]"),
    "an index beyond the column": (frame(missing={"2": ["timeout", ""]}), "items[0].missing"),
    "an index that is no number": (frame(missing={"٠": ["timeout", ""]}), "items[0].missing"),
    "an unknown reason": (frame(missing={"0": ["bored", ""]}), "items[0].missing.0"),
    "seq beyond a database's numbers": (frame(seq=2**62), "items[0].seq"),
    "an age without end": (frame(age_s=1e12), "items[0].age_s"),
    "a first value without its age": (event(evidence={"quantity": "q", "value": 1, "first_value": 1}),
                                      "items[0].evidence.first_age_s"),
    "a tombstone with more frames than seqs": (push(items=[{"seq": 90, "first": 3, "frames": 89}]), "items[0].frames"),
    "a tombstone that begins after its own seq": (push(items=[{"seq": 90, "first": 91, "frames": 1}]), "items[0].frames"),
    "a name too long": (event(rule="x" * 201), "items[0].rule"),
    "a nameless device": (event(device=""), "items[0].device"),
    "a block that is never due": (push(blocks=[push()["blocks"][0] | {"every_s": 0}]), "blocks[0].every_s"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_follow_the_protocol_is_refused_with_the_place(name: str) -> None:
    body, place = REFUSED[name]
    with pytest.raises(WireError) as refusal:
        decode_push(body, NOW)
    assert str(refusal.value).startswith(f"{place}:")


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\xed\xa0\x80"', b"NaN", b"-Infinity", b"[" * 100_000])
def test_what_is_not_json_does_not_reach_the_decoder(text: bytes) -> None:
    with pytest.raises(ValueError, match="at line 1"):
        from_json(b'{"epoch": ' + text + b"}", allow_inf_nan=False)


def test_the_last_of_two_equal_keys_counts_in_both_parsers() -> None:
    assert from_json(b'{"a": 1, "a": 2}') == json.loads('{"a": 1, "a": 2}') == {"a": 2}


values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20).map(plain_line),
    st.builds(Missing, st.sampled_from(Reason), st.text(max_size=20).map(plain_line)),
)
evidences = st.builds(
    Evidence, quantity=st.just("temperature.ambient"), value=values, expects=st.just("above 1 °C"),
    first_value=values, first_at=st.just(NOW - 7),
)  # fmt: skip
verdicts = st.builds(
    Verdict, st.just("v"), st.just("d"), st.just("r"), st.just("i"), st.sampled_from(Level), st.just(NOW - 5), evidences
)


@given(st.lists(values))
def test_a_column_is_decoded_as_it_was_encoded(column: list[Any]) -> None:
    assert decode_values(json.loads(json.dumps(encode_values(column)))) == tuple(column)


@given(st.one_of(verdicts, st.builds(ActiveVerdicts, st.just(NOW - 1), st.lists(verdicts, max_size=3).map(tuple))))
def test_an_event_is_decoded_as_it_was_encoded_with_its_time(said: Event) -> None:
    body = push(lane="events", blocks=[], items=[{"seq": 1, **json.loads(json.dumps(encode_event(said, NOW)))}])
    assert decode_push(body, NOW).items[0].body == said
    moved = decode_push(body, NOW + 3600).items[0].body
    assert (moved.at if isinstance(moved, ActiveVerdicts) else moved.since) >= NOW + 3600 - 5  # type: ignore[union-attr]


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["missing", "seq", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from([push(), event(), push(lane="events", items=[{"seq": 9, "kind": "standing", "age_s": 0,
                        "verdicts": event()["items"]}])]), st.data())  # fmt: skip
def test_a_push_with_any_value_anywhere_is_decoded_or_refused(body: dict[str, Any], data: st.DataObject) -> None:
    body = copy.deepcopy(body)
    spot: Any = body
    while True:
        keys = list(spot) if isinstance(spot, dict) else range(len(spot))
        key = data.draw(st.sampled_from(list(keys)))
        if isinstance(spot[key], dict | list) and spot[key] and data.draw(st.booleans()):
            spot = spot[key]
        else:
            spot[key] = data.draw(junk)
            break
    refusal = "nowhere: "
    try:
        decode_push(body, NOW)
    except WireError as error:
        refusal = str(error)
    assert re.match(r"(the body|[\w\[\].]+): ", refusal)


ANYTHING = st.one_of(
    st.floats(), st.sampled_from([1e308, -1e308]), st.integers(), st.booleans(), st.none(), st.text(max_size=5),
    st.sampled_from(["x" * 200, "x" * 201, "\0", "ok"]), st.lists(st.none(), max_size=1),
)  # fmt: skip


@given(st.lists(ANYTHING, max_size=4), st.booleans())
def test_a_frame_is_refused_exactly_where_its_values_cannot_be_decoded(column: list[Any], with_missing: bool) -> None:
    """Frames are stored as they came, without being decoded: a reader must be able to decode them later."""
    columns: dict[str, Any] = {"values": column, **({"missing": {}} if with_missing else {})}
    data = push(items=[{"seq": 1, "block": 1, "age_s": 0, **columns}])
    try:
        expected = decode_values(columns)
    except WireError:
        with pytest.raises(WireError, match=r"items\[0\].values"):
            decode_push(data, NOW)
        return
    frame_ = decode_push(data, NOW).items[0].body
    assert isinstance(frame_, Frame)
    assert decode_values(frame_.columns) == expected
