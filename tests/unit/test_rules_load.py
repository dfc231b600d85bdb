"""Rule files: problems of all files with their places, changes, rules that are switched off, and where a rule applies."""

import sys
from subprocess import run

import pytest

from watchkeeper.model.batch import Document
from watchkeeper.model.device import Category
from watchkeeper.model.errors import ConfigError
from watchkeeper.model.reading import Series
from watchkeeper.rules.load import RuleSet, load_rules, shipped

HEAD = "rules:\n  - rule: a.rule\n    clause: 3.6\n    title: A title\n    advice: Go and look.\n"


def document(text: str, name: str = "own.yml") -> Document:
    return Document(name, text)


def one(text: str) -> str:
    """A file with one rule. The text begins on line 6 and is indented by four spaces."""
    return HEAD + "".join(f"    {line}\n" for line in text.splitlines())


def problems(*texts: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_rules([document(text, f"{name}.yml") for name, text in zip("abc", texts, strict=False)])
    return str(caught.value).splitlines()


def load_over_shipped(text: str) -> RuleSet:
    return load_rules([*shipped(), document(text)])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("quantity: cpu.usge\nwarning: {above: 85 %}", "6:15: there is no quantity `cpu.usge`; did you mean `cpu.usage`?"),
        ("quantity: cpu.usage\nwarning: {above: 85 °C}", "7:22: `85 °C` is in °C, but cpu.usage is measured in %"),
        ("quantity: cpu.usage\nwarning: {above: 85}", "7:22: `85` has no unit, but cpu.usage is measured in %"),
        ("quantity: load.1m\nwarning: {above: 8 %}", "7:22: `8 %` is in %, but load.1m is a plain number"),
        ("quantity: cpu.usage\nwarning: {above: much}", "7:22: `much` is not a number; write it like `85 %`"),
        (
            "quantity: battery.runtime\nwarning: {below: 5 minutes}",
            "7:22: `5 minutes` is not a duration; write it like `10 min` (units: ms, s, sec, min, h, d, day, days)",
        ),
        (
            "quantity: cpu.usage\nwarning: {above: 8 %, below: 3 %}",
            "7:34: a threshold has one limit; this one has `above` and `below`",
        ),
        (
            "quantity: cpu.usage\nwarning: {for: 3 s}",
            "7:14: a threshold needs one of `above`, `below`, `outside` or `is`",
        ),
        ("quantity: cpu.usage", "2:11: `a.rule` can never be bad; give it `warning`, `critical` or `missing`"),
        (
            "quantity: cpu.usage\nwarning: {above: 95 %}\ncritical: {above: 85 %}",
            "8:23: critical (above 85 %) is not worse than warning (above 95 %); a critical value must be a warning as well",
        ),
        (
            "quantity: cpu.usage\nwarning: {above: 95 %}\ncritical: {below: 5 %}",
            "8:23: critical (below 5 %) is not worse than warning (above 95 %); a critical value must be a warning as well",
        ),
        (
            "quantity: cpu.usage\nwarning: {above: 95 %}\ncritical: {above: 95 %}",
            "8:23: critical (above 95 %) is not worse than warning (above 95 %); the same limit needs a longer `for`",
        ),
        (
            "quantity: temperature.ambient\nwarning: {outside: 21 .. 23 °C}\ncritical: {outside: 20 .. 22 °C}",
            "8:25: critical (outside 20 .. 22 °C) is not worse than warning (outside 21 .. 23 °C);",
        ),
        (
            "quantity: temperature.ambient\nwarning: {outside: 23 .. 21 °C}",
            "7:24: `23 .. 21 °C` is an empty range; write the lower end first, like `21 .. 23 °C`",
        ),
        (
            "quantity: temperature.ambient\nwarning: {outside: 21-23 °C}",
            "7:24: `21-23 °C` is not a range; write it like `21 .. 23 °C`",
        ),
        (
            "quantity: temperature.ambient\nwarning: {outside: 21 .. 23}",
            "7:24: `21` has no unit, but temperature.ambient is measured in °C",
        ),
        (
            "quantity: temperature.ambient\nwarning: {outside: 21 .. 23 °C}\nclear: {margin: 1.1 °C}",
            "7:24: `outside: 21 .. 23 °C` can never clear: the margin leaves no value that clears it",
        ),
        (
            "quantity: battery.charge\nwarning: {below: 98 %}\nclear: {margin: 5 %}",
            "7:22: `below: 98 %` can never clear: the margin leaves no value that clears it",
        ),
        (
            "quantity: cpu.usage\nwarning: {above: 98 %}\nclear: {margin: 5 s}",
            "8:21: `5 s` is in s, but cpu.usage is measured in %",
        ),
        ("quantity: cpu.usage\nwarning: {above: 98 %}\nclear: {margin: -5 %}", "8:21: `-5 %`: a margin cannot be negative"),
        (
            "quantity: leak\nwarning: {is: wet}\nclear: {margin: 1 °C}",
            "8:21: leak is a state and has no margin; write only `for`",
        ),
        ("quantity: leak\nwarning: {is: wett}", "7:19: leak has no state `wett`; did you mean `wet`?"),
        ("quantity: leak\nwarning: {above: 3 %}", "7:22: leak is a state (dry, wet, unknown); use `is`"),
        ("quantity: cpu.usage\nwarning: {is: high}", "7:19: cpu.usage is a number; use `above`, `below` or `outside`"),
        (
            "quantity: leak\nwarning: {is: wet}\ncritical: {is: [wet]}",
            "8:20: `wet` is a warning as well; critical needs a longer `for` then",
        ),
        (
            "quantity: network.errors\nwarning: {above: 5}",
            "6:15: network.errors is a counter, which only grows; it cannot have a limit",
        ),
        (
            "quantity: cpu.usage\nmissing: {level: unknown}",
            "7:22: `level: unknown` has no effect on a missing value; write warning or critical",
        ),
        ("quantity: cpu.usage\nmissing: {level: warning, reasons: [dead]}", "7:41: `dead` is not one of timeout,"),
        ("quantity: cpu.usage\nmissing: {level: warning}\nwarn: {}", "8:5: unknown key `warn`; did you mean `warning`?"),
        (
            "quantity: cpu.usage\nmissing: {level: warning}\napplies: {categories: [sever]}",
            "8:28: `sever` is not one of server,",
        ),
    ],
)  # fmt: skip
def test_a_problem_names_its_place_and_what_to_do(text: str, problem: str) -> None:
    (found,) = problems(one(text))
    assert found.startswith(f"a.yml:{problem}")


@pytest.mark.parametrize("name", ["Server.cpu", "server..cpu", ".cpu", "server cpu", "-", "服务器", "a_b", "a.", ""])
def test_a_rule_name_has_only_letters_digits_dots_and_hyphens(name: str) -> None:
    (found,) = problems(HEAD.replace("a.rule", f"'{name}'") + "    quantity: leak\n    critical: {is: wet}\n")
    assert "cannot be a rule's name" in found


def test_the_keys_that_a_rule_needs() -> None:
    assert problems("rules:\n  - rule: a.rule\n    title: ''\n") == [
        "a.yml:2:5: a rule needs `advice`",
        "a.yml:2:5: a rule needs `clause`",
        "a.yml:2:5: a rule needs `quantity`",
    ]
    assert problems(one("quantity: leak\ncritical: {is: wet}").replace("A title", "' '")) == [
        "a.yml:4:12: `title` is empty"
    ]


def test_every_problem_of_every_file_is_reported_at_once() -> None:
    first = one("quantity: cpu.usge\nwarning: {above: 85 %}")
    second = one("quantity: leak\nwarning: {is: wett}\nclear: {fro: 3 s}").replace("a.rule", "b.rule")
    third = "rules: [\n"
    assert [problem.partition(" ")[0] for problem in problems(first, second, third)] == [
        "a.yml:6:15:", "b.yml:7:19:", "b.yml:8:13:", "c.yml:2:1:",
    ]  # fmt: skip


def test_a_rule_name_is_used_once() -> None:
    text = one("quantity: leak\ncritical: {is: wet}")
    assert problems(text, text) == ["b.yml:2:11: rule `a.rule` is already at a.yml:2; to change it, use `changes:`"]
    assert problems(text + text.removeprefix("rules:\n")) == [
        "a.yml:8:11: rule `a.rule` is already at a.yml:2; give one of them another name"
    ]


def test_a_change_replaces_only_the_keys_it_has() -> None:
    before = load_rules(shipped()).named("server.cpu-busy")
    after = load_over_shipped(
        "changes:\n  - rule: server.cpu-busy\n    because: batch jobs\n    warning: {above: 90 %, for: 30 min}\n"
    ).named("server.cpu-busy")
    assert before
    assert after
    assert after.warning
    assert (after.warning.text, after.warning.for_s, after.warning.clear.high) == ("above 90 %", 1800, 85)
    assert (after.critical, after.title, after.clause) == (before.critical, before.title, before.clause)
    assert after.file == "own.yml"


def test_a_change_that_makes_no_sense_is_reported_in_its_own_file() -> None:
    with pytest.raises(ConfigError) as caught:
        load_over_shipped("changes:\n  - rule: server.cpu-busy\n    because: x\n    warning: {above: 97 %}\n")
    assert str(caught.value).startswith("own.yml:2:5: critical (above 95 %) is not worse than warning (above 97 %)")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "off:\n  - {rule: power.bypas, because: x}",
            "own.yml:2:12: no file before this one has a rule `power.bypas`; did you mean `power.bypass`?",
        ),
        (
            "off:\n  - {rule: power.bypass, because: x}\n  - {rule: power.bypass, because: x}",
            "own.yml:3:12: rule `power.bypass` is already switched off",
        ),
        ("off:\n  - {rule: power.bypass}", "own.yml:2:5: an off entry needs `because`"),
        ("off: power.bypass", "own.yml:1:6: expected a list, found `power.bypass`"),
        (
            "changes:\n  - {rule: power.bypass, because: x}",
            "own.yml:2:12: this changes nothing; write the keys of `power.bypass` that must be different",
        ),
        (
            "changes:\n  - {rule: power.bypass, because: x, quantity: leak}",
            "own.yml:2:38: unknown key `quantity`; known keys: rule, because, clause,",
        ),
    ],
)
def test_a_change_or_off_that_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_over_shipped(text)
    (found,) = str(caught.value).splitlines()
    assert found.startswith(problem)


def test_a_rule_switched_off_judges_nothing() -> None:
    found = load_over_shipped("off:\n  - {rule: power.bypass, because: we run on bypass}")
    assert found.named("power.bypass") is None
    assert found.off == {"power.bypass": "we run on bypass"}
    names = [rule.rule for rule in found.of(Series("ups-1", "output.source"), Category.UPS)]
    assert names == ["power.on-battery", "power.output-off"]


def test_amounts_are_converted_to_the_quantity_s_unit() -> None:
    rules = load_rules([
        document(one("quantity: battery.runtime\nwarning: {below: 10 min}\nclear: {margin: 1 min}")),
        document(one("quantity: temperature.ambient\nwarning: {outside: -5℃..２３ ℃}").replace("a.", "b."), "b.yml"),
        document(one("quantity: memory.size\nwarning: {below: 4 GiB}").replace("a.", "c."), "c.yml"),
    ]).rules  # fmt: skip
    limits = [rule.warning for rule in rules]
    assert all(limits)
    assert [(limit.allowed.low, limit.allowed.high, limit.clear.low) for limit in limits if limit] == [
        (600, float("inf"), 660), (-5, 23, -5), (4 * 2**30, float("inf"), 4 * 2**30),
    ]  # fmt: skip
    assert [limit.text for limit in limits if limit] == ["below 10 min", "outside -5°C..23 °C", "below 4 GiB"]


def test_where_a_rule_applies() -> None:
    (rule,) = load_rules([document(one(
        "quantity: disk.usage\nwarning: {above: 85 %}\napplies:\n  categories: [server, storage]\n  devices: 'db-*'\n"
        "  instances: [/var*, Data *]\n  except_devices: db-test\n  except_instances: ['/var/cache', 'Data [0-9]']"
    ))]).rules  # fmt: skip

    def judged(device: str, instance: str, label: str = "", category: Category = Category.SERVER) -> bool:
        return rule.scope.matches(Series(device, "disk.usage", instance, label), category)

    assert judged("db-1", "/var")
    assert judged("db-1", "7", "Data Z", Category.STORAGE)
    assert not judged("db-1", "/var", category=Category.UPS)
    assert not judged("web-1", "/var")
    assert not judged("db-test", "/var")
    assert not judged("db-1", "/home")
    assert not judged("db-1", "/var/cache")
    assert not judged("db-1", "7", "Data 7")


def test_a_rule_without_applies_applies_everywhere() -> None:
    rules = load_rules([document(one("quantity: leak\ncritical: {is: wet}"))])
    assert len(rules.of(Series("any", "leak", "3", "under the floor"), Category.METER)) == 1
    assert rules.of(Series("any", "cpu.usage"), Category.METER) == ()


def test_equal_files_make_equal_rules() -> None:
    """An agent compares rules to see whether a new bundle changed one."""
    assert load_rules(shipped()) == load_rules(shipped())


@pytest.mark.parametrize("text", ["rules: []\n", "off: []\n"])
def test_a_file_may_have_no_rules(text: str) -> None:
    assert load_rules([document(text)]).rules == ()


def test_loading_rules_imports_nothing_that_is_forbidden_in_an_agent() -> None:
    script = "import sys; import watchkeeper.rules.load as load, watchkeeper.rules.evaluate; load.load_rules(load.shipped()); print(*sys.modules)"
    loaded = run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {"yaml", "watchkeeper.rules.evaluate"} <= set(loaded)
    assert not {"pydantic", "click", "sqlalchemy", "fastapi", "requests"} & set(loaded)
