"""The scheduled backups. Each is made by a process of its own, so that it never takes time from a page."""

import datetime
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.collector.site.settings import BackupConfig
from watchkeeper.collector.store.backups import plan
from watchkeeper.collector.store.backups.kept import Kept, listed
from watchkeeper.collector.store.backups.plan import BackupState
from watchkeeper.model.clock import Clock
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)
_EVERY_S = 60.0
_AGAIN_S = 900.0
_READ_AGAIN_S = 86_400.0
_FIRST_LOOK_S = 600.0
_GIVEN_UP_S = 5.0
_POLL_S = 0.5

Make = Callable[[float, Callable[[], bool]], str]
"""Makes one backup, which is from this moment. Asks its second argument now and then whether it must stop. Returns why there is none;
empty if there is one."""


@dataclass(frozen=True, slots=True)
class BackupsKept:
    """What is known of the backups: when the newest good one was taken (None: there is none), and how many are good or damaged."""

    newest_at: float | None = None
    good: int = 0
    damaged: int = 0


class Backups:
    """Looks once a minute into the folder of the backups, and has one made when it is due. After a failure it is tried again every
    quarter of an hour. While `in_doubt` says that the clock may be wrong, none is made: its name would lie.

    A folder that does not answer (NFS) blocks this thread only. What is known of it stays, and becomes late.
    """

    def __init__(  # noqa: PLR0917 -- what it needs to know
        self,
        config: BackupConfig,
        folder: Path,
        clock: Clock,
        zone: Callable[[], datetime.tzinfo],
        make: Make,
        in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config, self._folder, self._clock = config, folder, clock
        self._zone, self._make, self._in_doubt = zone, make, in_doubt
        self._read: dict[tuple[Path, int, int], tuple[bool, float]] = {}
        self._began_at = clock.boot()
        self._again_at = self._began_at
        self._looked = self._tried = False
        self.kept = BackupsKept()
        self.failures = 0
        self.problem = ""
        self.worker = Worker("backups", self.turn, clock, retry_s=_EVERY_S)

    def start(self) -> None:
        """Start the thread."""
        self.worker.start()

    def stop(self) -> None:
        """Stop; a backup that is being made is given up."""
        self.worker.stop(_GIVEN_UP_S)

    def state(self) -> BackupState | None:
        """Whether the newest good backup is new enough; None until the first look, or while the first backup ever is being made."""
        if not (self._looked or self._clock.boot() - self._began_at > _FIRST_LOOK_S):
            return None
        state = plan.state(self.kept.newest_at, self._clock.wall(), self.config)
        first = state is BackupState.NONE and not self._tried and self._clock.boot() - self._began_at <= _FIRST_LOOK_S
        return None if first else state

    def age_s(self) -> float | None:
        """The age of the newest good backup; None if there is none."""
        newest = self.kept.newest_at
        return None if newest is None else max(0.0, self._clock.wall() - newest)

    def turn(self) -> float:
        """Look, and make a backup if one is due. Returns the seconds until the next look."""
        self._look()
        now = self._clock.wall()
        due = plan.is_due(self.kept.newest_at, now, self.config, self._zone())
        if due and self._clock.boot() >= self._again_at and not self._in_doubt():
            self._again_at = (
                self._clock.boot() + _AGAIN_S
            )  # also after success: whatever happens, not one after the other
            self.problem = self._make(now, lambda: self.worker.stopping)
            self._tried = True
            self._look()
            self._note(made=not self.problem)
        return _EVERY_S

    def _note(self, *, made: bool) -> None:
        if made:
            log.info("a backup was made; good ones in %s: %d", self._folder, self.kept.good)
        elif not self.worker.stopping:
            self.failures += 1
            log.error("no backup was made: %s; it is tried again in %g minutes", self.problem, _AGAIN_S / 60)

    def _look(self) -> None:
        self._looked = True
        try:
            kept, now = listed(self._folder), self._clock.wall()
            good = [one for one in kept if self._is_good(one)]
        except OSError as error:  # what was known before stays, and becomes late
            log.warning("%s: the backups cannot be read: %s", self._folder, error.strerror)
            return
        usable = [one.taken_at for one in good if plan.usable(one.taken_at, now)]
        self.kept = BackupsKept(max(usable, default=None), len(good), len(kept) - len(good))

    def _is_good(self, one: Kept) -> bool:
        """Whether a file is as it was written. It is read once a day."""
        status = one.file.stat()
        key, boot = (one.file, status.st_size, status.st_mtime_ns), self._clock.boot()
        good, read_at = self._read.get(key, (False, float("-inf")))
        if boot - read_at > _READ_AGAIN_S:
            good = one.good()
            self._read = {**self._read, key: (good, boot)}
            if not good:
                log.error(
                    "%s is damaged: it cannot be read, or its content is not the one that its name tells", one.file
                )
        return good


def by_process(command: Sequence[str], limit_s: float) -> Make:
    """Makes a backup by this command, at the lowest priority and for at most `limit_s`."""

    def make(now: float, must_stop: Callable[[], bool]) -> str:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            process = subprocess.Popen(  # noqa: S603 -- our own program
                [*command, "--at", f"{now:.3f}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            try:
                os.setpriority(os.PRIO_PROCESS, process.pid, 19)
            except OSError:
                log.info("the backup runs at the usual priority: this unit may not lower it")
            left_s = limit_s
            while process.poll() is None and left_s > 0 and not must_stop():
                try:
                    process.wait(_POLL_S)
                except subprocess.TimeoutExpired:
                    left_s -= _POLL_S
            if process.poll() is None:
                process.kill()
                process.wait()
            said.seek(0)
            lines = said.read().strip().splitlines()
        if process.returncode == 0:
            return ""
        return lines[-1] if lines else f"its process ended with {process.returncode}"

    return make
