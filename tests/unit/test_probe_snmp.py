"""The SNMP probe over devices in memory: its requests, what it keeps between sweeps, and its reasons."""

import asyncio
import logging
import tracemalloc

import pytest

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.opening import open_snmp_session
from watchkeeper.agent.probes.snmp.plan import DeviceReader, SweepPlan, bare_plan, replan
from watchkeeper.agent.probes.snmp.probe import SNMP_RENEW_S, SnmpProbe, first_renewal_s
from watchkeeper.agent.probes.testing import MemoryDevice
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp, SnmpVersion
from watchkeeper.model.reading import Missing, Reason, Sweep, Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

UPS, ROW = "1.3.6.1.2.1.33.1.", "1.3.6.1.2.1.33.1.3.3.1."
OBJECTS: dict[str, Raw] = {
    "1.3.6.1.2.1.1.1.0": b"A UPS",
    "1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.8072.3.2.10",
    "1.3.6.1.2.1.1.3.0": 360_000,
    UPS + "2.1.0": 2,
    UPS + "2.3.0": 20,
    UPS + "2.4.0": 97,
    UPS + "2.5.0": 548,
    ROW + "3.1": 231,
    ROW + "3.2": 229,
    ROW + "2.1": 499,
    UPS + "4.1.0": 3,
}
SILENCE = NoAnswer(Reason.TIMEOUT, "no answer")
REFUSAL = NoAnswer(Reason.REFUSED, "wrong password")


class Bench:
    """One device in memory with its probe, and a clock."""

    def __init__(
        self, objects: dict[str, Raw] | None = None, version: SnmpVersion = SnmpVersion.V2C, **how: object
    ) -> None:
        self.memory = MemoryDevice(OBJECTS if objects is None else objects)
        self.clock = FakeClock()
        profiles = load_profiles(how.pop("profiles", ()))  # type: ignore[arg-type]
        self.probe = SnmpProbe(profiles, Secrets(environ={}), self.clock, self.memory.open)
        snmp = Snmp(version, "community")
        self.device = Device("ups-1", "room", Category.UPS, "snmp", "10.0.0.7", snmp=snmp, **how)  # type: ignore[arg-type]

    def sweep(self) -> Sweep:
        return asyncio.run(self.probe.sweep(self.device))

    @property
    def requests(self) -> list[tuple[str, ...]]:
        return [request for session in self.memory.sessions for request in session.requests]


def values(sweep: Sweep) -> dict[tuple[str, str], Value]:
    return {(reading.series.quantity, reading.series.instance): reading.value for reading in sweep.readings()}


def test_a_ups_is_recognised_and_read_in_the_units_of_the_catalogue() -> None:
    sweep = Bench().sweep()
    assert sweep.series[0].quantity == "device.answering"
    assert values(sweep) == {
        ("device.answering", ""): "yes",
        ("uptime", ""): 3600.0,
        ("battery.state", ""): "ok",
        ("battery.runtime", ""): 1200.0,
        ("battery.charge", ""): 97.0,
        ("battery.voltage", ""): 54.8,
        ("input.frequency", "1"): 49.9,
        ("input.voltage", "1"): 231.0,
        ("input.voltage", "2"): 229.0,
        ("output.source", ""): "mains",
    }
    (voltage,) = (series for series in sweep.series if (series.quantity, series.instance) == ("input.voltage", "2"))
    assert (voltage.label, voltage.source) == ("phase 2", ROW + "3.2")


def test_after_the_first_sweep_one_request_is_enough_and_the_series_stay_the_same_object() -> None:
    bench = Bench()
    first = bench.sweep()
    before = len(bench.requests)
    second = bench.sweep()
    assert second.series is first.series
    assert len(bench.requests) == before + 1
    assert len(bench.memory.sessions) == 1


@pytest.mark.parametrize("version", list(SnmpVersion))
def test_a_vanished_object_is_missing_and_the_rest_is_read(version: SnmpVersion) -> None:
    bench = Bench(version=version)
    first = bench.sweep()
    del bench.memory.objects[UPS + "2.4.0"]
    second = bench.sweep()
    charge = values(second)["battery.charge", ""]
    assert isinstance(charge, Missing)
    assert charge.reason is Reason.ABSENT
    assert values(second) == {**values(first), ("battery.charge", ""): charge}
    assert second.series is first.series


def test_a_new_row_is_found_at_the_next_renewal() -> None:
    bench = Bench()
    first = bench.sweep()
    for row, due_s in (("3", first_renewal_s("ups-1")), ("4", SNMP_RENEW_S)):
        bench.memory.objects[f"{ROW}3.{row}"] = 230
        bench.clock.advance(due_s - 1)
        assert bench.sweep().series is first.series
        bench.clock.advance(1)
        assert bench.sweep().series is first.series  # the values are read before the renewal
        first = bench.sweep()
        assert values(first)["input.voltage", row] == 230.0


def test_a_row_that_is_gone_stays_missing_for_a_while_before_its_series_are_dropped() -> None:
    bench = Bench()
    first = bench.sweep()
    del bench.memory.objects[ROW + "3.2"]
    for _ in range(5):
        bench.clock.advance(30)
        sweep = bench.sweep()
        assert sweep.series is first.series
        assert isinstance(values(sweep)["input.voltage", "2"], Missing)
    for _ in range(3):
        bench.clock.advance(SNMP_RENEW_S)
        bench.sweep()
    gone = bench.sweep()
    assert ("input.voltage", "2") not in values(gone)
    assert values(gone)["input.voltage", "1"] == 231.0


def test_a_restart_of_the_management_card_drops_no_series() -> None:
    bench = Bench()
    first = bench.sweep()
    everything = dict(bench.memory.objects)
    for oid in everything:
        if oid.startswith(UPS):
            del bench.memory.objects[oid]
    for _ in range(4):
        bench.clock.advance(60)
        bench.sweep()
    bench.memory.objects.update(everything)
    bench.clock.advance(60)
    last = bench.sweep()
    assert last.series is first.series
    assert values(last) == values(first)


def test_a_newly_absent_object_renews_the_plan_soon_but_not_at_every_sweep() -> None:
    bench = Bench()
    bench.sweep()
    del bench.memory.objects[UPS + "2.4.0"]
    bench.clock.advance(60)
    before = len(bench.requests)
    bench.sweep()
    assert len(bench.requests) > before + 1
    before = len(bench.requests)
    bench.clock.advance(60)
    bench.sweep()
    assert len(bench.requests) == before + 1


def test_a_dead_device_keeps_its_series_and_they_say_why() -> None:
    bench = Bench()
    first = bench.sweep()
    bench.memory.dead = SILENCE
    dead = bench.sweep()
    assert dead.series is first.series
    assert dead.values[0] == "no"
    assert set(dead.values[1:]) == {SILENCE.missing}
    assert bench.memory.sessions[0].closed
    bench.memory.dead = None
    assert values(bench.sweep()) == values(first)
    assert len(bench.memory.sessions) == 2


def test_a_device_that_never_answered_still_says_why() -> None:
    bench = Bench()
    bench.memory.dead = SILENCE
    assert values(bench.sweep()) == {("device.answering", ""): "no", ("uptime", ""): SILENCE.missing}


@pytest.mark.parametrize(
    ("lost", "retries", "answering"), [(1, 0, "yes"), (2, 0, "no"), (2, 1, "no"), (2, 2, "yes"), (3, 2, "no")]
)
def test_a_lost_datagram_is_requested_again_as_often_as_the_inventory_says_and_once_at_least(
    lost: int, retries: int, answering: str
) -> None:
    bench = Bench(retries=retries)
    bench.sweep()
    bench.memory.failures = [SILENCE] * lost
    assert bench.sweep().values[0] == answering


def test_a_refused_request_is_sent_once_more_because_the_refusal_carries_the_devices_new_time() -> None:
    bench = Bench(retries=0)
    bench.sweep()
    bench.memory.failures = [REFUSAL]
    assert bench.sweep().values[0] == "yes"
    bench.memory.failures = [REFUSAL, REFUSAL]
    assert values(bench.sweep())["battery.charge", ""] == REFUSAL.missing


def test_if_only_the_first_request_is_answered_the_rest_is_missing() -> None:
    many = OBJECTS | {f"{ROW}{column}.{row}": 1 for column in (2, 3, 4, 5) for row in range(1, 20)}
    bench = Bench(many, retries=0)
    first = bench.sweep()
    good = [None] * 1
    bench.memory.failures = [*good, SILENCE, SILENCE]  # type: ignore[list-item]  # None fails nothing
    found = values(bench.sweep())
    assert found["device.answering", ""] == "yes"
    assert found["battery.charge", ""] == 97.0
    missing = [key for key, value in found.items() if value == SILENCE.missing]
    assert 0 < len(missing) < len(first.series)


def test_version_1_splits_requests_only_if_an_object_is_missing() -> None:
    bench = Bench(version=SnmpVersion.V1)
    assert values(bench.sweep())["battery.charge", ""] == 97.0
    before = len(bench.requests)
    bench.sweep()
    assert len(bench.requests) == before + 1


def test_of_several_ways_the_first_that_gives_a_value_is_used() -> None:
    profile = Document(
        "box.yml",
        """\
profile: box
vendor: V
category: env
verified: []
match: [{sys_object_id: [1.3.6.1.4.1.99999]}]
readings:
  - quantity: battery.charge
    any_of:
      - {oid: 1.3.6.1.4.1.99999.1.0, raw_unit: 0.1 %, source: X-MIB::fine}
      - {oid: 1.3.6.1.4.1.99999.2.0, raw_unit: 1 %, absent: [255], source: X-MIB::coarse}
      - {oid: 1.3.6.1.4.1.99999.3.0, raw_unit: 1 %, source: X-MIB::last}
""",
    )
    base: dict[str, Raw] = {"1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.99999.1"}

    def charge(**cells: Raw) -> Value:
        found = {f"1.3.6.1.4.1.99999.{name[1:]}.0": value for name, value in cells.items()}
        return values(Bench(base | found, profiles=[profile]).sweep())["battery.charge", ""]

    assert charge(_1=995, _2=88) == 99.5
    assert charge(_2=88, _3=50) == 88.0
    assert charge(_2=255, _3=50) == 50.0
    assert isinstance(charge(_2=255), Missing)


def test_rows_get_the_labels_that_the_device_gives_them() -> None:
    sensor = "1.3.6.1.4.1.28507.66.1.6.1.1."
    box: dict[str, Raw] = {
        "1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.28507.66",
        sensor + "2.1": 259,
        sensor + "3.1": 539,
        sensor + "2.3": -15,
        sensor + "32.1": b"rack 7\x00\n",
    }
    sweep = Bench(box).sweep()
    assert [(series.quantity, series.instance, series.label) for series in sweep.series[1:]] == [
        ("temperature.ambient", "1", "rack 7"),
        ("temperature.ambient", "3", ""),
        ("humidity.relative", "1", "rack 7"),
    ]
    assert sweep.values[1:] == (25.9, -1.5, 53.9)


def test_rows_of_the_same_name_get_different_instances() -> None:
    pdu = "1.3.6.1.4.1.99999"
    profile = Document(
        "pdu.yml",
        f"""\
profile: pdu
vendor: V
category: pdu
verified: none
match: [{{sys_object_id: [{pdu}]}}]
readings:
  - {{quantity: outlet.current, each: {{instance: "{{{pdu}.1}}"}}, oid: {pdu}.2, raw_unit: 1 A, source: X}}
""",
    )
    names = [b"a 3", b"a", b"a", b"", b"", b"x" * 300, b"x" * 300]
    objects: dict[str, Raw] = {"1.3.6.1.2.1.1.2.0": pdu}
    for row, name in enumerate(names, 1):
        objects |= {f"{pdu}.1.{row}": name, f"{pdu}.2.{row}": row}
    found = values(Bench(objects, profiles=[profile]).sweep())
    currents = {instance: value for (quantity, instance), value in found.items() if quantity == "outlet.current"}
    assert sorted(currents.values(), key=str) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert list(currents)[:5] == ["a 3", "a", "a 3 2", "", " 5"]
    assert max(map(len, currents)) <= 120


def test_equal_devices_share_one_layout() -> None:
    async def planned(name: str, objects: dict[str, Raw]) -> SweepPlan:
        device = Device(name, "room", Category.UPS, "snmp", "10.0.0.7", snmp=Snmp(community="c"))
        session = await MemoryDevice(objects).open(device, Secrets(environ={}))
        profile = load_profiles().get("ups-mib")
        return await replan(DeviceReader(session, device, SnmpVersion.V2C), profile, bare_plan(device), 0.0)

    one = asyncio.run(planned("ups-1", OBJECTS))
    same = asyncio.run(planned("ups-2", {**OBJECTS, UPS + "2.4.0": 12}))
    other = asyncio.run(planned("ups-3", {**OBJECTS, ROW + "3.3": 230}))
    assert same.layout is one.layout
    assert other.layout is not one.layout
    assert {series.device for series in same.series} == {"ups-2"}


def test_a_device_that_no_profile_fits_gives_its_uptime_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    bench = Bench({"1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.4242", "1.3.6.1.2.1.1.3.0": 100})
    for _ in range(3):
        bench.clock.advance(SNMP_RENEW_S)
        assert values(bench.sweep()) == {("device.answering", ""): "yes", ("uptime", ""): 1.0}
    (record,) = caplog.records
    assert "1.3.6.1.4.1.4242" in record.message
    assert "snmp://***@10.0.0.7" in record.message


def test_a_device_that_is_redefined_or_forgotten_gets_a_new_session() -> None:
    bench = Bench()
    bench.sweep()
    bench.device = Device("ups-1", "room", Category.UPS, "snmp", "10.0.0.8", snmp=bench.device.snmp)
    bench.sweep()
    assert [session.closed for session in bench.memory.sessions] == [True, False]
    asyncio.run(bench.probe.forget("ups-1"))
    assert bench.memory.sessions[1].closed
    bench.sweep()
    asyncio.run(bench.probe.close())
    assert bench.memory.sessions[2].closed


def test_hostile_names_and_indices_are_cut_to_the_length_of_the_wire() -> None:
    sensor = "1.3.6.1.4.1.28507.66.1.6.1.1."
    box: dict[str, Raw] = {
        "1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.28507.66",
        sensor + "2." + ".".join(["4294967295"] * 30): 259,
        sensor + "2.1": 259,
        sensor + "32.1": b"x" * 4000,
    }
    for series in Bench(box).sweep().series:
        assert max(map(len, (series.instance, series.label, series.source))) <= 200


def test_the_texts_of_a_huge_table_are_not_kept_in_memory() -> None:
    sensor = "1.3.6.1.4.1.28507.66.1.6.1.1."
    box: dict[str, Raw] = {"1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.28507.66"}
    for row in range(1, 2000):
        box |= {f"{sensor}2.{row}": 259, f"{sensor}32.{row}": b"x" * 60_000}  # one text of 60 kB, which all rows share
    bench = Bench(box)
    tracemalloc.start()
    series = bench.sweep().series
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(series) == 2001 - 1
    assert most < 20_000_000


@pytest.mark.parametrize(
    ("snmp", "reason", "detail"),
    [
        (Snmp(community="nowhere"), Reason.REFUSED, "no secret called `nowhere`"),
        (None, Reason.REFUSED, "no `snmp`"),
    ],
)
def test_a_session_that_cannot_be_opened_says_why(snmp: Snmp | None, reason: Reason, detail: str) -> None:
    device = Device("ups-1", "room", Category.UPS, "snmp", "127.0.0.1", snmp=snmp)
    with pytest.raises(NoAnswer) as caught:
        asyncio.run(open_snmp_session(device, Secrets(environ={})))
    assert caught.value.missing.reason is reason
    assert detail in caught.value.missing.detail


def test_a_recognised_device_is_not_asked_again_what_it_is() -> None:
    """Its sysObjectID is generic, so it is asked for an object of every maker: once, and not at every renewal."""
    bench = Bench()
    bench.sweep()
    question = "1.3.6.1.2.1.33.1.2.1.0"
    asked = sum(question in request and len(request) > 10 for request in bench.requests)
    assert asked >= 1
    bench.clock.advance(SNMP_RENEW_S)
    before = len(bench.requests)
    bench.sweep()
    makers = [request for request in bench.requests[before:] if any(oid.startswith("1.3.6.1.4.1.") for oid in request)]
    assert makers == []
