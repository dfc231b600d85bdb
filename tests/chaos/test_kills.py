"""SIGKILL of agent and collector at commit points and at random: nothing is lost, every rung is decided exactly once."""

import os
import random
from pathlib import Path

import pytest

from tests.chaos.kills import run
from tests.chaos.serving import longest_run

ROUNDS = int(os.environ.get("WATCHKEEPER_CHAOS_ROUNDS", "20"))


@pytest.mark.timeout(60 + 20 * ROUNDS)  # a round takes 3 s on an idle machine with two cores, and 7 s on a busy one
def test_killing_agent_and_collector_loses_and_doubles_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("WATCHKEEPER_CHAOS_SEED", random.randrange(2**32)))  # noqa: S311 -- is no secret
    with capsys.disabled():
        print(f"\nchaos: seed {seed}, {ROUNDS} rounds (WATCHKEEPER_CHAOS_SEED repeats it)")  # noqa: T201 -- the seed must be visible in the output
    tally = run(tmp_path, ROUNDS, seed)
    with capsys.disabled():
        print(f"chaos: {tally}")  # noqa: T201 -- the seed must be visible in the output
    assert tally.faults() == {}
    assert sum(tally.kills.values()) >= ROUNDS
    assert tally.frames_kept > 10 * ROUNDS
    assert tally.values_kept > 0
    assert tally.decisions.incidents >= tally.decisions.troubles > 0
    assert tally.decisions.rungs > 0
    assert tally.decisions.rungs_due > 0
    assert tally.decisions.recoveries > 0


def test_the_time_that_a_collector_served_without_interruption() -> None:
    assert longest_run([], 1.0) == 0.0
    assert longest_run([5.0], 1.0) == 0.0
    assert longest_run([0.0, 1.0, 2.5, 3.0, 4.0, 9.0], 1.0) == 1.5
