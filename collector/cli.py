"""`watchkeeper collector ...`: run the collector, make tokens, back up and restore; list and handle troubles over
HTTP."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from watchkeeper.collector.http_cli import HTTP_COMMANDS
from watchkeeper.model.errors import WatchkeeperError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from watchkeeper.collector.access.tokens import TokenKind
    from watchkeeper.collector.site.settings import ConfigFile
    from watchkeeper.collector.store.engine import Store

CONFIG = click.option(
    "--config", "file", type=click.Path(path_type=Path), default=Path("collector.yml"), show_default=True,
    help="The collector's settings.",
)  # fmt: skip


@click.group()
def collector() -> None:
    """Run the collector, which keeps incidents, escalates them and pages people."""


@collector.command()
@CONFIG
def run(file: Path) -> None:
    """Run until SIGTERM. SIGHUP reloads the configuration; it is also reloaded when a file changes."""
    from watchkeeper.collector.main import run as run_collector
    from watchkeeper.model.logs import set_up_logging

    set_up_logging("%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_collector(_read_settings(file))


@collector.command()
@CONFIG
def check(file: Path) -> None:
    """Check collector.yml and the configuration of the site, and print every problem. Also print the channels whose
    secret is not available here; the service may get it from systemd."""
    from watchkeeper.collector.main import open_channels, open_secrets
    from watchkeeper.collector.notify.preflight import unreachable, unusable_links
    from watchkeeper.collector.site.snapshot import read_snapshot
    from watchkeeper.model.clock import SystemClock
    from watchkeeper.model.logs import limit_library_logs

    limit_library_logs()  # Apprise would log a URL that it cannot read
    config_file = _read_settings(file)
    for deprecated in config_file.deprecated:
        click.echo(str(deprecated), err=True)
    snapshot = read_snapshot(config_file.path(config_file.config.site))
    configuration = snapshot.configuration
    for warning in configuration.warnings:
        click.echo(f"warning: {warning}", err=True)
    opener = open_channels(open_secrets(config_file), SystemClock())
    for problem in unreachable(configuration.contacts.people, opener):
        click.echo(f"contacts.yml: {problem}", err=True)
    config = config_file.config
    signed = config.link_key is not None or not config.store.startswith("secret:")
    for problem in unusable_links(config.page_url, configuration.contacts.people, signed=signed):
        click.echo(f"collector.yml: {problem}", err=True)
    print(
        f"{len(configuration.inventory.agents)} agents, {len(configuration.inventory.devices)} devices, "
        f"{len(configuration.contacts.people)} people, {len(snapshot.rules.rules)} rules: no problems"
    )


@collector.group()
def token() -> None:
    """Make and revoke tokens of agents and persons. Only their SHA-256 is stored."""


@token.command("agent")
@click.argument("name")
@click.option(
    "--file",
    "out",
    type=click.Path(path_type=Path),
    help="Write the token to this new file (mode 0600) instead of printing it.",
)
@CONFIG
def token_agent(name: str, out: Path | None, file: Path) -> None:
    """Make a token for an agent of the inventory."""
    from watchkeeper.collector.access.tokens import TokenKind

    _make_token(file, TokenKind.AGENT, name, out)


@token.command("person")
@click.argument("name")
@click.option(
    "--file",
    "out",
    type=click.Path(path_type=Path),
    help="Write the token to this new file (mode 0600) instead of printing it.",
)
@CONFIG
def token_person(name: str, out: Path | None, file: Path) -> None:
    """Make a token for a person of contacts.yml."""
    from watchkeeper.collector.access.tokens import TokenKind

    _make_token(file, TokenKind.PERSON, name, out)


@token.command()
@click.argument("kind", type=click.Choice(["agent", "person"]))
@click.argument("name")
@CONFIG
def revoke(kind: str, name: str, file: Path) -> None:
    """Revoke all tokens of an agent or person, including browser sessions and the links in messages."""
    import time

    from watchkeeper.collector.access.links import rotate
    from watchkeeper.collector.access.tokens import TokenKind, tokens_of
    from watchkeeper.collector.access.tokens import revoke as revoke_tokens

    store = _open_store(_read_settings(file))
    if kind == TokenKind.PERSON.value:
        rotate(store, time.time(), name)
    _remember_revoked(store, tokens_of(store, TokenKind(kind), name))
    count = revoke_tokens(store, TokenKind(kind), name)
    print(f"{count} tokens of {kind} {name} revoked")


@collector.command()
@click.argument("person")
@CONFIG
def link(person: str, file: Path) -> None:
    """Print a one-time link that signs this person in. It expires after an hour."""
    import time

    from watchkeeper.collector.access.tokens import TICKET_S, TokenKind, mint

    config_file = _read_settings(file)
    _check_name(config_file, TokenKind.PERSON, person)
    ticket = mint(_open_store(config_file), TokenKind.TICKET, person, time.time(), TICKET_S)
    print(f"{config_file.config.page_url}/enter?ticket={ticket}")


@collector.group()
def links() -> None:
    """The personal links in messages."""


@links.command("rotate")
@CONFIG
def rotate_links(file: Path) -> None:
    """Make a new key: all links in messages sent so far stop to work. Later messages have new ones."""
    import time

    from watchkeeper.collector.access.links import rotate

    rotate(_open_store(_read_settings(file)), time.time())
    print("all links sent so far have ended; a person asks for a new one on the sign-in page")


@collector.command("test-page")
@click.argument("person")
@click.option("--all-channels", is_flag=True, help="Test every channel of the person, not only the first.")
@CONFIG
def test_page(person: str, all_channels: bool, file: Path) -> None:
    """Send a test to a person by the real channel, and print what is known of it. The text says that it is a test; it
    counts as no page. The result is shown on the page of the channels. Exit status 1 if a channel did not deliver it."""
    from watchkeeper.collector.main import open_channels, open_secrets
    from watchkeeper.collector.notify.delivery.robots import robot_key
    from watchkeeper.collector.notify.page_tests import test_now
    from watchkeeper.collector.site.load import read_configuration
    from watchkeeper.model.clock import SystemClock
    from watchkeeper.model.logs import limit_library_logs

    limit_library_logs()
    config_file, clock = _read_settings(file), SystemClock()
    people = read_configuration(config_file.path(config_file.config.site)).contacts.people
    found = next((one for one in people if one.person == person), None)
    if found is None:
        raise WatchkeeperError(f"there is no person `{person}` in contacts.yml")
    opener, store = open_channels(open_secrets(config_file), clock), _open_store(config_file)
    failed = False
    for result in test_now(found, range(len(found.channels) if all_channels else 1), opener, clock, store):
        outcome = result.receipt
        failed |= not outcome.delivered
        what = outcome.proof.value if outcome.delivered else "NOT DELIVERED"
        print(f"{robot_key(result.address).label}: {what} after {result.took_s:.1f} s ({outcome.detail})")
    if failed:
        raise SystemExit(1)


@collector.command()
@click.argument("out", type=click.Path(path_type=Path))
@CONFIG
def backup(out: Path, file: Path) -> None:
    """Copy the whole store into one file. The collector may run meanwhile."""
    import time

    from watchkeeper.collector.store.backups.archive import backup as write_backup

    counts = write_backup(_open_store(_read_settings(file)), out, time.time())
    print(f"{out}: {sum(counts.values())} rows of {len(counts)} tables")


_KEEP_TOKENS = click.option(
    "--keep-tokens", is_flag=True, help="No token was revoked since: keep all, where there is no list of revoked ones."
)


@collector.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@_KEEP_TOKENS
@CONFIG
def restore(source: Path, keep_tokens: bool, file: Path) -> None:
    """Fill an empty store from a backup. Sessions and links end, and revoked tokens stay revoked."""
    from watchkeeper.collector.store.backups.archive import restore as restore_backup

    store = _open_store(_read_settings(file))
    with _restored(store, keep_tokens=keep_tokens) as then:
        counts = restore_backup(store, source, then)
    print(f"{sum(counts.values())} rows of {len(counts)} tables restored")


@collector.command()
@_KEEP_TOKENS
@CONFIG
def restored(keep_tokens: bool, file: Path) -> None:
    """Say that the database was restored by its own means, to an earlier time, while no collector ran."""
    store = _open_store(_read_settings(file))
    with _restored(store, keep_tokens=keep_tokens) as then, store.write() as connection:
        then(connection)


for _command in HTTP_COMMANDS:
    collector.add_command(_command)


# ---- shared by the commands ----


def _read_settings(file: Path) -> "ConfigFile":
    from watchkeeper.collector.site.settings import read_config

    try:
        return read_config(file)
    except OSError as error:
        raise WatchkeeperError(f"{file}: {error.strerror}; `watchkeeper init DIR` writes starter files") from None


def _open_store(config_file: "ConfigFile") -> "Store":
    from watchkeeper.collector.main import open_secrets, open_store

    return open_store(config_file, open_secrets(config_file))


def _remember_revoked(store: "Store", fingerprints: list[str]) -> None:
    from watchkeeper.collector.store.life.identity import beside

    try:
        beside(store).add_revoked(fingerprints)
    except OSError as error:
        click.echo(
            f"warning: {error.filename}: {error.strerror}; a restored backup could revive these tokens", err=True
        )


@contextmanager
def _restored(store: "Store", *, keep_tokens: bool) -> "Iterator[Callable[[sa.Connection], None]]":
    """Yields what must be done in the transaction that restores; after it, remembers how far the store is now."""
    import time

    from watchkeeper.collector.process.set_back import after_restore
    from watchkeeper.collector.store.life.identity import beside

    files, done = beside(store), []

    def then(connection: "sa.Connection") -> None:
        done.append(after_restore(store, connection, files, time.time(), keep_tokens=keep_tokens))

    yield then
    for identity, ended in done:
        files.write_mark(identity)
        if ended:
            print(f"{ended} tokens have ended; make new ones with `watchkeeper collector token`")


def _check_name(config_file: "ConfigFile", kind: "TokenKind", name: str) -> None:
    from watchkeeper.collector.access.tokens import TokenKind
    from watchkeeper.collector.site.load import read_configuration

    configuration = read_configuration(config_file.path(config_file.config.site))
    if kind is TokenKind.AGENT and all(agent.agent != name for agent in configuration.inventory.agents):
        raise WatchkeeperError(f"there is no agent `{name}` in inventory.yml")
    if kind is TokenKind.PERSON and all(person.person != name for person in configuration.contacts.people):
        raise WatchkeeperError(f"there is no person `{name}` in contacts.yml")


def _make_token(file: Path, kind: "TokenKind", name: str, out: Path | None) -> None:
    import time

    from watchkeeper.collector.access.tokens import mint

    config_file = _read_settings(file)
    _check_name(config_file, kind, name)
    if out is None:
        print(mint(_open_store(config_file), kind, name, time.time()))
        return
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise WatchkeeperError(f"{out}: {error.strerror}; no token was made") from None
    with os.fdopen(handle, "w") as target:
        target.write(mint(_open_store(config_file), kind, name, time.time()) + "\n")
    print(f"{out}: the token of {name} (mode 0600)")
