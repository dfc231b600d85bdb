"""`watchkeeper simulate`: run a simulated room, and switch its faults. Heavy imports are made only when a command
runs."""

import asyncio
from pathlib import Path

import click

from watchkeeper.simulator.devices import FAULTS
from watchkeeper.simulator.faults import active_faults, switch

_ROOM = click.option("--room", "directory", required=True, type=click.Path(path_type=Path), help="The room's folder.")


@click.group()
def simulate() -> None:
    """A simulated machine room that answers SNMP on loopback."""


@simulate.command()
@click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(path_type=Path),
    help="The room's folder, for its logs and fault switches.",
)
@click.option(
    "--port-base",
    type=click.IntRange(0, 65532),
    default=11610,
    show_default=True,
    help="First of four UDP ports; 0 takes free ones.",
)
@click.option(
    "--pace",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Seconds of the room per second; with 60, a minute passes in a second.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the noise; the same seed gives the same room.")
def room(directory: Path, port_base: int, pace: float, seed: int) -> None:
    """Run a UPS, an air conditioner and two sensors until Ctrl-C."""
    from watchkeeper.simulator.serve import run_room

    asyncio.run(run_room(directory, port_base, pace, seed, click.echo))


@simulate.command()
@click.argument("name", type=click.Choice(list(FAULTS)))
@click.argument("state", type=click.Choice(["on", "off"]))
@_ROOM
def fault(name: str, state: str, directory: Path) -> None:
    """Switch a fault on or off in a room, running or not."""
    now = switch(directory, name, on=state == "on")
    click.echo(f"active: {', '.join(sorted(now)) or 'none'}")


@simulate.command()
@_ROOM
def faults(directory: Path) -> None:
    """List all faults of a room, and which are on."""
    now = active_faults(directory)
    for name, effect in FAULTS.items():
        click.echo(f"{'on ' if name in now else 'off'}  {name:<14} {effect}")


@simulate.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--port", default=11700, show_default=True, help="The UDP port; 0 takes a free one.")
def recording(file: Path, port: int) -> None:
    """Answer SNMP v1, v2c (public) and v3 from a recording (.snmprec) until Ctrl-C."""
    from watchkeeper.simulator.recorded import run_recording

    asyncio.run(run_recording(file, port, click.echo))
