"""`watchkeeper probe TARGET...`: read this host or a device once and print what it says. Needs no configuration."""

import asyncio
import datetime
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.target import Target, parse_target
from documents.files import read_documents
from model.batch import Document
from model.clock import Clock, SystemClock
from model.plain import printable
from model.quantity import QUANTITIES
from model.reading import Missing, Reading, Reason, Sweep

if TYPE_CHECKING:
    from agent.ports import Probe

SETTLE_S = 1.0
"""How long a counter is given before the second look that makes a rate of it."""


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--profile", default="auto", help="The profile to read by; `auto` asks the device what it is.")
@click.option(
    "--add", "files", multiple=True, type=click.Path(path_type=Path), help="A file with a profile of your own, to try."
)
@click.option("--format", "style", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
@click.option(
    "--secrets",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file, mode 0600, with the secrets that a target names.",
)
def probe(targets: Sequence[str], profile: str, files: Sequence[Path], style: str, secrets: Path | None) -> None:
    """Read every TARGET once.

    A TARGET is `host` (this one), `snmp://COMMUNITY@HOST:PORT` (`?version=1` for SNMPv1), or
    `snmp://USER@HOST?auth=SHA-256&auth_secret=NAME&priv=AES&priv_secret=NAME` for SNMPv3; NAME is looked up in the
    environment (WATCHKEEPER_SECRET_NAME) and in --secrets. Exits with 1 where one of them does not answer.
    """
    try:
        parsed = [parse_target(target, profile) for target in targets]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="TARGET") from None
    clock, own = SystemClock(), read_documents(files)
    sweeps = asyncio.run(read(parsed, lambda target: build(target, secrets, clock, own)))
    write = {"table": table, "jsonl": lines}[style]
    for target, sweep in zip(parsed, sweeps, strict=True):
        for line in write(target, sweep, clock):
            click.echo(printable(line))
    if any(sweep.values[0] != "yes" for sweep in sweeps):  # the first series is `device.answering`
        raise SystemExit(1)


def build(target: Target, secrets: Path | None, clock: Clock, own: Sequence[Document]) -> "Probe":
    """The probe that reads this target, knowing its secrets, the shipped profiles and these. Raises ConfigError."""
    if target.device.probe == "host":
        from agent.probes.host import HostProbe

        return HostProbe(clock)
    from agent.probes.snmp import SnmpProbe
    from agent.profiles import load_profiles
    from documents.secrets import Secrets

    return SnmpProbe(load_profiles(own), Secrets(secrets, {**os.environ, **target.environ}), clock)


async def read(targets: Sequence[Target], made: Callable[[Target], "Probe"], settle_s: float = SETTLE_S) -> list[Sweep]:
    """Read them all side by side; what needs a second sample gets it after `settle_s` seconds."""

    async def once(target: Target) -> Sweep:
        probe = made(target)
        try:
            sweep = await probe.sweep(target.device)
            if any(isinstance(value, Missing) and value.reason is Reason.WARMING_UP for value in sweep.values):
                await asyncio.sleep(settle_s)
                sweep = await probe.sweep(target.device)
            return sweep
        finally:
            await probe.close()

    return await asyncio.gather(*map(once, targets))


def lines(target: Target, sweep: Sweep, clock: Clock) -> Iterator[str]:
    """One JSON object a reading; `at` is UTC."""
    at = _utc(sweep, clock).isoformat()
    for reading in sweep.readings():
        row = {"name": target.device.device, "target": target.masked, **_facts(reading), "at": at}
        yield json.dumps(row, ensure_ascii=False)


def _utc(sweep: Sweep, clock: Clock) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(clock.wall() - clock.boot() + sweep.at, datetime.UTC)


def _facts(reading: Reading) -> Mapping[str, Any]:
    series, value = reading.series, reading.value
    facts: dict[str, Any] = {"quantity": series.quantity, "instance": series.instance, "label": series.label}
    if isinstance(value, Missing):
        facts["missing"] = [value.reason, value.detail]
    elif isinstance(value, str):
        facts["state"] = value
    else:
        facts |= {"value": value, "unit": QUANTITIES[series.quantity].unit.symbol}
    return facts | {"oid": series.source}


def table(target: Target, sweep: Sweep, clock: Clock) -> Iterator[str]:
    """Aligned columns: quantity, which one, value with unit."""
    rows = [(reading.series.quantity, _which(reading), _said(reading)) for reading in sweep.readings()]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    yield f"{target.masked}, {_utc(sweep, clock):%Y-%m-%d %H:%M:%S} UTC"
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
        return value
    number = f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{number} {QUANTITIES[reading.series.quantity].unit.symbol}".rstrip()
