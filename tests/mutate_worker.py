"""Runs mutmut in the present folder for tests/mutate.py, and tells it that what runs at import concerns every test."""

from typing import Any

from mutmut.__main__ import _run
from mutmut.runners.harness import PytestRunner
from mutmut.state import state

execute, collect_stats = PytestRunner.execute_pytest, PytestRunner.run_stats


class AtImport:
    """A plugin of pytest: which mutated functions have run before the first test. mutmut would try their mutants with that
    test alone."""

    def __init__(self) -> None:
        self.functions: set[str] = set()

    def pytest_collection_finish(self) -> None:
        self.functions = set(state()._stats)
        state()._stats.clear()


at_import = AtImport()


def execute_pytest(self: PytestRunner, params: list[str], **kwargs: Any) -> int:
    return execute(self, params, plugins=[*kwargs.get("plugins", ()), at_import])


def run_stats(self: PytestRunner, **kwargs: Any) -> int:
    code = collect_stats(self, **kwargs)
    for function in at_import.functions:
        state().tests_by_mangled_function_name[function] |= set(state().duration_by_test)
    return code


PytestRunner.execute_pytest, PytestRunner.run_stats = execute_pytest, run_stats  # type: ignore[method-assign]
if __name__ == "__main__":
    _run((), None)
