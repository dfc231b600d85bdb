"""Every attack, as often as CI can afford: it does no harm."""

import random
from pathlib import Path

import pytest

from tests.chaos.attacks import all_attacks, rounds_in_ci
from tests.chaos.outcome import Attack, Outcome
from tests.chaos.table import HEAD, missing_programs, row, write_table

ATTACKS, ROUNDS = all_attacks(), rounds_in_ci()
_IN_TEST_KILLS = "kills"  # tests/chaos/test_kills.py runs it, and looks closer


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # hostile servers and clients are cut off in between
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != _IN_TEST_KILLS])
def test_an_attack_does_no_harm(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attack = ATTACKS[name]
    if missing := missing_programs(attack):
        pytest.skip(f"needs the program {' and '.join(missing)}")
    seed = random.randrange(2**32)  # noqa: S311 -- is no secret
    outcome = attack.run(ROUNDS[name], seed, tmp_path)
    with capsys.disabled():
        print(f"\nseed {seed}: {row(attack, outcome)}")  # noqa: T201 -- the seed must be visible in the output
    assert outcome.clean, f"seed {seed}: {outcome}"


def test_rows_of_the_table_are_replaced_and_others_kept(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- table -->\nold head\n| `a` | x |\n| `b` | y |\n<!-- end of the table -->\nend\n")
    attack = Attack("b", "what", lambda *_: Outcome(1, 1))
    write_table({attack: Outcome(20, 19, lost=1, note="seen")}, page)
    assert page.read_text() == (
        f"# Title\n<!-- table -->\n{HEAD}| `a` | x |\n| `b` | what | 20 | 19 | 1 | 0 | 0 | 0 | seen |\n"
        "<!-- end of the table -->\nend\n"
    )


@pytest.mark.parametrize(
    "outcome", [Outcome(0, 0), Outcome(2, 1), *(Outcome(1, 1, **{name: 1}) for name in ("lost", "doubled", "hidden"))]
)
def test_harm_is_seen(outcome: Outcome) -> None:
    assert not outcome.clean
