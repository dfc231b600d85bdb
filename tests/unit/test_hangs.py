"""A test that hangs is a failure, and the tests after it are run."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
HANGS = """
import threading
import pytest
from hypothesis import given, strategies as st

@given(st.just(1))
def test_an_example_that_hangs(one):
    threading.Event().wait()

def test_a_lock_that_is_never_released():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

@pytest.mark.timeout(60)
def test_after_them(): ...
"""


def test_a_hang_is_a_failure_also_in_an_example_of_hypothesis(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-o", "timeout=0.2"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH", ""))))},
    )  # fmt: skip
    assert "2 failed, 1 passed" in done.stdout.splitlines()[-1], done.stdout
    assert "Hang: Timeout" in done.stdout
