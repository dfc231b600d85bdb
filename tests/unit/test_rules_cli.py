"""`watchkeeper rules`. The output that docs/rules.md shows must be the real output."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from watchkeeper.model.reading import Reason
from watchkeeper.rules import entries
from watchkeeper.rules.cli import rules

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
FILES = dict(re.findall(r"`([\w-]+\.yml)`:\n\n```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
RUNS = re.findall(r"```console\n\$ watchkeeper rules ([^\n]+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(rules, words, catch_exceptions=False)


@pytest.mark.parametrize(("command", "output"), RUNS)
def test_the_page_shows_the_real_output(command: str, output: str) -> None:
    assert call(*command.split()).output == output


def test_the_page_has_an_example_of_each_command() -> None:
    assert [command.split()[0] for command, _ in RUNS] == ["check", "check", "test", "list"]


@pytest.mark.parametrize("cls", [entries.RuleFile, entries.RuleEntry, entries.ChangeEntry, entries.ThresholdEntry, entries.ClearEntry,
                                 entries.MissingEntry, entries.AppliesEntry, entries.ConditionEntry])  # fmt: skip
def test_the_page_names_every_key(cls: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for field in dataclasses.fields(cls):
        key = re.sub(r"_s?$", "", field.name)
        assert re.search(rf"[`*{{ ]{key}[`:*]", page), key


def test_the_page_names_every_reason() -> None:
    assert " ".join(Reason) in PAGE.read_text(encoding="utf-8")


def test_exit_codes() -> None:
    assert call("check", "hall.yml").exit_code == 0
    assert call("check", "wrong.yml").exit_code == 1
    assert call("check").exit_code == 2
    assert call("test", "hall-test.yml").exit_code == 1
    assert call("list").exit_code == 0


def test_problems_go_to_stderr_so_a_pipe_gets_only_rules() -> None:
    result = call("list", "wrong.yml")
    assert result.stdout == ""
    assert "wrong.yml:6:15" in result.stderr


def test_files_that_cannot_be_read(folder: Path) -> None:
    (folder / "latin.yml").write_bytes(b"rules: # \xe9\n")
    result = call("check", "none.yml", "latin.yml", ".")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        ".:0:0: cannot be read: Is a directory",
        "latin.yml:0:0: is not UTF-8: invalid continuation byte, byte 9",
        "none.yml:0:0: cannot be read: No such file or directory",
        "3 problems",
    ]


def test_a_test_file_that_passes(folder: Path) -> None:
    text = """\
tests:
  - test: water is critical at once
    rule: environment.leak
    steps:
      - {at: 0 s, value: dry}
      - {at: 90 s, value: wet, level: critical}
"""
    (folder / "t.yml").write_text(text, encoding="utf-8")
    result = call("test", "t.yml")
    assert (result.output, result.exit_code) == ("passed  water is critical at once\n1 passed, 0 failed\n", 0)


@pytest.mark.parametrize(
    ("trial", "problem"),
    [
        ("rule: server.cpu\n    steps: [{at: 0 s, value: 1 %, level: ok}]", "3:11: there is no rule `server.cpu`; did you"),
        ("rule: power.bypass\n    steps: [{at: 0 s, value: none, level: ok}]", "3:11: there is no rule `power.bypass`; it is switched off: UPS 2"),
        ("rule: server.cpu-busy\n    steps: [{at: 0 s, value: 1 V, level: ok}]", "4:30: `1 V` is in V, but cpu.usage is measured in %"),
        ("rule: server.cpu-busy\n    steps: [{at: 0 s, value: 1 %}]", "4:12: no step says which `level` it expects"),
        ("rule: server.cpu-busy\n    steps: [{at: 0 s, level: ok}]", "4:18: a step needs either a `value`, or `missing`"),
        ("rule: server.cpu-busy\n    steps: [{at: 0 s, value: 1 %, missing: hung}]", "4:18: a step needs either a `value`, or `missing`"),
        ("rule: environment.leak\n    steps: [{at: 0 s, value: dri, level: ok}]", "4:30: leak has no state `dri`; did you mean `dry`?"),
        (
            "rule: environment.leak\n    steps: [{at: 9 s, value: dry, level: ok}, {at: 3 s, value: dry}]",
            "4:12: the steps must be in the order of their `at`",
        ),
    ],
)  # fmt: skip
def test_a_test_file_that_is_wrong(folder: Path, trial: str, problem: str) -> None:
    (folder / "t.yml").write_text(f"tests:\n  - test: x\n    {trial}\nrules: hall.yml\n", encoding="utf-8")
    result = call("test", "t.yml")
    assert result.exit_code == 1
    assert result.output.startswith(f"t.yml:{problem}")
