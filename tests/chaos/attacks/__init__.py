"""All attacks, one module for each family."""

from importlib import import_module

from tests.chaos.outcome import Attack

FAMILIES = (
    "kills", "backups", "hostile_devices", "hostile_databases", "databases", "clocks", "configurations", "floods", "watchmen",
    "identities",
)  # fmt: skip


ROUNDS_OF_FAMILY = 20
"""How many rounds CI runs of each family, on every commit."""


def families() -> dict[str, tuple[Attack, ...]]:
    """The attacks of each family."""
    return {family: import_module(f"tests.chaos.attacks.{family}").ATTACKS for family in FAMILIES}


def all_attacks() -> dict[str, Attack]:
    """Every attack by its name, in the order of the families."""
    return {one.name: one for attacks in families().values() for one in attacks}


def rounds_in_ci() -> dict[str, int]:
    """How often CI runs each attack: together at least ROUNDS_OF_FAMILY of a family, where its rounds are short enough."""
    return {
        one.name: min(one.ci_rounds, -(-ROUNDS_OF_FAMILY // len(attacks)))
        for attacks in families().values()
        for one in attacks
    }
