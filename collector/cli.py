"""`watchkeeper collector ...`: run it, give out tokens, back it up; and what an engineer does to incidents over HTTP."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from watchkeeper.model.errors import SecretError, WatchkeeperError

if TYPE_CHECKING:
    from watchkeeper.collector.site.settings import ConfigFile
    from watchkeeper.collector.store.engine import Store
    from watchkeeper.documents.secrets import Secret

CONFIG = click.option(
    "--config", "file", type=click.Path(path_type=Path), default=Path("collector.yml"), show_default=True,
    help="The collector's settings.",
)  # fmt: skip
URL = click.option("--url", envvar="WATCHKEEPER_URL", default="http://127.0.0.1:8760", show_default=True)
TOKEN_FILE = click.option(
    "--token-file", type=click.Path(path_type=Path), envvar="WATCHKEEPER_TOKEN_FILE",
    default=Path("~/.config/watchkeeper/token"), show_default=True,
    help="A file with your own token that only you can read (mode 0600).",
)  # fmt: skip
NOTE = click.option("--note", default="", help="A sentence for the timeline.")


@click.group()
def collector() -> None:
    """Keep incidents, climb the ladder, page people."""


@collector.command()
@CONFIG
def run(file: Path) -> None:
    """Run until SIGTERM. SIGHUP reads the books again (they are also read when a file changes)."""
    import logging

    from watchkeeper.collector.main import run as run_collector
    from watchkeeper.model.plain import LogLines

    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(LogLines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[told])
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    run_collector(_place(file))


@collector.command()
@CONFIG
def check(file: Path) -> None:
    """Read collector.yml and all the books, and say every problem. Whom nobody could tell, because a secret is not to be
    found here, is said too; the service may have it from systemd."""
    from watchkeeper.collector.main import open_channels, open_secrets
    from watchkeeper.collector.notify.preflight import unreachable
    from watchkeeper.collector.site.snapshot import read_snapshot
    from watchkeeper.model.clock import SystemClock

    place = _place(file)
    for deprecated in place.deprecated:
        click.echo(str(deprecated), err=True)
    snapshot = read_snapshot(place.path(place.config.site))
    configuration = snapshot.configuration
    for sentence in unreachable(configuration.contacts.people, open_channels(open_secrets(place), SystemClock())):
        click.echo(f"contacts.yml: {sentence}", err=True)
    print(
        f"{len(configuration.inventory.agents)} agents, {len(configuration.inventory.devices)} devices, "
        f"{len(configuration.contacts.people)} people, {len(snapshot.rules.rules)} rules: no problems"
    )


@collector.group()
def token() -> None:
    """Tokens: an agent pushes with one, a person acts with one. Only their SHA-256 is stored."""


@token.command("agent")
@click.argument("name")
@click.option(
    "--file", "out", type=click.Path(path_type=Path), help="Write it here (mode 0600) instead of printing it."
)
@CONFIG
def token_agent(name: str, out: Path | None, file: Path) -> None:
    """Make a token for an agent of the inventory."""
    from watchkeeper.collector.access.tokens import TokenKind

    _mint(file, TokenKind.AGENT, name, out)


@token.command("person")
@click.argument("name")
@click.option(
    "--file", "out", type=click.Path(path_type=Path), help="Write it here (mode 0600) instead of printing it."
)
@CONFIG
def token_person(name: str, out: Path | None, file: Path) -> None:
    """Make a token for a person of contacts.yml."""
    from watchkeeper.collector.access.tokens import TokenKind

    _mint(file, TokenKind.PERSON, name, out)


@token.command()
@click.argument("kind", type=click.Choice(["agent", "person"]))
@click.argument("name")
@CONFIG
def revoke(kind: str, name: str, file: Path) -> None:
    """Forget every token of an agent or person, browser sessions included."""
    from watchkeeper.collector.access.tokens import TokenKind
    from watchkeeper.collector.access.tokens import revoke as forget

    print(f"{forget(_store(_place(file)), TokenKind(kind), name)} tokens of {kind} {name} forgotten")


@collector.command()
@click.argument("person")
@CONFIG
def link(person: str, file: Path) -> None:
    """Print a one-time URL, good for an hour, that opens the pages as this person."""
    import time

    from watchkeeper.collector.access.tokens import TICKET_S, TokenKind, mint

    place = _place(file)
    _must_exist(place, TokenKind.PERSON, person)
    ticket = mint(_store(place), TokenKind.TICKET, person, time.time(), TICKET_S)
    print(f"{place.config.url}/enter?ticket={ticket}")


@collector.command()
@click.argument("out", type=click.Path(path_type=Path))
@CONFIG
def backup(out: Path, file: Path) -> None:
    """Copy the whole store into one file, while the collector runs."""
    import time

    from watchkeeper.collector.store.backup import backup as write

    counts = write(_store(_place(file)), out, time.time())
    print(f"{out}: {sum(counts.values())} rows of {len(counts)} tables")


@collector.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@CONFIG
def restore(source: Path, file: Path) -> None:
    """Fill an empty store from a backup."""
    from watchkeeper.collector.store.backup import restore as fill

    counts = fill(_store(_place(file)), source)
    print(f"{sum(counts.values())} rows of {len(counts)} tables restored")


@collector.command()
@URL
@TOKEN_FILE
def incidents(url: str, token_file: Path) -> None:
    """List the open incidents. A collector on this very machine asks for no token."""
    from watchkeeper.model.plain import printable

    token = _own_token(token_file.expanduser()) if token_file.expanduser().exists() else None
    for one in _ask("GET", url, "/api/v1/incidents", None, token)["incidents"]:
        title = " ".join(printable(one["title"]).split())
        print(f"{one['incident']:>6}  {one['level']:<8}  {one['device']:<20}  {title}")


@collector.command()
@click.argument("number", type=int)
@NOTE
@URL
@TOKEN_FILE
def acknowledge(number: int, note: str, url: str, token_file: Path) -> None:
    """Say that you are working on an incident. It does not stop the ladder."""
    _act(url, token_file, number, "acknowledge", note)


@collector.command()
@click.argument("number", type=int)
@NOTE
@URL
@TOKEN_FILE
def resolve(number: int, note: str, url: str, token_file: Path) -> None:
    """Close an incident that no reading can close any more; refused while its latest verdict is bad."""
    _act(url, token_file, number, "resolve", note)


@collector.command()
@click.argument("number", type=int)
@NOTE
@URL
@TOKEN_FILE
def escalate(number: int, note: str, url: str, token_file: Path) -> None:
    """It cannot be resolved here: climb to the next rung at once."""
    _act(url, token_file, number, "escalate", note)


# ---- the parts ----


def _place(file: Path) -> "ConfigFile":
    from watchkeeper.collector.site.settings import read_config

    try:
        return read_config(file)
    except OSError as error:
        raise WatchkeeperError(f"{file}: {error.strerror}; `watchkeeper init DIR` writes starter files") from None


def _store(place: "ConfigFile") -> "Store":
    from watchkeeper.collector.main import open_secrets, open_store

    return open_store(place, open_secrets(place))


def _must_exist(place: "ConfigFile", kind: Any, name: str) -> None:
    from watchkeeper.collector.access.tokens import TokenKind
    from watchkeeper.collector.site.load import read_configuration

    configuration = read_configuration(place.path(place.config.site))
    if kind is TokenKind.AGENT and all(agent.agent != name for agent in configuration.inventory.agents):
        raise WatchkeeperError(f"no agent is called `{name}` in inventory.yml")
    if kind is TokenKind.PERSON and all(person.person != name for person in configuration.contacts.people):
        raise WatchkeeperError(f"no person is called `{name}` in contacts.yml")


def _mint(file: Path, kind: Any, name: str, out: Path | None) -> None:
    import time

    from watchkeeper.collector.access.tokens import mint

    place = _place(file)
    _must_exist(place, kind, name)
    if out is None:
        print(mint(_store(place), kind, name, time.time()))
        return
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise WatchkeeperError(f"{out}: {error.strerror}; no token was made") from None
    with os.fdopen(handle, "w") as target:
        target.write(mint(_store(place), kind, name, time.time()) + "\n")
    print(f"{out}: the token of {name} (mode 0600)")


def _act(url: str, token_file: Path, number: int, what: str, note: str) -> None:
    token = _own_token(token_file.expanduser())
    answer = _ask("POST", url, f"/api/v1/incidents/{number}/{what}", {"note": note}, token)
    print(f"incident {number}: {what}d" if what.endswith("e") else f"incident {number}: {what}", f"({answer['state']})")


def _own_token(file: Path) -> "Secret":
    from watchkeeper.documents.secrets import Secret, read_private

    try:
        return Secret(read_private(file).strip())
    except SecretError as error:
        raise SecretError(f"{error}; `watchkeeper collector token person NAME --file {file}` makes one") from None


def _ask(method: str, url: str, path: str, body: Any, token: "Secret | None") -> Any:
    from urllib.parse import urlsplit

    import requests

    from watchkeeper.documents.scalars import is_loopback

    where = urlsplit(url)
    if token and where.scheme != "https" and not is_loopback(where.hostname or ""):
        raise WatchkeeperError(f"{url}: http would show your token to everybody on the way; use https")
    headers = {"Authorization": token.bearer()} if token else {}
    with requests.Session() as session:
        session.trust_env = False  # a ~/.netrc would replace the token, a proxy would read it
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        try:
            answer = session.request(
                method, url.rstrip("/") + path, json=body, headers=headers, timeout=10, allow_redirects=False
            )
        except requests.RequestException as error:
            raise WatchkeeperError(f"no answer from {url}: {type(error).__name__}; is the collector running?") from None
    if answer.status_code != requests.codes.ok:
        raise WatchkeeperError(_reason(answer))
    return answer.json()


def _reason(answer: Any) -> str:
    try:
        body = answer.json()
        return f"{answer.status_code}: {body.get('error') or body.get('detail') or body}"
    except ValueError:
        return f"{answer.status_code}: {answer.reason}"
