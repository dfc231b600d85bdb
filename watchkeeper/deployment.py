"""A collector and an agent in one folder, as processes of their own: what `up` and `demo` start."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

import requests

from watchkeeper.collector.access.tokens import TICKET_S, TokenKind, mint
from watchkeeper.collector.main import open_secrets, open_store
from watchkeeper.collector.site.settings import read_config
from watchkeeper.model.errors import WatchkeeperError

_START_S, _STOP_S = 30.0, 15.0
AGENT = "here"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A folder with the books, both configurations, their secrets and everything that is ever written."""

    folder: Path
    url: str

    def link(self, person: str) -> str:
        """A one-time URL that opens the pages as this person."""
        return f"{self.url}/enter?ticket={self._mint(TokenKind.TICKET, person, TICKET_S)}"

    def token(self, person: str) -> str:
        """A person's token."""
        return self._mint(TokenKind.PERSON, person, None)

    def _mint(self, kind: TokenKind, name: str, lasts_s: float | None) -> str:
        place = read_config(self.folder / "collector.yml")
        store = open_store(place, open_secrets(place))
        try:
            return mint(store, kind, name, time.time(), lasts_s)
        finally:
            store.close()


def write_deployment(
    folder: Path, port: int, configuration: Mapping[str, str], named: Mapping[str, str] | None = None
) -> Deployment:
    """Write what is not there yet: the books, both configurations and a secrets file with the agent's token. `named`
    are further secrets. What stands there already is the operator's, and stays."""
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    written = {
        "collector.yml": f"port: {port}\nstore: collector.db\nsecrets: secrets.yml\n",
        "agent.yml": f"agent: {AGENT}\ncollector: http://127.0.0.1:{port}\nsecrets: secrets.yml\n",
        **configuration,
    }
    for name, text in written.items():
        if not (folder / name).exists():
            (folder / name).write_text(text, encoding="utf-8")
    home = Deployment(folder, read_config(folder / "collector.yml").config.url)
    keyring = folder / "secrets.yml"
    if not keyring.exists():
        with os.fdopen(os.open(keyring, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name}: {secret}\n" for name, secret in (named or {}).items())
        with keyring.open("a", encoding="utf-8") as file:
            file.write(f"agent-token: {home._mint(TokenKind.AGENT, AGENT, None)}\n")  # noqa: SLF001 -- this module's own
    return home


@contextmanager
def running(home: Deployment, log: TextIO | None = None) -> Iterator[Sequence["subprocess.Popen[bytes]"]]:
    """Start both, hand them over once the collector answers, and end them with SIGTERM. `log` takes what they say.
    A signal that would end us is a KeyboardInterrupt meanwhile: both are in sessions of their own, and would stay."""
    _must_be_free(home.url)
    with ExitStack() as held:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a shell's `&` has it ignored
            held.callback(signal.signal, number, signal.signal(number, _interrupt))
        started = []
        for room in ("collector", "agent"):
            command = [sys.executable, "-m", "watchkeeper", room, "run", "--config", str(home.folder / f"{room}.yml")]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603 -- ourselves
            held.callback(_end, process)
            started.append(process)
            if room == "collector":
                _wait_until_it_answers(home.url, process)
        yield started


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _must_be_free(url: str) -> None:
    host, _, port = url.rpartition("/")[2].rpartition(":")
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, int(port)))
        except OSError as error:
            raise WatchkeeperError(
                f"{host}:{port}: {error.strerror}; stop what listens there, or name another --port"
            ) from None


def _wait_until_it_answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise WatchkeeperError("the collector did not start; what it said stands above")
        try:
            if requests.get(f"{url}/healthz", timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise WatchkeeperError(f"the collector does not answer at {url}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def random_secret() -> str:
    """256 random bits, in letters that YAML takes as they are."""
    return secrets.token_hex(32)
