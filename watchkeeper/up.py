"""`watchkeeper up`: a collector and an agent for this host, in one folder, without any configuration."""

import getpass
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from watchkeeper.deployment import AGENT, running, write_deployment
from watchkeeper.model.errors import WatchkeeperError

_INVENTORY = """\
# Written by `watchkeeper up`, which does not change it again: edit it. docs/operators.md explains every key.
site: {{name: {host}, timezone: {zone}}}
agents:
  - {{agent: {agent}, owner: {person}, interval: 15 s}}
devices:
  - {{device: {host}, agent: {agent}, category: server, probe: host, every: 15 s, owner: {person}}}
"""
_CONTACTS = """\
# Written by `watchkeeper up`, which does not change it again: edit it. The channel `console` prints pages in the terminal.
people:
  - {{person: {person}, name: {person}, language: {language}, channels: [{{via: console}}]}}
shifts:
  - {{shift: day, start: 08:30, end: 17:00, rotation: [{person}]}}
  - {{shift: night, start: 17:00, end: 08:30, rotation: [{person}]}}
roles:
  head: [{person}]
  assistant: [{person}]
"""
_LADDERS = Path(__file__).resolve().parent / "configs" / "ladders.yml"


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path(".run"), show_default=True)
@click.option(
    "--port", type=int, default=8760, show_default=True, help="Used when the folder has no collector.yml yet."
)
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
def up(folder: Path, port: int, language: str) -> None:
    """Run a collector and an agent that monitor this host, until Ctrl-C. All files are in one folder."""
    person = _name(getpass.getuser())
    deployment = write_deployment(folder.absolute(), port, _configuration(person, language))
    try:
        with running(deployment) as processes:
            click.echo(f"\n  Readings of this host: {deployment.url}/")
            click.echo(f"  Sign in as {person} (this link works once): {deployment.link(person)}")
            click.echo("  Press Ctrl-C to stop.\n")
            _wait(processes)
    except KeyboardInterrupt:
        click.echo("\nstopped")


def _configuration(person: str, language: str) -> Mapping[str, str]:
    facts = {
        "person": person, "language": language, "agent": AGENT, "host": _name(socket.gethostname()), "zone": _zone(),
    }  # fmt: skip
    return {
        "inventory.yml": _INVENTORY.format(**facts),
        "contacts.yml": _CONTACTS.format(**facts),
        "ladders.yml": _LADDERS.read_text(encoding="utf-8"),
    }


def _wait(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Wait until a process ends. Raises WatchkeeperError then."""
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    raise WatchkeeperError("the collector or the agent has ended unexpectedly; its messages are above")


def _name(text: str) -> str:
    """A name that YAML and the inventory accept without quotes."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.") or "here"


def _zone() -> str:
    """The time zone of this machine, or UTC if it has no setting."""
    target = Path("/etc/localtime").resolve()
    _, _, name = str(target).partition("zoneinfo/")
    return name or "UTC"
