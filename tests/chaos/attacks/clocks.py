"""Clocks that jump: of a collector, of one of two, of their database, of an agent, and after a start of the machine."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos import clocks_agent
from tests.chaos.clocks import HOUR, YEARS, Clocks, Site, site
from tests.chaos.outcome import Attack, Outcome

Act = Callable[[Site, Clocks, int], None]
_BIOS = -6 * 365 * 86_400.0
"""The battery of the machine's clock is dead: it begins in the year of its firmware."""


def _attack(
    act: Act, *, collectors: int = 1, database: bool = False, prepare: Act | None = None
) -> "Callable[[int, int, Path], Outcome]":
    """Each round a device gets a fault, and `act` changes a clock."""

    def run(rounds: int, seed: int, folder: Path) -> Outcome:
        with site(folder, seed, collectors=collectors, database=database) as (made, server):
            time.sleep(1.5)  # every agent is heard
            if prepare:
                prepare(made, server, 0)
            for number in range(rounds):
                made.fault()
                act(made, server, number)
            made.settle()
            return made.outcome(rounds)

    return run


def _for_a_moment(seconds: float) -> Act:
    def act(made: Site, _server: Clocks, _number: int) -> None:
        time.sleep(0.2)
        made.clocks[0].set(seconds)
        time.sleep(made.chance.uniform(0.1, 1.0))
        made.clocks[0].set()

    return act


def _to_and_fro(made: Site, _server: Clocks, number: int) -> None:
    made.clocks[0].set((HOUR, -HOUR, YEARS, 0.0, -YEARS, 90.0, -90.0)[number % 7])
    time.sleep(0.9)


def _all_agents_are_here(made: Site, _server: Clocks, _number: int) -> None:
    """Every agent runs on the collector's machine, and has its wall clock; only one is heard."""
    for one in made.agents:
        one.wrong = lambda: made.clocks[0].wall


def _restart(made: Site, _server: Clocks, _number: int) -> None:
    """The process is killed; the wall clock is another one when it starts again."""
    made.kill()
    made.clocks[0].set(made.chance.choice((HOUR, -HOUR, YEARS, -YEARS, 86_400.0)))
    made.start()
    time.sleep(1.0)


def _reboot(made: Site, _server: Clocks, number: int) -> None:
    """The machine is started anew with another wall clock; its boot clock begins again."""
    made.kill()
    clocks = made.clocks[0]
    clocks.restart_machine(f"boot-{number}")
    clocks.set(made.chance.choice((HOUR, -HOUR, YEARS, _BIOS, 0.0)), boot=0.1 - time.clock_gettime(time.CLOCK_BOOTTIME))
    made.start()
    time.sleep(2.0)


def _one_ahead(made: Site, _server: Clocks, number: int) -> None:
    made.clocks[1].set(HOUR if number % 2 else -HOUR)
    time.sleep(0.7)


def _boot_clock(made: Site, _server: Clocks, _number: int) -> None:
    """Every other clock is behind the boot clock of one collector at once."""
    made.clocks[1].set(0.0, boot=made.clocks[1].boot + HOUR)
    time.sleep(2.0)


def _peer_restart(made: Site, _server: Clocks, _number: int) -> None:
    made.kill(1)
    made.clocks[1].set(made.chance.choice((HOUR, -HOUR, YEARS, -YEARS)))
    made.start(1)
    time.sleep(0.5)


def _database_for_a_moment(made: Site, server: Clocks, _number: int) -> None:
    time.sleep(0.3)
    server.set(made.chance.choice((HOUR, -HOUR, YEARS, -YEARS)))
    time.sleep(made.chance.uniform(0.2, 2.0))
    server.set()
    time.sleep(0.5)


def _database_stays(made: Site, server: Clocks, number: int) -> None:
    server.set((HOUR, -HOUR, YEARS, 0.0)[number % 4])
    time.sleep(3.0)


def _agents_jump(made: Site, _server: Clocks, _number: int) -> None:
    jump = made.chance.choice((HOUR, -HOUR, YEARS, -YEARS))
    made.agents[made.chance.randrange(len(made.agents))].wrong = lambda: jump
    time.sleep(0.9)


ATTACKS = (
    Attack("clock-ahead-for-a-moment", "A collector's wall clock is an hour ahead for a second", _attack(_for_a_moment(HOUR)), needs=("cc",)),
    Attack("clock-behind-for-a-moment", "A collector's wall clock is an hour behind for a second", _attack(_for_a_moment(-HOUR)), needs=("cc",)),
    Attack("clock-2038-and-back", "A collector's wall clock goes to 2038 and comes back", _attack(_for_a_moment(YEARS)), needs=("cc",)),
    Attack("clock-to-and-fro", "A collector's wall clock jumps to another hour or year, and stays there", _attack(_to_and_fro), needs=("cc",)),
    Attack("clock-shared-by-agents", "The same, and all agents run on that machine and share its clock",
           _attack(_to_and_fro, prepare=_all_agents_are_here), needs=("cc",)),
    Attack("clock-changed-at-restart", "A collector is killed, and started with another wall clock", _attack(_restart), 6, ("cc",)),
    Attack("clock-changed-at-reboot", "The collector's machine is started anew with another wall clock", _attack(_reboot), 5, ("cc",)),
    Attack("clock-of-a-peer", "One of two collectors is an hour ahead or behind",
           _attack(_one_ahead, collectors=2, database=True), needs=("cc", "initdb")),
    Attack("clock-of-a-peer-at-restart", "One of two collectors is killed, and started with another wall clock",
           _attack(_peer_restart, collectors=2, database=True), 6, ("cc", "initdb")),
    Attack("clock-boot-of-a-peer", "The boot clock of one of two collectors jumps ahead, which a kernel should never do",
           _attack(_boot_clock, collectors=2, database=True), 8, ("cc", "initdb")),
    Attack("clock-of-the-database", "The clock of the database's machine jumps for a second or two, under two collectors",
           _attack(_database_for_a_moment, collectors=2, database=True), 10, ("cc", "initdb")),
    Attack("clock-of-the-database-stays", "The same, and it stays there",
           _attack(_database_stays, collectors=2, database=True), 8, ("cc", "initdb")),
    Attack("clock-of-agents", "The wall clocks of agents jump by an hour or years", _attack(_agents_jump), needs=("cc",)),
    Attack("clock-of-an-agent-at-reboot", "An agent's machine is started anew with another wall clock while a verdict is unsent",
           clocks_agent.run, 4, ("cc",)),
)  # fmt: skip
