"""`watchkeeper init DIR`: write the starter files. The operator edits them; Watchkeeper never changes them again."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from watchkeeper.documents.files import packaged
from watchkeeper.model.errors import Conflict, StoreError

# The folder is beside this file, in a checkout and in site-packages. It is not looked up by name: `configs` has no Python
# in it, so a folder `configs` in the current directory would be found as well.
STARTER = Path(__file__).resolve().parent / "configs"

NEXT_STEPS = """\
Next:
  1. Edit {dir}/inventory.yml (agents, devices), contacts.yml (people, duty) and ladders.yml (who is told when), then run
       watchkeeper collector check --config {dir}/collector.yml
  2. Start the collector:
       watchkeeper collector run --config {dir}/collector.yml
  3. Make a token for the agent, and start the agent:
       export WATCHKEEPER_SECRET_AGENT_TOKEN="$(watchkeeper collector token agent room-1 --config {dir}/collector.yml)"
       watchkeeper agent run --config {dir}/agent.yml
  4. Print a link that opens the pages for a person of contacts.yml:
       watchkeeper collector link PERSON --config {dir}/collector.yml
docs/install.md explains how to run both as services."""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def init(directory: Path) -> None:
    """Write the starter files into DIRECTORY. It must not contain any of them yet."""
    for path in write_starter(directory):
        click.echo(f"wrote {path}")
    click.echo(NEXT_STEPS.format(dir=directory))


def write_starter(directory: Path) -> list[Path]:
    """Copy the starter files, and return the paths written. Raises Conflict if any of them exists (then nothing is
    written), BrokenInstallation if Watchkeeper's own copies are missing, StoreError if the disk refuses."""
    wanted = {directory / name: STARTER / name for name in _names()}
    existing = [path for path in wanted if os.path.lexists(path)]
    if existing:
        names = "\n".join(f"  {path}" for path in existing)
        raise Conflict(
            f"{directory} already has these files, so nothing was written; choose another folder, or move them:\n{names}"
        )
    try:
        for path, source in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes())
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from None
    return list(wanted)


def _names() -> Iterator[Path]:
    """The path of every starter file inside `configs`, sorted."""
    return (path.relative_to(STARTER) for path in packaged(STARTER, "**/*"))
