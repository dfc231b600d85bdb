"""tests/mutants.yml speaks of code that is there. Whether its reasons are good, `make mutate` and a reader must say."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LISTED: dict[str, Any] = yaml.safe_load((ROOT / "tests" / "mutants.yml").read_text(encoding="utf-8"))
EXPLAINED = [(entry["file"], entry["function"], change) for entry in LISTED["explained"] for change in entry["changes"]]


def test_every_module_and_every_test_is_there() -> None:
    for module, tests in LISTED["modules"].items():
        assert (ROOT / module).is_file(), module
        assert [test for test in tests if not (ROOT / "tests" / test).is_file()] == [], module
    assert set(LISTED["imported anew"]) <= set(LISTED["modules"])


@functools.cache
def function(module: str, name: str) -> str:
    """The text of a function or `Class.method`, each run of blanks as one."""
    text = (ROOT / module).read_text(encoding="utf-8")
    outer, _, inner = name.rpartition(".")
    body = ast.parse(text).body
    if outer:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == outer).body
    found = next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == inner), None)
    assert found, f"{module} has no function {name}"
    return re.sub(r"\s+", " ", "\n".join(text.splitlines()[found.lineno - 1 : found.end_lineno]))


def lines(change: str) -> Iterator[str]:
    """What the line can have been before {old -> new}; there may be other braces and arrows in it."""
    for start in (hit.start() for hit in re.finditer(r"\{", change)):
        for arrow in (hit.start() for hit in re.finditer(" -> ", change[start:])):
            for end in (hit.start() for hit in re.finditer(r"\}", change[start + arrow :])):
                old = change[start + 1 : start + arrow]
                yield re.sub(r"\s+", " ", change[:start] + old + change[start + arrow + end + 1 :])


def test_every_explained_change_is_one_of_a_line_that_is_there() -> None:
    gone = [
        f"{module}: {name}: {change}"
        for module, name, change in EXPLAINED
        if not any(line in function(module, name) for line in lines(change))
    ]
    assert not gone, "these mutants are not made any more; see `make mutate`"


def test_every_reason_is_a_sentence() -> None:
    for entry in (*LISTED["explained"], *LISTED["not counted"]):
        assert len(entry["reason"]) > 15, entry
        assert entry["reason"].endswith("."), entry
