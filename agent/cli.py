"""`watchkeeper agent`: run an agent, and show its status."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from watchkeeper.model.plain import one_line

if TYPE_CHECKING:
    from watchkeeper.agent.spool.status import Status

_CONFIG = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The agent.yml of this agent.",
)


@click.group()
def agent() -> None:
    """Read devices, judge the readings and push to the collector."""


@agent.command()
@_CONFIG
def run(file: Path) -> None:
    """Run in the foreground until SIGTERM or Ctrl-C. SIGHUP fetches the bundle again."""
    from watchkeeper.agent.main import run as run_agent

    run_agent(file)


@agent.command()
@_CONFIG
def status(file: Path) -> None:
    """Show what waits in the spool, the collector's last answer, and what it refused."""
    from watchkeeper.agent.config import read_config
    from watchkeeper.agent.spool.status import read_status
    from watchkeeper.model.clock import SystemClock

    config, places = read_config(file)
    status = read_status(places.spool, SystemClock().boot())
    click.echo(f"agent {config.agent}, collector {config.collector}")
    click.echo(f"spool {places.spool}: {status.file_bytes / 1e6:.1f} MB, epoch {status.epoch}")
    _show(status)


def _show(status: "Status") -> None:
    from watchkeeper.agent.push.cutoff import cut_off

    for lane in status.lanes:
        oldest = "" if lane.oldest_s is None else f", the oldest {lane.oldest_s:.0f} s old"
        click.echo(f"{lane.lane}: {lane.waiting} waiting{oldest}; last seq {lane.last}, settled up to {lane.settled}")
    click.echo(f"states of rules: {status.states}")
    if answer := status.answer:
        through, bundle = answer["through"], answer["bundle"] or "-"
        click.echo(f"last answer {_utc(answer)}: {answer['lane']} up to {through}, bundle {bundle}")
    if status.away:
        click.echo(f"last failed push {_utc(status.away)}: {one_line(status.away['why'])}")
        lasted_s = status.away["at_utc"] - status.away.get("since_utc", status.away["at_utc"])
        if cut := cut_off(0.0, lasted_s, one_line(status.away["why"])):
            click.secho(f"CUT OFF: {cut}", fg="red", bold=True)
    for refused in status.refused:
        click.echo(f"set aside: {refused.items} of {refused.lane}: {one_line(refused.reason)}")


def _utc(note: dict[str, Any]) -> str:
    return datetime.datetime.fromtimestamp(note["at_utc"], datetime.UTC).isoformat(" ", "seconds")
