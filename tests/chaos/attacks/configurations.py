"""Collectors that share a store and have different configurations."""

import logging
import random
from pathlib import Path

from tests.chaos.outcome import Attack, Outcome
from tests.story.in_force_play import ACTS, Step, play

_STEPS = 20


def unequal_configuration(rounds: int, seed: int, folder: Path) -> Outcome:
    """Two collectors whose folders are edited, broken, copied; started, stopped, killed after a commit, in any sequence."""
    chance = random.Random(seed)  # noqa: S311 -- must be repeatable, and is no secret
    survived, activations, harm = 0, 0, []
    logging.disable(logging.ERROR)  # what the collectors say would hide the result
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir()
        steps: list[Step] = [("start", "a", 0), ("start", "b", 0)]
        steps += [(chance.choice(ACTS), chance.choice("ab"), chance.randrange(8)) for _ in range(_STEPS)]
        found, counts = play(f"sqlite:///{place / 'collector.db'}", place, steps)
        survived += not found
        harm += [f"round {number}: {one}" for one in found]
        activations += counts["activations"]
    logging.disable(logging.NOTSET)
    note = "; ".join(harm[:3]) or f"{activations} configurations came into force"
    return Outcome(rounds, survived, hidden=len(harm), note=note)


ATTACKS = (
    Attack(
        "unequal-configuration",
        "Two collectors with different folders: edits, mistakes, starts, stops and kills in any sequence; one configuration is in "
        "force, a collector that follows withdraws nothing, no edit is lost in silence",
        unequal_configuration,
    ),
)
