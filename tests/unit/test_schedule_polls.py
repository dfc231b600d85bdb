"""The schedule: one dead, slow or misbehaving device delays no other, and polls do not pile up."""

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.agent_room import columns, device
from watchkeeper.agent import ports
from watchkeeper.agent.poll import schedule as module
from watchkeeper.agent.poll.schedule import PollTrigger, Schedule
from watchkeeper.agent.ports import Probe
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Series, Sweep

UTC = datetime.UTC
NOW = datetime.datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FakeProbe:
    """Calls the function of the device in `ways`; without one it answers."""

    def __init__(self, **ways: Callable[[], Awaitable[Any]]) -> None:
        self.ways, self.swept, self.forgotten, self.running = ways, [], [], 0
        self.most = 0
        self.series: dict[str, tuple[Series, ...]] = {}

    async def sweep(self, device: Device) -> Sweep:
        self.swept.append(device.device)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if way := self.ways.get(device.device):
                made = await way()
                if made is not None:
                    return made
            await asyncio.sleep(0)
            series = self.series.setdefault(device.device, columns(device.device, "leak"))
            return Sweep(device.device, 1.0, series, ("yes", "dry"))
        finally:
            self.running -= 1

    async def forget(self, device: str) -> None:
        self.forgotten.append(device)

    async def close(self) -> None:
        pass


class World:
    def __init__(self, probe: Probe, settled: bool = True) -> None:
        self.clock = FakeClock()
        self.probe = probe
        self.taken: list[Sweep] = []
        self.news = asyncio.Event()
        self.schedule = Schedule(self.clock, self.take, lambda name: settled, lambda: 0.5)

    def take(self, device: Device, sweep: Sweep) -> None:
        self.taken.append(sweep)
        self.news.set()

    async def taken_at_least(self, number: int) -> None:
        async with asyncio.timeout(20):
            while len(self.taken) < number:
                self.news.clear()
                await self.news.wait()

    async def watch(self, *devices: Device) -> None:
        await self.schedule.watch(devices, {"fake": self.probe})

    async def quiet(self) -> None:
        """Let every poll end that can end."""
        for _ in range(50):
            await asyncio.sleep(0)

    def of(self, name: str) -> list[Sweep]:
        return [sweep for sweep in self.taken if sweep.device == name]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


async def forever() -> None:
    await asyncio.Event().wait()


async def mad() -> None:
    said = "what the probe sent"
    raise KeyError(said.replace("what the probe sent", "secret" + "-community"))


def test_a_new_device_is_read_at_once() -> None:
    async def scenario() -> None:
        world = World(FakeProbe())
        await world.watch(device("a"), device("b"))
        await world.quiet()
        assert [sweep.values for sweep in world.taken] == [("yes", "dry"), ("yes", "dry")]
        await world.schedule.stop()

    run(scenario)


def test_a_slow_device_delays_no_other_and_its_polls_do_not_pile_up() -> None:
    async def scenario() -> None:
        probe = FakeProbe(slow=forever)
        world = World(probe)
        await world.watch(device("slow"), *(device(f"d{number}") for number in range(20)))
        names = ["slow", *(f"d{number}" for number in range(20))]
        await world.quiet()
        for _ in range(3):
            await world.schedule._round(names)
            await world.quiet()
        assert len(world.taken) == 80
        assert probe.swept.count("slow") == 1
        await world.schedule.stop()
        assert probe.running == 0, "stopping cancels polls under way"

    run(scenario)


def test_a_probe_that_raises_fails_only_that_reading_and_its_text_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        world = World(FakeProbe(mad=mad))
        await world.watch(device("mad"), device("good"))
        await world.quiet()
        (bad,) = world.of("mad")
        assert bad.values == ("no",)
        assert len(world.of("good")) == 1
        await world.schedule.stop()

    run(scenario)
    assert "KeyError" in caplog.text
    assert "secret-community" not in caplog.text


def test_a_dew_point_is_added_with_the_same_series_as_long_as_the_probe_gives_the_same() -> None:
    measured, later = columns("d", "temperature.ambient", "humidity.relative"), columns("d", "temperature.ambient")
    no_sensor = Missing(Reason.ABSENT, "no sensor")
    values = [("yes", 20.0, 50.0), ("yes", 21.0, no_sensor), ("yes", 20.0)]
    rounds = iter(zip((measured, measured, later), values, strict=True))

    async def way() -> Sweep:
        return Sweep("d", 1.0, *next(rounds))

    async def scenario() -> None:
        world = World(FakeProbe(d=way))
        await world.watch(device("d"))
        await world.quiet()
        for _ in range(3):
            await world.schedule._round(["d"])
            await world.quiet()
        first, second, third, failed = world.taken
        assert (first.series[-1].quantity, first.values[-1]) == ("temperature.dewpoint", 9.26)
        assert (second.series is first.series, second.values[-1]) == (True, no_sensor)
        assert (third.series, third.values) == (later, values[2])
        assert failed.series is later
        await world.schedule.stop()

    run(scenario)


def test_a_device_that_fails_keeps_its_columns_as_missing() -> None:
    ways: dict[str, Any] = {}

    async def scenario() -> None:
        probe = FakeProbe()
        probe.ways = ways
        world = World(probe)
        await world.watch(device("d"))
        await world.quiet()
        ways["d"] = mad
        await world.schedule._round(["d"])
        await world.quiet()
        good, bad = world.taken
        assert bad.series is good.series
        assert bad.values[0] == "no"
        assert isinstance(bad.values[1], Missing)
        assert bad.values[1].reason is Reason.FAULT
        await world.schedule.stop()

    run(scenario)


def test_a_probe_that_does_not_return_is_cancelled_and_its_values_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "GRACE_S", 0.0)

    async def scenario() -> None:
        world = World(FakeProbe(slow=forever))
        await world.watch(device("slow", every_s=0.02, timeout_s=0.01, retries=0))
        await world.taken_at_least(1)
        assert world.taken[0].values == ("no",)
        await world.schedule.stop()

    run(scenario)


@pytest.mark.parametrize(
    "lie",
    [
        Sweep("other", 1.0, columns("other"), ("yes",)),
        Sweep("liar", 1.0, columns("liar", "leak"), ("yes",)),
        Sweep("liar", 1.0, (), ()),
        Sweep("liar", 1.0, columns("liar"), (1.0,)),
    ],
)
def test_a_wrong_sweep_fails_only_that_device(lie: Sweep) -> None:
    async def tell() -> Sweep:
        return lie

    async def scenario() -> None:
        world = World(FakeProbe(liar=tell))
        await world.watch(device("liar"), device("good"))
        await world.quiet()
        assert world.of("liar")[0].values == ("no",)
        assert len(world.taken) == 2
        await world.schedule.stop()

    run(scenario)


def test_wrong_values_become_missing_and_the_others_stay() -> None:
    strange = (float("nan"), float("inf"), 7, True, None, "dry", 2.5)
    series = columns("d", *(f"q{number}" for number in range(len(strange))))

    async def tell() -> Sweep:
        return Sweep("d", 1.0, series, ("yes", *strange))  # type: ignore[arg-type]

    async def scenario() -> None:
        world = World(FakeProbe(d=tell))
        await world.watch(device("d"))
        await world.quiet()
        values = world.taken[0].values[1:]
        assert [isinstance(value, Missing) for value in values] == [True, True, False, True, True, False, False]
        assert values[2] == 7.0
        assert type(values[2]) is float
        assert values[5:] == ("dry", 2.5)
        await world.schedule.stop()

    run(scenario)


def test_polls_of_dead_devices_have_their_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_POLLS", 4)
    monkeypatch.setattr(module, "MAX_POLLS_OF_DEAD", 2)
    dead = [f"dead{number}" for number in range(10)]
    ways: dict[str, Any] = dict.fromkeys(dead, mad)

    async def scenario() -> None:
        probe = FakeProbe()
        probe.ways = ways
        world = World(probe, settled=False)
        await world.watch(*(device(name) for name in dead), device("good"))
        await world.quiet()
        ways.update(dict.fromkeys(dead, forever))
        world.taken.clear()
        await world.schedule._round([*dead, "good"])
        await world.quiet()
        assert [sweep.device for sweep in world.taken] == ["good"]
        assert probe.running == 2
        await world.schedule.stop()

    run(scenario)


@pytest.mark.parametrize(("settled", "polls"), [(True, 4), (False, 8)])
def test_every_second_round_skips_a_dead_device_once_its_silence_is_judged(settled: bool, polls: int) -> None:
    async def scenario() -> None:
        probe = FakeProbe(dead=mad)
        world = World(probe, settled)
        await world.watch(device("dead"))
        await world.quiet()
        probe.swept.clear()
        for _ in range(8):
            await world.schedule._round(["dead"])
            await world.quiet()
        assert len(probe.swept) == polls
        await world.schedule.stop()

    run(scenario)


def test_poll_now_reads_at_once_but_never_twice_at_the_same_time() -> None:
    async def scenario() -> None:
        probe = FakeProbe(slow=forever)
        world = World(probe)
        await world.watch(device("slow"), device("d"))
        await world.quiet()
        for name in ("slow", "d", "d", "nobody"):
            world.schedule.poll_now(name)
        await world.quiet()
        assert probe.swept == ["slow", "d", "d"]
        await world.schedule.stop()

    run(scenario)


def test_a_new_bundle_forgets_removed_and_changed_devices_and_no_others() -> None:
    async def scenario() -> None:
        probe = FakeProbe(altered=forever)
        world = World(probe)
        await world.watch(device("gone"), device("altered"), device("same"))
        await world.quiet()
        probe.swept.clear()
        probe.ways.clear()
        world.taken.clear()
        await world.watch(device("same"), device("altered", every_s=60.0), device("new"))
        await world.quiet()
        assert probe.forgotten == ["gone", "altered"]
        assert sorted(probe.swept) == ["altered", "new"]
        await world.schedule._round(["gone"])
        await world.quiet()
        assert sorted(sweep.device for sweep in world.taken) == ["altered", "new"]
        await world.schedule.stop()

    run(scenario)


def test_a_new_probe_of_the_kind_reads_its_devices_again() -> None:
    async def scenario() -> None:
        old, new = FakeProbe(), FakeProbe()
        world = World(old)
        await world.watch(device("d"))
        await world.quiet()
        world.probe = new
        await world.watch(device("d"))
        await world.quiet()
        assert (old.forgotten, new.swept) == (["d"], ["d"])
        await world.schedule.stop()

    run(scenario)


def test_a_device_of_an_unknown_kind_of_probe_does_not_answer() -> None:
    async def scenario() -> None:
        world = World(FakeProbe())
        await world.watch(device("odd", probe="astrology"))
        await world.quiet()
        assert world.taken[0].values == ("no",)
        await world.schedule.stop()

    run(scenario)


def test_there_is_one_job_per_interval_and_shard() -> None:
    async def scenario() -> None:
        world = World(FakeProbe())
        fast = [device(f"f{number}", every_s=15.0) for number in range(120)]
        await world.watch(*fast, device("slow", every_s=300.0))
        jobs = world.schedule._jobs.get_jobs()
        assert sorted(len(job.args[0]) for job in jobs) == [1, 40, 40, 40]
        await world.schedule.stop()

    run(scenario)


def test_after_a_jump_of_the_wall_clock_the_jobs_are_made_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = World(FakeProbe())
        await world.watch(device("d"))
        before = {job.id for job in world.schedule._jobs.get_jobs()}
        world.clock.advance(60)
        world.schedule.check_clock()
        assert {job.id for job in world.schedule._jobs.get_jobs()} == before
        world.clock.now -= 3600
        world.schedule.check_clock()
        assert {job.id for job in world.schedule._jobs.get_jobs()}.isdisjoint(before)
        await world.schedule.stop()

    run(scenario)
    assert "-3600 s" in caplog.text


def test_the_trigger_keeps_its_phase_and_skips_missed_times() -> None:
    beat = PollTrigger(15.0, 4.0)
    first = beat.get_next_fire_time(None, NOW)
    assert first == NOW + datetime.timedelta(seconds=4)
    assert beat.get_next_fire_time(first, first) == first + datetime.timedelta(seconds=15)
    late = first + datetime.timedelta(seconds=40)
    assert beat.get_next_fire_time(first, late) == first + datetime.timedelta(seconds=45)
    years = first + datetime.timedelta(days=20_000)
    after = beat.get_next_fire_time(first, years)
    assert years <= after <= years + datetime.timedelta(seconds=15)


def test_jobs_of_the_real_scheduler_read_devices_again_and_again() -> None:
    async def scenario() -> None:
        world = World(FakeProbe())
        world.schedule.start()
        await world.watch(device("d", every_s=0.01))
        await world.taken_at_least(3)
        await world.schedule.stop()

    run(scenario)
