"""SIGKILL of agents and collectors, at commit points and at random."""

from pathlib import Path

from tests.chaos import kills, pair
from tests.chaos.comparing import Decisions
from tests.chaos.outcome import Attack, Outcome


def _kill_both(rounds: int, seed: int, folder: Path) -> Outcome:
    tally = kills.run(folder, rounds, seed)
    lost = tally.readings_lost + tally.events_lost + tally.pages_lost + _never(tally.decisions)
    note = (
        f"{sum(tally.kills.values())} kills; {tally.frames_kept} frames, {tally.events} events, {tally.decisions.rungs} rungs, "
        f"{tally.pages} messages"
    )
    return _outcome(rounds, tally.faults(), tally.decisions, lost, note)


def _kill_in_turn(rounds: int, seed: int, folder: Path) -> Outcome:
    tally = pair.run(folder, rounds, seed)
    lost = tally.messages_lost + tally.messages_given_up + tally.left_in_journal + _never(tally.decisions)
    note = (
        f"{sum(tally.kills.values())} kills; {tally.pushes} pushes, {tally.decisions.rungs} rungs, {tally.messages} messages, "
        f"{tally.sent_again} of them sent again under the same key"
    )
    return _outcome(rounds, tally.faults(), tally.decisions, lost, note)


def _outcome(rounds: int, faults: dict[str, int], decisions: Decisions, lost: int, note: str) -> Outcome:
    survived = rounds if not faults else 0
    said = f"{note}; {faults}" if faults else note
    return Outcome(rounds, survived, lost, len(decisions.rungs_doubled) + len(decisions.recoveries_doubled), note=said)


def _never(decisions: Decisions) -> int:
    return len(decisions.rungs_never) + len(decisions.rungs_skipped) + len(decisions.recoveries_missing)


ATTACKS = (
    Attack("kills", "An agent and a collector are killed, in turn or together, while faults come and go", _kill_both),
    Attack(
        "kills-pair", "Two collectors on one PostgreSQL are killed in turn while 12 agents push faults of 1,200 devices",
        _kill_in_turn, ci_rounds=4, needs=("initdb",),
    ),
)  # fmt: skip
