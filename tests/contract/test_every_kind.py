"""The promises of `agent.ports.Probe` for every kind: a sweep of a device that does not exist, and no secret in it."""

import asyncio
import dataclasses
import logging
from typing import Any

import pytest

from watchkeeper.agent.poll import kinds
from watchkeeper.agent.ports import ProbeContext
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.device import (
    PROBE_KINDS,
    Category,
    Database,
    Device,
    Http,
    Ipmi,
    Modbus,
    Nut,
    Process,
    Snmp,
    Systemd,
)
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Sweep

SECRET = "geheim-und-lang-7"
OPTIONS: dict[str, Any] = {
    "snmp": Snmp(community="it"), "ipmi": Ipmi("u", "it"), "modbus": Modbus(), "nut": Nut("ups", "u", "it"),
    "http": Http(), "database": Database("u", "it", "0"), "process": Process("no such program"), "systemd": Systemd(("no-such",)),
}  # fmt: skip
HERE = frozenset({"host", "process", "systemd"})
"""Kinds that read this machine; the address does not matter."""

NOWHERE = ("127.0.0.1:nine", "no-such-name.invalid:9")


def device(kind: str, address: str) -> Device:
    options = PROBE_KINDS[kind].options
    made = Device(
        "it-1", "room", Category.SERVER, kind, address if PROBE_KINDS[kind].address else "", timeout_s=0.3, retries=0
    )
    made = dataclasses.replace(made, profile="eastron-sdm630" if kind == "modbus" else "auto")
    return dataclasses.replace(made, **{options: OPTIONS[options]}) if options else made


def swept(kind: str, address: str) -> tuple[Sweep, Sweep]:
    async def run() -> tuple[Sweep, Sweep]:
        probe = kinds.build(kind, ProbeContext(SystemClock(), Secrets(None, {"WATCHKEEPER_SECRET_IT": SECRET})))
        try:
            return await probe.sweep(device(kind, address)), await probe.sweep(device(kind, address))
        finally:
            await probe.forget("it-1")
            await probe.forget("never heard of")
            await probe.close()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", PROBE_KINDS)
@pytest.mark.parametrize("address", ["127.0.0.1:9", "[::1]:9", *NOWHERE])
def test_a_device_that_does_not_exist_gives_a_sweep_with_reasons(
    kind: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first, second = swept(kind, address)
    assert first.series is second.series
    for sweep in (first, second):
        assert sweep.device == "it-1"
        assert len(sweep.series) == len(sweep.values)
        assert sweep.series[0].quantity == "device.answering"
        assert len({(one.quantity, one.instance) for one in sweep.series}) == len(sweep.series)
        for reading in sweep.readings():
            quantity = QUANTITIES[reading.series.quantity]
            if isinstance(reading.value, str):
                assert reading.value in quantity.states
            elif not isinstance(reading.value, Missing):
                assert not quantity.states
                assert type(reading.value) is float
        if kind not in HERE and address in NOWHERE:
            assert sweep.values[0] == "no"
        if sweep.values[0] == "no":
            assert all(isinstance(value, Missing) and value.detail for value in sweep.values[1:])
            assert len(sweep.values) > 1
    assert SECRET not in caplog.text
    assert SECRET not in repr((first, second))
