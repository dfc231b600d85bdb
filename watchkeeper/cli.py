"""The command line `watchkeeper`. Each command is imported only when it is called, so `--help` is quick."""

import importlib
from typing import Any

import click

from watchkeeper import __version__
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.plain import printable


class LazyCommand(click.Command):
    """A command that is imported when it is called. `place` is `module:attribute`. `extra` is the package extra that the
    command needs, or empty if the base package is enough."""

    def __init__(self, place: str, summary: str, extra: str = "") -> None:
        super().__init__(place, short_help=summary)
        self.place = place
        self.extra = extra

    def load(self) -> click.Command:
        """Import the module and return its command."""
        module, attribute = self.place.split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Return the context of the real command; click then runs that command."""
        return self.load().make_context(*args, **kwargs)


COMMANDS = {
    "init": LazyCommand("watchkeeper.init:init", "Write the starter files into a folder."),
    "probe": LazyCommand(
        "watchkeeper.agent.tools.probe_cli:probe", "Read this host or a device once; needs no configuration."
    ),
    "profile": LazyCommand(
        "watchkeeper.agent.tools.profile_cli:profile", "Add support for an unknown device: draft, check, record."
    ),
    "discover": LazyCommand(
        "watchkeeper.agent.tools.discover_cli:discover", "Find the devices of a network, and write their inventory."
    ),
    "agent": LazyCommand("watchkeeper.agent.cli:agent", "Read devices, judge readings, push to the collector."),
    "collector": LazyCommand(
        "watchkeeper.collector.cli:collector",
        "Run the collector, which keeps incidents, escalates them and pages people.",
        "collector",
    ),
    "rules": LazyCommand("watchkeeper.rules.cli:rules", "List, check and test the YAML rules."),
    "simulate": LazyCommand("watchkeeper.simulator.cli:simulate", "Simulate a machine room without hardware."),
    "up": LazyCommand("watchkeeper.up:up", "Run a collector and an agent for this host.", "collector"),
    "demo": LazyCommand(
        "watchkeeper.demo:demo",
        "A simulated room overheats, and all ladder levels are reached in minutes.",
        "collector",
    ),
}

_EXTRAS = {"psycopg": "postgresql"}  # modules that a URL in a file asks for, not a command


class CommandLine(click.Group):
    """All commands. An error that a person can act on is shown as a sentence; only a bug shows a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. On a WatchkeeperError, print its text to standard error and exit with code 1."""
        try:
            return super().invoke(ctx)
        except WatchkeeperError as error:
            message = str(error)
        except ModuleNotFoundError as error:
            message = self.what_to_install(ctx, error)
        click.echo(printable(message), err=True)
        return ctx.exit(1)

    def what_to_install(self, ctx: click.Context, error: ModuleNotFoundError) -> str:
        """Name the extra that has the missing module. If no extra has it, that is a bug: raise the error again."""
        command = ctx.invoked_subcommand or ""
        module = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(module) or getattr(self.commands.get(command), "extra", "")
        if not extra or module == "watchkeeper":
            raise error
        return (
            f"`watchkeeper {command}` needs {module}, which is not installed; run: pip install 'watchkeeper[{extra}]'"
        )


@click.group(
    "watchkeeper", cls=CommandLine, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="watchkeeper %(version)s")
def command_line() -> None:
    """Monitor machine rooms, and page people step by step until the fault is fixed."""


def main() -> None:
    """Run the console script `watchkeeper`."""
    command_line(prog_name="watchkeeper")
