"""Judges a value by a rule, given the state that the rule had before. Pure: it reads no clock, and `mint` gives the ids.

Each level has a latch. A latch closes when its limit has been broken for the limit's `for`, by the times of the readings.
It opens when the value has been back inside the limit, by the margin, for the rule's clearing time without interruption.
The level is that of the worst closed latch. A value that cannot be judged (missing, or an unknown state) moves no latch:
the level is unknown for now, but a closed latch stays closed, and only readings that clear it open it.

While the conditions of a rule (`when`) are not fulfilled, every value counts as one that clears all limits, so a fault ends
after the rule's clearing time, and `for` starts again. While it cannot be told whether they are, a bad value moves no latch.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Companion, Evidence, Key, Level, Verdict
from watchkeeper.rules.conditions import ALWAYS, Applied, Counts
from watchkeeper.rules.rule import Comparison, Limit, MissingLimit, Rule

_OK, _UNKNOWN = Level.OK, Level.UNKNOWN
_SEVERITY = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2}


class FirstBad(NamedTuple):
    """The first bad reading of a bad period."""

    at: float
    value: Value


@dataclass(frozen=True, slots=True)
class Latch:
    """The memory of one level. `first` is the first bad reading of the period that closes the latch or has closed it.
    `good_at` is when the value came back inside, while the latch is closed."""

    closed: bool = False
    first: FirstBad | None = None
    good_at: float | None = None


OPEN = Latch()


class Latches(NamedTuple):
    """The memory of a rule on one series."""

    warning: Latch = OPEN
    critical: Latch = OPEN
    missing: Latch = OPEN


ALL_OPEN = Latches()
"""The one object for three open latches without memory, so that the hot path compares by identity."""


@dataclass(frozen=True, slots=True)
class RuleState:
    """The judgement of a rule on one series, and its memory. `since` is when this level began, in the seconds of the
    readings. `id` was minted at that moment; a new `id` is a verdict change. `held` are the rule's conditions with `ever` that
    have been fulfilled by now."""

    level: Level
    since: float
    id: str
    evidence: Evidence
    latches: Latches = ALL_OPEN
    held: frozenset[str] = frozenset()


def evaluate(  # noqa: PLR0917 -- positional, because this is the hot path
    rule: Rule, state: RuleState | None, value: Value, at: float, mint: Callable[[], str], label: str = ""
) -> RuleState:
    """Judge one value read at `at`. Returns the same RuleState object if nothing changed. `label` is the series'."""
    if state is not None and state.level is _OK and state.latches is ALL_OPEN:
        if type(value) is float:
            if rule.low <= value <= rule.high:
                return state
        elif type(value) is str and value in rule.ok_states:
            return state
    return _judge(rule, state, _finite(value), at, mint, label, ALWAYS)


def evaluate_when(  # noqa: PLR0917 -- the arguments of `evaluate`
    rule: Rule, state: RuleState | None, value: Value, at: float, mint: Callable[[], str], label: str, applied: Applied
) -> RuleState:
    """Judge one value by a rule with conditions. `applied` tells whether its limits count at this moment."""
    return _judge(rule, state, _finite(value), at, mint, label, applied)


def is_settled(rule: Rule, state: RuleState | None) -> bool:
    """Whether a value that breaks no limit leaves the state as it is, whatever the conditions of the rule are then."""
    return state is not None and state.level is _OK and state.latches is ALL_OPEN and rule.remembers <= state.held


def _finite(value: Value) -> Value:
    """A number as float; NaN and infinity as Missing, because they are no measured values and JSON cannot carry them."""
    if isinstance(value, str | Missing):
        return value
    return float(value) if math.isfinite(value) else Missing(Reason.IMPLAUSIBLE, f"the number is {value}")


def _judge(  # noqa: PLR0917 -- the arguments of `evaluate_when`
    rule: Rule, state: RuleState | None, value: Value, at: float, mint: Callable[[], str], label: str, applied: Applied
) -> RuleState:
    was = state.latches if state else ALL_OPEN
    latches = _next_latches(rule, was, value, at, applied.counts)
    level = _level(rule, state, latches, value, applied.counts)
    held = rule.remembers if applied.held == rule.remembers else applied.held  # one object for all series
    if state is not None and level is state.level:
        return state if latches is was and held == state.held else replace(state, latches=latches, held=held)
    since, expects, first = at, "", None
    if level.bad:
        index = _decisive(rule, level, latches)
        limit, first = _limits(rule)[index], latches[index].first
        expects = limit.text if limit else ""
        if limit and first and not was[index].closed:  # the limit's `for` ended now, or between two readings
            since = min(at, max(first.at + limit.for_s, state.since if state else first.at))
    evidence = Evidence(rule.quantity, value, expects, label, first and first.value, first and first.at)
    return RuleState(level, since, mint(), evidence, latches, held)


def _next_latches(rule: Rule, was: Latches, value: Value, at: float, counts: Counts) -> Latches:
    """The latches after this value: `was` itself if no latch moved."""
    judged = rule.can_judge(value)
    absent = isinstance(value, Missing) and rule.missing is not None and value.reason in rule.missing.reasons
    compared = (
        _compare(rule.warning, value, judged),
        _compare(rule.critical, value, judged),
        Comparison.BAD if absent else Comparison.CLEAR if judged else Comparison.NONE,
    )
    warning, critical, missing = (
        _next_latch(limit, latch, _counted(result, counts), FirstBad(at, value), rule.clear_for_s)
        for limit, latch, result in zip(_limits(rule), was, compared, strict=True)
    )
    if critical.closed and rule.warning and not warning.closed:
        warning = Latch(closed=True, first=critical.first)  # a critical value passes through warning on its way back
    now = Latches(warning, critical, missing)
    return was if now == was else ALL_OPEN if now == ALL_OPEN else now


def _counted(result: Comparison, counts: Counts) -> Comparison:
    """A comparison by a rule whose limits may not count now."""
    if counts is Counts.NO:
        return Comparison.CLEAR
    return Comparison.NONE if counts is Counts.UNKNOWN and result is Comparison.BAD else result


def _compare(limit: Limit | None, value: Value, judged: bool) -> Comparison:
    return limit.compare(value) if limit and judged and not isinstance(value, Missing) else Comparison.NONE


def _next_latch(
    limit: Limit | MissingLimit | None, latch: Latch, result: Comparison, now: FirstBad, clear_for_s: float
) -> Latch:
    if limit is None:
        return OPEN
    if latch.closed:
        return _after_closed(latch, result, now.at, clear_for_s)
    return _after_open(latch, result, now, limit.for_s)


def _after_closed(latch: Latch, result: Comparison, at: float, clear_for_s: float) -> Latch:
    if result is not Comparison.CLEAR:
        return latch if latch.good_at is None else replace(latch, good_at=None)
    good_at = at if latch.good_at is None else latch.good_at
    if at >= good_at + clear_for_s:
        return OPEN
    return latch if latch.good_at is not None else replace(latch, good_at=good_at)


def _after_open(latch: Latch, result: Comparison, now: FirstBad, for_s: float) -> Latch:
    if result is Comparison.NONE:
        return latch
    if result is not Comparison.BAD:
        return OPEN
    first = latch.first or now
    closed = now.at >= first.at + for_s
    return latch if latch.first and not closed else Latch(closed, first)


def _level(rule: Rule, state: RuleState | None, latches: Latches, value: Value, counts: Counts) -> Level:
    worst = max((limit.level for limit in _closed(rule, latches)), key=_SEVERITY.__getitem__, default=_OK)
    if counts is not Counts.NO and not rule.can_judge(value):
        return worst if latches.missing.closed else _UNKNOWN
    if state is not None and (state.level is _OK or (state.level.bad and worst.bad)):
        return worst
    # A recovery, and any change from unknown, needs a value that agrees: a bad value for a bad level, a good one for ok.
    broken = counts is Counts.YES and _compare(rule.warning or rule.critical, value, judged=True) is Comparison.BAD
    return worst if broken == worst.bad else _UNKNOWN


def _limits(rule: Rule) -> tuple[Limit | None, Limit | None, MissingLimit | None]:
    """The limits in the order of `Latches`."""
    return (rule.warning, rule.critical, rule.missing)


def _closed(rule: Rule, latches: Latches) -> Iterator[Limit | MissingLimit]:
    return (limit for limit, latch in zip(_limits(rule), latches, strict=True) if limit and latch.closed)


def _decisive(rule: Rule, level: Level, latches: Latches) -> int:
    """The index of the closed latch that makes the level."""
    pairs = enumerate(zip(_limits(rule), latches, strict=True))
    return next(index for index, (limit, latch) in pairs if limit and latch.closed and limit.level is level)


def to_verdict(key: Key, state: RuleState) -> Verdict:
    """The verdict that is sent: the state without its memory."""
    return Verdict(state.id, *key, state.level, state.since, state.evidence)


def state_of_verdict(verdict: Verdict) -> RuleState:
    """The state that goes on from a verdict, where nothing else is known: a bad level is closed, and only values that clear
    it end it."""
    evidence = verdict.evidence
    if not verdict.level.bad:
        return RuleState(verdict.level, verdict.since, verdict.id, evidence)
    first_value = evidence.value if evidence.first_value is None else evidence.first_value
    first_at = verdict.since if evidence.first_at is None else evidence.first_at
    closed = Latch(closed=True, first=FirstBad(first_at, first_value))
    latches = ALL_OPEN._replace(**{verdict.level.value: closed})
    return RuleState(verdict.level, verdict.since, verdict.id, evidence, latches)


# ---- a stored state: JSON values, times on the same clock ----


def rebase(state: RuleState, delta: float) -> RuleState:
    """Move a state to a clock that reads `delta` seconds more, for example after a reboot."""
    first_at = state.evidence.first_at
    latches = Latches(
        *(
            Latch(
                latch.closed,
                latch.first and FirstBad(latch.first.at + delta, latch.first.value),
                None if latch.good_at is None else latch.good_at + delta,
            )
            for latch in state.latches
        )
    )
    evidence = replace(state.evidence, first_at=None if first_at is None else first_at + delta)
    return replace(
        state, since=state.since + delta, evidence=evidence, latches=ALL_OPEN if latches == ALL_OPEN else latches
    )


def encode_state(state: RuleState) -> dict[str, Any]:
    """Turn a state into JSON values; `decode_state` is the inverse. Times are not converted."""
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
            "companions": [
                [one.quantity, _encode_value(one.value), one.label, one.holds] for one in evidence.companions
            ],
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
        **({"held": sorted(state.held)} if state.held else {}),
    }


def decode_state(raw: Mapping[str, Any]) -> RuleState:
    """Read a state that `encode_state` wrote. Raises ValueError for anything else."""
    try:
        evidence = raw["evidence"]
        first = _decode_first(evidence["first"])
        latches = Latches(
            **{
                name: Latch(latch["closed"], _decode_first(latch["first"]), latch["good_at"])
                for name, latch in raw["latches"].items()
            }
        )
        return RuleState(
            Level(raw["level"]),
            float(raw["since"]),
            str(raw["id"]),
            Evidence(
                evidence["quantity"], _decode_value(evidence["value"]), evidence["expects"], evidence["label"],
                first and first.value, first and first.at, evidence.get("says", ""),
                tuple(
                    Companion(quantity, _decode_value(value), label, holds)
                    for quantity, value, label, holds in evidence.get("companions", ())
                ),
            ),
            ALL_OPEN if latches == ALL_OPEN else latches,
            frozenset(raw.get("held", ())),
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


def _decode_first(raw: Any) -> FirstBad | None:
    return None if raw is None else FirstBad(float(raw[0]), _decode_value(raw[1]))
