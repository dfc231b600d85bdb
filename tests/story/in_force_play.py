"""Two collectors with different folders in any sequence of edits, starts, stops, kills and turns, compared with what must hold.
The Hypothesis test and the attack `unequal-configuration` play it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.story.pair_room import Collector, PairRoom, inventory
from watchkeeper.collector.process.apply import apply_events
from watchkeeper.collector.site.files import read_files
from watchkeeper.collector.site.in_force import FolderStanding
from watchkeeper.collector.store.configurations.activations import How
from watchkeeper.model.verdict import Evidence, Level, Verdict

DEVICES = ("web-1", "web-2", "web-3")
ACTS = (
    "edit", "edit", "edit", "break", "copy", "copy", "copy", "restart", "start", "stop", "kill", "reload", "turn", "turn", "turn", "fault",
    "fault", "wait",
)  # fmt: skip

Step = tuple[str, str, int]
"""What happens, to which collector, and a number that chooses the rest."""


@dataclass
class Play:
    """Plays steps, and collects what was wrong in `harm`."""

    room: PairRoom
    harm: list[str] = field(default_factory=list)
    had: dict[str, set[str]] = field(default_factory=dict)
    checked: int = 0

    def run(self, steps: Sequence[Step]) -> list[str]:
        """Play all steps, then let both run and settle."""
        for act, name, number in steps:
            one = self.room.a if name == "a" else self.room.b
            self._note_folders()
            getattr(self, f"_{act}")(one, number)
            self._note_folders()
            self._check(act)
        for one in (self.room.a, self.room.b):
            self._start(one, 0)
        self._settle()
        return self.harm

    # ---- steps ----

    def _edit(self, one: Collector, number: int) -> None:
        """Change the folder. While it runs on what is in force, this must come into force, or be said."""
        chosen = [name for bit, name in enumerate(DEVICES) if number >> bit & 1] or ["web-1"]
        one.write(inventory=inventory(*chosen))

    def _break(self, one: Collector, _number: int) -> None:
        one.write(inventory="agents: [\n")

    def _copy(self, one: Collector, _number: int) -> None:
        other = self.room.b if one is self.room.a else self.room.a
        self.room.copy(other, one)

    def _restart(self, one: Collector, number: int) -> None:
        one.stop()
        self._start(one, number)

    def _start(self, one: Collector, _number: int) -> None:
        if one.runtime is None and not read_files(one.folder).texts["inventory.yml"].startswith("agents: ["):
            before = self._open()
            self._alone_or_unchanged(one, one.start, before)

    def _stop(self, one: Collector, _number: int) -> None:
        one.stop()

    def _kill(self, one: Collector, _number: int) -> None:
        """Between the store's commit and what the process does next."""
        if one.runtime is not None:
            with self._dies_after_commit(one):
                one.turn()
                one.turn()
            one.stop()

    def _reload(self, one: Collector, _number: int) -> None:
        if one.runtime is not None:
            one.reloader.reload()

    def _turn(self, one: Collector, number: int) -> None:
        self.room.clock.advance(0.5)
        for _ in range(1 + number % 2):
            one.turn()

    def _wait(self, _one: Collector, number: int) -> None:
        self.room.away(10.0 * (number % 4))

    def _fault(self, one: Collector, number: int) -> None:
        """An incident about a device that the configuration in force has."""
        if one.runtime is not None and one.devices and not one.runtime.is_behind():
            device = one.devices[number % len(one.devices)]
            if (device, "open") not in self.room.states():
                now = self.room.clock.wall()
                evidence = Evidence("cpu.usage", 99.0, "above 85 %", "", 99.0, now)
                verdict = Verdict(f"{device}-{now}", device, "server.cpu-busy", "", Level.WARNING, now, evidence)
                with self.room.store.write() as connection:
                    apply_events(connection, one.runtime.notifier(), [("room-1", verdict)], now)

    @contextmanager
    def _dies_after_commit(self, one: Collector) -> Iterator[None]:
        """What is in memory after the commit is lost."""
        say = one.reloader._say
        one.reloader._say = _dies  # type: ignore[method-assign]
        try:
            yield
        except _Killed:
            pass
        finally:
            one.reloader._say = say  # type: ignore[method-assign]

    # ---- what must hold ----

    def _note_folders(self) -> None:
        """Which versions each folder has had."""
        for one in (self.room.a, self.room.b):
            self.had.setdefault(one.name, set()).add(read_files(one.folder).version)

    def _open(self) -> set[str]:
        return {device for device, state in self.room.states() if state == "open"}

    def _in_force(self) -> set[str]:
        history = self.room.history
        if not history:
            return set()
        text = self.room.files(history[-1].number).texts["inventory.yml"]
        return {name for name in DEVICES if f"device: {name}," in text}

    def _alone_or_unchanged(self, one: Collector, start: Callable[[], object], before: set[str]) -> None:
        """With company a start changes nothing: neither what is in force, nor an incident."""
        other = self.room.b if one is self.room.a else self.room.a
        known = len(self.room.history)
        other.turn()
        known, before = len(self.room.history), self._open()
        start()
        if other.runtime is not None and known and len(self.room.history) != known:
            self.harm.append(f"the start of {one.name} put its folder in force beside {other.name}")
        if other.runtime is not None and known and not before & self._in_force() <= self._open():
            self.harm.append(f"the start of {one.name} withdrew {before - self._open()}")

    def _check(self, act: str) -> None:
        history = self.room.history
        numbers = [one.number for one in history]
        if numbers != list(range(1, len(numbers) + 1)):
            self.harm.append(f"after {act}: the numbers are {numbers}")
        if any(one.version == after.version for one, after in pairwise(history)):
            self.harm.append(f"after {act}: a record without a change")
        for before, after in list(pairwise(history))[self.checked :]:
            if after.how is How.CHANGE and before.version not in self.had[after.collector]:
                self.harm.append(
                    f"{after.collector} took back configuration {before.number}, which its folder never had"
                )
        self.checked = max(0, len(history) - 1)

    def _settle(self) -> None:
        """After two turns of each, with nothing else happening: one version everywhere, and each folder in force or said."""
        running = [one for one in (self.room.a, self.room.b) if one.runtime is not None]
        for _ in range(3):
            self.room.clock.advance(0.5)
            for one in running:
                one.turn()
        newest = self.room.history[-1] if self.room.history else None
        for one in running:
            runtime = one.running
            if newest is None or runtime.number != newest.number or set(one.devices) != self._in_force():
                self.harm.append(f"{one.name} goes by {runtime.number}: {one.devices}, in force is {self._in_force()}")
            version = read_files(one.folder).version
            broken = read_files(one.folder).texts["inventory.yml"].startswith("agents: [")
            if broken != (runtime.standing is FolderStanding.INVALID) or broken != bool(runtime.problem):
                self.harm.append(f"{one.name}: the errors of its folder are not said: {runtime.standing}")
            elif not broken and newest and (version == newest.version) != (runtime.notice == ""):
                self.harm.append(f"{one.name}: its folder is not in force, and it does not say so")
        if running and newest and len({one.running.snapshot.bundles["room-1"].version for one in running}) != 1:
            self.harm.append("an agent would get two versions")
        if running and self._open() - self._in_force():
            self.harm.append(f"incidents about {self._open() - self._in_force()}, which nobody reads, are open")


class _Killed(BaseException):
    """The process ends here."""


def _dies(_runtime: object) -> None:
    raise _Killed


def play(url: str, folder: Path, steps: Sequence[Step]) -> tuple[list[str], Mapping[str, int]]:
    """Play on an empty store. Returns what was wrong, and counts."""
    room = PairRoom(url, folder)
    try:
        harm = Play(room).run(steps)
        return harm, {"activations": len(room.history), "incidents": len(room.states())}
    finally:
        room.close()
