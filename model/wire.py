"""The nouns as JSON and back, in the form of docs/protocol.md. Encoding turns times into ages, decoding turns ages into
times. Decoding refuses whatever does not follow the protocol, with a WireError that names the place."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from watchkeeper.model.batch import PROTOCOL, Answer, Block, Facts, Frame, Item, Lane, Push, Request, Tombstone
from watchkeeper.model.errors import WireError
from watchkeeper.model.json_fields import (
    MAX_AGE_S,
    NAME_LIMIT,
    TEXT_LIMIT,
    Json,
    age_field,
    array,
    count_field,
    flag_field,
    limited_text,
    name_field,
    number_field,
    object_,
    positive_field,
    text_field,
    word_field,
    word_of,
)
from watchkeeper.model.origin import decode_origin, encode_origin
from watchkeeper.model.plain import is_plain
from watchkeeper.model.reading import Missing, Reason, Series, Value
from watchkeeper.model.verdict import ActiveVerdicts, Companion, Event, Evidence, Level, Verdict, Withdrawal

COMPANIONS_LIMIT = 16

MAX_FACTS = 50
"""Of one device."""

to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""Compact JSON. Raises ValueError on NaN and infinity."""


# ---- encoding, by the agent; `now` is on the clock of the times ----


def encode_push(push: Push, items: Iterable[str]) -> str:
    """The body of a push. `items` are the texts of its items, by `frame_item`, `tombstone_item` and `event_item`."""
    head = to_json(
        {
            "protocol": PROTOCOL, "agent": push.agent, "epoch": push.epoch, "lane": push.lane.value,
            "sent_at": push.sent_at, "bundle": push.bundle, "more": push.more, **encode_origin(push.origin),
            "blocks": [encode_block(block) for block in push.blocks],
        }
    )  # fmt: skip
    return f'{head[:-1]},"items":[{",".join(items)}]}}'


def frame_item(seq: int, age: float, block: int, columns: str) -> str:
    """A frame as an item of a push; `columns` is the text of `frame_columns`."""
    return f'{{"seq":{seq},"age_s":{_limited_age(age)},"block":{block},{columns}}}'


def frame_columns(values: Sequence[Value]) -> str:
    """The members `values` and `missing` of a frame, as text without the braces: what a spool keeps of it."""
    return ",".join(f'"{name}":{to_json(column)}' for name, column in encode_values(values).items())


def tombstone_item(seq: int, first: int, frames: int) -> str:
    """A tombstone as an item of a push."""
    return f'{{"seq":{seq},"first":{first},"frames":{frames}}}'


def event_item(seq: int, event: str, seconds: float) -> str:
    """An event as an item of a push: the JSON of `encode_event`, that many seconds later."""
    body = json.loads(event)
    _add_age(body, seconds)
    return to_json({"seq": seq, **body})


def _add_age(event: Json, seconds: float) -> None:
    event["age_s"] = _limited_age(event["age_s"] + seconds)
    evidence = event.get("evidence", {})
    if "first_age_s" in evidence:
        evidence["first_age_s"] = _limited_age(evidence["first_age_s"] + seconds)
    for verdict in event.get("verdicts", ()):
        _add_age(verdict, seconds)


def encode_values(values: Sequence[Value]) -> Json:
    """A column as `values` (numbers, state names, null) and, where something is missing, `missing` by index."""
    if Missing not in map(type, values):  # nearly always: no need to look at each value
        return {"values": list(values)}
    column = [None if isinstance(value, Missing) else value for value in values]
    missing = {
        str(index): [value.reason.value, value.detail]
        for index, value in enumerate(values)
        if isinstance(value, Missing)
    }
    return {"values": column, "missing": missing}


def encode_block(block: Block) -> Json:
    """A declaration; a series is [quantity, instance, label, source], a fact [name, text]."""
    facts = {"facts": [list(fact) for fact in block.facts]} if block.facts else {}
    return {
        "block": block.block,
        "device": block.device,
        "probe": block.probe,
        "every_s": block.every_s,
        "series": [[s.quantity, s.instance, s.label, s.source] for s in block.series],
        **facts,
    }


def encode_event(event: Event, now: float) -> Json:
    """An event of the `events` lane, without its seq."""
    if isinstance(event, Withdrawal):
        return {
            "kind": "withdrawn", "id": event.id, "device": event.device, "rule": event.rule,
            "instance": event.instance, "age_s": _age(now, event.at), "reason": event.reason,
        }  # fmt: skip
    if isinstance(event, ActiveVerdicts):
        verdicts = [_encode_verdict(verdict, now) for verdict in event.verdicts]
        return {"kind": "standing", "age_s": _age(now, event.at), "verdicts": verdicts}
    return {"kind": "verdict", **_encode_verdict(event, now)}


def _encode_verdict(verdict: Verdict, now: float) -> Json:
    return {
        "id": verdict.id,
        "device": verdict.device,
        "rule": verdict.rule,
        "instance": verdict.instance,
        "level": verdict.level.value,
        "age_s": _age(now, verdict.since),
        "evidence": encode_evidence(verdict.evidence, now),
    }


def encode_evidence(evidence: Evidence, now: float) -> Json:
    """Evidence with the age of its first bad value; a missing value is {"missing": reason, "detail": text}."""
    out: Json = {"quantity": evidence.quantity, "value": _encode_value(evidence.value)}
    if evidence.expects:
        out["expects"] = evidence.expects
    if evidence.label:
        out["label"] = evidence.label
    if evidence.says:
        out["says"] = evidence.says
    if evidence.companions:
        out["companions"] = [_encode_companion(companion) for companion in evidence.companions]
    if evidence.first_value is not None and evidence.first_at is not None:
        out["first_value"] = _encode_value(evidence.first_value)
        out["first_age_s"] = _age(now, evidence.first_at)
    return out


def _encode_companion(one: Companion) -> Json:
    out: Json = {"quantity": one.quantity, "value": _encode_value(one.value), "holds": one.holds}
    return out | {"label": one.label} if one.label else out


def _encode_value(value: Value) -> Any:
    return {"missing": value.reason.value, "detail": value.detail} if isinstance(value, Missing) else value


def _age(now: float, at: float) -> float:
    return _limited_age(now - at)


def _limited_age(age: float) -> float:
    return round(min(max(age, 0.0), MAX_AGE_S), 3)


# ---- decoding, by the agent ----


def decode_answer(data: Any, lane: Lane) -> Answer:
    """Make the Answer to a push of that lane of parsed JSON."""
    body = object_(data, "the body")
    word_field(body, "lane", (lane.value,), "")
    through = count_field(body, "through", "")
    store, generation = body.get("store", ""), body.get("generation", 0)
    requests = [
        object_(raw, f"requests[{index}]") for index, raw in enumerate(array(body.get("requests", []), "requests"))
    ]
    return Answer(
        lane, through, str(body.get("bundle", "")),
        tuple(Request(*(str(request.get(key, "")) for key in ("kind", "device", "part", "by"))) for request in requests),
        store if isinstance(store, str) else "", generation if type(generation) is int else 0,
        number_field(body, "now", "") if "now" in body else None,
    )  # fmt: skip


# ---- decoding, by the collector; times become UTC seconds: received_at - age ----


def decode_push(data: Any, received_at: float) -> Push:
    """Make a Push of parsed JSON. Its times are UTC by the collector's clock. Raises WireError."""
    body = object_(data, "the body")
    if body.get("protocol") != PROTOCOL:
        raise WireError(f"protocol: expected {PROTOCOL}, found {body.get('protocol')!r}")
    lane = Lane(word_field(body, "lane", tuple(Lane), ""))
    decode = _decode_event if lane is Lane.EVENTS else _decode_reading
    items: list[Item] = []
    for index, raw in enumerate(array(body.get("items", []), "items")):
        item = object_(raw, f"items[{index}]")
        seq = positive_field(item, "seq", f"items[{index}].")
        if items and seq <= items[-1].seq:
            raise WireError(f"items[{index}].seq: {seq} does not come after {items[-1].seq}")
        decoded = decode(item, received_at, f"items[{index}].")
        if isinstance(decoded, Tombstone) and not decoded.first + decoded.frames <= seq + 1:
            raise WireError(f"items[{index}].frames: {decoded.first} to {seq} cannot be {decoded.frames} frames")
        items.append(Item(seq, decoded))
    return Push(
        agent=name_field(body, "agent", ""),
        epoch=name_field(body, "epoch", ""),
        lane=lane,
        sent_at=number_field(body, "sent_at", ""),
        bundle=text_field(body, "bundle", "", NAME_LIMIT) if "bundle" in body else "",
        more=flag_field(body, "more"),
        blocks=tuple(
            _decode_block(object_(raw, f"blocks[{index}]"), f"blocks[{index}].")
            for index, raw in enumerate(array(body.get("blocks", []), "blocks"))
        ),
        items=tuple(items),
        origin=decode_origin(body),
    )


def _decode_block(raw: Json, where: str) -> Block:
    device = name_field(raw, "device", where)
    series: list[Series] = []
    for index, row in enumerate(array(raw.get("series"), where + "series")):
        if not (isinstance(row, list) and len(row) == 4 and all(isinstance(part, str) for part in row)):  # noqa: PLR2004 -- the four parts of a series
            raise WireError(f"{where}series[{index}]: expected [quantity, instance, label, source]")
        series.append(Series(device, *(limited_text(part, f"{where}series[{index}]", NAME_LIMIT) for part in row)))
    every_s = number_field(raw, "every_s", where)
    if every_s <= 0:
        raise WireError(f"{where}every_s: must be above 0")
    return Block(
        positive_field(raw, "block", where), device, name_field(raw, "probe", where), every_s, tuple(series),
        _decode_facts(raw, where),
    )  # fmt: skip


def _decode_facts(raw: Json, where: str) -> Facts:
    """The facts of a block; those beyond MAX_FACTS are left out."""
    facts = []
    for index, row in enumerate(array(raw.get("facts", []), where + "facts")[:MAX_FACTS]):
        if not (isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) for part in row)):  # noqa: PLR2004 -- name and text
            raise WireError(f"{where}facts[{index}]: expected [name, text]")
        name, text = row
        facts.append(
            (
                limited_text(name, f"{where}facts[{index}]", NAME_LIMIT),
                limited_text(text, f"{where}facts[{index}]", TEXT_LIMIT),
            )
        )
    return tuple(facts)


def _decode_reading(raw: Json, received_at: float, where: str) -> Frame | Tombstone:
    if "first" in raw:
        return Tombstone(positive_field(raw, "first", where), positive_field(raw, "frames", where))
    columns = _checked_columns(raw, where)
    return Frame(positive_field(raw, "block", where), received_at - age_field(raw, "age_s", where), columns)


def _checked_columns(raw: Json, where: str) -> Json:
    """The members `values` and `missing` of a frame, as they are, unless a text has control characters. Raises WireError where
    `decode_values` would."""
    column = array(raw.get("values"), where + "values")
    if "missing" not in raw and _plain_floats(column):  # nearly always: no need to look at each value
        return {"values": column}
    values = decode_values(raw, where)
    missing = raw.get("missing")
    texts = (*column, *(text for words in (missing or {}).values() for text in words))
    if not all(is_plain(text) for text in texts if isinstance(text, str)):
        return encode_values(values)
    return {"values": column} if missing is None else {"values": column, "missing": missing}


def _plain_floats(column: Sequence[Any]) -> bool:
    """Whether each value is a finite float, or a short text; false also where the sum of the floats is not finite."""
    floats = [value for value in column if type(value) is float]
    if not math.isfinite(sum(floats)):
        return False
    others = () if len(floats) == len(column) else [value for value in column if type(value) is not float]
    return all(type(value) is str and len(value) <= NAME_LIMIT and is_plain(value) for value in others)


def decode_values(raw: Json, where: str = "") -> tuple[Value, ...]:
    """The column of `encode_values`; numbers become float. Raises WireError."""
    column = array(raw.get("values"), where + "values")
    missing = raw.get("missing")
    values = list(column)
    if missing is not None:
        for index, reason in object_(missing, where + "missing").items():
            values[_index(index, column, where)] = _decode_missing(reason, f"{where}missing.{index}")
    for place in [place for place, value in enumerate(values) if type(value) is not float or value - value != 0.0]:
        values[place] = _not_a_float(values[place], f"{where}values[{place}]")
    return tuple(values)


def _not_a_float(value: Any, where: str) -> Value:
    """Decode a value that is not simply a finite float."""
    if type(value) is int and -(2**1000) < value < 2**1000:
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise WireError(f"{where}: not a finite number")
    if not isinstance(value, str | Missing):
        raise WireError(f"{where}: expected a number or a state, or null with a reason in `missing`")
    return limited_text(value, where, NAME_LIMIT) if isinstance(value, str) else value


def _index(text: str, column: Sequence[Any], where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) < len(column)):  # noqa: PLR2004 -- no column is that long
        raise WireError(f"{where}missing: {text!r} is not an index of `values`")
    if column[int(text)] is not None:
        raise WireError(f"{where}missing: index {text} has a value")
    return int(text)


def _decode_missing(raw: Any, where: str) -> Missing:
    if not (isinstance(raw, list) and len(raw) == 2 and all(isinstance(word, str) for word in raw)):  # noqa: PLR2004 -- reason and detail
        raise WireError(f"{where}: expected [reason, detail]")
    reason, detail = raw
    return Missing(Reason(word_of(reason, tuple(Reason), where)), limited_text(detail[:TEXT_LIMIT], where, TEXT_LIMIT))


def _decode_event(raw: Json, received_at: float, where: str) -> Event:
    kind = word_field(raw, "kind", ("verdict", "withdrawn", "standing"), where)
    if kind == "verdict":
        return decode_verdict(raw, received_at, where)
    at = received_at - age_field(raw, "age_s", where)
    if kind == "withdrawn":
        return Withdrawal(
            name_field(raw, "id", where), name_field(raw, "device", where), name_field(raw, "rule", where),
            text_field(raw, "instance", where, NAME_LIMIT), at, text_field(raw, "reason", where, TEXT_LIMIT),
        )  # fmt: skip
    verdicts = (
        decode_verdict(object_(verdict, f"{where}verdicts[{index}]"), received_at, f"{where}verdicts[{index}].")
        for index, verdict in enumerate(array(raw.get("verdicts"), where + "verdicts"))
    )
    return ActiveVerdicts(at, tuple(verdicts))


def decode_verdict(raw: Json, received_at: float, where: str = "") -> Verdict:
    """Make a Verdict. Its `since` and the time in its evidence are UTC seconds. Raises WireError."""
    evidence = object_(raw.get("evidence"), where + "evidence")
    return Verdict(
        id=name_field(raw, "id", where),
        device=name_field(raw, "device", where),
        rule=name_field(raw, "rule", where),
        instance=text_field(raw, "instance", where, NAME_LIMIT),
        level=Level(word_field(raw, "level", tuple(Level), where)),
        since=received_at - age_field(raw, "age_s", where),
        evidence=decode_evidence(evidence, received_at, where + "evidence."),
    )


def decode_evidence(raw: Json, received_at: float, where: str = "") -> Evidence:
    """The inverse of `encode_evidence`. Raises WireError."""
    first = "first_value" in raw
    return Evidence(
        quantity=name_field(raw, "quantity", where),
        value=_decode_value(raw.get("value"), where + "value"),
        expects=text_field(raw, "expects", where, TEXT_LIMIT) if "expects" in raw else "",
        label=text_field(raw, "label", where, NAME_LIMIT) if "label" in raw else "",
        first_value=_decode_value(raw["first_value"], where + "first_value") if first else None,
        first_at=received_at - age_field(raw, "first_age_s", where) if first else None,
        says=text_field(raw, "says", where, TEXT_LIMIT) if "says" in raw else "",
        companions=tuple(_decode_companions(raw, where)) if "companions" in raw else (),
    )


def _decode_companions(raw: Json, where: str) -> Iterator[Companion]:
    companions = array(raw["companions"], where + "companions")
    if len(companions) > COMPANIONS_LIMIT:
        raise WireError(f"{where}companions: more than {COMPANIONS_LIMIT}")
    for index, item in enumerate(companions):
        here = f"{where}companions[{index}]."
        one = object_(item, here.removesuffix("."))
        yield Companion(
            name_field(one, "quantity", here),
            _decode_value(one.get("value"), here + "value"),
            text_field(one, "label", here, NAME_LIMIT) if "label" in one else "",
            flag_field(one, "holds", here),
        )


def _decode_value(raw: Any, where: str) -> Value:
    if isinstance(raw, dict):
        detail = raw.get("detail", "")
        return _decode_missing([raw.get("missing"), detail], where)
    return raw if type(raw) is float and raw - raw == 0.0 else _not_a_float(raw, where)
