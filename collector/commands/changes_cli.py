"""`watchkeeper collector changes` and `activate`: which configurations were in force, and the folder put in force by hand."""

import getpass
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from watchkeeper.collector.commands.shared_cli import CONFIG, open_store, read_settings
from watchkeeper.model.errors import WatchkeeperError

if TYPE_CHECKING:
    from watchkeeper.collector.store.configurations.activations import Activation
    from watchkeeper.collector.store.engine import Store

_LISTED = 20


@click.command()
@click.argument("number", type=int, required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Write the files of this number into this new folder.")
@CONFIG
def changes(number: int | None, out: Path | None, file: Path) -> None:
    """List the configurations that were in force, newest first; with NUMBER, show what it changed."""
    from watchkeeper.collector.store.configurations import activations
    from watchkeeper.model.plain import printable

    if out is not None and number is None:
        raise WatchkeeperError("--out needs a NUMBER; `watchkeeper collector changes` lists them")
    store = open_store(read_settings(file))
    if number is None:
        with store.read() as connection:
            found = activations.activations_before(connection, None, _LISTED)
            folders = activations.folder_states(connection)
        for one in found:
            print(printable(_line(one)))
        for state in folders:
            print(
                printable(f"collector {state.collector}: follows {state.follows}, its folder is {state.standing.value}")
            )
        return
    with store.read() as connection:
        chosen = activations.numbered(connection, number)
    if chosen is None:
        raise WatchkeeperError(f"there is no configuration {number}; `watchkeeper collector changes` lists them")
    if out is not None:
        _write_files(store, number, out)
        return
    print(printable(_line(chosen)))
    print(printable(chosen.diff), end="")


@click.command()
@CONFIG
def activate(file: Path) -> None:
    """Put the folder of this collector in force, for all collectors of the store. It is checked first. Running collectors follow
    within a second."""
    from watchkeeper.collector.site.changes import author_of
    from watchkeeper.collector.site.files import read_files
    from watchkeeper.collector.site.in_force import InForce
    from watchkeeper.collector.site.snapshot import snapshot_of
    from watchkeeper.collector.store.configurations import activations
    from watchkeeper.model.plain import printable

    config_file = read_settings(file)
    folder = config_file.path(config_file.config.site)
    files = read_files(folder)
    snapshot_of(files)
    store = open_store(config_file)
    author = author_of(folder, files) or _user()
    with store.read() as connection:
        newest = activations.newest(connection)
    known = newest.in_force if newest else InForce()
    if known.version == files.version:
        print(f"{folder} is in force already, as configuration {known.number}")
        return
    with store.write() as connection:
        name, how = config_file.config.own_name, activations.How.COMMAND
        new = activations.put_in_force(store, connection, known, files, time.time(), name, author, how)
        made = activations.numbered(connection, new.number)
    if made:
        print(printable(made.diff), end="")
    print(f"{folder} is in force as configuration {new.number}")


CHANGES_COMMANDS = (changes, activate)


def _line(one: "Activation") -> str:
    """One line about an activation."""
    from watchkeeper.collector.site.changes import counts_of

    at = datetime.fromtimestamp(one.activated_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    counts = ", ".join(f"{name} +{added} -{removed}" for name, (added, removed) in counts_of(one.diff).items())
    return "  ".join((f"{one.number:>6}", at, one.collector, one.how.value, one.author or "-", counts or "the first"))


def _write_files(store: "Store", number: int, out: Path) -> None:
    from watchkeeper.collector.store.configurations import activations

    with store.read() as connection:
        files = activations.files_of(connection, number)
    try:
        out.mkdir(parents=True)
        for name, text in files.texts.items():
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise WatchkeeperError(f"{error.filename or out}: {error.strerror}; give a new folder") from None
    print(f"{out}: {len(files.texts)} files of configuration {number}")


def _user() -> str:
    """Who calls the command, also behind sudo; empty if that is not known."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return ""
