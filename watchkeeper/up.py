"""`watchkeeper up`: collector and agent for this host, in one folder, with nothing to configure."""

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
# Written by `watchkeeper up`; yours from now on. docs/operators.md tells what else can stand here.
site: {{name: {host}, timezone: {zone}}}
agents:
  - {{agent: {agent}, owner: {person}, interval: 15 s}}
devices:
  - {{device: {host}, agent: {agent}, category: server, probe: host, every: 15 s, owner: {person}}}
"""
_CONTACTS = """\
# Written by `watchkeeper up`; yours from now on. Pages go to this terminal until you name a better channel.
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
@click.option("--port", type=int, default=8760, show_default=True, help="For a folder that has no collector.yml yet.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
def up(folder: Path, port: int, language: str) -> None:
    """Watch this host: everything in one folder, until Ctrl-C."""
    person = _word(getpass.getuser())
    home = write_deployment(folder.absolute(), port, _configuration(person, language))
    try:
        with running(home) as processes:
            click.echo(f"\n  This host's readings: {home.url}/")
            click.echo(f"  To act as {person}, open this once: {home.link(person)}\n  Ctrl-C ends it.\n")
            _wait(processes)
    except KeyboardInterrupt:
        click.echo("\nended")


def _configuration(person: str, language: str) -> Mapping[str, str]:
    facts = {
        "person": person, "language": language, "agent": AGENT, "host": _word(socket.gethostname()), "zone": _zone(),
    }  # fmt: skip
    return {
        "inventory.yml": _INVENTORY.format(**facts),
        "contacts.yml": _CONTACTS.format(**facts),
        "ladders.yml": _LADDERS.read_text(encoding="utf-8"),
    }


def _wait(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    raise WatchkeeperError("one of the two has ended; what it said stands above")


def _word(text: str) -> str:
    """A name that YAML and the books take as it is."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.") or "here"


def _zone() -> str:
    """This machine's time zone; UTC where it does not say."""
    target = Path("/etc/localtime").resolve()
    _, _, name = str(target).partition("zoneinfo/")
    return name or "UTC"
