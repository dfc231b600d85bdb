"""Each configuration that was in force is a row, and stays one. A new one has the next number, and is written only by a collector
that knew the one before."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.site.changes import diff_of
from watchkeeper.collector.site.files import SiteFiles
from watchkeeper.collector.site.in_force import Folder, FolderStanding, InForce
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import activation, site_folder
from watchkeeper.model.errors import StoreError

_LOCK = "the configuration in force"


class Overtaken(StoreError):
    """Another collector has put its configuration in force meanwhile."""


class How(StrEnum):
    """Why a configuration was put in force: a collector started with it, its files were changed, or by a command."""

    START = "start"
    CHANGE = "change"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Activation:
    """A configuration that was put in force, at `activated_at` (UTC seconds), from the folder of `collector`. `author` is empty
    where it is not known. `diff` is the difference to the number before; empty for the first."""

    number: int
    version: str
    activated_at: float
    collector: str
    author: str
    how: How
    diff: str

    @property
    def in_force(self) -> InForce:
        """Its number and version."""
        return InForce(self.number, self.version)


@dataclass(frozen=True, slots=True)
class FolderState:
    """What a collector has noted about its folder at `noted_at`, and the number that it goes by (`follows`)."""

    collector: str
    base: int
    follows: int
    standing: FolderStanding
    noted_at: float


_COLUMNS = [column for column in activation.c if column.name != "files"]


def newest_number(connection: sa.Connection) -> int:
    """The number in force; 0 if there is none."""
    return int(connection.execute(sa.select(sa.func.max(activation.c.number))).scalar() or 0)


def newest(connection: sa.Connection) -> Activation | None:
    """The configuration in force."""
    found = activations_before(connection, None, 1)
    return found[0] if found else None


def activations_before(connection: sa.Connection, before: int | None, limit: int) -> list[Activation]:
    """The newest activations, newest first; with `before`, those with a lower number."""
    query = sa.select(*_COLUMNS).order_by(activation.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(activation.c.number < before)
    return [_from_row(row) for row in connection.execute(query)]


def numbered(connection: sa.Connection, number: int) -> Activation | None:
    """The activation of that number."""
    row = connection.execute(sa.select(*_COLUMNS).where(activation.c.number == number)).first()
    return _from_row(row) if row else None


def files_of(connection: sa.Connection, number: int) -> SiteFiles:
    """The files of that number; none if there is no such number."""
    packed = connection.execute(sa.select(activation.c.files).where(activation.c.number == number)).scalar()
    return SiteFiles.unpack(packed, f"configuration {number}") if packed else SiteFiles({})


def put_in_force(  # noqa: PLR0917 -- what a record has
    store: Store,
    connection: sa.Connection,
    known: InForce,
    files: SiteFiles,
    at: float,
    collector: str,
    author: str,
    how: How,
) -> InForce:
    """Put the files in force under the next number, if `known` still is what is in force. Raises Overtaken."""
    confirm(store, connection, known.number)
    new = InForce(known.number + 1, files.version)
    diff = diff_of(files_of(connection, known.number), files) if known.number else ""
    row = {
        "number": new.number, "version": new.version, "files": files.pack(), "activated_at": at, "collector": collector,
        "author": author, "how": how.value, "diff": diff,
    }  # fmt: skip
    connection.execute(sa.insert(activation), row)
    return new


def confirm(store: Store, connection: sa.Connection, number: int) -> None:
    """Let nobody put another configuration in force until the transaction ends. Raises Overtaken if somebody has."""
    store.lock_names(connection, [_LOCK])
    found = newest_number(connection)
    if found != number:
        raise Overtaken(f"configuration {found} is in force meanwhile, not {number}")


def folder_of(connection: sa.Connection, collector: str, version: str) -> Folder:
    """A collector's folder with files of that version, and what the store knows of it."""
    base = connection.execute(sa.select(site_folder.c.base).where(site_folder.c.collector == collector)).scalar()
    return Folder(version, int(base or 0), earlier_number(connection, version))


def earlier_number(connection: sa.Connection, version: str) -> int:
    """The last number under which files of that version were in force; 0 if they never were."""
    query = sa.select(sa.func.max(activation.c.number)).where(activation.c.version == version)
    return int(connection.execute(query).scalar() or 0)


def note_folder(store: Store, connection: sa.Connection, state: FolderState) -> None:
    """Note the state of a collector's folder."""
    row = {
        "collector": state.collector, "base": state.base, "follows": state.follows, "standing": state.standing.value,
        "noted_at": state.noted_at,
    }  # fmt: skip
    connection.execute(store.upsert(site_folder), row)


def folder_states(connection: sa.Connection) -> list[FolderState]:
    """The folders of all collectors, by name."""
    rows = connection.execute(sa.select(site_folder).order_by(site_folder.c.collector))
    return [
        FolderState(row.collector, row.base, row.follows, FolderStanding(row.standing), row.noted_at) for row in rows
    ]


def _from_row(row: "sa.Row[Any]") -> Activation:
    return Activation(row.number, row.version, row.activated_at, row.collector, row.author, How(row.how), row.diff)
