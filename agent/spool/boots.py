"""The times in the spool when the machine was started anew. Its boot clock then begins again, and only a wall clock can tell how long
it was off. A wall clock may be wrong by ten years, so three things are told apart:

* What waits to be sent gets the age that our wall clock gives, if a machine may be off for so long; else the smallest that is possible.
* The first answer of the collector corrects that, before anything is sent: it carries the collectors' time, which we also knew
  before.
* The judge's states get the smallest age that is possible: nothing is closed, gone or resolved because of time that nobody watched.
"""

import json
import logging
import sqlite3
from dataclasses import asdict, dataclass

from watchkeeper.agent.spool import file as spoolfile
from watchkeeper.agent.spool import records
from watchkeeper.model.clock import Clock

log = logging.getLogger(__name__)

OFF_S, LONGEST_OFF_S = 7 * 86_400.0, 400 * 86_400.0
"""For how long a machine may have been off: by its own wall clock, which may be wrong, and by the collectors' time."""

_BOOT, _UNCERTAIN = "boot", "uncertain"


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Items up to `through` of each lane, from an earlier boot. Their times were moved by `moved_s`. When they were written, the
    collectors' time was `collector_s` ahead of the boot clock, which showed `at`."""

    collector_s: float
    at: float
    moved_s: float
    through: dict[str, int]


class Boots:
    """Which boot the times of the spool belong to."""

    def __init__(self, clock: Clock, boot_id: str) -> None:
        self._clock, self._boot_id = clock, boot_id
        self._collector_s: float | None = None
        self._uncertain: Uncertain | None = None

    def note(self) -> str:
        """What each commit keeps, for the next boot."""
        boot = self._clock.boot()
        kept = {"boot_id": self._boot_id, "offset": self._clock.wall() - boot, "at": boot}
        return json.dumps(kept if self._collector_s is None else {**kept, "collector": self._collector_s})

    def carry_over(self, db: sqlite3.Connection) -> None:
        """Convert the times of an earlier boot to this one."""
        before = json.loads(spoolfile.get_note(db, _BOOT) or "{}")
        pending = spoolfile.get_note(db, _UNCERTAIN)
        self._uncertain = Uncertain(**json.loads(pending)) if pending else None
        if before.get("boot_id") == self._boot_id:
            self._collector_s = before.get("collector")
            return
        with spoolfile.transaction(db):
            if before:
                self._move(db, before)
            spoolfile.put_note(db, _BOOT, self.note())

    def _move(self, db: sqlite3.Connection, before: dict[str, float]) -> None:
        """Everything was written before this boot began, when its clock was 0."""
        latest = -before["at"]
        by_wall = before["offset"] - (self._clock.wall() - self._clock.boot())
        moved_s = by_wall if latest - OFF_S <= by_wall <= latest else latest
        if by_wall < latest - OFF_S:
            log.error(
                "the wall clock says that this machine was off for %.0f days; that is not believed",
                (latest - by_wall) / 86_400,
            )
        records.shift_records(db, moved_s)
        records.shift_states(db, latest)
        if self._uncertain:  # a second boot without an answer in between
            known = self._uncertain
            self._uncertain = Uncertain(known.collector_s, known.at, known.moved_s + moved_s, known.through)
        elif "collector" in before:
            through = dict(db.execute("SELECT lane, last FROM lanes").fetchall())
            self._uncertain = Uncertain(before["collector"], before["at"], moved_s, through)
        if self._uncertain:
            spoolfile.put_note(db, _UNCERTAIN, json.dumps(asdict(self._uncertain)))

    def learn(self, db: sqlite3.Connection, utc: float) -> None:
        """The collectors' time, from an answer: what is left from an earlier boot gets its true age."""
        self._collector_s = utc - self._clock.boot()
        if self._uncertain is None:
            return
        known = self._uncertain
        exact, latest = known.collector_s - self._collector_s, -known.at
        with spoolfile.transaction(db):
            if latest - LONGEST_OFF_S <= exact:
                records.shift_records(db, min(exact, latest) - known.moved_s, known.through)
            spoolfile.put_note(db, _UNCERTAIN, "")
        self._uncertain = None
