"""Runs attacks by hand: `python -m tests.chaos` lists them.

    python -m tests.chaos kills clock-jump-collector --rounds 100 --seed 7
    python -m tests.chaos --all --table        # writes the table of docs/reliability.md anew

The exit status is 1 if an attack did harm.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.attacks import all_attacks
from tests.chaos.outcome import Attack, Outcome
from tests.chaos.table import missing_programs, row, write_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="the attacks to run")
    parser.add_argument("--all", action="store_true", help="run every attack")
    parser.add_argument("--rounds", type=int, help="how often each (without it: its own number, usually 20)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))  # noqa: S311 -- no secret
    parser.add_argument("--table", action="store_true", help="write the rows into docs/reliability.md")
    given = parser.parse_args(arguments)
    attacks = all_attacks()
    unknown = [name for name in given.names if name not in attacks]
    if unknown:
        parser.error(f"there is no attack {', '.join(unknown)}")
    chosen = list(attacks.values()) if given.all else [attacks[name] for name in given.names]
    if not chosen:
        print(*(f"{one.name:28} {one.what}" for one in attacks.values()), sep="\n")  # noqa: T201 -- output of a program
        return 0
    print(f"seed {given.seed}", flush=True)  # noqa: T201 -- output of a program
    found = {one: _run(one, given.rounds or one.ci_rounds, given.seed) for one in chosen if not missing_programs(one)}
    if given.table:
        write_table(found)
    return 0 if all(one.clean for one in found.values()) else 1


def _run(attack: Attack, rounds: int, seed: int) -> Outcome:
    folder, began = Path(tempfile.mkdtemp(prefix=f"{attack.name}-")), time.monotonic()
    outcome = attack.run(rounds, seed, folder)
    kept = "" if outcome.clean else f" (see {folder})"
    if outcome.clean:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{row(attack, outcome)} {time.monotonic() - began:.0f} s{kept}", flush=True)  # noqa: T201 -- output of a program
    return outcome


if __name__ == "__main__":
    sys.exit(main())
