"""`watchkeeper init DIR`: the starter files an operator copies once and then owns."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from watchkeeper.documents.files import packaged
from watchkeeper.model.errors import Conflict, StoreError

# Beside our own package, in a clone as in site-packages. `configs` has no Python in it, so looking it up by name would
# find any folder of that name in the current one as well.
STARTER = Path(__file__).resolve().parent / "configs"

NEXT = """\
Next:
  1. Edit {dir}/inventory.yml (agents, devices), contacts.yml (people, duty) and ladders.yml (who is told when), then
       watchkeeper collector check --config {dir}/collector.yml
  2. Start the collector:
       watchkeeper collector run --config {dir}/collector.yml
  3. Give the agent its token, and start it:
       export WATCHKEEPER_SECRET_AGENT_TOKEN="$(watchkeeper collector token agent room-1 --config {dir}/collector.yml)"
       watchkeeper agent run --config {dir}/agent.yml
  4. Open the pages as one of the people, with the link printed by
       watchkeeper collector link PERSON --config {dir}/collector.yml
docs/install.md tells how both run as services."""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def init(directory: Path) -> None:
    """Write the starter files into DIRECTORY, a new folder or one that has none of them."""
    for path in write_starter(directory):
        click.echo(f"wrote {path}")
    click.echo(NEXT.format(dir=directory))


def write_starter(directory: Path) -> list[Path]:
    """Copy the starter files; return what was written. Raises Conflict naming every file that is in the way (nothing
    is written then), BrokenInstallation where there are none, StoreError where the disk refuses."""
    wanted = {directory / name: STARTER / name for name in _names()}
    in_the_way = [path for path in wanted if os.path.lexists(path)]
    if in_the_way:
        names = "\n".join(f"  {path}" for path in in_the_way)
        raise Conflict(
            f"{directory} already has these; nothing was written. Name another folder, or move them:\n{names}"
        )
    try:
        for path, source in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes())
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from None
    return list(wanted)


def _names() -> Iterator[Path]:
    """Every starter file's path inside `configs`, in the order of their names."""
    return (path.relative_to(STARTER) for path in packaged(STARTER, "**/*"))
