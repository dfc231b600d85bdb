"""A collector and an agent in one folder, each as a process. `up` and `demo` start them."""

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
from watchkeeper.collector.opening import open_secrets, open_store
from watchkeeper.collector.site.settings import read_config
from watchkeeper.model.errors import WatchkeeperError

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 30.0, 15.0
AGENT = "here"
"""The name of the only agent."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A folder with the configuration and the secrets of a collector and an agent, and all their data."""

    folder: Path
    url: str

    def link(self, person: str) -> str:
        """A URL that signs this person in, once."""
        return f"{self.url}/enter?ticket={self.mint(TokenKind.TICKET, person, TICKET_S)}"

    def token(self, person: str) -> str:
        """A token for the API, as this person."""
        return self.mint(TokenKind.PERSON, person, None)

    def mint(self, kind: TokenKind, name: str, lasts_s: float | None) -> str:
        """Make a token in the collector's store. It is valid for `lasts_s` seconds, or for ever if None."""
        config = read_config(self.folder / "collector.yml")
        store = open_store(config, open_secrets(config))
        try:
            return mint(store, kind, name, time.time(), lasts_s)
        finally:
            store.close()


def write_deployment(
    folder: Path, port: int, configuration: Mapping[str, str], extra_secrets: Mapping[str, str] | None = None
) -> Deployment:
    """Write the missing files: collector.yml, agent.yml, the files of `configuration` (name -> text), and secrets.yml with
    the agent's token and `extra_secrets` (name -> value). A file that exists is never changed."""
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    written = {
        "collector.yml": f"port: {port}\nstore: collector.db\nsecrets: secrets.yml\n",
        "agent.yml": f"agent: {AGENT}\ncollector: http://127.0.0.1:{port}\nsecrets: secrets.yml\n",
        **configuration,
    }
    for name, text in written.items():
        if not (folder / name).exists():
            (folder / name).write_text(text, encoding="utf-8")
    deployment = Deployment(folder, read_config(folder / "collector.yml").config.own_url)
    secrets_file = folder / "secrets.yml"
    if not secrets_file.exists():
        with os.fdopen(os.open(secrets_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name}: {secret}\n" for name, secret in (extra_secrets or {}).items())
        with secrets_file.open("a", encoding="utf-8") as file:
            file.write(f"agent-token: {deployment.mint(TokenKind.AGENT, AGENT, None)}\n")
    return deployment


@contextmanager
def running(deployment: Deployment, log: TextIO | None = None) -> Iterator[Sequence["subprocess.Popen[bytes]"]]:
    """Run both processes until the block ends, then stop them with SIGTERM. They are ready when the collector answers.
    `log` takes their output. SIGINT, SIGTERM and SIGHUP become a KeyboardInterrupt meanwhile: the processes are in
    sessions of their own, so these signals do not reach them and they would keep running."""
    _require_free_port(deployment.url)
    with ExitStack() as cleanup:
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGHUP,
        ):  # a shell ignores SIGINT for a job started with `&`
            cleanup.callback(signal.signal, number, signal.signal(number, _interrupt))
        started = []
        for program in ("collector", "agent"):
            command = [sys.executable, "-m", "watchkeeper", program, "run"]
            command += ["--config", str(deployment.folder / f"{program}.yml")]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603 -- our own program
            cleanup.callback(_stop, process)
            started.append(process)
            if program == "collector":
                _wait_for_collector(deployment.url, process)
        yield started


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _require_free_port(url: str) -> None:
    host, _, port = url.rpartition("/")[2].rpartition(":")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, int(port)))
        except OSError as error:
            raise WatchkeeperError(
                f"{host}:{port}: {error.strerror}; stop the program that uses it, or change `port` in collector.yml"
            ) from None


def _wait_for_collector(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise WatchkeeperError("the collector did not start; its messages are above, or in the log")
        try:
            if requests.get(f"{url}/healthz", timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise WatchkeeperError(f"the collector does not answer at {url} after {_START_TIMEOUT_S:g} s")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def random_secret() -> str:
    """256 random bits in hexadecimal, which needs no quotes in YAML."""
    return secrets.token_hex(32)
