"""`watchkeeper probe TARGET...`: read this host or devices once and print what they say. Needs no configuration."""

import asyncio
import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from watchkeeper.agent.tools.target import Target, parse_target, parse_targets
from watchkeeper.documents.files import read_documents
from watchkeeper.model.clock import Clock, SystemClock
from watchkeeper.model.plain import printable
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Reading, Reason, Sweep

if TYPE_CHECKING:
    from watchkeeper.agent.ports import Probe, ProbeContext
    from watchkeeper.profiles import Profile

SETTLE_S = 1.0
"""How long a counter is given before the second look that makes a rate of it."""
AT_ONCE = 32
"""How many targets are read side by side."""


@click.command()
@click.argument("targets", nargs=-1, metavar="TARGET...")
@click.option(
    "--targets", "listed", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file of many targets, a line `NAME URL`.",
)  # fmt: skip
@click.option(
    "--profile", default="auto", show_default=True, help="The profile to read by; `auto` asks the device what it is."
)
@click.option(
    "--add", "files", multiple=True, type=click.Path(path_type=Path), help="A file with a profile of your own, to try."
)
@click.option("--format", "style", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
@click.option(
    "--secrets",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file, mode 0600, with the secrets that a target names.",
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
    `snmp://USER@HOST?auth=SHA-256&auth_secret=NAME&priv=AES&priv_secret=NAME` for SNMPv3, `ipmi://USER@HOST?password=NAME`,
    `modbus://HOST?unit=1`, `nut://UPS@HOST`, `icmp://HOST`, `tcp://HOST:PORT`, `https://HOST/PATH`,
    `postgresql://USER@HOST/DATABASE?password=NAME`, `mysql://...` or `redis://...`; NAME is looked up in the environment
    (WATCHKEEPER_SECRET_NAME) and in --secrets. Exits with 1 where one of them does not answer.
    """
    from watchkeeper.agent.ports import ProbeContext
    from watchkeeper.documents.secrets import Secrets
    from watchkeeper.model.logs import limit_library_logs

    limit_library_logs()
    try:
        parsed = [parse_target(target, profile) for target in targets]
        if listed:
            lines_of = listed.read_text(encoding="utf-8-sig").splitlines()
            parsed += parse_targets(lines_of, str(listed), profile)
    except (ValueError, OSError) as error:
        raise click.BadParameter(str(error), param_hint="TARGET") from None
    if not parsed:
        raise click.UsageError("Missing argument 'TARGET...': what is to be read? `host` is this machine.")
    clock = SystemClock()
    environ = {key: text for target in parsed for key, text in target.environ.items()}
    context = ProbeContext(clock, Secrets(secrets, {**os.environ, **environ}), tuple(read_documents(files)))
    well = asyncio.run(_show(parsed, context, style))
    if not well:
        raise SystemExit(1)


async def _show(targets: Sequence[Target], context: "ProbeContext", style: str) -> bool:
    """Read and print them, each as soon as those before it are done; whether all of them answered."""
    from watchkeeper.agent.poll import kinds

    probes = kinds.build_all({target.device.probe for target in targets}, context, {}, new_profiles=False)
    gate, well = asyncio.Semaphore(AT_ONCE), True
    try:
        sweeps = [asyncio.ensure_future(read(target, probes[target.device.probe], gate)) for target in targets]
        for target, under_way in zip(targets, sweeps, strict=True):
            sweep = await under_way
            well &= sweep.values[0] == "yes"  # the first series is `device.answering`
            profile = _profile(probes[target.device.probe], target)
            told = table if style == "table" else lines
            for line in told(target, sweep, context.clock, profile):
                click.echo(printable(line))
    finally:
        for probe_of_kind in probes.values():
            await probe_of_kind.close()
    return well


def _profile(probe: "Probe", target: Target) -> "Profile | None":
    from watchkeeper.agent.ports import ProfileProbe

    return probe.profile_of(target.device.device) if isinstance(probe, ProfileProbe) else None


async def read(target: Target, probe: "Probe", gate: asyncio.Semaphore, settle_s: float = SETTLE_S) -> Sweep:
    """Read it; what needs a second sample gets it after `settle_s` seconds."""
    async with gate:
        sweep = await probe.sweep(target.device)
        if any(isinstance(value, Missing) and value.reason is Reason.WARMING_UP for value in sweep.values):
            await asyncio.sleep(settle_s)
            sweep = await probe.sweep(target.device)
        return sweep


def lines(target: Target, sweep: Sweep, clock: Clock, profile: "Profile | None" = None) -> Iterator[str]:
    """One JSON object a reading; `at` is UTC. `vendor` and `category` are the profile's."""
    at = _utc(sweep, clock).isoformat()
    whose = {
        "name": target.device.device,
        "target": target.masked,
        "profile": profile.profile if profile else "",
        "vendor": profile.vendor if profile else "",
        "category": profile.category if profile else target.device.category,
    }
    for reading in sweep.readings():
        yield json.dumps({**whose, **_facts(reading), "at": at}, ensure_ascii=False)


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


def table(target: Target, sweep: Sweep, clock: Clock, profile: "Profile | None" = None) -> Iterator[str]:
    """Aligned columns: quantity, which one, value with unit."""
    rows = [(reading.series.quantity, _which(reading), _said(reading)) for reading in sweep.readings()]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    name = target.device.device
    called = f"{name}, {target.masked}" if name not in (target.masked, target.device.address) else target.masked
    known = f", {profile.vendor} {profile.category} ({profile.profile})" if profile else ""
    yield f"{called}, {_utc(sweep, clock):%Y-%m-%d %H:%M:%S} UTC{known}"
    for quantity, which, said in rows:
        yield f"  {quantity:<{wide[0]}}  {which:<{wide[1]}}  {said}"


def _which(reading: Reading) -> str:
    instance, label = reading.series.instance, reading.series.label
    return f"{instance} ({label})" if label not in ("", instance) else instance


def _said(reading: Reading) -> str:
    value = reading.value
    if isinstance(value, Missing):
        return f"missing: {value.reason}" + (f", {value.detail}" if value.detail else "")
    if isinstance(value, str):
        level = QUANTITIES[reading.series.quantity].levels[value]
        return f"{value} ({level})" if level.bad and value != level else value
    number = f"{value:,.2f}".rstrip("0").rstrip(".") if value == 0 or abs(value) >= 0.1 else f"{value:.3g}"  # noqa: PLR2004 -- 3 ms are not 0 s
    return f"{number} {QUANTITIES[reading.series.quantity].unit.symbol}".rstrip()
