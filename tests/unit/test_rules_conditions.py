"""The conditions of a rule (`when`): how they are read, when they are fulfilled, and what they do to a verdict."""

import math
from collections.abc import Iterable, Mapping

import pytest

from watchkeeper.model.batch import Document
from watchkeeper.model.errors import ConfigError
from watchkeeper.model.reading import Missing, Reason, Series, Value
from watchkeeper.model.verdict import Companion
from watchkeeper.rules.conditions import MAX_COMPANIONS, Counts, apply, find_columns, tell
from watchkeeper.rules.load import load_rules
from watchkeeper.rules.rule import Rule

YES, NO, UNTOLD = Counts.YES, Counts.NO, Counts.UNKNOWN
GONE = Missing(Reason.TIMEOUT, "no answer")
HEAD = "rules:\n  - rule: a.rule\n    clause: 3.6\n    title: T\n    advice: A\n"
RUNTIME = "    quantity: battery.runtime\n    critical: {below: 5 min}\n"


def rule(text: str) -> Rule:
    return load_rules([Document("f.yml", HEAD + RUNTIME + text)]).rules[0]


def problems(when: str) -> list[tuple[str, str]]:
    """(the text at the place that is named, what is wrong)."""
    with pytest.raises(ConfigError) as caught:
        rule(f"    when: {when}\n")
    assert {(found.file, found.line) for found in caught.value.problems} == {("f.yml", 8)}
    return [(f"    when: {when}"[found.column - 1 :], found.message) for found in caught.value.problems]


def counts(when: str, others: Mapping[str, Value] | None = None, value: Value = 0.0) -> Counts:
    """Whether a limit on battery.runtime of instance "1" counts, given the others: `quantity` or `quantity instance`."""
    one = rule(f"    when: {when}\n")
    series, values = columns(value, others or {})
    return apply(one.when, find_columns(one.when, series, 0), values, frozenset()).counts


def columns(value: Value, others: Mapping[str, Value]) -> tuple[tuple[Series, ...], tuple[Value, ...]]:
    judged = Series("ups-1", "battery.runtime", "1")
    found = (Series("ups-1", *name.split(" ", 1)) for name in others)
    return (judged, *found), (value, *others.values())


# ---- reading them ----


@pytest.mark.parametrize(
    ("when", "place", "said"),
    [
        ("[{quantity: output.sorce, is: battery}]", "output.sorce", "there is no quantity `output.sorce`; did you mean `output.source`?"),
        ("[{quantity: output.source, is: batery}]", "batery}]", "output.source has no state `batery`; did you mean `battery`?"),
        ("[{quantity: output.source, is_not: [mains, x]}]", "[mains, x]}]", "output.source has no state `x`; known: mains, battery, bypass, booster, reducer, none, other, unknown"),
        ("[{quantity: battery.charge, below: 50 V}]", "50 V}]", "`50 V` is in V, but battery.charge is measured in %"),
        ("[{quantity: battery.charge, below: 50}]", "50}]", "`50` has no unit, but battery.charge is measured in %"),
        ("[{quantity: battery.charge, is: low}]", "low}]", "battery.charge is a number; use `above` or `below`"),
        ("[{quantity: battery.charge, is_not: low}]", "low}]", "battery.charge is a number; use `above` or `below`"),
        ("[{quantity: leak, above: 1}]", "1}]", "leak is a state (dry, wet, unknown); use `is`"),
        ("[{quantity: input.lost, above: 1}]", "1}]", "input.lost is a counter, which only grows; it cannot have a limit"),
        ("[{quantity: leak}]", "leak}]", "a condition needs one of `above`, `below`, `is` or `is_not`"),
        ("[{quantity: leak, is: wet, is_not: dry}]", "dry}]", "a condition has one limit; this one has `is` and `is_not`"),
        ("[{is: wet}]", "{is: wet}]", "a condition needs a `quantity`"),
        ("[{any: []}]", "{any: []}]", "a condition needs a `quantity`"),
        ("[{any: [{quantity: leak, is: wet}], quantity: leak}]", "[{quantity: ", "`any` has no other keys beside it; write the quantity and its limit into the list"),
        ("[{any: [{quantity: leak, is: wet}], is: wet}]", "[{quantity: ", "`any` has no other keys beside it; write the quantity and its limit into the list"),
        ("[{any: [{any: [{quantity: leak, is: wet}]}]}]", "[{any: [{qua", "an `any` inside an `any` is one list; write all conditions into the outer one"),
        ("[{any: [{quantity: leak, is: wett}]}]", "wett}]}]", "leak has no state `wett`; did you mean `wet`?"),
        ("[{quantity: leak, is: wet, same: room}]", "room}]", "`room` is not one of device, instance"),
        ("[{quantity: leak, is: wet, series: some}]", "some}]", "`some` is not one of any, all"),
        ("[{quantity: leak, is: wet, or_misssing: no}]", "or_misssing:", "unknown key `or_misssing`; did you mean `or_missing`?"),
        ("{quantity: leak, is: wet}", "{quantity: l", "expected a list, found keys and values"),
    ],
)  # fmt: skip
def test_a_condition_that_makes_no_sense_is_refused_with_its_place(when: str, place: str, said: str) -> None:
    ((there, message),) = problems(when)
    assert there.startswith(place)
    assert message == said


def test_all_problems_of_all_conditions_are_told_at_once() -> None:
    told = problems("[{quantity: leak, is: wett}, {quantity: battery.charge, below: 5 V}, {quantity: smoke, is: fog}]")
    assert [there.split("}")[0] for there, _ in told] == ["wett", "5 V", "fog"]


def test_a_change_replaces_the_conditions_and_an_empty_list_removes_them() -> None:
    library = Document("library.yml", HEAD + RUNTIME + "    when: [{quantity: leak, is: wet}]\n")
    for written, texts in (("[{quantity: smoke, is: smoke}]", ["smoke is smoke"]), ("[]", [])):
        own = Document("own.yml", f"changes:\n  - {{rule: a.rule, because: b, when: {written}}}\n")
        (found,) = load_rules([library, own]).rules
        assert [condition.text for group in found.when for condition in group] == texts
    own = Document("own.yml", "changes:\n  - {rule: a.rule, because: b, when: [{quantity: smoke, is: fog}]}\n")
    with pytest.raises(ConfigError, match=r"own\.yml:2:\d+: smoke has no state `fog`"):
        load_rules([library, own])
    own = Document("own.yml", "changes:\n  - {rule: a.rule, because: b, title: New}\n")
    assert load_rules([library, own]).rules[0].when


def test_a_condition_is_told_as_it_was_written() -> None:
    when = "[{quantity: leak, is: [wet, unknown], same: instance, ever: yes}, {quantity: battery.charge, below: 50 %, series: all, or_missing: no}]"
    assert [condition.text for (condition,) in rule(f"    when: {when}\n").when] == [
        "leak is wet or unknown of the same instance ever",
        "battery.charge below 50 % of all series and not missing",
    ]


# ---- one condition ----

SOURCE, NOT = "[{quantity: output.source, is: [battery, none]}]", "[{quantity: output.source, is_not: [mains, bypass]}]"
CHARGE, LOAD = "[{quantity: battery.charge, below: 50 %}]", "[{quantity: output.load, above: 80 %}]"


@pytest.mark.parametrize(
    ("when", "quantity", "value", "expected"),
    [
        (SOURCE, "output.source", "battery", YES),
        (SOURCE, "output.source", "none", YES),
        (SOURCE, "output.source", "mains", NO),
        (SOURCE, "output.source", "unknown", YES),
        (SOURCE, "output.source", "odd", YES),
        (SOURCE, "output.source", 1.0, YES),
        (SOURCE, "output.source", GONE, YES),
        (NOT, "output.source", "battery", YES),
        (NOT, "output.source", "mains", NO),
        (NOT, "output.source", "bypass", NO),
        (NOT, "output.source", "unknown", YES),
        (NOT, "output.source", GONE, YES),
        ("[{quantity: output.source, is: unknown}]", "output.source", "mains", NO),
        ("[{quantity: output.source, is: unknown, or_missing: no}]", "output.source", "unknown", YES),
        ("[{quantity: output.source, is_not: unknown}]", "output.source", "unknown", NO),
        (CHARGE, "battery.charge", 49.9, YES),
        (CHARGE, "battery.charge", 50.0, NO),
        (CHARGE, "battery.charge", math.nan, YES),
        (CHARGE, "battery.charge", "low", YES),
        (LOAD, "output.load", 80.0, NO),
        (LOAD, "output.load", 80.1, YES),
        (LOAD, "output.load", math.inf, YES),
        ("[{quantity: output.load, above: 80 %, or_missing: no}]", "output.load", math.nan, UNTOLD),
        ("[{quantity: output.load, above: 80 %, or_missing: no}]", "output.load", math.inf, UNTOLD),
        ("[{quantity: output.load, above: 80 %, or_missing: no}]", "output.load", "high", UNTOLD),
        ("[{quantity: battery.discharging, above: 10 min}]", "battery.discharging", 601.0, YES),
        ("[{quantity: battery.discharging, above: 10 min}]", "battery.discharging", 600.0, NO),
        ("[{quantity: output.source, is: battery, or_missing: no}]", "output.source", "unknown", UNTOLD),
        ("[{quantity: output.source, is: battery, or_missing: no}]", "output.source", GONE, UNTOLD),
        ("[{quantity: output.source, is_not: mains, or_missing: no}]", "output.source", GONE, UNTOLD),
    ],
)
def test_one_reading_fulfils_a_condition_or_not(when: str, quantity: str, value: Value, expected: Counts) -> None:
    assert counts(when, {quantity: value}) is expected


@pytest.mark.parametrize(("words", "expected"), [("", YES), (", or_missing: no", UNTOLD)])
def test_a_quantity_that_the_device_does_not_have_hides_no_fault_unless_the_rule_says_so(
    words: str, expected: Counts
) -> None:
    assert counts(f"[{{quantity: output.source, is: battery{words}}}]") is expected


@pytest.mark.parametrize(
    ("words", "states", "expected"),
    [
        ("is: battery", ["mains", "battery"], YES),
        ("is: battery", ["mains", "mains"], NO),
        ("is: battery, or_missing: no", ["mains", GONE], UNTOLD),
        ("is: battery, or_missing: no", ["battery", GONE], YES),
        ("is: battery", ["mains", "unknown"], YES),
        ("is: battery, series: all", ["battery", "battery"], YES),
        ("is: battery, series: all", ["mains", "battery"], NO),
        ("is: battery, series: all", ["battery", GONE], YES),
        ("is: battery, series: all, or_missing: no", ["battery", GONE], UNTOLD),
        ("is: battery, series: all, or_missing: no", ["mains", GONE], NO),
        ("is_not: battery", ["mains", "battery"], NO),
        ("is_not: battery", ["mains", "bypass"], YES),
        ("is_not: battery, or_missing: no", ["mains", GONE], UNTOLD),
        ("is_not: battery, series: any", ["mains", "battery"], YES),
        ("is_not: battery, series: any", ["battery", "battery"], NO),
        ("is_not: battery, series: all", ["mains", "battery"], NO),
    ],
)
def test_of_several_series_one_is_enough_and_is_not_means_none(
    words: str, states: list[Value], expected: Counts
) -> None:
    for order in (states, states[::-1]):
        others = {f"output.source {number}": state for number, state in enumerate(order)}
        assert counts(f"[{{quantity: output.source, {words}}}]", others) is expected


def test_the_same_instance_is_only_that_instance() -> None:
    when = "[{quantity: battery.charge, below: 50 %, same: instance, or_missing: no}]"
    assert counts(when, {"battery.charge 1": 40.0, "battery.charge 2": 90.0}) is YES
    assert counts(when, {"battery.charge 1": 90.0, "battery.charge 2": 40.0}) is NO
    assert counts(when, {"battery.charge": 40.0}) is UNTOLD


def test_the_rules_own_quantity_means_the_other_instances() -> None:
    when = "[{quantity: battery.runtime, above: 10 min, series: all, or_missing: no}]"
    assert counts(when, value=0.0) is UNTOLD, "the judged series is none of the others"
    assert counts(when, {"battery.runtime 2": 700.0, "battery.runtime 3": 700.0}, value=0.0) is YES
    assert counts(when, {"battery.runtime 2": 700.0, "battery.runtime 3": 500.0}, value=9999.0) is NO
    same = "[{quantity: battery.runtime, above: 10 min, same: instance}]"
    assert counts(same, {"battery.runtime 2": 700.0}, value=500.0) is NO


# ---- several conditions ----

WET, SMOKE = "{quantity: leak, is: wet, or_missing: no}", "{quantity: smoke, is: smoke, or_missing: no}"


@pytest.mark.parametrize(
    ("leak", "smoke", "both", "either"),
    [
        (YES, YES, YES, YES), (YES, NO, NO, YES), (NO, NO, NO, NO),
        (YES, UNTOLD, UNTOLD, YES), (NO, UNTOLD, NO, UNTOLD), (UNTOLD, UNTOLD, UNTOLD, UNTOLD),
    ],
)  # fmt: skip
def test_all_must_be_fulfilled_and_of_any_one(leak: Counts, smoke: Counts, both: Counts, either: Counts) -> None:
    words = {"leak": {YES: "wet", NO: "dry", UNTOLD: GONE}, "smoke": {YES: "smoke", NO: "clear", UNTOLD: GONE}}
    for first, second in ((leak, smoke), (smoke, leak)):
        others: dict[str, Value] = {"leak": words["leak"][first], "smoke": words["smoke"][second]}
        assert counts(f"[{WET}, {SMOKE}]", others) is both
        assert counts(f"[{{any: [{WET}, {SMOKE}]}}]", others) is either


def test_or_missing_is_decided_in_each_condition_before_any() -> None:
    loose = "{quantity: leak, is: wet}"
    assert counts(f"[{{any: [{loose}, {SMOKE}]}}]", {"smoke": "clear"}) is YES


# ---- ever ----


def held_after(when: str, steps: Iterable[Mapping[str, Value]]) -> list[tuple[Counts, int]]:
    one, held, found = rule(f"    when: {when}\n"), frozenset[str](), []
    for others in steps:
        series, values = columns(0.0, others)
        result = apply(one.when, find_columns(one.when, series, 0), values, held)
        held = result.held
        found.append((result.counts, len(held)))
    return found


def test_ever_stays_fulfilled_and_until_then_a_bad_value_tells_nothing() -> None:
    when = "[{quantity: input.voltage, above: 90 V, ever: yes}]"
    steps: list[dict[str, Value]] = [{}, {"input.voltage": GONE}, {"input.voltage": 0.0}, {"input.voltage": 230.0}]
    assert held_after(when, steps) == [(UNTOLD, 0), (UNTOLD, 0), (UNTOLD, 0), (YES, 1)]
    assert held_after(when, [*steps, {"input.voltage": 0.0}, {"input.voltage": GONE}, {}])[4:] == [(YES, 1)] * 3


def test_ever_in_any_and_two_of_them() -> None:
    when = "[{any: [{quantity: leak, is: wet}, {quantity: leak, is: dry, ever: yes}]}, {quantity: smoke, is: smoke, ever: yes}]"
    steps: list[dict[str, Value]] = [
        {"leak": "dry", "smoke": "clear"}, {"leak": "dry", "smoke": "smoke"}, {"leak": "dry", "smoke": "clear"},
    ]  # fmt: skip
    assert held_after(when, steps) == [(UNTOLD, 1), (YES, 2), (YES, 2)]


def test_nothing_new_keeps_the_same_set() -> None:
    one = rule("    when: [{quantity: leak, is: wet, ever: yes}]\n")
    held = frozenset({one.when[0][0].text})
    series, values = columns(0.0, {"leak": "wet"})
    assert apply(one.when, find_columns(one.when, series, 0), values, held).held is held


# ---- what a person is told ----


def told(when: str, others: Mapping[str, Value], *, holds: bool) -> list[Companion]:
    one = rule(f"    when: {when}\n")
    judged, *rest = columns(0.0, others)[0]
    series = (
        judged,
        *(Series(s.device, s.quantity, s.instance, f"label {s.instance}" if s.instance else "") for s in rest),
    )
    return list(tell(one.when, find_columns(one.when, series, 0), series, columns(0.0, others)[1], holds=holds))


BATTERY = Companion("output.source", "battery")
MAINS = Companion("output.source", "mains", holds=False)


def test_a_fault_names_what_makes_it_one() -> None:
    when = "[{any: [{quantity: output.source, is: battery}, {quantity: battery.charge, below: 50 %}]}, {quantity: battery.test, is_not: running}]"
    others: dict[str, Value] = {"output.source": "battery", "battery.charge": 80.0, "battery.test": "passed"}
    assert told(when, others, holds=True) == [BATTERY], "that no test runs is nothing to tell"
    assert told(when, others | {"battery.charge": 40.0}, holds=True) == [BATTERY, Companion("battery.charge", 40.0)]
    assert told(when, {"output.source": GONE}, holds=True) == [], "what is missing makes no fault"


def test_its_end_names_what_does_not_hold() -> None:
    when = "[{any: [{quantity: output.source, is: battery}, {quantity: battery.charge, below: 50 %}]}, {quantity: battery.test, is_not: running}]"
    others: dict[str, Value] = {"output.source": "mains", "battery.charge": 80.0, "battery.test": "passed"}
    assert told(when, others, holds=False) == [MAINS, Companion("battery.charge", 80.0, holds=False)]
    others = {"output.source": "battery", "battery.charge": 80.0, "battery.test": "running"}
    assert told(when, others, holds=False) == [Companion("battery.test", "running", holds=False)]
    untold = "[{any: [{quantity: output.source, is: battery}, {quantity: leak, is: wet, or_missing: no}]}]"
    assert told(untold, {"output.source": "mains"}, holds=False) == [], "this cannot be told, so it ends nothing"


def test_of_several_series_the_first_that_decides_is_told_by_its_label() -> None:
    when = "[{quantity: output.source, is: battery}]"
    others: dict[str, Value] = {"output.source a": "mains", "output.source b": "battery", "output.source c": "battery"}
    assert told(when, others, holds=True) == [Companion("output.source", "battery", "label b")]


def test_ever_and_what_is_said_twice_is_told_once_or_not() -> None:
    when = "[{quantity: output.source, is: mains, ever: yes}, {quantity: output.source, is: battery}, {any: [{quantity: output.source, is: [battery, none]}, {quantity: leak, is: wet}]}]"
    assert told(when, {"output.source": "battery"}, holds=True) == [BATTERY]
    first = "[{any: [{quantity: leak, is: dry, ever: yes}, {quantity: leak, is_not: dry}, {quantity: output.source, is: battery}]}]"
    assert told(first, {"output.source": "battery", "leak": "wet"}, holds=True) == [BATTERY]
    ever = "[{any: [{quantity: output.source, is: battery}, {quantity: leak, is: wet, ever: yes}]}]"
    assert told(ever, {"output.source": "mains", "leak": "dry"}, holds=False) == []


def test_not_more_are_told_than_a_person_reads() -> None:
    when = ", ".join(f"{{quantity: output.load, above: {number} %}}" for number in range(1, 8))
    others: dict[str, Value] = {f"output.load {number}": number + 0.5 for number in range(1, 8)}
    assert len(told(f"[{when}]", others, holds=True)) <= MAX_COMPANIONS
    quantities = ("leak", "smoke", "door", "lock", "motion", "contact.state")
    states: dict[str, Value] = dict(
        zip(quantities, ("wet", "smoke", "open", "unlocked", "moving", "open"), strict=True)
    )
    when = ", ".join(f"{{quantity: {name}, is: {state}}}" for name, state in states.items())
    assert [one.quantity for one in told(f"[{when}]", states, holds=True)] == list(quantities[:MAX_COMPANIONS])
