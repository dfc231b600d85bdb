"""What a rule says of a value, given what it said before. Pure: no clock, no randomness but what `mint` hands out.

Each level has a latch. A latch closes when its limit has been broken for the limit's `for`, by the times of the
readings, and opens when the value has been back inside, by the margin, for the rule's clearing time without a break.
The level is that of the worst closed latch. What tells nothing (a missing value, a state nobody knows) moves no latch:
the level is unknown meanwhile, but what was bad is remembered, and only readings that clear it end it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from watchkeeper.model.reading import Missing, Reason, Series, Value
from watchkeeper.model.verdict import Evidence, Level, Verdict
from watchkeeper.rules.language import Limit, MissingLimit, Rule, Says

_OK, _UNKNOWN = Level.OK, Level.UNKNOWN
_BADNESS = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2}


class First(NamedTuple):
    """The first bad reading of a stretch."""

    at: float
    value: Value


@dataclass(frozen=True, slots=True)
class Latch:
    """One level's memory. `first` began the bad stretch that is closing it or has closed it; `good_at` is when the
    value came back inside, while it is closed."""

    closed: bool = False
    first: First | None = None
    good_at: float | None = None


OPEN = Latch()


class Latches(NamedTuple):
    """The memory of a rule on one series."""

    warning: Latch = OPEN
    critical: Latch = OPEN
    missing: Latch = OPEN


CALM = Latches()


@dataclass(frozen=True, slots=True)
class State:
    """What a rule says of one series, and what it remembers. `since` is when this level began, in the seconds of the
    readings; `id` was minted then. A new `id` is a verdict change."""

    level: Level
    since: float
    id: str
    evidence: Evidence
    latches: Latches = CALM


def evaluate(  # noqa: PLR0917 -- positional, because this is the hot path
    rule: Rule, state: State | None, value: Value, at: float, mint: Callable[[], str], label: str = ""
) -> State:
    """Judge one value read at `at`. Returns the very same State where nothing changed. `label` is the series'."""
    if state is not None and state.level is _OK and state.latches is CALM:
        if type(value) is float:
            if rule.low <= value <= rule.high:
                return state
        elif type(value) is str and value in rule.fine:
            return state
    return _judge(rule, state, _plain(value), at, mint, label)


def _plain(value: Value) -> Value:
    """A number as float; one that no device can mean (and JSON cannot carry) as Missing."""
    if isinstance(value, str | Missing):
        return value
    return float(value) if math.isfinite(value) else Missing(Reason.IMPLAUSIBLE, f"the number is {value}")


def _judge(  # noqa: PLR0917 -- the arguments of `evaluate`
    rule: Rule, state: State | None, value: Value, at: float, mint: Callable[[], str], label: str
) -> State:
    was = state.latches if state else CALM
    latches = _turned(rule, was, value, at)
    level = _level(rule, state, latches, value)
    if state is not None and level is state.level:
        return state if latches is was else replace(state, latches=latches)
    since, expects, first = at, "", None
    if level.bad:
        place = _decisive(rule, level, latches)
        limit, first = _limits(rule)[place], latches[place].first
        expects = limit.text if limit else ""
        if limit and first and not was[place].closed:  # it closed just now, or between two readings
            since = min(at, max(first.at + limit.for_s, state.since if state else first.at))
    evidence = Evidence(rule.quantity, value, expects, label, first and first.value, first and first.at)
    return State(level, since, mint(), evidence, latches)


def _turned(rule: Rule, was: Latches, value: Value, at: float) -> Latches:
    """The latches after this value: `was` itself where none moved."""
    reads = rule.reads(value)
    counts = isinstance(value, Missing) and rule.missing is not None and value.reason in rule.missing.reasons
    missing = Says.BAD if counts else Says.CLEAR if reads else Says.NOTHING
    warning, critical, gone = (
        _turn(limit, latch, says, First(at, value), rule.clear_for_s)
        for limit, latch, says in zip(
            _limits(rule), was, (_says(rule.warning, value, reads), _says(rule.critical, value, reads), missing),
            strict=True,
        )
    )  # fmt: skip
    if critical.closed and rule.warning and not warning.closed:
        warning = Latch(closed=True, first=critical.first)  # what is critical comes back by way of warning
    now = Latches(warning, critical, gone)
    return was if now == was else CALM if now == CALM else now


def _says(limit: Limit | None, value: Value, reads: bool) -> Says:
    return limit.says(value) if limit and reads and not isinstance(value, Missing) else Says.NOTHING


def _turn(limit: Limit | MissingLimit | None, latch: Latch, says: Says, now: First, clear_for_s: float) -> Latch:
    if limit is None:
        return OPEN
    return _opening(latch, says, now.at, clear_for_s) if latch.closed else _closing(latch, says, now, limit.for_s)


def _opening(latch: Latch, says: Says, at: float, clear_for_s: float) -> Latch:
    if says is not Says.CLEAR:
        return latch if latch.good_at is None else replace(latch, good_at=None)
    good_at = at if latch.good_at is None else latch.good_at
    if at >= good_at + clear_for_s:
        return OPEN
    return latch if latch.good_at is not None else replace(latch, good_at=good_at)


def _closing(latch: Latch, says: Says, now: First, for_s: float) -> Latch:
    if says is Says.NOTHING:
        return latch
    if says is not Says.BAD:
        return OPEN
    first = latch.first or now
    closed = now.at >= first.at + for_s
    return latch if latch.first and not closed else Latch(closed, first)


def _level(rule: Rule, state: State | None, latches: Latches, value: Value) -> Level:
    worst = max((limit.level for limit in _closed(rule, latches)), key=_BADNESS.__getitem__, default=_OK)
    if not rule.reads(value):
        return worst if latches.missing.closed else _UNKNOWN
    if state is not None and (state.level is _OK or (state.level.bad and worst.bad)):
        return worst
    # recovery, and whatever comes out of the unknown, takes a value that agrees: a bad one for bad, another for ok
    broken = _says(rule.warning or rule.critical, value, reads=True) is Says.BAD
    return worst if broken == worst.bad else _UNKNOWN


def _limits(rule: Rule) -> tuple[Limit | None, Limit | None, MissingLimit | None]:
    """In the order of `Latches`."""
    return (rule.warning, rule.critical, rule.missing)


def _closed(rule: Rule, latches: Latches) -> Iterator[Limit | MissingLimit]:
    return (limit for limit, latch in zip(_limits(rule), latches, strict=True) if limit and latch.closed)


def _decisive(rule: Rule, level: Level, latches: Latches) -> int:
    """The place of the closed latch that makes the level."""
    pairs = enumerate(zip(_limits(rule), latches, strict=True))
    return next(place for place, (limit, latch) in pairs if limit and latch.closed and limit.level is level)


def to_verdict(rule: Rule, state: State, series: Series) -> Verdict:
    """What travels: the state's word on that series, without its memory."""
    return Verdict(state.id, series.device, rule.rule, series.instance, state.level, state.since, state.evidence)


# ---- a state at rest: JSON values, times as they are ----


def rebase(state: State, delta: float) -> State:
    """The same state on a clock that reads `delta` seconds more: after a reboot, say."""
    first_at = state.evidence.first_at
    latches = Latches(
        *(
            Latch(
                latch.closed,
                latch.first and First(latch.first.at + delta, latch.first.value),
                None if latch.good_at is None else latch.good_at + delta,
            )
            for latch in state.latches
        )
    )
    evidence = replace(state.evidence, first_at=None if first_at is None else first_at + delta)
    return replace(state, since=state.since + delta, evidence=evidence, latches=CALM if latches == CALM else latches)


def encode_state(state: State) -> dict[str, Any]:
    """JSON values; the inverse is `decode_state`. The times stay on the clock they are on."""
    evidence = state.evidence
    return {
        "level": state.level.value,
        "since": state.since,
        "id": state.id,
        "evidence": {
            "quantity": evidence.quantity,
            "value": _encode_value(evidence.value),
            "expects": evidence.expects,
            "label": evidence.label,
            "says": evidence.says,
            "first": None if evidence.first_at is None else [evidence.first_at, _encode_value(evidence.first_value)],
        },
        "latches": {
            name: {
                "closed": latch.closed,
                "first": latch.first and [latch.first.at, _encode_value(latch.first.value)],
                "good_at": latch.good_at,
            }
            for name, latch in zip(Latches._fields, state.latches, strict=True)
            if latch != OPEN
        },
    }


def decode_state(raw: Mapping[str, Any]) -> State:
    """Read what `encode_state` wrote. Raises ValueError for anything else."""
    try:
        evidence = raw["evidence"]
        first = _decode_first(evidence["first"])
        latches = Latches(
            **{
                name: Latch(latch["closed"], _decode_first(latch["first"]), latch["good_at"])
                for name, latch in raw["latches"].items()
            }
        )
        return State(
            Level(raw["level"]),
            float(raw["since"]),
            str(raw["id"]),
            Evidence(
                evidence["quantity"], _decode_value(evidence["value"]), evidence["expects"], evidence["label"],
                first and first.value, first and first.at, evidence.get("says", ""),
            ),
            CALM if latches == CALM else latches,
        )  # fmt: skip
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not the state of a rule: {error!r}") from None


def _encode_value(value: Value | None) -> Any:
    return [value.reason.value, value.detail] if isinstance(value, Missing) else value


def _decode_value(raw: Any) -> Value:
    if isinstance(raw, list):
        reason, detail = raw
        return Missing(Reason(reason), detail)
    return raw if isinstance(raw, str) else float(raw)


def _decode_first(raw: Any) -> First | None:
    return None if raw is None else First(float(raw[0]), _decode_value(raw[1]))
