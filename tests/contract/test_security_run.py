"""Collector and agent run with secrets of every kind, faults and failing pages. No secret is in any output or file."""

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests
from click.testing import CliRunner

from tests.chaos.kills import free_port
from tests.security_room import keyring, listening
from tests.story.world import LADDERS
from watchkeeper.cli import command_line

ROOT = Path(__file__).resolve().parents[2]

SECRETS = {
    "community": "Kommunity-1f0e", "auth": "Authpass-2e1d", "priv": "Privpass-3d2c", "hook": "Hookkey-4c3b",
    "apprise": "json://user:Apprise-5b4a@127.0.0.1:{port}/Path-6a59?-Head=Value-7968",
}  # fmt: skip
WORDS = ("Kommunity-1f0e", "Authpass-2e1d", "Privpass-3d2c", "Hookkey-4c3b", "Apprise-5b4a", "Path-6a59", "Value-7968")
V3 = "version: 3, user: watch, auth: SHA-256, auth_secret: auth, priv: AES, priv_secret: priv"


def write_site(folder: Path, port: int, dead: int, far: int) -> None:
    devices = "\n".join(
        f"  - {{device: {name}, agent: room-1, category: ups, probe: snmp, address: '127.0.0.1:{dead}', every: 1 s,"
        f" timeout: 200 ms, retries: 0, owner: olga, snmp: {{{snmp}}}}}"
        for name, snmp in (
            ("v2", "version: 2c, community: community"), ("v3", V3), ("odd", f"{V3}, engine: pysnmp"),
        )
    )  # fmt: skip
    channels = f"{{via: webhook, url: 'http://127.0.0.1:{far}/', secret: hook}}, {{via: apprise, secret: apprise}}"
    written = {
        "collector": f"port: {port}\nsecrets: secrets.yml\n",
        "agent": f"agent: room-1\ncollector: http://127.0.0.1:{port}\nsecrets: secrets.yml\n",
        "inventory": f"site: {{name: Room, timezone: UTC}}\nagents: [{{agent: room-1, owner: olga, interval: 1 s}}]\ndevices:\n{devices}\n",
        "contacts": f"people: [{{person: olga, name: Olga, channels: [{channels}, {{via: console}}]}}]\n"
        "shifts: [{shift: all, start: 08:00, end: 08:00, rotation: [olga]}]\nroles: {head: [olga], assistant: [olga]}\n",
        "ladders": LADDERS,
    }
    for name, text in written.items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    (folder / "rules").mkdir()
    (folder / "rules" / "fast.yml").write_text(
        "rules:\n  - {rule: gone, clause: '4.1', title: Gone, advice: Go, quantity: device.answering, critical: {is: 'no'}}\n"
    )
    keyring(folder, "".join(f"{name}: '{text.format(port=far)}'\n" for name, text in SECRETS.items()))


class Run:
    """Runs commands in a folder and collects their output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"

    def start(self, room: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "watchkeeper", *self._words(room, "run")]
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def ask(self, *words: str) -> str:
        done = CliRunner().invoke(command_line, self._words(*words))
        assert done.exit_code == 0, done.output
        return done.output.strip()

    def _words(self, room: str, *words: str) -> list[str]:
        return [room, *words, "--config", str(self.folder / f"{room}.yml")]


def test_no_secret_is_readable_after_a_whole_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    port = free_port()
    with socket.socket() as held, listening({}, 404) as (far, _):  # one port is bound, but nothing listens on it
        held.bind(("127.0.0.1", 0))
        write_site(tmp_path, port, held.getsockname()[1], far)
        said = _whole_run(run, port)
    tokens = [run.folder.joinpath("own").read_text().strip(), said.pop("token"), said.pop("ticket")]
    own = {"secrets.yml", "own"}
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.name not in own:
            said[str(file)] = file.read_bytes().decode("latin-1")
            private = file.suffix != ".yml" and file.name not in ("log", "spool.db.lock")
            assert not private or file.stat().st_mode & 0o077 == 0, file
    leaks = [(name, secret) for name, text in said.items() for secret in (*WORDS, *tokens) if secret in text]
    assert leaks == []


def _whole_run(run: Run, port: int) -> dict[str, str]:
    """Run collector and agent with faults and failing pages. Returns all output and the secrets that were made."""
    url = f"http://127.0.0.1:{port}"
    said = {"token": run.ask("collector", "token", "agent", "room-1")}
    with (run.folder / "secrets.yml").open("a") as file:
        file.write(f"agent-token: {said['token']}\n")
    run.ask("collector", "token", "person", "olga", "--file", str(run.folder / "own"))
    link = run.ask("collector", "link", "olga")
    said["ticket"] = link.partition("=")[2]
    processes = [run.start("collector"), run.start("agent")]
    try:
        _until(lambda: _tried(url) >= {"webhook", "apprise"})
        person = requests.Session()
        assert person.get(link, timeout=5).ok
        requests.post(f"{url}/v1/push", headers={"Authorization": f"Bearer {said['token']}x"}, timeout=5)
        for path in (
            "/",
            "/troubles/1",
            "/devices/v2",
            "/devices/odd",
            "/metrics",
            "/api/v1/devices/v3",
            "/openapi.json",
        ):
            said[path] = person.get(url + path, timeout=5).text
        said["processes"] = _command_lines()
        run.ask("collector", "backup", str(run.folder / "kept.zip"))
        said["status"] = run.ask("agent", "status")
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(15)
    return said


def _tried(url: str) -> set[str]:
    found: list[dict[str, Any]] = requests.get(f"{url}/api/v1/troubles", timeout=5).json()["troubles"]
    return {one["channel"] for trouble in found for notice in trouble["told"] for one in notice["tries"]}


def _until(there: Any) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            if there():
                return
        time.sleep(0.1)
    raise AssertionError("it did not come")


def _command_lines() -> str:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(process.read_text(encoding="latin-1"))
    return "\n".join(found)
