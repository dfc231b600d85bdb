"""The IPMI probe over BMCs in memory: its requests, what it keeps between sweeps, its threads, and its reasons."""

import asyncio
import random
import threading
from functools import partial

import pytest

from tests.ipmi_room import (
    FINE,
    IDENTITY,
    RECORD,
    REFUSAL,
    REPOSITORY,
    RESERVE,
    SILENCE,
    Bench,
    MemoryBmc,
    run_and_close,
    temperature,
    values,
)
from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.ipmi.bmc import IPMI_RENEW_S
from watchkeeper.agent.probes.ipmi.probe import IpmiProbe, build
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Ipmi
from watchkeeper.model.reading import Missing, Reason


def test_a_bmc_is_read_and_its_series_stay_the_same() -> None:
    bench = Bench()

    async def scenario() -> None:
        sweep = await bench.sweep()
        assert values(sweep) == {
            ("device.answering", ""): "yes",
            ("power.state", ""): "on",
            ("power.health", "chassis"): "ok",
            ("drive.health", "chassis"): "ok",
            ("cooling.health", "chassis"): "ok",
            ("temperature.ambient", "0x01"): 23.0,
            ("temperature.health", "0x01"): "ok",
            ("temperature.component", "0x02"): 61.0,
            ("temperature.health", "0x02"): "ok",
            ("device.percent", "sel"): 0.0,
        }
        bench.bmc.readings[2] = bytes([99, FINE, 0x18])
        again = await bench.sweep()
        assert again.series is sweep.series
        assert values(again)["temperature.health", "0x02"] == "critical"
        assert len(bench.bmc.sessions) == 1

    run_and_close(bench.probe, scenario)


def test_sensors_are_listed_once_and_again_when_they_change() -> None:
    bench = Bench()

    async def scenario() -> None:
        before = await bench.sweep()
        assert bench.count(RECORD) == 4
        await bench.sweep()
        assert bench.count(REPOSITORY) == 0
        bench.clock.advance(IPMI_RENEW_S)
        await bench.sweep()
        assert (bench.count(REPOSITORY), bench.count(RECORD)) == (1, 0)
        bench.bmc.records.append(temperature(3, "CPU2 Temp"))
        bench.bmc.readings[3] = bytes([44, FINE, 0])
        bench.clock.advance(IPMI_RENEW_S)
        after = await bench.sweep()
        assert values(after)["temperature.component", "0x03"] == 44.0
        assert after.series is not before.series

    run_and_close(bench.probe, scenario)


def test_a_sensor_that_is_gone_makes_the_next_sweep_check_the_list_once() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.sweep()
        del bench.bmc.readings[2]
        missing = values(await bench.sweep())["temperature.component", "0x02"]
        assert isinstance(missing, Missing)
        assert missing.reason is Reason.ABSENT
        await bench.sweep()
        assert bench.count(REPOSITORY) == 1
        await bench.sweep()
        assert bench.count(REPOSITORY) == 0

    run_and_close(bench.probe, scenario)


@pytest.mark.parametrize("chunk", [9, 20, 63])
def test_records_are_read_in_pieces_as_large_as_the_bmc_allows(chunk: int) -> None:
    bench = Bench()
    bench.bmc.chunk = chunk

    async def scenario() -> None:
        assert ("temperature.component", "0x02") in values(await bench.sweep())
        assert bench.count(RESERVE) == (chunk < 50)  # a record read in one piece needs no reservation

    run_and_close(bench.probe, scenario)


def test_a_reservation_cancelled_by_another_client_is_made_again() -> None:
    bench = Bench()
    bench.bmc.chunk = 40

    def meddle(answer: bytes) -> bytes:
        if bench.count(RECORD) == 4:
            bench.bmc.reserved += 1
        return answer

    async def scenario() -> None:
        bench.bmc.alter = meddle
        assert ("temperature.component", "0x02") in values(await bench.sweep())
        assert bench.count(RESERVE) == 2

    run_and_close(bench.probe, scenario)


def test_the_sensors_of_a_slow_bmc_are_listed_over_several_sweeps() -> None:
    bench = Bench(every_s=10.0)
    bench.bmc.records = [temperature(at, f"T{at}") for at in range(1, 10)]
    bench.bmc.readings = {at: bytes([at, FINE, 0]) for at in range(1, 10)}

    def slowly(answer: bytes) -> bytes:
        bench.clock.advance(0.6)
        return answer

    async def scenario() -> None:
        bench.bmc.alter = slowly
        first = await bench.sweep()
        assert (first.values[0], len(first.series)) == ("yes", 6)
        assert bench.count(RECORD) == 6
        await bench.sweep()
        third = values(await bench.sweep())
        assert bench.count(RECORD) == 6  # of 18: reading continues where it stopped
        assert third["temperature.component", "0x01"] == 1.0
        not_reached = third["temperature.component", "0x08"]
        assert isinstance(not_reached, Missing)
        assert "slow" in not_reached.detail
        bench.bmc.alter = bytes
        await bench.sweep()
        assert bench.count(REPOSITORY) == 0

    run_and_close(bench.probe, scenario)


def test_a_record_that_cannot_be_read_hides_the_records_after_it() -> None:
    bench = Bench()
    bench.bmc.broken = 1

    async def scenario() -> None:
        for _ in range(2):
            found = values(await bench.sweep())
            assert found["temperature.ambient", "0x01"] == 23.0
            assert ("temperature.component", "0x02") not in found
            bench.clock.advance(IPMI_RENEW_S)
        bench.bmc.broken = None
        assert values(await bench.sweep())["temperature.component", "0x02"] == 61.0
        bench.bmc.stamp, bench.bmc.broken = 99, 0
        bench.clock.advance(IPMI_RENEW_S)
        assert values(await bench.sweep())["temperature.component", "0x02"] == 61.0

    run_and_close(bench.probe, scenario)


def test_a_bmc_without_a_list_of_sensors_still_gives_its_power_state(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.bmc.declined[REPOSITORY] = 0xD4

    async def scenario() -> None:
        assert values(await bench.sweep())["power.state", ""] == "on"
        bench.clock.advance(IPMI_RENEW_S)
        await bench.sweep()

    run_and_close(bench.probe, scenario)
    (line,) = caplog.messages
    assert "bmc-1: its sensors are not all listed: the BMC does not allow it" in line


def test_a_silent_bmc_keeps_its_series_and_they_say_why() -> None:
    bench = Bench()

    async def scenario() -> None:
        other = IpmiProbe(Secrets(environ={}), bench.clock, MemoryBmc(dead=REFUSAL).open)
        refused = await other.sweep(bench.device)
        assert refused.values == ("no", REFUSAL.missing)
        await other.close()
        before = await bench.sweep()
        bench.bmc.dead = SILENCE
        silent = await bench.sweep()
        assert silent.series is before.series
        assert silent.values == ("no", *[SILENCE.missing] * (len(before.series) - 1))

    run_and_close(bench.probe, scenario)


def test_a_dead_session_is_replaced_in_the_same_sweep() -> None:
    bench = Bench(retries=1)

    async def scenario() -> None:
        await bench.sweep()
        bench.bmc.sessions[0].lost = True
        assert (await bench.sweep()).values[0] == "yes"
        assert bench.bmc.sessions[0].closed is False  # without a log-out
        assert [session.attempts for session in bench.bmc.sessions] == [1, 2]

    run_and_close(bench.probe, scenario)


def test_a_dead_bmc_gets_no_more_requests_than_the_devices_retries_allow() -> None:
    bench = Bench(retries=2)

    async def scenario() -> None:
        await bench.sweep()
        await bench.sweep()
        assert {asked[3] for asked in bench.bmc.asked[1:]} == {3}
        bench.bmc.dead = SILENCE
        await bench.sweep()
        assert [asked[3] for asked in bench.bmc.asked] == [2]  # the third attempt opens a session

    run_and_close(bench.probe, scenario)


def test_a_bmc_that_hangs_costs_one_thread() -> None:
    bench = Bench()
    gate = bench.bmc.gate = threading.Event()

    async def scenario() -> None:
        first = asyncio.create_task(bench.sweep())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        for _ in range(20):
            hung = await bench.sweep()
            assert isinstance(hung.values[1], Missing)
            assert hung.values[1].reason is Reason.HUNG
        assert len(bench.probe._pool._threads) == 1
        thread = bench.probe._held["bmc-1"].reading
        assert thread is not None
        gate.set()
        await asyncio.wait({thread})
        sweep = await bench.sweep()
        assert ("temperature.component", "0x02") in values(sweep)

    run_and_close(bench.probe, scenario)


def test_a_session_is_kept_alive_between_rare_polls() -> None:
    bench = Bench(every_s=300.0, idle_s=0.0)
    kept_alive = threading.Event()

    def notice(answer: bytes) -> bytes:
        if bench.bmc.asked[-1][0][:2] == IDENTITY[:2]:
            kept_alive.set()
        return answer

    async def scenario() -> None:
        bench.bmc.alter = notice
        await bench.sweep()
        assert await asyncio.to_thread(kept_alive.wait, 20)
        assert (await bench.sweep()).values[0] == "yes"
        assert len(bench.bmc.sessions) == 1

    run_and_close(bench.probe, scenario)
    assert bench.bmc.sessions[0].closed is True


def test_a_session_that_is_polled_often_enough_needs_no_keep_alive() -> None:
    bench = Bench(every_s=30.0)

    async def scenario() -> None:
        await bench.sweep()
        assert bench.probe._held["bmc-1"].timer is None

    run_and_close(bench.probe, scenario)


def test_a_redefined_device_gets_a_new_session_and_the_old_one_is_closed() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.sweep()
        bench.device = Device("bmc-1", "room", Category.BMC, "ipmi", "10.0.0.8", ipmi=Ipmi("ops", "bmc"))
        await bench.sweep()
        await bench.probe.forget("bmc-1")
        await bench.probe.forget("never-heard-of")

    run_and_close(bench.probe, scenario)
    assert [session.closed for session in bench.bmc.sessions] == [True, True]


def test_a_silent_controller_behind_the_bmc_does_not_fail_the_sweep() -> None:
    bench = Bench()
    bench.bmc.records[:0] = [temperature(7, "ME Temp", owner=0x2C), temperature(8, "ME Power", owner=0x2C)]

    async def scenario() -> None:
        found = values(await bench.sweep())
        missing = found["temperature.component", "0x2c/0/0x08"]
        assert isinstance(missing, Missing)
        assert "0x2c" in missing.detail
        assert found["temperature.component", "0x02"] == 61.0
        behind = [asked for asked in bench.bmc.asked if asked[2].owner == 0x2C]
        assert [asked[3] for asked in behind] == [1]  # only one of its two sensors, and only once
        assert bench.bmc.sessions[0].attempts == 2

    run_and_close(bench.probe, scenario)


def test_a_non_linear_sensor_is_read_by_the_factors_of_its_reading() -> None:
    bench = Bench()
    bench.bmc.records.append(temperature(3, "Odd", linear=0x70))
    bench.bmc.readings[3] = bytes([20, FINE, 0])

    async def scenario() -> None:
        assert values(await bench.sweep())["temperature.component", "0x03"] == 50.0

    run_and_close(bench.probe, scenario)


# ---- hostile answers ----


def test_rubbish_in_every_answer_raises_nothing() -> None:
    chance = random.Random(7)  # noqa: S311 -- no secret

    def alter(answer: bytes) -> bytes:
        raw = bytearray(answer)
        for _ in range(chance.choice((0, 0, 0, 1, 3))):
            if raw:
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        return bytes(raw[: chance.choice((None, None, None, chance.randrange(20)))])

    def room() -> Bench:
        bench = Bench()
        bench.bmc.alter = alter
        return bench

    async def scenario(bench: Bench) -> None:
        for _ in range(5):
            sweep = await bench.sweep()
            assert len(sweep.values) == len(sweep.series)
            bench.clock.advance(IPMI_RENEW_S)
            bench.bmc.log(chance.randrange(65535))

    for bench in (room() for _ in range(60)):
        run_and_close(bench.probe, partial(scenario, bench))


def test_short_answers_are_malformed_and_cost_only_their_own_reading() -> None:
    bench = Bench()
    bench.bmc.readings[2] = b"\x05"

    async def scenario() -> None:
        found = values(await bench.sweep())
        assert found["temperature.ambient", "0x01"] == 23.0
        missing = found["temperature.component", "0x02"]
        assert isinstance(missing, Missing)
        assert missing.reason is Reason.MALFORMED

    run_and_close(bench.probe, scenario)


def test_build_makes_the_probe() -> None:
    probe = build(ProbeContext(FakeClock(), Secrets(environ={})))
    assert isinstance(probe, IpmiProbe)
    asyncio.run(probe.close())
