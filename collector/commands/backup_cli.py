"""`watchkeeper collector backup`, `restore`, `restored` and `restore-drill`."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from watchkeeper.collector.commands.shared_cli import CONFIG, open_store, read_settings
from watchkeeper.model.errors import WatchkeeperError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from watchkeeper.collector.store.backups.restore import Identities
    from watchkeeper.collector.store.engine import Store

_MISSED_BEATS = 3
_PATH = click.Path(path_type=Path)
_IDENTITY = click.option(
    "--identity", type=_PATH, help="The file with the private key of age, for an encrypted backup (mode 0600)."
)
_KEEP_TOKENS = click.option(
    "--keep-tokens", is_flag=True, help="No token was revoked since: keep all, where there is no list of revoked ones."
)
_SCRATCH = click.option(
    "--scratch", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the backup is unpacked meanwhile, if the system's temporary folder is too small.",
)  # fmt: skip


@click.command()
@click.argument("out", type=_PATH, required=False)
@click.option("--verify", "verified", type=_PATH, help="Restore this backup into a temporary store, and check it.")
@click.option("--at", type=float, hidden=True, help="The time (UTC seconds), from a collector that knows it better.")
@_IDENTITY
@_SCRATCH
@CONFIG
def backup(  # noqa: PLR0917 -- one for each option
    out: Path | None, verified: Path | None, at: float | None, identity: Path | None, scratch: Path | None, file: Path
) -> None:
    """Copy the whole store into the file OUT, or into the folder of the scheduled backups. The collector may run meanwhile."""
    if verified is not None:
        _verify(verified, identity, scratch)
        return
    from watchkeeper.collector.store.backups.folder import back_up
    from watchkeeper.collector.store.backups.folder import backup as write_backup

    config_file = read_settings(file)
    config = config_file.config
    recipients = config.backup.encrypt_to if config.backup else ()
    store, now = open_store(config_file), time.time() if at is None else at
    if out is not None:
        rows = write_backup(store, out, now, recipients)
    elif config.backup is not None:
        folder = config_file.path(config.backup.folder)
        kept, written = back_up(store, folder, now, config.backup, config.reserve_bytes)
        out, rows = kept.file, written.rows
    else:
        raise WatchkeeperError("name a file, or set `backup: {folder: ...}` in collector.yml")
    print(f"{out}: {sum(rows.values())} rows of {len(rows)} tables{', encrypted' if recipients else ''}")


def _verify(file: Path, identity: Path | None, scratch: Path | None) -> None:
    from watchkeeper.collector.store.backups.verify import verify

    began = time.monotonic()
    for line in verify(file, _identities(identity), scratch).lines():
        print(line)
    print(f"{file}: good, restored and checked in {time.monotonic() - began:.1f} s")


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@_KEEP_TOKENS
@_IDENTITY
@_SCRATCH
@CONFIG
def restore(source: Path, keep_tokens: bool, identity: Path | None, scratch: Path | None, file: Path) -> None:
    """Fill an empty store from a backup. Sessions and links end, and revoked tokens stay revoked."""
    from watchkeeper.collector.store.backups.restore import restore as restore_backup

    store = open_store(read_settings(file))
    _require_stopped(store)
    with _restored(store, keep_tokens=keep_tokens) as then:
        counts = restore_backup(store, source, _identities(identity), scratch, then)
    print(f"{sum(counts.values())} rows of {len(counts)} tables restored")


@click.command()
@_KEEP_TOKENS
@CONFIG
def restored(keep_tokens: bool, file: Path) -> None:
    """Say that the database was restored by its own means, to an earlier time, while no collector ran."""
    store = open_store(read_settings(file))
    _require_stopped(store)
    with _restored(store, keep_tokens=keep_tokens) as then, store.write() as connection:
        then(connection)


@contextmanager
def _restored(store: "Store", *, keep_tokens: bool) -> "Iterator[Callable[[sa.Connection], None]]":
    """Yields what must be done in the transaction that restores; after it, remembers how far the store is now."""
    from watchkeeper.collector.process.upkeep.set_back import after_restore
    from watchkeeper.collector.store.life.identity import beside

    files, done = beside(store), []

    def then(connection: "sa.Connection") -> None:
        done.append(after_restore(store, connection, files, time.time(), keep_tokens=keep_tokens))

    yield then
    for identity, ended in done:
        files.write_mark(identity)
        if ended:
            print(f"{ended} tokens have ended; make new ones with `watchkeeper collector token`")


def remember_revoked(store: "Store", fingerprints: list[str]) -> None:
    """Remember beside the store that these tokens were revoked, so that no backup revives them."""
    from watchkeeper.collector.store.life.identity import beside

    try:
        beside(store).add_revoked(fingerprints)
    except OSError as error:
        click.echo(
            f"warning: {error.filename}: {error.strerror}; a restored backup could revive these tokens", err=True
        )


def _require_stopped(store: "Store") -> None:
    """Raise WatchkeeperError if a collector runs on this store: it would work with rows that change under it."""
    from watchkeeper.collector.store.peers import BEAT_EVERY_S, peers

    with store.read() as connection:
        for one in peers(connection):
            if abs(time.time() - one.beat_at) < _MISSED_BEATS * BEAT_EVERY_S:
                raise WatchkeeperError(
                    f"the collector `{one.name}` runs on this store; stop it, and try again after 15 s"
                )


@click.command("restore-drill")
@click.option("--file", "source", type=_PATH, help="This backup, instead of the newest of the folder.")
@_IDENTITY
@_SCRATCH
@CONFIG
def restore_drill(source: Path | None, identity: Path | None, scratch: Path | None, file: Path) -> None:
    """Prove that the newest backup can be used: restore it into a temporary folder, start a collector on it that sends nothing, and ask
    it for its health and its last trouble. Nothing is left behind. Exit status 1 if a step fails."""
    from watchkeeper.collector.commands.drill import drill, newest

    logging.getLogger("watchkeeper").setLevel(logging.ERROR)  # the report is what counts
    config_file = read_settings(file)
    chosen = source or newest(config_file, time.time())
    for line in drill(config_file, chosen, _identities(identity), scratch):
        print(line, flush=True)


def _identities(file: Path | None) -> "Identities":
    from watchkeeper.collector.store.backups.encryption import read_identities

    return read_identities(file) if file else ()


BACKUP_COMMANDS = (backup, restore, restored, restore_drill)
