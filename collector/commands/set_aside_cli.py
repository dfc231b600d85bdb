"""`watchkeeper collector set-aside`: the pushes that could not be applied."""

from datetime import UTC, datetime
from pathlib import Path

import click

from watchkeeper.collector.commands.shared_cli import CONFIG, open_store, read_settings
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.plain import one_line


@click.group("set-aside")
def set_aside_group() -> None:
    """The pushes that could not be applied."""


@set_aside_group.command("list")
@CONFIG
def list_set_aside(file: Path) -> None:
    """Print the pushes that are set aside: number, agent, when it came, size, and why it could not be applied."""
    from watchkeeper.collector.process.upkeep.set_aside import listed

    with open_store(read_settings(file)).read() as connection:
        found = listed(connection)
    for one in found:
        came = datetime.fromtimestamp(one.received_at, UTC)
        click.echo(
            f"{one.number}  {one.agent}  {came:%Y-%m-%d %H:%M:%S} UTC  {one.size_bytes} bytes  {one_line(one.fault)}"
        )
    if not found:
        print("no push is set aside")


@set_aside_group.command("retry")
@click.argument("numbers", type=int, nargs=-1, required=True)
@CONFIG
def retry_set_aside(numbers: tuple[int, ...], file: Path) -> None:
    """Let the running collector apply these pushes again, within seconds. A restart does this too."""
    from watchkeeper.collector.process.upkeep.set_aside import ask_again

    with open_store(read_settings(file)).write() as connection:
        _print_count(ask_again(connection, numbers), numbers, "applied again")


@set_aside_group.command("drop")
@click.argument("numbers", type=int, nargs=-1, required=True)
@click.option("--why", required=True, help="The reason; it is kept with the push.")
@CONFIG
def drop_set_aside(numbers: tuple[int, ...], why: str, file: Path) -> None:
    """Give these pushes up. Each stays in the store for two months with the reason and the user who dropped it."""
    import getpass
    import time

    from watchkeeper.collector.process.upkeep.set_aside import drop

    with open_store(read_settings(file)).write() as connection:
        _print_count(drop(connection, numbers, f"user:{getpass.getuser()}", why, time.time()), numbers, "dropped")


def _print_count(count: int, numbers: tuple[int, ...], what: str) -> None:
    if count < len(set(numbers)):
        raise WatchkeeperError(
            f"only {count} of {len(set(numbers))} are set aside; see `watchkeeper collector set-aside list`"
        )
    print(f"{count} {'push is' if count == 1 else 'pushes are'} {what}")
