"""`watchkeeper collector ...`: commands that ask a running collector over HTTP: list and answer troubles, confirm removals."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from watchkeeper.model.errors import SecretError, WatchkeeperError

if TYPE_CHECKING:
    from requests import Response

    from watchkeeper.documents.secrets import Secret

URL = click.option("--url", envvar="WATCHKEEPER_URL", default="http://127.0.0.1:8760", show_default=True)
TOKEN_FILE = click.option(
    "--token-file", type=click.Path(path_type=Path), envvar="WATCHKEEPER_TOKEN_FILE",
    default=Path("~/.config/watchkeeper/token"), show_default=True,
    help="A file with your own token that only you can read (mode 0600).",
)  # fmt: skip
NUMBERS = click.argument("numbers", type=int, nargs=-1, required=True, metavar="NUMBER...")
NOTE = click.option("--note", default="", help="A comment, shown in the timeline of the trouble.")


@click.command()
@URL
@TOKEN_FILE
def troubles(url: str, token_file: Path) -> None:
    """List the open troubles. A collector on this machine needs no token for this."""
    from watchkeeper.model.plain import printable

    file = token_file.expanduser()
    token = _read_token(file) if file.exists() else None
    for one in _request("GET", url, "/api/v1/troubles", None, token)["troubles"]:
        cause = one["cause"]
        level = one["level"] if one["quiet_since"] is None else "no fault now"
        more = f"  and {one['incidents'] - 1} more" if one["incidents"] > 1 else ""
        title = printable(f"{cause['title']}{more}")
        print(f"{one['trouble']:>6}  {level:<12}  {cause['device']:<20}  {title}")


@click.command()
@NUMBERS
@NOTE
@URL
@TOKEN_FILE
def acknowledge(numbers: tuple[int, ...], note: str, url: str, token_file: Path) -> None:
    """Say that you are working on troubles. This stops only a ladder with `stops_at: acknowledged`."""
    _answer(url, token_file, numbers, "acknowledge", {"note": note})


@click.command("on-site")
@NUMBERS
@NOTE
@URL
@TOKEN_FILE
def on_site(numbers: tuple[int, ...], note: str, url: str, token_file: Path) -> None:
    """Say that you are on site. Nobody is asked for it any more."""
    _answer(url, token_file, numbers, "on-site", {"note": note})


@click.command()
@NUMBERS
@click.option("--rung", default="", help="decide every rung up to this one (default: the next one)")
@NOTE
@URL
@TOKEN_FILE
def escalate(numbers: tuple[int, ...], rung: str, note: str, url: str, token_file: Path) -> None:
    """Escalate now: decide the next rung at once. Later rungs keep their times."""
    _answer(url, token_file, numbers, "escalate", {"note": note, "rung": rung})


@click.command()
@NUMBERS
@click.option("--ticket", default="", help="the number of the vendor's ticket")
@NOTE
@URL
@TOKEN_FILE
def vendor(numbers: tuple[int, ...], ticket: str, note: str, url: str, token_file: Path) -> None:
    """Say that the maintenance vendor works on it."""
    _answer(url, token_file, numbers, "vendor", {"note": note, "ticket": ticket})


@click.command()
@NUMBERS
@click.option("--cause", default="", help="what the cause was")
@click.option("--cure", default="", help="what cured it")
@NOTE
@URL
@TOKEN_FILE
def resolve(numbers: tuple[int, ...], cause: str, cure: str, note: str, url: str, token_file: Path) -> None:  # noqa: PLR0917 -- click passes them
    """Resolve troubles that no new reading can resolve. Refused while a latest verdict is bad."""
    _answer(url, token_file, numbers, "resolve", {"note": note, "cause": cause, "cure": cure})


@click.command()
@NUMBERS
@NOTE
@URL
@TOKEN_FILE
def reopen(numbers: tuple[int, ...], note: str, url: str, token_file: Path) -> None:
    """Say that a resolved trouble is not fixed. Its escalation goes on."""
    _answer(url, token_file, numbers, "reopen", {"note": note})


@click.command()
@NUMBERS
@click.option("--note", required=True, help="the comment")
@click.option("--mention", multiple=True, metavar="PERSON", help="who gets it as a message; may be given several times")
@URL
@TOKEN_FILE
def comment(numbers: tuple[int, ...], note: str, mention: tuple[str, ...], url: str, token_file: Path) -> None:
    """Add a comment to the timeline."""
    _answer(url, token_file, numbers, "comment", {"note": note, "mention": list(mention)})


@click.command()
@click.argument("device")
@click.argument("part", default="")
@NOTE
@URL
@TOKEN_FILE
def removed(device: str, part: str, note: str, url: str, token_file: Path) -> None:
    """Confirm that a PART of a DEVICE was removed. Without PART, list what is gone of the device."""
    from datetime import UTC, datetime
    from urllib.parse import quote

    from watchkeeper.model.plain import printable

    path, file = f"/api/v1/devices/{quote(device, safe='')}", token_file.expanduser()
    if part:
        _request("POST", url, f"{path}/removed", {"part": part, "note": note}, _read_token(file))
        print(f"{device}: {part} was removed; its agent is told with its next push")
        return
    for one in _request("GET", url, path, None, _read_token(file) if file.exists() else None)["gone"]:
        since = f"since {datetime.fromtimestamp(one['since'], UTC):%Y-%m-%d %H:%M} UTC" if one["since"] else ""
        confirmed = f"  confirmed by {one['confirmed_by']}" if one["confirmed_by"] else ""
        print(printable(f"{one['part']:<30}  {one['label']:<40}  {since}{confirmed}"))


def _answer(url: str, token_file: Path, numbers: tuple[int, ...], action: str, body: dict[str, Any]) -> None:
    """Give one answer to several troubles. One that is refused does not stop the others."""
    token = _read_token(token_file.expanduser())
    refused = []
    for number in numbers:
        try:
            trouble = _request("POST", url, f"/api/v1/troubles/{number}/{action}", body, token)
        except WatchkeeperError as error:
            refused.append(f"trouble {number}: {error}")
        else:
            print(f"trouble {trouble['trouble']}: {action} noted ({trouble['state']})")
    if refused:
        raise WatchkeeperError("\n".join(refused))


def _read_token(file: Path) -> "Secret":
    from watchkeeper.documents.secrets import Secret, read_private

    try:
        return Secret(read_private(file).strip())
    except SecretError as error:
        raise SecretError(
            f"{error}; make a token with `watchkeeper collector token person NAME --file {file}`"
        ) from None


def _request(method: str, url: str, path: str, body: Any, token: "Secret | None") -> Any:
    from urllib.parse import urlsplit

    import requests

    from watchkeeper.documents.scalars import is_loopback

    parts = urlsplit(url)
    if token and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise WatchkeeperError(f"{url}: http would send your token unencrypted; use https")
    headers = {"Authorization": token.bearer()} if token else {}
    with requests.Session() as session:
        session.trust_env = False  # a ~/.netrc would replace the token, and a proxy could read it
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        try:
            response = session.request(
                method, url.rstrip("/") + path, json=body, headers=headers, timeout=10, allow_redirects=False
            )
        except requests.RequestException as error:
            raise WatchkeeperError(f"no answer from {url}: {type(error).__name__}; is the collector running?") from None
    if response.status_code != requests.codes.ok:
        raise WatchkeeperError(_error_text(response))
    return response.json()


def _error_text(response: "Response") -> str:
    try:
        body = response.json()
        return f"{response.status_code}: {body.get('error') or body.get('detail') or body}"
    except ValueError:
        return f"{response.status_code}: {response.reason}"


HTTP_COMMANDS = (troubles, acknowledge, on_site, escalate, vendor, resolve, reopen, comment, removed)
