"""Database servers that mean harm: they believe in gigabytes, and their drivers believe them."""

import random
from pathlib import Path

from tests.chaos.attacks.hostile_devices import attacked
from tests.chaos.hostile import ABSURD, ANY, DATABASES, Hostile
from tests.chaos.outcome import Attack, Outcome


def _run(rounds: int, seed: int, folder: Path) -> Outcome:
    chance = random.Random(seed)  # noqa: S311 -- no secret
    return attacked(rounds, seed, [_servers(chance) for _ in range(rounds)])


def _servers(chance: random.Random) -> list[Hostile]:
    return [Hostile(kind, chance.choice([*ANY.values(), *ABSURD.get(kind, ())])) for kind in DATABASES]


ATTACKS = (
    Attack(
        "hostile-databases",
        "MySQL, PostgreSQL and Redis servers claim gigabytes, send rows without end, trickle or stay silent",
        _run,
        ci_rounds=10,
    ),
)
