"""`watchkeeper collector ...`: run the collector, check its configuration, make tokens and links. The other commands are in
`backup_cli` and `http_cli`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from watchkeeper.collector.commands.backup_cli import BACKUP_COMMANDS, remember_revoked
from watchkeeper.collector.commands.changes_cli import CHANGES_COMMANDS
from watchkeeper.collector.commands.http_cli import HTTP_COMMANDS
from watchkeeper.collector.commands.set_aside_cli import set_aside_group
from watchkeeper.collector.commands.shared_cli import CONFIG, open_store, read_settings
from watchkeeper.model.errors import SecretError, WatchkeeperError

if TYPE_CHECKING:
    from watchkeeper.collector.access.tokens import TokenKind
    from watchkeeper.collector.site.inventory import Configuration
    from watchkeeper.collector.site.settings import ConfigFile


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
    run_collector(read_settings(file))


@collector.command()
@CONFIG
def check(file: Path) -> None:
    """Check collector.yml and the configuration of the site, and print every problem. Also print the channels whose
    secret is not available here; the service may get it from systemd."""
    from watchkeeper.collector.notify.preflight import unreachable, unusable_links
    from watchkeeper.collector.opening import open_channels, open_secrets
    from watchkeeper.collector.site.snapshot import read_snapshot
    from watchkeeper.model.clock import SystemClock
    from watchkeeper.model.logs import limit_library_logs

    limit_library_logs()  # Apprise would log a URL that it cannot read
    config_file = read_settings(file)
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
    if config.backup:
        _check_backup(config_file.path(config.backup.folder), config.backup.encrypt_to)
    if config.heartbeat is None:
        click.echo(
            "collector.yml: no `heartbeat`: if this collector stops, nobody outside is told (docs/watching.md)",
            err=True,
        )
    else:
        _check_heartbeat(config_file, config.heartbeat.secret)
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

    store = open_store(read_settings(file))
    if kind == TokenKind.PERSON.value:
        rotate(store, time.time(), name)
    remember_revoked(store, tokens_of(store, TokenKind(kind), name))
    count = revoke_tokens(store, TokenKind(kind), name)
    print(f"{count} tokens of {kind} {name} revoked")


@collector.command()
@click.argument("person")
@CONFIG
def link(person: str, file: Path) -> None:
    """Print a one-time link that signs this person in. It expires after an hour."""
    from watchkeeper.collector.access.tokens import TICKET_S, TokenKind, mint
    from watchkeeper.collector.store.clock.kept import now
    from watchkeeper.model.clock import SystemClock, boot_id

    config_file = read_settings(file)
    _check_name(config_file, TokenKind.PERSON, person)
    store = open_store(config_file)
    ticket = mint(store, TokenKind.TICKET, person, now(store, SystemClock(), boot_id()), TICKET_S)
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

    rotate(open_store(read_settings(file)), time.time())
    print("all links sent so far have ended; a person asks for a new one on the sign-in page")


@collector.command("test-page")
@click.argument("person")
@click.option("--all-channels", is_flag=True, help="Test every channel of the person, not only the first.")
@CONFIG
def test_page(person: str, all_channels: bool, file: Path) -> None:
    """Send a test to a person by the real channel, and print what is known of it. The text says that it is a test; it
    counts as no page. The result is shown on the page of the channels. Exit status 1 if a channel did not deliver it."""
    from watchkeeper.collector.notify.delivery.robots import robot_key
    from watchkeeper.collector.notify.page_tests import test_now
    from watchkeeper.collector.opening import open_channels, open_secrets
    from watchkeeper.collector.site.load import read_configuration
    from watchkeeper.model.clock import SystemClock
    from watchkeeper.model.logs import limit_library_logs

    limit_library_logs()
    config_file, clock = read_settings(file), SystemClock()
    people = read_configuration(config_file.path(config_file.config.site)).contacts.people
    found = next((one for one in people if one.person == person), None)
    if found is None:
        raise WatchkeeperError(f"there is no person `{person}` in contacts.yml")
    opener, store = open_channels(open_secrets(config_file), clock), open_store(config_file)
    failed = False
    for result in test_now(found, range(len(found.channels) if all_channels else 1), opener, clock, store):
        outcome = result.receipt
        failed |= not outcome.delivered
        what = outcome.proof.value if outcome.delivered else "NOT DELIVERED"
        print(f"{robot_key(result.address).label}: {what} after {result.took_s:.1f} s ({outcome.detail})")
    if failed:
        raise SystemExit(1)


@collector.command()
@click.argument("name")
@CONFIG
def forget(name: str, file: Path) -> None:
    """Forget a collector that was removed for good, so that the others do not wait for it. One that is at work is refused."""
    import time

    from watchkeeper.collector.store.peers import forget as forget_collector

    if not forget_collector(open_store(read_settings(file)), name, time.time()):
        raise WatchkeeperError(f"the store knows no collector `{name}`; the page of the channels lists them")
    print(f"collector {name} is forgotten")


for _command in (*BACKUP_COMMANDS, *CHANGES_COMMANDS, set_aside_group, *HTTP_COMMANDS):
    collector.add_command(_command)


# ---- shared by the commands ----


def _check_backup(folder: Path, encrypt_to: tuple[str, ...]) -> None:
    """Raise WatchkeeperError for a public key with a mistake; print if this user cannot write into the folder."""
    from watchkeeper.collector.store.backups.encryption import read_recipients

    read_recipients(encrypt_to)
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        click.echo(
            f"collector.yml: backups cannot be written to {folder}: this user may not write into {there}", err=True
        )


def _check_heartbeat(config_file: "ConfigFile", name: str) -> None:
    from watchkeeper.collector.opening import open_secrets
    from watchkeeper.collector.process.health.heartbeat import checked

    try:
        checked(open_secrets(config_file).get(name), name)
    except SecretError as error:
        click.echo(f"collector.yml: heartbeat: {error}", err=True)


def _check_name(config_file: "ConfigFile", kind: "TokenKind", name: str) -> None:
    from watchkeeper.collector.access.tokens import TokenKind
    from watchkeeper.collector.site.load import read_configuration

    found = [read_configuration(config_file.path(config_file.config.site)), *_in_force(config_file)]
    agents = {one.agent for configuration in found for one in configuration.inventory.agents}
    people = {one.person for configuration in found for one in configuration.contacts.people}
    if kind is TokenKind.AGENT and name not in agents:
        raise WatchkeeperError(f"there is no agent `{name}` in inventory.yml")
    if kind is TokenKind.PERSON and name not in people:
        raise WatchkeeperError(f"there is no person `{name}` in contacts.yml")


def _in_force(config_file: "ConfigFile") -> "list[Configuration]":
    """What is in force in the store, which another collector's folder may have put there."""
    from watchkeeper.collector.site.load import configuration_of
    from watchkeeper.collector.store.configurations.activations import files_of, newest_number

    store = open_store(config_file)
    with store.read() as connection:
        files = files_of(connection, newest_number(connection))
    store.close()
    return [configuration_of(files)] if files.texts else []


def _make_token(file: Path, kind: "TokenKind", name: str, out: Path | None) -> None:
    import time

    from watchkeeper.collector.access.tokens import mint

    config_file = read_settings(file)
    _check_name(config_file, kind, name)
    if out is None:
        print(mint(open_store(config_file), kind, name, time.time()))
        return
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise WatchkeeperError(f"{out}: {error.strerror}; no token was made") from None
    with os.fdopen(handle, "w") as target:
        target.write(mint(open_store(config_file), kind, name, time.time()) + "\n")
    print(f"{out}: the token of {name} (mode 0600)")
