"""A profile tried on a device or a recording: every object with its raw value and what became of it."""

from dataclasses import dataclass

from watchkeeper.agent.probes.snmp.plan import DeviceReader, bare_plan, replan
from watchkeeper.model.reading import Series, Value
from watchkeeper.profiles import Profile
from watchkeeper.profiles.decode import Raw, decode


@dataclass(frozen=True, slots=True)
class TrialReading:
    """One reading: where it comes from, what the device answered (None: nothing), and the value made of it."""

    series: Series
    raw: Raw | None
    value: Value


async def try_profile(reach: DeviceReader, profile: Profile) -> list[TrialReading]:
    """Lay the profile over the device and read it once. Raises NoAnswer."""
    plan = await replan(reach, profile, bare_plan(reach.device), 0.0)
    answer = await reach.get(name for chunk in plan.layout.chunks for name in chunk)
    values = decode(plan.layout.steps, answer)
    return [
        TrialReading(series, answer.get(one.oid), value)
        for series, one, value in zip(plan.series[1:], plan.layout.steps, values, strict=True)
    ]
