"""Tries a profile on a device or a recording: shows every object with its raw value and the reading made of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from watchkeeper.agent.probes.snmp.plan import DeviceReader, bare_plan, replan
from watchkeeper.model.reading import Series, Value
from watchkeeper.profiles import Profile
from watchkeeper.profiles.decode import DecodeStep, Raw, decode, raw_text


@dataclass(frozen=True, slots=True)
class TrialReading:
    """One reading: its series, the device's raw answer (None: no answer), and the value made of it."""

    series: Series
    raw: Raw | None
    value: Value


def _raw(one: DecodeStep, answer: Mapping[str, Raw]) -> Raw | None:
    """The raw answer; of a calculation, the raw answers of its objects in order."""
    if not one.special.parts:
        return answer.get(one.oid)
    raws = [_raw(part, answer) for part in one.special.parts]
    return ", ".join("nothing" if raw is None else raw_text(raw) for raw in raws)


async def try_profile(reader: DeviceReader, profile: Profile) -> list[TrialReading]:
    """Apply the profile to the device and read it once. Raises NoAnswer."""
    plan = await replan(reader, profile, bare_plan(reader.device), 0.0)
    answer = await reader.get(name for request in plan.layout.requests for name in request)
    values = decode(plan.layout.steps, answer)
    return [
        TrialReading(series, _raw(one, answer), value)
        for series, one, value in zip(plan.series[1:], plan.layout.steps, values, strict=True)
    ]
