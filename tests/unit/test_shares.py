"""The share of one agent: what it may send at once, and that one which floods delays no other."""

import gzip
import json
import zlib
from pathlib import Path

import pytest

from tests.collector_room import Room
from tests.unit.test_docs_examples import limit
from watchkeeper.collector.intake import body, sequences, shares
from watchkeeper.collector.intake.body import VALUES_LIMIT, parse, small, text_of, values_in
from watchkeeper.collector.intake.refusal import Refusal
from watchkeeper.collector.intake.sequences import Sequences, TooManyDeclared, UnknownBlocks
from watchkeeper.collector.intake.shares import HEAVY_BYTES, NEW_EPOCHS, OWN_BYTES, REQUESTS_UNDER_WAY, Shares
from watchkeeper.collector.intake.turns import Turns
from watchkeeper.collector.process import apply
from watchkeeper.model.batch import Block, Frame, Item, Lane, Push
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.reading import Series


def refused(status: int) -> "pytest.RaisesExc[Refusal]":
    return pytest.raises(Refusal, check=lambda error: error.status == status)


# ---- bodies ----


def test_the_values_are_at_most_those_that_are_counted() -> None:
    for value in (1, [], {}, [1, 2], {"a": 1, "b": [1, {"c": None}]}, "a,b", [[[]]], {"a": "x:y"}):
        text = json.dumps(value).encode()
        assert values_in(text) >= _values(value)


def _values(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + _values(one) for one in value.values())
    return 1 + sum(map(_values, value)) if isinstance(value, list) else 1


@pytest.mark.parametrize(
    "value", [b"[]", b"{}", b"0", b'""', b'{"":0}'], ids=["lists", "objects", "numbers", "texts", "keys"]
)
def test_a_bomb_is_refused_before_it_is_parsed(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "from_json", lambda *_, **__: pytest.fail("it was parsed"))
    bomb = b"[" + b",".join([value] * (VALUES_LIMIT + 100)) + b"]"
    with refused(413):
        parse(bomb, 0.0)
    zipped = gzip.compress(bomb)
    assert len(zipped) < 10_000
    assert small(zipped, zipped=True) is None
    with refused(413):
        text_of(zipped, zipped=True)


def test_a_zipped_bomb_is_unzipped_only_until_it_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [0]
    plain = zlib.decompressobj

    class Counting:
        def __init__(self, wbits: int) -> None:
            self._inner = plain(wbits=wbits)

        def decompress(self, text: bytes, most: int) -> bytes:
            part = self._inner.decompress(text, most)
            taken[0] += len(part)
            return part

        eof = property(lambda self: self._inner.eof)
        unconsumed_tail = property(lambda self: self._inner.unconsumed_tail)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    with refused(413):
        text_of(gzip.compress(b"[]," * 20_000_000), zipped=True)
    assert taken[0] < 2_000_000
    taken[0] = 0
    with refused(413):
        text_of(gzip.compress(b" " * 60_000_000), zipped=True)
    assert taken[0] <= body.UNZIPPED_LIMIT + 300_000


@pytest.mark.parametrize("size", [0, 1, 255_999, 256_000, 256_001, 512_000, 3_000_000])
def test_an_honest_body_is_unzipped_whole(size: int) -> None:
    text = b"x" * size
    assert text_of(gzip.compress(text), zipped=True) == text
    if size <= body.SMALL_BYTES:
        assert small(gzip.compress(text), zipped=True) == text


@pytest.mark.parametrize("broken", [b"", b"\x1f\x8b", gzip.compress(b"x" * 1000, mtime=0)[:-9], b"not gzip at all"])
def test_a_broken_body_is_refused(broken: bytes) -> None:
    assert small(broken, zipped=True) is None
    with refused(400):
        text_of(broken, zipped=True)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 300 + b"]" * 300, b"1" * 100_000, b"NaN"])
def test_deep_and_odd_json_is_refused(text: bytes) -> None:
    with refused(400):
        parse(text, 0.0)


# ---- a share ----


def test_an_agent_has_so_many_requests_under_way_and_others_theirs() -> None:
    all_ = Shares(FakeClock())
    places = [all_.enter("flood") for _ in range(REQUESTS_UNDER_WAY)]
    with refused(429):
        all_.enter("flood")
    assert all_.exceeded("flood")
    assert not all_.exceeded("other")
    with all_.enter("other") as other:
        other.took(1_000)
    with places[0]:
        pass
    all_.enter("flood")
    assert all_.refused == {"flood": 1}


def test_an_agent_s_memory_is_limited_and_given_back() -> None:
    all_ = Shares(FakeClock())
    with all_.enter("flood") as first, all_.enter("flood") as second:
        first.took(OWN_BYTES // 2)
        first.costs(OWN_BYTES)
        with refused(429):
            second.took(1)
        with all_.enter("other") as other:
            other.took(OWN_BYTES)
    with all_.enter("flood") as again:
        again.took(OWN_BYTES)


def test_when_memory_is_short_everybody_has_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "ALL_BYTES", 1_000)
    all_ = Shares(FakeClock())
    with all_.enter("flood") as first, all_.enter("flood") as second, all_.enter("other") as other:
        first.took(900)
        with refused(429):
            second.took(200)
        other.took(200)


def test_new_epochs_are_limited_and_old_ones_are_not() -> None:
    clock = FakeClock()
    all_ = Shares(clock)
    with all_.enter("flood") as place:
        for number in range(NEW_EPOCHS):
            place.speaks_of(f"epoch-{number}")
        place.speaks_of("epoch-0")
        with refused(429):
            place.speaks_of("one more")
        clock.advance(3_601)
        place.speaks_of("one more")


def test_who_fills_a_short_disk_waits_first() -> None:
    clock = FakeClock()
    all_ = Shares(clock)
    for agent, size in (("flood", 10 * HEAVY_BYTES), ("a", HEAVY_BYTES), ("b", HEAVY_BYTES // 2)):
        with all_.enter(agent) as place:
            place.pushed(size)
    for agent in ("a", "b"):
        all_.check_disk(agent, 3)
    with refused(429):
        all_.check_disk("flood", 3)
    for _ in range(2):
        clock.advance(3_601)
        with all_.enter("a") as place:
            place.pushed(1)
    all_.check_disk("flood", 3)


def test_a_long_queue_of_one_agent_delays_no_other() -> None:
    turns: Turns[str] = Turns()
    for number in range(1_000):
        turns.put("flood", f"flood {number}")
    turns.put("a", "a 0")
    turns.put("b", "b 0")
    turns.put("b", "b 1")
    order = [turns.next() for _ in range(7)]
    assert order == ["flood 0", "a 0", "b 0", "flood 1", "b 1", "flood 2", "flood 3"]
    assert len(turns) == 996
    while turns.next() is not None:
        pass
    assert not turns


# ---- what is declared ----


def pushed(number: int, device: str, series: int, block: int = 0) -> Push:
    columns = tuple(Series(device, "temperature.component", f"part-{at}") for at in range(series))
    one = Block(block or number, device, "snmp", 30.0, columns)
    return Push(
        "room-1",
        "epoch-1",
        Lane.READINGS,
        0.0,
        blocks=(one,),
        items=(Item(number, Frame(one.block, 0.0, {"values": [0.0] * series})),),
    )


@pytest.mark.parametrize("limited", ["BLOCKS_OF_DEVICE", "SERIES_OF_DEVICE", "SERIES_OF_AGENT"])
def test_more_than_a_device_or_an_agent_may_have_is_refused(
    limited: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, limited, 3)
    with Room(tmp_path) as room:
        known = Sequences(room.store)
        for number in range(1, 4):
            known.take(pushed(number, "ups-1", 1), 0.0)
        with pytest.raises(TooManyDeclared, match="more than 3"):
            known.take(pushed(4, "ups-1", 1), 0.0)
        known.take(pushed(5, "ups-1", 1, block=1), 0.0)
        if limited != "SERIES_OF_AGENT":
            known.take(pushed(6, "crac-1", 1), 0.0)


def test_a_block_that_was_found_unused_must_be_declared_again(tmp_path: Path) -> None:
    with Room(tmp_path) as room:
        known = Sequences(room.store)
        first, again = pushed(1, "ups-1", 1), pushed(3, "ups-1", 1, block=1)
        bare = Push("room-1", "epoch-1", Lane.READINGS, 0.0, items=(Item(2, first.items[0].body),))

        def journal(push: Push) -> None:
            with room.store.write() as connection:
                known.open(connection, [push])
                known.take(push, 0.0)
                known.close(connection)

        known.refresh(0.0)
        journal(first)
        with room.store.write() as connection:
            connection.execute(sequences.sa.update(sequences.block).values(idle_at=1.0))
        known.refresh(sequences.READ_AGAIN_S - 1)
        known.refresh(2 * sequences.READ_AGAIN_S)
        with pytest.raises(UnknownBlocks):
            journal(bare)
        with room.store.write() as connection:
            known.learn(connection, bare)
        assert ("room-1", "epoch-1", 1) in known.blocks, "what is in the journal can be applied"
        journal(again)
        with room.store.read() as connection:
            assert connection.execute(sequences.sa.select(sequences.block.c.idle_at)).scalar_one() is None


def test_the_limits_are_those_of_the_protocol() -> None:
    assert limit("values and keys") == [body.VALUES_LIMIT]
    assert limit("requests of an agent") == [shares.REQUESTS_UNDER_WAY]
    assert limit("new epochs") == [shares.NEW_EPOCHS, shares.EPOCHS_WITHIN_S / 3600]
    assert limit("blocks of a device") == [sequences.BLOCKS_OF_DEVICE]
    assert limit("series of a device") == [sequences.SERIES_OF_DEVICE]
    assert limit("series of an agent") == [sequences.SERIES_OF_AGENT]
    assert limit("open incidents of a device") == [apply.OPEN_OF_DEVICE]
