"""Proves that a backup can be restored: restores it into a store of its own, counts, checks, and opens the last trouble."""

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.backups.archive import BadBackup, Manifest
from watchkeeper.collector.store.backups.restore import (
    Identities,
    Opened,
    fill,
    opened,
    require_space_for_rows,
    scratch_folder,
)
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import incident, outbox, receipt, rung, transition, trouble

Check = Callable[[sa.Connection], str]
"""Looks at a restored store. Returns what it has found right. Raises BadBackup for what is wrong."""


@dataclass(frozen=True, slots=True)
class GoodBackup:
    """A backup that was restored and found good: the rows of each table, what each check has found, and the last trouble."""

    manifest: Manifest
    encrypted: bool
    counts: Mapping[str, int]
    found: tuple[str, ...]
    last: str

    def lines(self) -> Iterator[str]:
        """What a person is told, line by line."""
        made = datetime.datetime.fromtimestamp(self.manifest.taken_at, datetime.UTC)
        told = f"taken at {made:%Y-%m-%d %H:%M:%S} UTC by version {self.manifest.release or '0.1'}, schema {self.manifest.schema}"
        yield f"{told}, {'encrypted' if self.encrypted else 'not encrypted'}"
        if not self.manifest.sealed:
            yield "it has no checksums: it was made by version 0.1"
        for name, count in sorted(self.counts.items()):
            if count:
                yield f"  {name:<16} {count:>10} rows"
        yield f"restored: {sum(self.counts.values())} rows of {len(self.counts)} tables, as many as were written"
        yield from self.found
        yield self.last


def verify(file: Path, identities: Identities = (), scratch: Path | None = None) -> GoodBackup:
    """Restore a backup into a new SQLite store in a folder in `scratch`, which is deleted afterwards. This needs no PostgreSQL, also
    for a backup of PostgreSQL. Raises BadBackup; WatchkeeperError if there is no space, or no key."""
    with restored(file, identities, scratch) as (backup, store, counts):
        return examine(file, backup, store, counts)


@contextlib.contextmanager
def restored(
    file: Path, identities: Identities, scratch: Path | None
) -> Iterator[tuple[Opened, Store, Mapping[str, int]]]:
    """A backup, and a store that was just filled from it, in a folder that is deleted afterwards."""
    with scratch_folder(scratch) as folder:
        store = Store(f"sqlite:///{folder / 'collector.db'}")
        try:
            with opened(file, identities, folder) as backup:
                require_space_for_rows(folder, backup)
                counts = fill(store, backup, folder)
            yield backup, store, counts
        finally:
            store.close()


def examine(file: Path, backup: Opened, store: Store, counts: Mapping[str, int]) -> GoodBackup:
    """Check a store that was filled from a backup. Raises BadBackup."""
    try:
        with store.read() as connection:
            found = tuple(check(connection) for check in CHECKS)
            last = last_trouble(connection)
    except BadBackup as error:
        raise BadBackup(f"{file}: {error}") from error
    return GoodBackup(backup.manifest, backup.encrypted, counts, found, last)


def last_trouble(connection: sa.Connection) -> str:
    """The newest trouble with its cause and the last thing that happened to that, as one line."""
    number = connection.execute(sa.select(sa.func.max(trouble.c.trouble))).scalar()
    if number is None:
        return "the last trouble: there is none yet"
    one = troubles.by_number(connection, [number])[number]
    cause = rows.incidents_by_number(connection, [one.cause]).get(one.cause)
    if cause is None:
        raise BadBackup(f"trouble {number} has no incident {one.cause}")
    began = datetime.datetime.fromtimestamp(one.opened_at, datetime.UTC)
    steps = rows.transitions_of(connection, cause.incident)
    happened = f"; {len(steps)} entries, the last is `{steps[-1][0].kind.value}`" if steps else ""
    return (
        f"the last trouble: {number}, {cause.device}, {cause.rule}, {one.level.value}, {one.state.value}, "
        f"since {began:%Y-%m-%d %H:%M:%S} UTC{happened}"
    )


# ---- checks ----


def _database_is_whole(connection: sa.Connection) -> str:
    answers = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    if list(answers) != ["ok"]:
        raise BadBackup(f"the restored database is damaged: {answers[0]}")
    return "integrity: the database is whole (PRAGMA integrity_check)"


_REFERENCES = (
    (transition.c.incident, incident.c.incident),
    (trouble.c.cause, incident.c.incident),
    (rung.c.trouble, trouble.c.trouble),
    (receipt.c.outbox, outbox.c.id),
)


def _references_are_there(connection: sa.Connection) -> str:
    for named, there in _REFERENCES:
        lost = sa.select(named).where(named.not_in(sa.select(there))).limit(1)
        number = connection.execute(lost).scalar()
        if number is not None:
            raise BadBackup(f"`{named.table.name}` names `{there.table.name}` {number}, which is not in the backup")
    return "references: every entry, level and receipt has its incident, trouble and message"


CHECKS: tuple[Check, ...] = (_database_is_whole, _references_are_there)
"""What a restored store must pass. The audit chain (issue 13) belongs here: one more function."""
