"""Devices that mean harm: all kinds of probes at once, beside good devices."""

import random
from pathlib import Path

from tests.chaos.hostile import (
    ABSURD,
    ANY,
    DATAGRAMS,
    TABLES,
    TCP_KINDS,
    UDP_KINDS,
    Hostile,
    harm_of,
    run_against,
)
from tests.chaos.outcome import Attack, Outcome


def _devices(chance: random.Random) -> list[Hostile]:
    """One hostile device of each kind."""
    devices = [Hostile("systemd"), Hostile("process")]
    devices += [Hostile(kind, chance.choice([*ANY.values(), *ABSURD.get(kind, ())])) for kind in TCP_KINDS]
    for kind in UDP_KINDS:
        tables = TABLES if kind in ("snmp", "snmp-old") else {}
        devices.append(Hostile(kind, chance.choice([*DATAGRAMS.values(), *tables.values()])))
    return devices


def attacked(rounds: int, seed: int, devices: "list[list[Hostile]]") -> Outcome:
    """Run the rounds and count the harm. A good device whose sweeps were late counts as hidden."""
    survived, hidden, largest, harms = 0, 0, 0, []
    for one in devices:
        told = run_against(one)
        harm = harm_of(told)
        survived += not harm
        hidden += len(harm.get("late", ()))
        largest = max(largest, told.get("grown_bytes", 0))
        if harm:
            harms.append({**harm, "against": [(each.kind, getattr(each.server, "__name__", "")) for each in one]})
    note = f"the agent grew by {largest >> 20} MB at most" + (f"; {harms} (seed {seed})" if harms else "")
    return Outcome(rounds, survived, hidden=hidden, note=note)


def _run(rounds: int, seed: int, folder: Path) -> Outcome:
    chance = random.Random(seed)  # noqa: S311 -- no secret
    return attacked(rounds, seed, [_devices(chance) for _ in range(rounds)])


ATTACKS = (
    Attack(
        "hostile-devices",
        "A device of each kind trickles, floods, stays silent, lies about sizes or never comes to an end, beside good ones",
        _run,
        ci_rounds=10,
    ),
)
