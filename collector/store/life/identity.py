"""The identity of the store, and what is remembered of it beside it, so that a copy that was put back is noticed."""

import contextlib
import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import life


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """`identity` is made once, at random. `generation` rises whenever a collector begins to use the store, and at a restore;
    `turn` every few seconds while one is at work."""

    identity: str
    generation: int = 0
    turn: int = 0

    def set_back_from(self, before: "StoreIdentity") -> bool:
        """Whether the store was further before."""
        mine, theirs = (self.generation, self.turn), (before.generation, before.turn)
        return self.identity == before.identity and mine < theirs


def identity_of(connection: sa.Connection) -> StoreIdentity | None:
    """The identity of the store; None if no collector has used it yet."""
    row = connection.execute(sa.select(life)).first()
    return StoreIdentity(row.identity, row.generation, row.turn) if row else None


def next_generation(connection: sa.Connection, at_least: StoreIdentity | None = None) -> StoreIdentity:
    """Begin a new generation, in the caller's transaction: later than the one in the store, and than `at_least` if that is of
    the same store."""
    known = identity_of(connection)
    if known is None:
        made = StoreIdentity(secrets.token_hex(16), 1)
        connection.execute(sa.insert(life), _values(made))
        return made
    before = at_least if at_least and at_least.identity == known.identity else known
    now = replace(known, generation=max(known.generation, before.generation) + 1, turn=max(known.turn, before.turn))
    connection.execute(sa.update(life), _values(now))
    return now


def next_turn(store: Store) -> StoreIdentity | None:
    """Note that a collector is at work. Raises StoreError."""
    with store.write() as connection:
        connection.execute(sa.update(life).values(turn=life.c.turn + 1))
        return identity_of(connection)


def _values(one: StoreIdentity) -> dict[str, str | int]:
    return {"identity": one.identity, "generation": one.generation, "turn": one.turn}


class Beside:
    """The files beside an embedded store. They are not part of a copy of it: NAME.mark remembers how far the store was, and
    NAME.revoked which tokens were revoked. For PostgreSQL there are none (`folder` is None)."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self._mark = folder / f"{name}.mark" if folder else None
        self._revoked = folder / f"{name}.revoked" if folder else None

    def mark(self) -> StoreIdentity | None:
        """How far the store was when it was last in use here; None if that is not known."""
        if self._mark is None:
            return None
        try:
            identity, generation, turn = self._mark.read_text(encoding="ascii").split()
            return StoreIdentity(identity, int(generation), int(turn))
        except (OSError, ValueError):
            return None

    def write_mark(self, now: StoreIdentity) -> None:
        """Remember how far the store is. Raises OSError."""
        if self._mark:
            part = self._mark.with_name(self._mark.name + ".part")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as out:
                out.write(f"{now.identity} {now.generation} {now.turn}\n")
            part.replace(self._mark)

    def revoked(self) -> frozenset[str]:
        """The fingerprints of all tokens that were revoked here."""
        with contextlib.suppress(FileNotFoundError):
            if self._revoked:
                return frozenset(self._revoked.read_text(encoding="ascii").split())
        return frozenset()

    def add_revoked(self, fingerprints: list[str]) -> None:
        """Add to the list, on disk before anything else happens. Raises OSError."""
        if self._revoked and fingerprints:
            handle = os.open(self._revoked, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "a", encoding="ascii") as out:
                out.write("".join(f"{one}\n" for one in fingerprints))
                out.flush()
                os.fsync(handle)


def beside(store: Store) -> Beside:
    """The files beside this store."""
    return Beside(store.folder, Path(store.url.database or "").name)
