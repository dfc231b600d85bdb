"""`watchkeeper probe TARGET...`: read this host or devices once and print the readings. Needs no configuration."""

import asyncio
import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from watchkeeper.agent.poll.derived import derive
from watchkeeper.agent.tools.target import Target, parse_target, parse_targets
from watchkeeper.documents.files import read_documents
from watchkeeper.model.clock import Clock, SystemClock
from watchkeeper.model.plain import printable
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Reading, Reason, Sweep

if TYPE_CHECKING:
    from watchkeeper.agent.ports import Probe, ProbeContext
    from watchkeeper.model.batch import Facts
    from watchkeeper.profiles import Profile

SECOND_SAMPLE_S = 1.0
MOST_SAMPLES = 10
"""The time between two samples of a counter, from which a rate is computed."""

MAX_TARGETS_AT_ONCE = 32


@click.command()
@click.argument("targets", nargs=-1, metavar="TARGET...")
@click.option(
    "--targets", "listed", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file of targets, with lines `NAME URL`.",
)  # fmt: skip
@click.option(
    "--profile", default="auto", show_default=True, help="The profile to read by; `auto` recognises the device."
)
@click.option(
    "--add",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file with a profile of your own, to try it.",
)
@click.option("--format", "style", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
@click.option(
    "--secrets",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the secrets that a target names, mode 0600.",
)
def probe(
    *,
    targets: Sequence[str],
    listed: Path | None,
    profile: str,
    files: Sequence[Path],
    style: str,
    secrets: Path | None,
) -> None:
    """Read every TARGET once.

    A TARGET is `host` (this one), `snmp://COMMUNITY@HOST:PORT` (`?version=1` for SNMPv1),
    `snmp://USER@HOST?auth=SHA-256&auth_secret=NAME&priv=AES&priv_secret=NAME` for SNMPv3,
    `ipmi://USER@HOST?password=NAME`, `modbus://HOST?unit=1`, `nut://UPS@HOST`, `icmp://HOST`, `tcp://HOST:PORT`,
    `https://HOST/PATH`, `postgresql://USER@HOST/DATABASE?password=NAME`, `mysql://...` or `redis://...`; NAME is looked
    up in the environment (WATCHKEEPER_SECRET_NAME) and in --secrets. Exits with 1 if a target does not answer.
    """
    from watchkeeper.agent.ports import ProbeContext
    from watchkeeper.documents.secrets import Secrets
    from watchkeeper.model.logs import limit_library_logs

    limit_library_logs()
    try:
        parsed = [parse_target(target, profile) for target in targets]
        if listed:
            parsed += parse_targets(listed.read_text(encoding="utf-8-sig").splitlines(), str(listed), profile)
    except (ValueError, OSError) as error:
        raise click.BadParameter(str(error), param_hint="TARGET") from None
    if not parsed:
        raise click.UsageError("Missing argument 'TARGET...': name a device to read; `host` is this machine.")
    clock = SystemClock()
    environ = {key: text for target in parsed for key, text in target.environ.items()}
    context = ProbeContext(clock, Secrets(secrets, {**os.environ, **environ}), tuple(read_documents(files)))
    all_answered = asyncio.run(_show(parsed, context, style))
    if not all_answered:
        raise SystemExit(1)


async def _show(targets: Sequence[Target], context: "ProbeContext", style: str) -> bool:
    """Read and print them in order, each as soon as possible. Returns whether all of them answered."""
    from watchkeeper.agent.poll import kinds
    from watchkeeper.agent.poll.facts import facts_of

    probes = kinds.build_all({target.device.probe for target in targets}, context, {}, new_profiles=False)
    limit, all_answered = asyncio.Semaphore(MAX_TARGETS_AT_ONCE), True
    try:
        sweeps = [asyncio.ensure_future(read(target, probes[target.device.probe], limit)) for target in targets]
        for target, under_way in zip(targets, sweeps, strict=True):
            sweep = await under_way
            all_answered &= sweep.values[0] == "yes"  # the first series is `device.answering`
            probe_of_target = probes[target.device.probe]
            profile, habits = _profile(probe_of_target, target), _habits(probe_of_target, target)
            formatter = table if style == "table" else lines
            for line in formatter(target, sweep, context.clock, profile, habits):
                click.echo(printable(line))
            if style == "table":
                for line in read_by(facts_of(probe_of_target, target.device.device), sweep):
                    click.echo(printable(line))
    finally:
        for probe_of_kind in probes.values():
            await probe_of_kind.close()
    return all_answered


def _profile(probe: "Probe", target: Target) -> "Profile | None":
    from watchkeeper.agent.ports import ProfileProbe

    profiles = probe.profiles_of(target.device.device) if isinstance(probe, ProfileProbe) else ()
    return next(iter(profiles), None)


def _habits(probe: "Probe", target: Target) -> tuple[str, ...]:
    from watchkeeper.agent.ports import HabitProbe

    return probe.habits_of(target.device.device) if isinstance(probe, HabitProbe) else ()


async def read(
    target: Target, probe: "Probe", limit: asyncio.Semaphore, second_sample_s: float = SECOND_SAMPLE_S
) -> Sweep:
    """Read the target with what is derived, twice with `second_sample_s` seconds between if a rate needs a second sample;
    again and again, MOST_SAMPLES times, if its tables are still being read."""
    async with limit:
        sweep = await probe.sweep(target.device)
        for _ in range(MOST_SAMPLES - 1):
            warming_up = [
                isinstance(value, Missing) and value.reason is Reason.WARMING_UP for value in sweep.values[1:]
            ]
            if not any(warming_up):
                break
            await asyncio.sleep(second_sample_s)
            sweep = await probe.sweep(target.device)
            if not all(warming_up):
                break
        return derive(sweep.series).extend(sweep)


def lines(
    target: Target, sweep: Sweep, clock: Clock, profile: "Profile | None" = None, habits: Sequence[str] = ()
) -> Iterator[str]:
    """One JSON object per reading. `at` is UTC; `vendor` and `category` are those of the profile."""
    at = _utc(sweep, clock).isoformat()
    device: dict[str, Any] = {
        "name": target.device.device,
        "target": target.masked,
        "profile": profile.profile if profile else "",
        "vendor": profile.vendor if profile else "",
        "category": profile.category if profile else target.device.category,
    }
    if habits:
        device["habits"] = habits
    for reading in sweep.readings():
        yield json.dumps({**device, **_facts(reading), "at": at}, ensure_ascii=False)


def _utc(sweep: Sweep, clock: Clock) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(clock.wall() - clock.boot() + sweep.at, datetime.UTC)


def _facts(reading: Reading) -> Mapping[str, Any]:
    series, value = reading.series, reading.value
    facts: dict[str, Any] = {"quantity": series.quantity, "instance": series.instance, "label": series.label}
    if isinstance(value, Missing):
        facts["missing"] = [value.reason, value.detail]
    elif isinstance(value, str):
        facts |= {"state": value, "level": QUANTITIES[series.quantity].levels[value]}
    else:
        facts |= {"value": value, "unit": QUANTITIES[series.quantity].unit.symbol}
    return facts | {"oid": series.source}


def table(
    target: Target, sweep: Sweep, clock: Clock, profile: "Profile | None" = None, habits: Sequence[str] = ()
) -> Iterator[str]:
    """Aligned columns: quantity, instance with label, value with unit. Before them, how the device differs from the
    standard."""
    rows = [(reading.series.quantity, _instance(reading), _value_text(reading)) for reading in sweep.readings()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    name = target.device.device
    title = f"{name}, {target.masked}" if name not in (target.masked, target.device.address) else target.masked
    what = f", {profile.vendor} {profile.category} ({profile.profile})" if profile else ""
    yield f"{title}, {_utc(sweep, clock):%Y-%m-%d %H:%M:%S} UTC{what}"
    yield from (f"  habit: {habit}" for habit in habits)
    for quantity, instance, value in rows:
        yield f"  {quantity:<{widths[0]}}  {instance:<{widths[1]}}  {value}"


def read_by(facts: "Facts", sweep: Sweep) -> Iterator[str]:
    """How a device was read: by which profile and why, and how many of its readings gave a value."""
    for name, text in facts:
        yield f"  {name}: {text or 'none fits'}"
    own = [one.value for one in sweep.readings() if one.series.quantity not in ("device.answering", "uptime")]
    given = sum(not isinstance(value, Missing) for value in own)
    warning = "" if given or sweep.values[0] != "yes" else "; nothing is read of this device"
    yield f"  {given} of {len(own)} readings have a value{warning}"


def _instance(reading: Reading) -> str:
    instance, label = reading.series.instance, reading.series.label
    return f"{instance} ({label})" if label not in ("", instance) else instance


def _value_text(reading: Reading) -> str:
    value = reading.value
    if isinstance(value, Missing):
        return f"missing: {value.reason}" + (f", {value.detail}" if value.detail else "")
    if isinstance(value, str):
        level = QUANTITIES[reading.series.quantity].levels[value]
        return f"{value} ({level})" if level.bad and value != level else value
    number = f"{value:,.2f}".rstrip("0").rstrip(".") if value == 0 or abs(value) >= 0.1 else f"{value:.3g}"  # noqa: PLR2004 -- 3 ms must not be shown as 0 s
    return f"{number} {QUANTITIES[reading.series.quantity].unit.symbol}".rstrip()
