"""The statements by which an outbox finds due messages, takes them for itself, and writes what became of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.channels.ports import Proof, Receipt
from watchkeeper.collector.notify.delivery.tries import NEXT_ROUND_AFTER_S
from watchkeeper.collector.notify.notice import LEASE_S, PAGES, About
from watchkeeper.collector.site.inventory import PersonAddress
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import outbox, receipt

READ_AT_ONCE = 2_000
"""How many due messages of one person are looked at in one turn."""

TRIES_KEPT = 20
"""Receipts of one message that are kept, besides the first and those of deliveries: a channel that fails is tried for days."""

DELIVERIES = "deliveries "

PROOFS = tuple(Proof)
"""From the weakest to the strongest."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Messages to one person that this worker may send as one, by this channel, until `lease` (UTC seconds). `began` is on the
    boot clock, `deadline_s` how long it waits for the channel. `address` is None if the person is gone from the contacts. No two
    claims of an outbox have the same `number`. `joined` is as in `Sending`."""

    number: int
    rows: "tuple[sa.Row[Any], ...]"
    channel: int
    address: PersonAddress | None
    lease: float
    began: float
    deadline_s: float
    joined: bool = False

    @property
    def row(self) -> "sa.Row[Any]":
        """The first message."""
        return self.rows[0]

    @property
    def ids(self) -> list[int]:
        """The numbers of its rows."""
        return [row.id for row in self.rows]


def due_people(connection: sa.Connection, now: float, under_way: Sequence[int]) -> Sequence[str]:
    """Everybody who has a due message; first who has the most urgent one, then who has waited longest."""
    return connection.execute(_PEOPLE, {"now": now, "under_way": under_way}).scalars().all()


def due_rows(
    connection: sa.Connection, person: str, now: float, under_way: Sequence[int], most: int = READ_AT_ONCE
) -> "Sequence[sa.Row[Any]]":
    """The due messages of a person, none of which waits for an older one about the same thing. The most urgent first."""
    asked = {"now": now, "under_way": under_way, "person": person, "most": most}
    return connection.execute(_ROWS, asked).all()


def take(connection: sa.Connection, ids: Iterable[int], channel: int, now: float, collector: str) -> set[int]:
    """Lease these messages for a channel, in the name of this collector. Returns those that nobody else has taken meanwhile."""
    attempts = sa.case((outbox.c.channel == channel, outbox.c.attempts), else_=0)
    mine = sa.update(outbox).where(outbox.c.id.in_(list(ids)), outbox.c.state == "pending", _is_due(sa.literal(now)))
    values = {"next_at": now + LEASE_S, "channel": channel, "attempts": attempts, "leased_by": collector or None}
    return set(connection.execute(mine.values(values).returning(outbox.c.id)).scalars())


def take_back(connection: sa.Connection, collector: str, now: float) -> int:
    """End the leases of the earlier processes of this collector, which send nothing any more. Returns how many. Those of other
    collectors end by their time."""
    mine = sa.update(outbox).where(outbox.c.state == "pending", outbox.c.leased_by == collector)
    return connection.execute(mine, {"next_at": now, "leased_by": None}).rowcount


def put_off(connection: sa.Connection, people: Sequence[str], now: float, most: int | None = None) -> Sequence[int]:
    """The messages to these persons that are put off for minutes, after all their channels had failed: all, or the first."""
    waiting = sa.and_(outbox.c.state == "pending", outbox.c.person.in_(people), outbox.c.next_at > now + LEASE_S)
    query = sa.select(outbox.c.id).where(waiting).order_by(outbox.c.urgency, outbox.c.id).limit(most)
    return connection.execute(query).scalars().all()


def hasten(connection: sa.Connection, ids: Sequence[int], now: float) -> None:
    """Make messages due that are put off."""
    waiting = sa.and_(outbox.c.id.in_(ids), outbox.c.state == "pending", outbox.c.next_at > now + LEASE_S)
    connection.execute(sa.update(outbox).where(waiting), {"next_at": now})


def expired(connection: sa.Connection, row: "sa.Row[Any]", now: float) -> bool:
    """Whether the message is no longer worth another round of tries. Its trouble may have ended since it was claimed."""
    expires_at = connection.execute(sa.select(outbox.c.expires_at).where(outbox.c.id == row.id)).scalar()
    return expires_at is not None and bool(now >= expires_at)


def delivery_counter(channel: str, *, delivered: bool) -> str:
    """The counter of the attempts by a channel that ended so."""
    return f"{DELIVERIES}{channel} {'delivered' if delivered else 'failed'}"


def write_receipt(  # noqa: PLR0917 -- store, connection, then the columns of a receipt
    store: Store, connection: sa.Connection, claim: Claim, now: float, channel: str, outcome: Receipt
) -> None:
    """Write the receipt of each message of a claim. Of its failed tries the first and the newest are kept."""
    joined = f"; told in a digest of {len(claim.rows)} notices" if len(claim.rows) > 1 else ""
    values = {
        "at": now, "channel": channel, "delivered": outcome.delivered, "detail": f"{outcome.detail}{joined}",
        "proof": outcome.proof.value if outcome.delivered else None,
    }  # fmt: skip
    connection.execute(sa.insert(receipt), [{"outbox": number, **values} for number in claim.ids])
    if claim.row.about != About.TEST:
        counter = delivery_counter(channel, delivered=outcome.delivered)
        store.add_to_counters(connection, {counter: len(claim.rows)})
    if not outcome.delivered:
        for number, count in Counter(connection.execute(_TOO_MANY, {"ids": claim.ids}).scalars()).items():
            more = {"left_out": outbox.c.left_out + count}
            connection.execute(sa.update(outbox).where(outbox.c.id == number).values(more))


def _too_many() -> "sa.Executable":
    """Deletes failed tries of these messages, and returns the message of each."""
    same = receipt.c.outbox
    numbered = (
        sa.select(
            receipt.c.id,
            receipt.c.delivered,
            sa.func.row_number().over(partition_by=same, order_by=receipt.c.id.desc()).label("newest"),
            sa.func.row_number().over(partition_by=same, order_by=receipt.c.id).label("oldest"),
        )
        .where(same.in_(sa.bindparam("ids", expanding=True)))
        .subquery()
    )
    gone = sa.select(numbered.c.id).where(
        numbered.c.newest > TRIES_KEPT, numbered.c.oldest > 1, sa.not_(numbered.c.delivered)
    )
    return sa.delete(receipt).where(receipt.c.id.in_(gone)).returning(same)


_TOO_MANY = _too_many()


def mark_delivered(connection: sa.Connection, claim: Claim, now: float, proof: Proof) -> None:
    """The messages are delivered. A page whose channel needs a stronger proof than this gets the time by which it must come."""
    mine = sa.update(outbox).where(outbox.c.id.in_(claim.ids), outbox.c.state == "pending")
    connection.execute(mine, {"state": "delivered", "channel": claim.channel, "prove_by": None, "leased_by": None})
    expect = claim.address.expect if claim.address else None
    if expect and PROOFS.index(proof) < PROOFS.index(expect.proof):
        pages = sa.update(outbox).where(outbox.c.id.in_(claim.ids), outbox.c.kind.in_([kind.value for kind in PAGES]))
        connection.execute(pages, {"prove_by": now + expect.within_s})


def unproved(connection: sa.Connection, now: float) -> "Sequence[sa.Row[Any]]":
    """The pages whose proof should be there by now."""
    return connection.execute(sa.select(outbox).where(outbox.c.prove_by <= now).limit(50)).all()


def strongest_proof(connection: sa.Connection, number: int) -> int:
    """The place in `PROOFS` of the strongest proof of a message; -1 without any."""
    query = sa.select(receipt.c.proof).where(receipt.c.outbox == number, receipt.c.proof.is_not(None))
    return max((PROOFS.index(Proof(name)) for name in connection.execute(query).scalars()), default=-1)


def record_proof(  # noqa: PLR0917 -- the columns of a receipt
    connection: sa.Connection, number: int, now: float, channel: str, proof: Proof, detail: str
) -> None:
    """Write what became known of a delivered message later: that it arrived, or was read."""
    values = {
        "outbox": number,
        "at": now,
        "channel": channel,
        "delivered": True,
        "detail": detail,
        "proof": proof.value,
    }
    connection.execute(sa.insert(receipt), values)


def _is_due(now: "sa.ColumnElement[Any]") -> "sa.ColumnElement[bool]":
    # No message is put off for longer than this. One that seems to be was written before our clock was set back.
    return sa.or_(outbox.c.next_at <= now, outbox.c.next_at > now + (NEXT_ROUND_AFTER_S + LEASE_S))


def _pending() -> "tuple[sa.ColumnElement[bool], ...]":
    return (
        outbox.c.state == "pending",
        _is_due(sa.bindparam("now", type_=sa.Double)),
        outbox.c.id.not_in(sa.bindparam("under_way", expanding=True)),
    )


def _people() -> "sa.Select[Any]":
    order = (sa.func.min(column) for column in ORDER)
    return sa.select(outbox.c.person).where(*_pending()).group_by(outbox.c.person).order_by(*order)


def _rows() -> "sa.Select[Any]":
    earlier = outbox.alias("earlier")
    waits = sa.exists().where(
        earlier.c.about == outbox.c.about,
        earlier.c.about_id == outbox.c.about_id,
        earlier.c.person == outbox.c.person,
        earlier.c.state == "pending",
        earlier.c.id < outbox.c.id,
    )
    mine = sa.select(outbox).where(*_pending(), outbox.c.person == sa.bindparam("person"), ~waits)
    return mine.order_by(*ORDER).limit(sa.bindparam("most", type_=sa.Integer))


ORDER = (outbox.c.urgency, outbox.c.next_at, outbox.c.id)
# Built once: building takes longer than executing, and they are executed after every message.
_PEOPLE, _ROWS = _people(), _rows()
