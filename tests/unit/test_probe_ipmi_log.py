"""Which entries of a BMC's event log the IPMI probe reports, and which it does not."""

from tests.ipmi_room import ENTRY, LOG, Bench, run_and_close, values
from watchkeeper.agent.probes.ipmi.sel import ENTRIES_PER_SWEEP
from watchkeeper.model.event import EVENT_OVER, EVENT_SHOWN_S
from watchkeeper.model.reading import Missing, Sweep, Value


def events(sweep: Sweep) -> dict[str, Value]:
    return {one.series.label: one.value for one in sweep.readings() if one.series.quantity == "device.event"}


def test_only_entries_after_the_first_sweep_are_reported() -> None:
    bench = Bench()
    bench.bmc.log(1)
    text = "CPU1 Temp: upper critical going high"

    async def scenario() -> None:
        assert events(await bench.sweep()) == {}
        bench.bmc.log(2)
        assert events(await bench.sweep()) == {text: "critical"}
        bench.clock.advance(EVENT_SHOWN_S)
        assert events(await bench.sweep()) == {text: EVENT_OVER}
        assert bench.count(ENTRY) == 0
        bench.bmc.log(3, over=True)
        sweep = await bench.sweep()
        assert events(sweep) == {text: "none"}
        assert values(sweep)["device.percent", "sel"] == 3.0

    run_and_close(bench.probe, scenario)


def test_a_cleared_log_is_read_from_its_start() -> None:
    bench = Bench()
    for number in (1, 2):
        bench.bmc.log(number)

    async def scenario() -> None:
        await bench.sweep()
        bench.bmc.clear()
        assert events(await bench.sweep()) == {}
        bench.bmc.log(1, offset=7)  # the same number as an earlier entry
        assert list(events(await bench.sweep()).values()) == ["warning"]
        bench.bmc.clear()
        bench.bmc.log(1, offset=2, at=0x6000_0001)
        assert list(events(await bench.sweep()).values()) == ["warning", "critical"]

    run_and_close(bench.probe, scenario)


def test_after_a_wrap_of_the_log_older_entries_are_not_reported() -> None:
    bench = Bench()
    bench.bmc.log(5)

    async def scenario() -> None:
        await bench.sweep()
        bench.bmc.entries.clear()
        bench.bmc.log(6, offset=7, at=0x5000_0000)
        bench.bmc.log(7, offset=9, at=0x6000_0009)
        assert list(events(await bench.sweep()).values()) == ["critical"]

    run_and_close(bench.probe, scenario)


def test_a_flood_of_entries_is_read_over_several_sweeps() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.sweep()
        for number in range(1, ENTRIES_PER_SWEEP + 10):
            bench.bmc.log(number, offset=9)
        bench.bmc.log(ENTRIES_PER_SWEEP + 10, offset=7)
        assert list(events(await bench.sweep()).values()) == ["critical"]
        assert bench.count(ENTRY) == ENTRIES_PER_SWEEP
        assert list(events(await bench.sweep()).values()) == ["critical", "warning"]

    run_and_close(bench.probe, scenario)


def test_a_bmc_without_a_log_is_read_all_the_same() -> None:
    bench = Bench()
    bench.bmc.declined[LOG] = 0xC1

    async def scenario() -> None:
        sweep = await bench.sweep()
        assert sweep.values[0] == "yes"
        assert isinstance(values(sweep)["device.percent", "sel"], Missing)

    run_and_close(bench.probe, scenario)
