"""A message of a real collector process, its link on a phone, and no trace of the link on the collector's disk."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.chaos.kills import free_port
from tests.security_room import keyring
from tests.story.world import CONTACTS, INVENTORY, LADDERS

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 30.0
OURS = {"origin": "null", "sec-fetch-site": "same-origin"}


@contextmanager
def pager(texts: list[str]) -> Iterator[str]:
    """A webhook that keeps the texts it gets."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/page"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running(folder: Path, url: str) -> Iterator[None]:
    command = [sys.executable, "-m", "watchkeeper", "collector", "run", "--config", str(folder / "collector.yml")]
    log = (folder / "log").open("a", encoding="utf-8")
    with log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process:
        try:
            end = time.monotonic() + WITHIN_S
            while not answers(url):
                assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
                assert time.monotonic() < end
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(15)


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=2).ok
    except requests.RequestException:
        return False


def cli(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "watchkeeper", "collector", *words, "--config", str(folder / "collector.yml")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def push(url: str, token: str) -> None:
    item = {"seq": 1, "kind": "verdict", "id": "v1", "device": "sensor-1", "rule": "environment.temperature",
            "instance": "", "level": "critical", "age_s": 0.1, "evidence": {"quantity": "temperature.ambient", "value": 30.0}}  # fmt: skip
    body = {"protocol": 1, "agent": "room-1", "epoch": "e", "lane": "events", "sent_at": time.time(), "items": [item]}
    assert requests.post(f"{url}/v1/push", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=5).ok


def first(texts: list[str], pattern: str) -> str:
    """What a pattern finds in the texts, once it does."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        for text in tuple(texts):
            if found := re.search(pattern, text):
                return found[1]
        time.sleep(0.05)
    raise AssertionError(texts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keyring(tmp_path, "pager: 'the key of the pager'\n")
    return tmp_path


def test_a_link_acts_and_stays_nowhere(folder: Path) -> None:
    url, texts = f"http://127.0.0.1:{(port := free_port())}", list[str]()
    with pager(texts) as webhook:
        contacts = re.sub(r"\{via: [^}]*\}", f'{{via: webhook, url: "{webhook}", secret: pager}}', CONTACTS)
        settings = f"port: {port}\nsecrets: secrets.yml\n"
        files = {"collector": settings, "inventory": INVENTORY, "contacts": contacts, "ladders": LADDERS}
        for name, text in files.items():
            (folder / f"{name}.yml").write_text(text, encoding="utf-8")
        token = cli(folder, "token", "agent", "room-1").strip()
        with running(folder, url):
            push(url, token)
            link = first(texts, rf"({url}/t/[\w-]+)$")
            page = requests.get(link, timeout=5)
            csrf = re.search(r'name="csrf" value="(\w+)"', page.text)
            assert csrf
            form = {"csrf": csrf[1], "as": ""}
            done = requests.post(f"{link}/acknowledge", data=form, headers=OURS, timeout=5, allow_redirects=False)
            assert (done.status_code, url + done.headers["location"]) == (303, link)
        with running(folder, url):
            assert requests.get(link, timeout=5).ok, "the key outlives a restart"
            cli(folder, "links", "rotate")
            end = time.monotonic() + WITHIN_S
            while requests.get(link, timeout=5).status_code != 410:
                assert time.monotonic() < end
                time.sleep(0.1)
    secret = link.rpartition("/")[2].encode()
    for file in folder.iterdir():
        assert secret not in file.read_bytes(), file.name
    assert b"only this machine can open" in (folder / "log").read_bytes()
