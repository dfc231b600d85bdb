"""A collector begins to use a store. One that was set back (a copy put back, a backup restored) may not act on what it believes:
who is signed in, which token counts, what was not sent, and what is still broken."""

import logging
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.access.links import rotate
from watchkeeper.collector.access.tokens import end_sessions, revoke_listed
from watchkeeper.collector.notify.message.draft import NoticeKind
from watchkeeper.collector.notify.notice import PAGES, About
from watchkeeper.collector.store import troubles
from watchkeeper.collector.store.engine import JoinedStore, Store
from watchkeeper.collector.store.life.awaited import HELD, any_held, await_all, awaited_agents
from watchkeeper.collector.store.life.identity import Beside, StoreIdentity, identity_of, next_generation
from watchkeeper.collector.store.peers import peers
from watchkeeper.collector.store.schema import outbox, receipt
from watchkeeper.model.text import marked

log = logging.getLogger(__name__)

AWAY_S = 30.0
"""A collector beats every 5 s. After a longer pause nobody was at work, and faults may be over of which the store does not know."""

KEPT_KINDS = (*PAGES, NoticeKind.RISEN)
"""What is worth sending after the store was set back, if the fault is still there."""

NOT_SENT = marked("not sent: the store was set back to an earlier time, and this may have been sent then")


def begin(store: Store, beside: Beside, now: float) -> StoreIdentity:
    """Begin to use the store: a new generation of it. Tokens that were revoked stay so. Raises StoreError."""
    mark = beside.mark()
    with store.write() as connection:
        known = identity_of(connection)
        if mark and (known is None or known.identity != mark.identity):
            log.error(
                "the store is not the one that was in use here: it was deleted, or another one was put in its place"
            )
        set_back = (
            mark is not None and known is not None and (known.set_back_from(mark) or known.identity != mark.identity)
        )
        if set_back:
            log.error(
                "the store was set back to an earlier time; agents are asked what is still there before anybody is paged"
            )
            forget(store, connection, now)
        revoke_listed(connection, beside.revoked())
        last = max((one.beat_at for one in peers(connection)), default=None)
        if set_back or (last is not None and not 0 <= now - last <= AWAY_S):
            await_all(store, connection, now)
        return next_generation(connection, mark)


def after_restore(
    store: Store, connection: sa.Connection, beside: Beside, now: float, *, keep_tokens: bool
) -> tuple[StoreIdentity, int]:
    """The store was filled from a backup, in this transaction. Tokens that were revoked since stay so: those in the list beside the
    store, or all, where there is no list of this store (unless `keep_tokens` says that none was). Returns the identity and how
    many tokens have ended."""
    known, mark = identity_of(connection), beside.mark()
    listed = known is not None and mark is not None and mark.identity == known.identity
    forget(store, connection, now)
    await_all(store, connection, now)
    ended = revoke_listed(connection, beside.revoked() if listed or keep_tokens else None)
    return next_generation(connection, mark), ended


def forget(store: Store, connection: sa.Connection, now: float) -> None:
    """The store was set back: end all sessions, one-time links and personal links, hold what it believes to be unsent, and give
    no number again that may have been given before."""
    end_sessions(connection)
    rotate(JoinedStore(store, connection), now)
    connection.execute(sa.update(outbox).where(outbox.c.prove_by.is_not(None)), {"prove_by": None})
    pending = sa.and_(outbox.c.state == "pending", outbox.c.about == About.TROUBLE.value)
    kept = outbox.c.kind.in_([kind.value for kind in KEPT_KINDS])
    connection.execute(sa.update(outbox).where(pending, kept), {"state": HELD})
    left = connection.execute(sa.select(outbox.c.id).where(outbox.c.state == "pending")).scalars().all()
    _give_up(connection, left, now)
    store.skip_numbers(connection)


class HeldMessages:
    """What a store that was set back holds as unsent. Once its agent has told what is still there, a page of a fault that is goes
    out; everything else is given up."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._any = True  # until a look finds none: only `forget` makes them, before a collector works

    def look(self, now: float) -> int:
        """Decide about those whose agent has told. Returns how many were decided. Raises StoreError."""
        if not self._any:
            return 0
        with self._store.read() as connection:
            self._any = any_held(connection)
        if not self._any:
            return 0
        with self._store.write() as connection:
            troubles.lock_all(self._store, connection)
            query = sa.select(outbox.c.id, outbox.c.about_id).where(outbox.c.state == HELD).order_by(outbox.c.id)
            found = connection.execute(query).all()
            waiting = awaited_agents(connection, now)
            return self._decide(connection, found, waiting, now)

    def _decide(self, connection: sa.Connection, found: "Sequence[Any]", waiting: Collection[str], now: float) -> int:
        still: list[int] = []
        over: list[int] = []
        for row in found:
            known = troubles.follow(connection, row.about_id)
            if known is not None and known.agent in waiting:
                continue
            (still if known is not None and known.open and not known.quiet else over).append(row.id)
        if still:
            due = sa.update(outbox).where(outbox.c.id.in_(still))
            connection.execute(due, {"state": "pending", "next_at": now})
        _give_up(connection, over, now)
        return len(still) + len(over)


def _give_up(connection: sa.Connection, ids: Sequence[int], now: float) -> None:
    if not ids:
        return
    connection.execute(sa.update(outbox).where(outbox.c.id.in_(ids)), {"state": "given-up", "handed_on": True})
    row = {"at": now, "channel": "", "delivered": False, "detail": NOT_SENT, "proof": None}
    connection.execute(sa.insert(receipt), [{"outbox": number, **row} for number in ids])
