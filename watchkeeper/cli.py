"""The front door: one command line over the rooms' own. A room is imported when its door is opened, not before."""

import importlib
from typing import Any

import click

from watchkeeper import __version__
from watchkeeper.model.errors import WatchkeeperError


class Door(click.Command):
    """Stands for a room's command until it is called. `place` is `module:attribute`; `extra` names what has to be
    installed beyond the base package."""

    def __init__(self, place: str, says: str, extra: str = "") -> None:
        super().__init__(place, short_help=says)
        self.place = place
        self.extra = extra

    def open(self) -> click.Command:
        """Import the room and return its command."""
        module, attribute = self.place.split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """The context of the real command, which click runs from here on."""
        return self.open().make_context(*args, **kwargs)


DOORS = {
    "init": Door("watchkeeper.init:init", "Write the starter files into a folder."),
    "probe": Door(
        "watchkeeper.agent.tools.probe_cli:probe", "Read this host or a device once; needs no configuration."
    ),
    "profile": Door(
        "watchkeeper.agent.tools.profile_cli:profile", "Teach it a device it does not know: draft, check, record."
    ),
    "discover": Door(
        "watchkeeper.agent.tools.discover_cli:discover", "Find the devices of a network, and write their inventory."
    ),
    "agent": Door("watchkeeper.agent.cli:agent", "Read devices, judge, push to the collector."),
    "collector": Door(
        "watchkeeper.collector.cli:collector",
        "Run the collector, which keeps incidents, escalates them and pages people.",
        "collector",
    ),
    "rules": Door("watchkeeper.rules.cli:rules", "Check and try the YAML rules."),
    "simulate": Door("watchkeeper.simulator.cli:simulate", "A machine room without hardware."),
    "up": Door("watchkeeper.up:up", "Collector and agent for this host, in one folder.", "collector"),
    "demo": Door("watchkeeper.demo:demo", "A simulated room overheats; the ladder's minutes are seconds.", "collector"),
}

_EXTRAS = {"psycopg": "postgresql"}  # asked for by a URL in a file, not by a command


class FrontDoor(click.Group):
    """All the doors. What a person can act on is told in a sentence; only a bug shows a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A WatchkeeperError is its text on standard error and exit code 1."""
        try:
            return super().invoke(ctx)
        except WatchkeeperError as error:
            said = str(error)
        except ModuleNotFoundError as error:
            said = self.what_to_install(ctx, error)
        click.echo(said, err=True)
        return ctx.exit(1)

    def what_to_install(self, ctx: click.Context, error: ModuleNotFoundError) -> str:
        """Tell which extra has the absent module. Raises the error again where none should: that is a bug."""
        command = ctx.invoked_subcommand or ""
        module = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(module) or getattr(self.commands.get(command), "extra", "")
        if not extra or module == "watchkeeper":
            raise error
        return (
            f"`watchkeeper {command}` needs {module}, which is not installed; run: pip install 'watchkeeper[{extra}]'"
        )


@click.group("watchkeeper", cls=FrontDoor, commands=DOORS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="watchkeeper %(version)s")
def door() -> None:
    """Watches machine rooms, and climbs the ladder until the fault is fixed."""


def main() -> None:
    """Run the console script `watchkeeper`."""
    door(prog_name="watchkeeper")
