"""The shipped library: clause and advice of every rule, the regulation's numbers, and the level of typical readings."""

import re
from pathlib import Path

import pytest

from watchkeeper.model.device import Category
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Reason, Series, Value
from watchkeeper.model.verdict import Level
from watchkeeper.rules.conditions import apply, find_columns
from watchkeeper.rules.evaluate import RuleState, evaluate_when
from watchkeeper.rules.load import load_rules, shipped
from watchkeeper.rules.rule import Rule
from watchkeeper.rules.rule_tests import report, run

RULES = load_rules(shipped())
# the clauses of REGULATION.md that say what must be monitored
CLAUSES = {"3.6", "3.7", "4.1.2", "4.1.3", "4.1.6", "4.2.5.1", "4.2.5.2", "4.2.5.3", "4.2.5.4"}


TESTS = Path(__file__).resolve().parents[1] / "library"


def alone(rule: Rule, state: RuleState | None, value: Value, at: float) -> RuleState:
    """The state of a rule on a device that has no other readings."""
    series = (Series("box", rule.quantity),)
    applied = apply(rule.when, find_columns(rule.when, series, 0), (value,), state.held if state else frozenset())
    return evaluate_when(rule, state, value, at, str, "", applied)


def named(name: str) -> Rule:
    rule = RULES.named(name)
    assert rule
    return rule


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.rule)
class TestEveryShippedRule:
    def test_its_clauses_exist(self, rule: Rule) -> None:
        assert set(rule.clause.split(", ")) <= CLAUSES

    def test_its_title_and_advice_are_sentences(self, rule: Rule) -> None:
        assert re.fullmatch(r"[A-Z][^.!?\n]{5,45}", rule.title)
        assert re.fullmatch(r"[A-Z][^\n]{30,160}\.", rule.advice)
        assert rule.advice.isascii()

    def test_its_limits_are_in_the_unit_of_its_quantity(self, rule: Rule) -> None:
        quantity = QUANTITIES[rule.quantity]
        limits = [limit for limit in (rule.warning, rule.critical) if limit]
        assert limits
        for limit in limits:
            assert limit.states <= set(quantity.states)
            assert bool(limit.states) == bool(quantity.states)
            if not limit.states and quantity.unit.symbol:
                assert re.search(rf"{quantity.unit.symbol}$|min$|d$", limit.text)

    def test_it_clears_after_some_time(self, rule: Rule) -> None:
        """This prevents flapping. The collector's own rules are the exception: the collector has its own times for them."""
        assert rule.clear_for_s >= 30 or rule.rule.startswith("watchkeeper.")
        limit = rule.warning or rule.critical
        assert limit
        assert (
            limit.states
            or limit.clear != limit.allowed
            or rule.rule in ("power.alarms", "absence.hardware", "absence.sensor")
        )

    def test_some_value_is_ok(self, rule: Rule) -> None:
        assert rule.ok_states or rule.low < rule.high


def test_every_clause_has_a_rule() -> None:
    assert {clause for rule in RULES.rules for clause in rule.clause.split(", ")} == CLAUSES


def test_titles_are_unique() -> None:
    assert len({rule.title for rule in RULES.rules}) == len(RULES.rules)


def test_the_regulation_s_own_numbers() -> None:
    for name in (
        "server.cpu-busy",
        "server.memory-short",
        "server.swap-short",
        "server.disk-full",
        "server.inodes-short",
    ):
        rule = named(name)
        assert (rule.low < 0, rule.high) == (True, 85)
        assert rule.critical
        assert rule.critical.allowed.high == 95
    busy = named("server.cpu-busy").warning
    assert busy
    assert busy.for_s == 600
    temperature, humidity = named("environment.temperature"), named("environment.humidity")
    assert (temperature.low, temperature.high) == (21, 23)
    assert (humidity.low, humidity.high) == (40, 60)


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("power.on-battery", "battery", Level.CRITICAL),
        ("power.on-battery", "booster", Level.OK),
        ("power.on-battery", "unknown", Level.UNKNOWN),
        ("power.output-off", "none", Level.CRITICAL),
        ("power.bypass", "bypass", Level.WARNING),
        ("power.input-lost", 0.0, Level.OK),
        ("power.input-lost", 104.0, Level.OK),
        ("power.battery-low", "low", Level.CRITICAL),
        ("power.battery-low", "depleted", Level.CRITICAL),
        ("power.battery-low", "replace", Level.OK),
        ("power.battery-replace", "replace", Level.WARNING),
        ("power.battery-charge", 49.0, Level.WARNING),
        ("power.battery-charge", 19.0, Level.CRITICAL),
        ("power.battery-runtime", 599.0, Level.WARNING),
        ("power.battery-runtime", 299.0, Level.CRITICAL),
        ("power.overload", 81.0, Level.WARNING),
        ("power.overload", 101.0, Level.CRITICAL),
        ("power.alarms", 1.0, Level.WARNING),
        ("environment.temperature", 23.2, Level.WARNING),
        ("environment.temperature", 20.0, Level.WARNING),
        ("environment.temperature", 27.5, Level.CRITICAL),
        ("environment.humidity", 39.0, Level.WARNING),
        ("environment.humidity", 75.0, Level.CRITICAL),
        ("environment.cooling-fault", "fault", Level.CRITICAL),
        ("environment.cooling-fault", "standby", Level.OK),
        ("environment.leak", "wet", Level.CRITICAL),
        ("server.disk-full", Missing(Reason.HUNG), Level.WARNING),
        ("server.disk-full", Missing(Reason.TIMEOUT), Level.UNKNOWN),
        ("device.not-answering", "no", Level.CRITICAL),
        ("device.alarm", "warning", Level.WARNING),
        ("device.alarm", "critical", Level.CRITICAL),
        ("watchkeeper.agent-silent", "no", Level.CRITICAL),
        ("watchkeeper.disk-full", "full", Level.CRITICAL),
    ],
)
def test_the_level_of_a_value_that_stays_for_an_hour(name: str, value: Value, level: Level) -> None:
    state: RuleState | None = None
    for at in (0.0, 3600.0):
        state = alone(named(name), state, value, at)
    assert state
    assert state.level is level


@pytest.mark.parametrize("name", ["power.on-battery", "power.input-lost", "power.battery-low", "environment.leak"])
def test_an_urgent_fault_is_critical_on_the_first_reading(name: str) -> None:
    critical = named(name).critical
    assert critical
    assert critical.for_s == 0


@pytest.mark.parametrize("category", Category)
def test_a_device_of_any_category_that_does_not_answer_is_a_fault(category: Category) -> None:
    rules = RULES.of(Series("any", "device.answering"), category)
    assert [rule.rule for rule in rules] == ([] if category is Category.WATCHKEEPER else ["device.not-answering"])


def test_the_collector_s_own_rules_apply_only_to_watchkeeper() -> None:
    for quantity in ("agent.heard", "agent.twin", "collector.disk"):
        assert len(RULES.of(Series("room-1", quantity), Category.WATCHKEEPER)) == 1
        assert RULES.of(Series("room-1", quantity), Category.SERVER) == ()


def test_a_server_s_own_sensor_is_not_judged_as_room_temperature() -> None:
    series = Series("db-1", "temperature.ambient", "inlet")
    assert RULES.of(series, Category.SERVER) == RULES.of(series, Category.BMC) == ()
    assert [rule.rule for rule in RULES.of(series, Category.ENV)] == ["environment.temperature"]


def test_the_library_s_file_names_begin_with_library() -> None:
    assert [document.name for document in shipped()] == [
        "library/absence.yml", "library/cooling.yml", "library/environment.yml", "library/events.yml", "library/hardware.yml",
        "library/middleware.yml", "library/plant.yml", "library/power.yml", "library/server.yml", "library/service.yml",
            "library/watchkeeper.yml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "word"),
    [(quantity.name, word) for quantity in QUANTITIES.values() for word, level in quantity.levels.items() if level.bad],
)
def test_every_bad_state_of_the_catalogue_has_a_rule_of_that_level(name: str, word: str) -> None:
    limits = [
        limit for rule in RULES.rules if rule.quantity == name for limit in (rule.warning, rule.critical) if limit
    ]
    assert QUANTITIES[name].levels[word] in {limit.level for limit in limits if word in limit.states}


def test_a_boards_event_log_that_fills_up_is_a_warning() -> None:
    rule = named("device.event-log-full")
    log = Series("bmc-1", "device.percent", "sel", "event log used")
    assert rule in RULES.of(log, Category.BMC)
    assert rule not in RULES.of(Series("bmc-1", "device.percent", "fan duty", ""), Category.BMC)
    state: RuleState | None = None
    for value, level in ((89.0, Level.OK), (100.0, Level.WARNING), (87.0, Level.WARNING), (0.0, Level.WARNING)):
        state = alone(rule, state, value, value)
        assert state.level is level, value


@pytest.mark.parametrize("file", sorted(TESTS.glob("*.yml")), ids=lambda file: file.stem)
def test_the_library_says_what_its_tests_expect(file: Path) -> None:
    results = run(file)
    assert results
    failed = [line for result in results if not result.passed for line in report(result)]
    assert not failed, "\n".join(failed)


def test_every_shipped_rule_with_conditions_has_such_a_test() -> None:
    tested = {result.rule.rule for file in TESTS.glob("*.yml") for result in run(file)}
    assert {rule.rule for rule in RULES.rules if rule.when} <= tested
