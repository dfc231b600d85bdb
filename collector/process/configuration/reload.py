"""Keeps the active configuration the one that is in force in the store, whichever collector's folder it came from."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site import in_force
from watchkeeper.collector.site.changes import author_of
from watchkeeper.collector.site.files import FileStats, SiteFiles, read_files, stats_of
from watchkeeper.collector.site.in_force import Folder, FolderStanding, InForce, Move
from watchkeeper.collector.site.snapshot import Snapshot, snapshot_of
from watchkeeper.collector.store.configurations import activations
from watchkeeper.collector.store.configurations.activations import Activation, FolderState, How, Overtaken
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.peers import BEAT_EVERY_S, peers
from watchkeeper.model.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

COMPANY_S = 3 * BEAT_EVERY_S
"""A collector that was at work so short a time ago counts as running."""

_NOTHING = InForce()


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The valid files of the folder."""

    files: SiteFiles
    version: str
    snapshot: Snapshot


class ConfigReloader:
    """Watches the folder of the site's configuration and the number in force. A changed folder is put in force; what another
    collector put in force is followed. `name` is the collector's, and `author` tells who made the files of a folder."""

    def __init__(
        self, folder: Path, name: str = "collector", author: Callable[[Path, SiteFiles], str] = author_of
    ) -> None:
        self._folder, self._name, self._author = folder, name, author
        self._last = stats_of(folder)
        self._tried: FileStats | None = self._last
        self._own: _Loaded | None = None
        self._now = _NOTHING
        self._problem = ""
        self._noted: tuple[object, ...] = ()

    def read(self) -> Snapshot:
        """Read the folder. Raises ConfigError with every problem."""
        return self._load().snapshot

    def reload(self) -> None:
        """Let the next `refresh` read everything, changed or not. Safe in a signal handler."""
        self._tried = None

    # ---- at the start ----

    def choose(self, store: Store, now: float) -> Snapshot:
        """What to start with: the folder, which is then in force, or what is in force already (also where the folder has
        errors). Raises ConfigError if neither can be used."""
        refused: ConfigError | None = None
        try:
            self._own = self._load()
        except ConfigError as error:
            self._own, refused = None, error
        self._problem = str(refused or "")
        while True:
            with store.read() as connection:
                newest = activations.newest(connection)
                company = self._has_company(connection, now)
                folder = self._known(connection)
            if newest is None and refused is not None:
                raise refused
            known = newest.in_force if newest else _NOTHING
            move = in_force.at_start(folder, known, company=company) if folder else Move.FOLLOW
            try:
                return self._started(store, move, known, now)
            except Overtaken:
                continue  # another collector started in the same moment: decide again

    def _started(self, store: Store, move: Move, known: InForce, now: float) -> Snapshot:
        if move is Move.FOLLOW or self._own is None:
            with store.read() as connection:
                files = activations.files_of(connection, known.number)
            snapshot = snapshot_of(files)
            self._now = known
            return snapshot
        if move is Move.ACTIVATE:
            own = self._own
            author = self._author(self._folder, own.files)
            with store.write() as connection:
                known = activations.put_in_force(
                    store, connection, known, own.files, now, self._name, author, How.START
                )
                self._note_base(store, connection, known.number, now)
            log.info("the folder %s is in force as configuration %d", self._folder, known.number)
        self._now = known
        return self._own.snapshot

    def begin(self, runtime: Runtime) -> None:
        """Make what was chosen active in the runtime: what it no longer has is withdrawn. Raises StoreError."""
        runtime.number, runtime.problem = self._now.number, self._problem
        if self._problem:
            log.error(
                "the configuration has errors; configuration %d stays active:\n%s", self._now.number, self._problem
            )
        try:
            runtime.activate(runtime.snapshot, partial(activations.confirm, runtime.store, number=self._now.number))
        except Overtaken:
            return  # the first `refresh` follows
        self._say(runtime)

    # ---- while it runs ----

    def refresh(self, runtime: Runtime) -> None:
        """Follow what another collector has put in force. Then put changed files in force once they are the same in two calls,
        because a file that is still being written may be valid too. If they have errors, the previous configuration stays active,
        and the errors are logged once. Raises StoreError; the next call then tries again."""
        self._follow(runtime)
        stats, before = stats_of(self._folder), self._last
        self._last = stats
        if stats != self._tried and stats == before:
            self._tried = stats
            try:
                self._take_folder(runtime)
            except StoreError:
                self._tried = None
                raise

    def _follow(self, runtime: Runtime) -> None:
        with runtime.store.read() as connection:
            number = activations.newest_number(connection)
        if number in (self._now.number, runtime.unusable):
            return
        if number < self._now.number:
            log.warning("the store's configuration %d is older than %d, which was in force", number, self._now.number)
            snapshot = self.choose(runtime.store, runtime.clock.wall())
            self._activate(runtime, snapshot, self._now)
            runtime.problem = self._problem
        else:
            self._take_over(runtime)
        self._say(runtime)

    def _take_over(self, runtime: Runtime) -> None:
        """Make what is in force active here."""
        with runtime.store.read() as connection:
            newest = activations.newest(connection)
            files = activations.files_of(connection, newest.number) if newest else SiteFiles({})
        if newest is None:
            return
        try:
            own = self._own
            snapshot = own.snapshot if own and own.version == newest.version else snapshot_of(files)
        except ConfigError as error:
            runtime.unusable = newest.number
            log.error(  # noqa: TRY400 -- a message for the operator; a traceback does not help
                "configuration %d has errors for this collector, which goes on with the one before:\n%s",
                newest.number, error,
            )  # fmt: skip
            return
        self._activate(runtime, snapshot, newest.in_force)
        log.info("following configuration %d, put in force by collector %s", newest.number, newest.collector)

    def _activate(self, runtime: Runtime, snapshot: Snapshot, known: InForce) -> None:
        """Make active what is in force already. Raises Overtaken if it is not any more."""

        def record(connection: sa.Connection) -> None:
            activations.confirm(runtime.store, connection, known.number)

        runtime.activate(snapshot, record)
        self._now, runtime.number, runtime.unusable = known, known.number, 0

    def _take_folder(self, runtime: Runtime) -> None:
        try:
            self._own = self._load()
        except ConfigError as error:
            self._own = None
            runtime.problem = str(error)
            log.error(  # noqa: TRY400 -- a message for the operator; a traceback does not help
                "the configuration has errors; the previous configuration stays active:\n%s", error
            )
        else:
            runtime.problem = ""
            self._put_in_force(runtime, self._own)
        self._say(runtime)

    def _put_in_force(self, runtime: Runtime, own: _Loaded) -> None:
        """Let the valid folder be what is in force, if nothing else came into force since it was. Raises Overtaken."""
        store, now = runtime.store, runtime.clock.wall()
        with store.read() as connection:
            newest = activations.newest(connection)
            folder = activations.folder_of(connection, self._name, own.version)
        known = newest.in_force if newest else _NOTHING
        move = in_force.at_change(folder, known)
        if move is Move.STAY:
            self._activate(runtime, own.snapshot, known)
        elif move is Move.ACTIVATE:
            author = self._author(self._folder, own.files)
            new: list[InForce] = []

            def record(connection: sa.Connection) -> None:
                new.append(
                    activations.put_in_force(store, connection, known, own.files, now, self._name, author, How.CHANGE)
                )
                self._note_base(store, connection, new[-1].number, now)

            runtime.activate(own.snapshot, record)
            self._now, runtime.number, runtime.unusable = new[-1], new[-1].number, 0
            log.info("new configuration %d in force from %s", self._now.number, self._folder)
        else:
            log.error(
                "the change of %s is NOT in force: it was not made on configuration %d, which is",
                self._folder,
                known.number,
            )

    # ---- what is said and noted ----

    def _say(self, runtime: Runtime) -> None:
        """Tell how the folder compares with what is in force: to the runtime, the store and, if that is new, the log."""
        with runtime.store.read() as connection:
            folder = self._known(connection)
            newest = activations.newest(connection)
            base = activations.folder_of(connection, self._name, "").base
        now = newest.in_force if newest else _NOTHING
        if runtime.unusable:
            found = FolderStanding.UNUSABLE
        elif folder is None:
            found = FolderStanding.INVALID
        else:
            found = in_force.standing(folder, now)
            base = now.number if found is FolderStanding.IN_FORCE else base
        runtime.note_folder(found, says=_notice(found, newest, folder.earlier if folder else 0))
        state = (base, runtime.number, found)
        if state == self._noted:
            return
        with runtime.store.write() as connection:
            activations.note_folder(runtime.store, connection, FolderState(self._name, *state, runtime.clock.wall()))
        self._noted = state
        if runtime.notice:
            log.warning("%s", runtime.notice)

    def _note_base(self, store: Store, connection: sa.Connection, number: int, now: float) -> None:
        state = FolderState(self._name, number, number, FolderStanding.IN_FORCE, now)
        activations.note_folder(store, connection, state)

    def _load(self) -> _Loaded:
        files = read_files(self._folder)
        return _Loaded(files, files.version, snapshot_of(files))

    def _known(self, connection: sa.Connection) -> Folder | None:
        """The folder, with what the store knows of it; None while it has errors."""
        return activations.folder_of(connection, self._name, self._own.version) if self._own else None

    def _has_company(self, connection: sa.Connection, now: float) -> bool:
        return any(one.name != self._name and one.beat_at > now - COMPANY_S for one in peers(connection))


def _notice(found: FolderStanding, newest: Activation | None, earlier: int) -> str:
    """What a person should know and do; empty where the folder is in force, or its errors say it all."""
    if newest is None or found in (FolderStanding.IN_FORCE, FolderStanding.INVALID):
        return ""
    number, other = newest.number, newest.collector
    if found is FolderStanding.UNUSABLE:
        return f"This collector cannot use configuration {number}, which collector {other} put in force, and goes on with the one before. Install the same release on all collectors."
    if found is FolderStanding.OLDER:
        return f"This collector follows configuration {number}, which collector {other} put in force. Its own folder has the older configuration {earlier}, and is not used. Bring the folder up to date."
    return f"This collector follows configuration {number}, which collector {other} put in force. Its own folder differs, and is not used. Bring the folder up to date, or put it in force with the command `activate`."
