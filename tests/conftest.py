"""Shared by all tests: where things are, and skipping with a reason (which CI forbids)."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed, and say which."""
    absent = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"needs {', '.join(absent)} on PATH")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """With WATCHKEEPER_NO_SKIP set (CI), a skip is a failure."""
    if os.environ.get("WATCHKEEPER_NO_SKIP") and call.excinfo and call.excinfo.errisinstance(pytest.skip.Exception):
        raise AssertionError(f"skipped where nothing may skip: {item.nodeid}: {call.excinfo.value}")
