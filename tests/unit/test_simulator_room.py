"""The room's physics: values rise, drain and recover, and stay in their ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.simulator.room import DAMP, HEAT, LOW_RUNTIME_S, POWER_CUT, Room, advance

HOUR = 3600.0
FAULT_SETS = st.frozensets(st.sampled_from([HEAT, DAMP, POWER_CUT]))
PERIOD = st.tuples(FAULT_SETS, st.floats(0, 30 * HOUR))


def after(dt: float, *faults: str, room: Room | None = None) -> Room:
    return advance(room or Room(), frozenset(faults), dt)


def test_an_undisturbed_room_stays_inside_the_regulation() -> None:
    room = after(24 * HOUR)
    assert (room.temperature_celsius, room.humidity_percent, room.charge_percent) == (22.0, 50.0, 100.0)
    assert room.mains
    assert room.powered
    assert room.compressor


def test_heat_passes_23_degrees_within_minutes_and_keeps_rising() -> None:
    assert after(60, HEAT).temperature_celsius < 23
    warm = after(300, HEAT)
    assert 23 < warm.temperature_celsius < 25
    assert not warm.compressor
    assert 30 < after(HOUR, HEAT, room=warm).temperature_celsius < 35


def test_heat_clears_once_the_compressor_runs_again() -> None:
    hot = after(HOUR, HEAT)
    assert 22 < after(1800, room=hot).temperature_celsius < 22.5


def test_heat_does_not_affect_humidity_and_power() -> None:
    hot = after(HOUR, HEAT)
    assert hot.humidity_percent == 50
    assert hot.mains


def test_a_stuck_humidifier_passes_60_percent_and_clears() -> None:
    damp = after(HOUR, DAMP)
    assert 60 < damp.humidity_percent < 80
    assert not damp.humidifier
    assert after(HOUR, room=damp).humidity_percent < 51


def test_a_power_cut_drains_the_battery() -> None:
    cut = after(600, POWER_CUT)
    assert not cut.mains
    assert cut.on_battery_s == 600
    assert cut.charge_percent == pytest.approx(100 - 100 / 3)
    assert LOW_RUNTIME_S < cut.runtime_s == pytest.approx(1200)
    low = after(601, POWER_CUT, room=cut)
    assert low.runtime_s <= LOW_RUNTIME_S
    assert low.powered
    empty = after(HOUR, POWER_CUT, room=low)
    assert (empty.charge_percent, empty.runtime_s, empty.powered) == (0, 0, False)


def test_when_power_is_back_the_load_is_fed_at_once_and_the_battery_charged_slowly() -> None:
    empty = after(HOUR, POWER_CUT)
    back = after(0, room=empty)
    assert (back.mains, back.powered, back.on_battery_s, back.charge_percent) == (True, True, 0, 0)
    assert after(HOUR, room=back).charge_percent == pytest.approx(50)
    assert after(3 * HOUR, room=back).charge_percent == 100


def test_each_power_cut_is_counted_once() -> None:
    room = Room()
    for faults in ([POWER_CUT], [POWER_CUT], [], [], [POWER_CUT]):
        room = after(1, *faults, room=room)
    assert room.mains_lost == 2


@given(faults=FAULT_SETS, dts=st.lists(st.floats(0, HOUR), max_size=8))
def test_many_small_steps_end_where_one_large_step_ends(faults: frozenset[str], dts: list[float]) -> None:
    small = advance(Room(), faults, 0.0)
    for dt in dts:
        small = advance(small, faults, dt)
    large = advance(Room(), faults, sum(dts))
    assert small.temperature_celsius == pytest.approx(large.temperature_celsius)
    assert small.humidity_percent == pytest.approx(large.humidity_percent)
    assert small.charge_percent == pytest.approx(large.charge_percent, abs=1e-6)
    assert small.on_battery_s == pytest.approx(large.on_battery_s)
    assert small.mains_lost == large.mains_lost


@given(st.lists(PERIOD, max_size=8))
def test_under_any_faults_the_values_stay_in_their_ranges(history: list[tuple[frozenset[str], float]]) -> None:
    room = Room()
    for faults, dt in history:
        room = advance(room, faults, dt)
        assert 22 <= room.temperature_celsius <= 35
        assert 50 <= room.humidity_percent <= 80
        assert 0 <= room.charge_percent <= 100
        assert room.on_battery_s >= 0


def test_noise_is_the_same_for_the_same_seed_and_second_and_different_otherwise() -> None:
    room = Room(elapsed_s=100.2)
    assert room.noise("a") == Room(elapsed_s=100.9).noise("a")
    others = [Room(elapsed_s=101.2).noise("a"), Room(elapsed_s=100.2, seed=1).noise("a"), room.noise("b")]
    assert room.noise("a") not in others


def test_noise_fills_its_range_and_has_no_bias() -> None:
    values = [Room(elapsed_s=second).noise("a") for second in range(2000)]
    assert -1 <= min(values) < -0.95
    assert 0.95 < max(values) <= 1
    assert abs(sum(values) / len(values)) < 0.05
