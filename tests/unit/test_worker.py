"""The one class of worker threads: turns again and again, wakes at once, goes on after a fault, ends when told to."""

import queue
import threading
from collections.abc import Callable

import pytest

from watchkeeper.model.clock import FakeClock
from watchkeeper.model.worker import Worker

HOUR_S = 3600.0


def working(turn: Callable[[], float], clock: FakeClock | None = None, retry_s: float = HOUR_S) -> Worker:
    made = Worker("test", turn, clock or FakeClock(), retry_s=retry_s)
    made.start()
    return made


def test_it_turns_when_it_is_woken_and_not_before() -> None:
    turns: queue.SimpleQueue[int] = queue.SimpleQueue()
    worker = working(lambda: turns.put(1) or HOUR_S)
    for _ in range(3):
        turns.get(timeout=10)
        worker.wake()
    turns.get(timeout=10)
    assert turns.empty(), "an hour has not passed"
    worker.stop(10)
    assert not worker.alive


def test_a_turn_that_returns_nothing_to_wait_comes_again_at_once() -> None:
    turns: queue.SimpleQueue[int] = queue.SimpleQueue()
    worker = working(lambda: turns.put(1) or 0.0)
    for _ in range(3):
        turns.get(timeout=10)
    worker.stop(10)
    assert not worker.alive


def test_a_fault_is_logged_and_the_next_turn_comes(caplog: pytest.LogCaptureFixture) -> None:
    turns: queue.SimpleQueue[int] = queue.SimpleQueue()

    def turn() -> float:
        turns.put(1)
        raise RuntimeError("boom")

    worker = working(turn, retry_s=0.0)
    turns.get(timeout=10)
    turns.get(timeout=10)
    worker.stop(10)
    assert "test: a turn failed; the next one is in 0 s" in caplog.text
    assert "boom" in caplog.text


def test_it_beats_after_a_turn_and_within_one() -> None:
    clock = FakeClock()
    entered, go = threading.Event(), threading.Event()
    turned: queue.SimpleQueue[float] = queue.SimpleQueue()

    def turn() -> float:
        entered.set()
        go.wait(10)
        turned.put(worker.beat())
        return HOUR_S

    worker = Worker("test", turn, clock)
    assert worker.beat_at == clock.since_boot
    worker.start()
    assert entered.wait(10)
    clock.advance(5)
    assert worker.beat_at == clock.since_boot - 5, "a turn that hangs does not beat"
    go.set()
    assert turned.get(timeout=10) == clock.since_boot == worker.beat_at
    worker.stop(10)


def test_stopping_begins_no_further_turn_and_waits_no_longer_than_told() -> None:
    entered, go = threading.Event(), threading.Event()

    def turn() -> float:
        entered.set()
        go.wait(10)
        return 0.0

    worker = working(turn)
    assert entered.wait(10)
    worker.stop(0.0)
    assert worker.alive, "its turn is not over"
    entered.clear()
    go.set()
    worker.stop(10)
    assert not worker.alive
    assert not entered.is_set()


def test_one_that_never_started_can_be_stopped() -> None:
    Worker("test", lambda: 0.0, FakeClock()).stop(10)
