"""Scheduled backups, restore and the restore drill as an operator runs them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyrage
import pytest

from tests.chaos.kills import free_port
from tests.contract.test_collector_process import Room, config, push, until
from tests.story.world import CONTACTS, INVENTORY, LADDERS

KEY = pyrage.x25519.Identity.generate()


class Pager:
    """A webhook's receiver, which counts what it gets."""

    def __init__(self) -> None:
        self.got = 0
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pager.got += 1
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(500)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def pager() -> Iterator[Pager]:
    made = Pager()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def room(tmp_path: Path, pager: Pager) -> Room:
    port = free_port()
    made = Room(tmp_path, f"http://127.0.0.1:{port}")
    made.write(
        collector=f"port: {port}\nsecrets: secrets.yml\nbackup: {{folder: kept, encrypt_to: {KEY.to_public()}}}\n",
        inventory=INVENTORY,
        contacts=CONTACTS.replace("http://127.0.0.1:1/owner", pager.url).replace(
            "{person: day, name: 张伟, language: zh, channels: [{via: console}]}",
            f"{{person: day, name: Day, channels: [{{via: webhook, url: '{pager.url}', secret: s}}]}}",
        ).replace("{person: night, name: Night, channels: [{via: console}]}",
                  f"{{person: night, name: Night, channels: [{{via: webhook, url: '{pager.url}', secret: s}}]}}"),
        ladders=LADDERS,
    )  # fmt: skip
    for name, text in (("secrets.yml", "s: a key of this test\n"), ("key.txt", f"{KEY}\n")):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(text)
    return made


def kept(room: Room) -> list[Path]:
    return sorted((room.folder / "kept").glob("watchkeeper-*.zip.age"))


def test_backup_drill_and_restore(room: Room, pager: Pager, tmp_path: Path) -> None:
    token = room.cli("token", "agent", "room-1", *config(room)).strip()
    (scratch := tmp_path / "scratch").mkdir()
    with room.running():
        until(lambda: len(kept(room)) == 1)
        push(room, token)
        until(lambda: pager.got > 0)
        assert "encrypted" in room.cli("backup", *config(room))
        assert len(kept(room)) == 2
        assert "watchkeeper_backup_age_seconds" in room.get("/metrics").text
        said = room.cli(
            "restore", str(kept(room)[-1]), "--identity", str(room.folder / "key.txt"), *config(room), ok=False
        )
        assert "runs on this store; stop it" in said

    sent = pager.got
    assert "--identity" in room.cli("restore-drill", *config(room), ok=False)
    said = room.cli(
        "restore-drill", "--identity", str(room.folder / "key.txt"), "--scratch", str(scratch), *config(room)
    )
    assert "the last trouble: 1, sensor-1, environment.temperature, critical, open" in said
    assert "trouble 1: sensor-1, " in said
    assert "/healthz" in said
    assert "passed in " in said
    assert pager.got == sent, "a drill pages nobody"
    assert list(scratch.iterdir()) == []

    newest = kept(room)[-1]
    said = room.cli(
        "backup", "--verify", str(newest), "--identity", str(room.folder / "key.txt"), "--scratch", str(scratch)
    )
    assert f"{newest}: good" in said
    assert "incident                  1 rows" in said
    newest.write_bytes(newest.read_bytes()[:-1])
    assert "damaged" in room.cli(
        "backup", "--verify", str(newest), "--identity", str(room.folder / "key.txt"), ok=False
    )
    assert str(kept(room)[0]) in room.cli("restore-drill", "--identity", str(room.folder / "key.txt"), *config(room))


def test_a_mistake_in_a_public_key_is_found_by_check(room: Room) -> None:
    room.cli("check", *config(room))
    key = str(KEY.to_public())
    room.write(collector=f"backup: {{folder: kept, encrypt_to: {key[:-1]}{'q' if key[-1] != 'q' else 'p'}}}\n")
    assert "its checksum is wrong" in room.cli("check", *config(room), ok=False)


def test_without_a_folder_a_file_must_be_named(room: Room) -> None:
    room.write(collector="port: 8760\nsecrets: secrets.yml\n")
    assert "name a file, or set `backup: {folder: ...}`" in room.cli("backup", *config(room), ok=False)
    assert "there is no `backup` in collector.yml" in room.cli("restore-drill", *config(room), ok=False)


def test_a_backup_that_fails_is_logged_with_its_reason(room: Room) -> None:
    (room.folder / "kept").write_text("not a folder")
    with room.running():
        until(lambda: "no backup was made: " in room.log())
        assert "watchkeeper_backup_failures_total 1.0" in room.get("/metrics").text
    assert "kept" in room.log().split("no backup was made: ")[1].splitlines()[0]
