"""Transaction ids of Modbus TCP: late and foreign answers never become the value of another register."""

import asyncio
import struct
from collections.abc import Callable, Sequence

import pytest

from tests.modbus_room import read_by_profile
from watchkeeper.model.habit import sentence, words_of
from watchkeeper.model.reading import Sweep

REGISTERS = {
    "output.load": "holding 10 uint16",
    "battery.charge": "holding 20 uint16",
    "output.frequency": "input 30 uint16",
}
VALUES = {10: 42, 20: 97, 30: 55}
TIMEOUT_S = 0.5

Answers = Callable[[int, bytes], Sequence[tuple[int, bytes]]]
"""The answers to the request of that number (from 1 on, counted for each connection): transaction ids and bodies. Gets the
right ones."""


class Gateway:
    """A device behind a gateway that answers as the function says. What it does not answer at once comes before its next
    answer on that connection."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.connections = 0
        self.silences = 0

    async def __call__(self, requests: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = 0
        late: list[tuple[int, bytes]] = []
        while True:
            sent, _, _, unit, function, address, _ = struct.unpack(">HHHBBHH", await requests.readexactly(12))
            number += 1
            right = bytes((unit, function, 2)) + struct.pack(">H", VALUES[address])
            answers = self.answers(number, right)
            if not answers:
                self.silences += 1
                late.append((7, right))
                continue
            for shift, body in (*late, *answers):
                writer.write(struct.pack(">HHH", (sent + shift) % 2**16, 0, len(body)) + body)


def swept(gateway: Gateway, times: int, retries: int = 0) -> tuple[list[Sweep], tuple[str, ...]]:
    async def run() -> tuple[list[Sweep], tuple[str, ...]]:
        async with read_by_profile(gateway, REGISTERS, retries=retries, timeout_s=TIMEOUT_S) as (probe, device):
            return [await probe.sweep(device) for _ in range(times)], probe.habits_of("meter-1")

    return asyncio.run(run())


RIGHT = ("yes", 42.0, 97.0, 55.0)
STALE = bytes((1, 3, 2)) + struct.pack(">H", 13)


@pytest.mark.parametrize("shift", [1, -1, 300])
def test_a_gateway_with_transaction_ids_of_its_own_is_read(shift: int) -> None:
    gateway = Gateway(lambda number, right: [(shift, right)])
    sweeps, habits = swept(gateway, 3)
    assert [sweep.values for sweep in sweeps] == [RIGHT] * 3
    assert habits == (sentence("any-id"),)
    assert gateway.connections == 2  # it is noticed once
    assert words_of(sweeps[-1].series[0].source) == [("any-id", "")]


def test_a_late_answer_before_the_right_one_is_dropped() -> None:
    sweeps, habits = swept(Gateway(lambda number, right: [(-7, STALE), (0, right)]), 2)
    assert [sweep.values for sweep in sweeps] == [RIGHT] * 2
    assert habits == ()


def test_a_late_answer_instead_of_the_right_one_never_becomes_a_value() -> None:
    """The answer to the request before comes on the first connection only: a new one shows that the ids are right."""
    first = [True]

    def answers(number: int, right: bytes) -> Sequence[tuple[int, bytes]]:
        if first and number == 2:
            first.clear()
            return [(-7, STALE)]
        return [(0, right)]

    sweeps, habits = swept(Gateway(answers), 2)
    assert [sweep.values for sweep in sweeps] == [RIGHT] * 2
    assert habits == ()


def test_where_ids_are_foreign_an_answer_that_came_too_late_is_not_taken_for_that_to_the_next_request() -> None:
    """After a request without an answer the connection is new, and what the old one still sends is lost."""
    silent = iter([False] * 7 + [True])
    gateway = Gateway(lambda number, right: [] if next(silent, False) else [(7, right)])
    sweeps, habits = swept(gateway, 4, retries=1)
    assert [sweep.values for sweep in sweeps] == [RIGHT] * 4
    assert habits == (sentence("any-id"),)
    assert gateway.silences == 1


def test_an_answer_of_another_length_is_not_taken_for_the_right_one() -> None:
    sweeps, _ = swept(Gateway(lambda number, right: [(5, right[:2] + bytes((4, 0, 1, 0, 2)))]), 2)
    assert {sweep.values[0] for sweep in sweeps} == {"no"}
