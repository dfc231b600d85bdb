"""All attacks, one module for each family."""

from importlib import import_module

from tests.chaos.outcome import Attack

FAMILIES = (
    "kills", "backups", "hostile_devices", "hostile_databases", "databases", "clocks", "configurations", "floods", "watchmen",
    "identities",
)  # fmt: skip


def all_attacks() -> dict[str, Attack]:
    """Every attack by its name, in the order of the families."""
    found = [one for family in FAMILIES for one in import_module(f"tests.chaos.attacks.{family}").ATTACKS]
    return {one.name: one for one in found}
