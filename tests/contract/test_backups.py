"""Backups as files: sealed, encrypted, kept in a folder, damaged, of an earlier version."""

import base64
import errno
import fcntl
import io
import json
import random
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyrage
import pytest
import sqlalchemy as sa

from tests.story.world import NOON, World
from watchkeeper.collector.site.settings import BackupConfig, KeepBackups
from watchkeeper.collector.store.backups import folder as folders
from watchkeeper.collector.store.backups.archive import BadBackup, Export, kept_tables
from watchkeeper.collector.store.backups.encryption import decrypt, encrypt, read_identities, read_recipients
from watchkeeper.collector.store.backups.folder import back_up, backup
from watchkeeper.collector.store.backups.kept import listed
from watchkeeper.collector.store.backups.restore import restore
from watchkeeper.collector.store.backups.verify import verify
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.model.errors import Conflict, StoreError, WatchkeeperError
from watchkeeper.model.verdict import Level

DAY_S = 86_400.0
SEED = 20_260_901
KEY = pyrage.x25519.Identity.generate()
needs_age = pytest.mark.skipif(shutil.which("age") is None, reason="needs the program age (Debian: age)")


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    made.push(made.verdict(Level.CRITICAL))
    made.advance(12)
    yield made
    made.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[World]:
    made = World(f"sqlite:///{tmp_path / 'its.db'}")
    made.push(made.verdict(Level.CRITICAL))
    yield made
    made.close()


def age(*words: str | Path) -> None:
    subprocess.run(["age", *map(str, words)], check=True, capture_output=True)


def key_file(folder: Path, key: pyrage.x25519.Identity = KEY) -> Path:
    file = folder / "key.txt"
    file.write_text(f"# created: today\n# public key: {key.to_public()}\n{key}\n")
    file.chmod(0o600)
    return file


# ---- verify ----


def test_a_good_backup_is_counted_checked_and_its_last_trouble_opened(world: World, tmp_path: Path) -> None:
    counts = backup(world.store, tmp_path / "kept.zip", NOON)
    found = verify(tmp_path / "kept.zip")
    assert found.counts == counts
    assert "collector" not in counts
    assert found.manifest.taken_at == NOON
    assert found.last.startswith(
        "the last trouble: 1, sensor-1, environment.temperature, critical, open, since 2027-01-15 "
    )
    assert any(line.startswith("integrity: the database is whole") for line in found.found)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("watchkeeper-")]


def test_a_backup_is_of_one_moment_while_the_collector_works(world: World, tmp_path: Path) -> None:
    file, before = tmp_path / "kept.zip", len(world.incidents())
    with file.open("wb") as out:
        chunks = Export(world.store, NOON, "").chunks()
        while not out.tell():
            out.write(next(chunks))
        world.push(world.verdict(Level.CRITICAL, device="web-1", rule="server.disk-full", quantity="disk.usage"))
        for chunk in chunks:
            out.write(chunk)
    assert len(world.incidents()) == before + 1
    assert verify(file).counts["incident"] == before


def test_an_empty_store_has_a_good_backup(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/empty.db")
    migrate(store)
    backup(store, tmp_path / "kept.zip", NOON)
    store.close()
    assert verify(tmp_path / "kept.zip").last == "the last trouble: there is none yet"


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("how", ["truncated", "a flipped bit", "a byte more"])
def test_no_damage_passes(embedded: World, tmp_path: Path, how: str, encrypted: bool) -> None:
    file, chance = tmp_path / "kept.zip", random.Random(SEED)  # noqa: S311 -- must be repeatable
    backup(embedded.store, file, NOON, [str(KEY.to_public())] if encrypted else [])
    whole = file.read_bytes()
    verify(file, [KEY])
    for _ in range(20):
        content = bytearray(whole)
        if how == "truncated":
            del content[chance.randrange(len(whole)) :]
        elif how == "a byte more":
            content.append(chance.randrange(256))
        else:
            content[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        with pytest.raises(BadBackup, match=r"kept\.zip"):
            verify(file, [KEY])


def test_a_reference_to_nothing_is_found(embedded: World, tmp_path: Path) -> None:
    with embedded.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM incident")
    backup(embedded.store, tmp_path / "kept.zip", NOON)
    with pytest.raises(BadBackup, match="names `incident` 1, which is not in the backup"):
        verify(tmp_path / "kept.zip")


def test_without_space_nothing_is_unpacked(embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup(embedded.store, tmp_path / "kept.zip", NOON)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(WatchkeeperError, match=r"1 MB left.* name another folder"):
        verify(tmp_path / "kept.zip")


# ---- of an earlier version ----


def test_a_backup_of_version_0_1_is_restored_into_the_present_schema(tmp_path: Path, store_url: str) -> None:
    older = Store(f"sqlite:///{tmp_path}/older.db")
    migrate(older, "0003")
    file, body = tmp_path / "old.zip", b"\x00\xffpush"
    with older.write() as connection:
        row = {"agent": "room-1", "received_at": NOON, "after_seq": 7, "body": body}
        tables = sa.MetaData()
        tables.reflect(connection)
        connection.execute(sa.insert(tables.tables["journal"]), row)
    with zipfile.ZipFile(file, "w") as archive:
        for table in kept_tables(tables):
            line = json.dumps({"id": 3, **row, "body": base64.b64encode(body).decode(), "fault": None}) + "\n"
            archive.writestr(f"{table.name}.jsonl", line if table.name == "journal" else "")
        rows = {table.name: int(table.name == "journal") for table in kept_tables(tables)}
        archive.writestr(
            "store.json", json.dumps({"watchkeeper": "backup", "schema": "0003", "taken_at": NOON, "rows": rows})
        )
    older.close()

    store = Store(store_url)
    counts = restore(store, file)
    assert counts["journal"] == 1
    with store.read() as connection:
        kept = connection.execute(sa.text("SELECT id, body FROM journal")).one()
    store.close()
    assert (kept.id, bytes(kept.body)) == (3, body)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("watchkeeper-")]
    assert "it has no checksums: it was made by version 0.1" in list(verify(file).lines())


def test_a_newer_backup_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "newer.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "store.json", json.dumps({"watchkeeper": "backup", "schema": "9999", "taken_at": NOON, "rows": {}})
        )
    with pytest.raises(BadBackup, match="schema 9999, which this version of Watchkeeper does not know"):
        verify(file)


# ---- encryption ----


def test_only_the_private_key_opens_an_encrypted_backup(world: World, tmp_path: Path) -> None:
    file = tmp_path / "kept.zip.age"
    counts = backup(world.store, file, NOON, [str(KEY.to_public())])
    assert file.read_bytes().startswith(b"age-encryption.org/v1\n-> X25519 ")
    assert b"environment.temperature" not in file.read_bytes()
    with pytest.raises(WatchkeeperError, match="--identity KEYFILE"):
        verify(file)
    with pytest.raises(BadBackup, match="damaged, or it is for another key"):
        verify(file, [pyrage.x25519.Identity.generate()])
    assert verify(file, read_identities(key_file(tmp_path))).counts == counts
    target = Store(f"sqlite:///{tmp_path}/again.db")
    assert restore(target, file, [KEY], tmp_path) == counts
    target.close()
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("watchkeeper-")]


@needs_age
def test_age_decrypts_ours(embedded: World, tmp_path: Path) -> None:
    other = pyrage.x25519.Identity.generate()
    counts = backup(embedded.store, tmp_path / "a.age", NOON, [str(other.to_public()), str(KEY.to_public())])
    age("-d", "-i", key_file(tmp_path), "-o", tmp_path / "a.zip", tmp_path / "a.age")
    found = verify(tmp_path / "a.zip")
    assert (found.counts, found.encrypted) == (counts, False)


@needs_age
@pytest.mark.parametrize("armor", [(), ("-a",)])
def test_we_decrypt_what_age_encrypts(embedded: World, tmp_path: Path, armor: tuple[str, ...]) -> None:
    counts = backup(embedded.store, tmp_path / "a.zip", NOON)
    age(*armor, "-r", str(KEY.to_public()), "-o", tmp_path / "a.age", tmp_path / "a.zip")
    found = verify(tmp_path / "a.age", [KEY])
    assert (found.counts, found.encrypted) == (counts, True)


@needs_age
def test_we_read_a_key_of_age_keygen(tmp_path: Path) -> None:
    subprocess.run(["age-keygen", "-o", str(tmp_path / "key.txt")], check=True, capture_output=True)
    (identity,) = read_identities(tmp_path / "key.txt")
    public = (tmp_path / "key.txt").read_text().split("public key: ")[1].split()[0]
    assert str(identity.to_public()) == public
    BackupConfig("b", encrypt_to=(public,))


def test_a_key_file_that_others_may_read_or_that_has_no_key_is_refused(tmp_path: Path) -> None:
    file = key_file(tmp_path)
    file.chmod(0o644)
    with pytest.raises(WatchkeeperError, match="mode 0644"):
        read_identities(file)
    file.chmod(0o600)
    for text in ("# nothing\n", "AGE-SECRET-KEY-1WRONG\n"):
        file.write_text(text)
        with pytest.raises(WatchkeeperError, match="private key of age") as refused:
            read_identities(file)
        assert "SECRET" not in str(refused.value)


def test_a_public_key_with_a_mistake_is_refused_before_anything_is_written(embedded: World, tmp_path: Path) -> None:
    key = str(KEY.to_public())
    wrong = key[:-1] + ("q" if key[-1] != "q" else "p")
    assert read_recipients([key])
    with pytest.raises(WatchkeeperError, match="its checksum is wrong"):
        backup(embedded.store, tmp_path / "a.age", NOON, [wrong])
    assert not (tmp_path / "a.age").exists()


@pytest.mark.parametrize("encrypted", [False, True])
def test_an_error_while_it_is_written_leaves_nothing(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    keys = [str(KEY.to_public())] if encrypted else []

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the database has gone away")

    with monkeypatch.context() as patched:
        patched.setattr("watchkeeper.collector.store.backups.archive.version", refuse)
        with pytest.raises(StoreError, match="gone away"):
            backup(embedded.store, tmp_path / "a.zip", NOON, keys)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
        with pytest.raises(WatchkeeperError, match="the disk has 1 MB left; no backup was made"):
            backup(embedded.store, tmp_path / "a.zip", NOON, keys, reserve_bytes=5_000_000)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("a.zip")] == []


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_error_in_the_last_bytes_of_an_encrypted_file_is_not_lost(size: int) -> None:
    """pyrage ends without an error if only its last buffer could not be written."""

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) >= size:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    with pytest.raises(OSError, match="No space left on device"):
        encrypt(iter([b"x" * size]), Full(), [KEY.to_public()])
    out = io.BytesIO()
    encrypt(iter([b"x" * size]), out, [KEY.to_public()])
    out.seek(0)
    with pytest.raises(OSError, match="No space left on device"):
        decrypt(out, Full(), [KEY])


# ---- the folder ----


def config(folder: Path, **settings: object) -> BackupConfig:
    return BackupConfig(str(folder), **settings)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return [one.file.name for one in listed(folder)]


def test_files_are_named_after_their_time_and_content(embedded: World, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    kept, written = back_up(embedded.store, folder, NOON, config(folder), 0)
    assert names(folder) == [f"watchkeeper-20270115T040000Z-{written.sha256[:16]}.zip"]
    assert kept.good()
    assert folder.stat().st_mode & 0o777 == 0o700
    verify(kept.file)
    content = bytearray(kept.file.read_bytes())
    content[100] ^= 1
    kept.file.write_bytes(content)
    assert not listed(folder)[0].good()


def test_old_ones_go_by_number_and_age_and_damaged_ones_do_not_count(embedded: World, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    settings = config(folder, keep=KeepBackups(number=2, age_s=3 * DAY_S), encrypt_to=(str(KEY.to_public()),))
    for day in range(5):
        back_up(embedded.store, folder, NOON + day * DAY_S, settings, 0)
    assert [name[12:20] for name in names(folder)] == ["20270119", "20270118", "20270117", "20270116"]
    for one in listed(folder)[:2]:
        one.file.write_bytes(b"")  # the two newest are damaged: older good ones must not go for them
    back_up(embedded.store, folder, NOON + 20 * DAY_S, settings, 0)
    left = listed(folder)
    assert [one.file.name[12:20] for one in left] == ["20270204", "20270119", "20270118", "20270117"]
    assert [one.good() for one in left] == [True, False, False, True]


def test_one_that_cannot_be_read_costs_no_new_one(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    first, _ = back_up(embedded.store, folder, NOON, config(folder), 0)
    real = Path.open

    def refused(file: Path, *words: Any, **options: Any) -> Any:
        if file == first.file:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(file, *words, **options)

    monkeypatch.setattr(Path, "open", refused)
    made, _ = back_up(embedded.store, folder, NOON + DAY_S, config(folder), 0)
    assert [one.good() for one in listed(folder)] == [True, False]
    assert made.file.exists()


def test_a_clock_that_was_wrong_costs_no_good_backup(embedded: World, tmp_path: Path) -> None:
    folder, settings = tmp_path / "kept", config(tmp_path / "kept", keep=KeepBackups(number=2, age_s=DAY_S))
    for at in (NOON, NOON + 20 * 365 * DAY_S, NOON + 60):
        back_up(embedded.store, folder, at, settings, 0)
    assert len(names(folder)) == 3  # the newest, two by number: the one from the future is none of those that count
    made, _ = back_up(embedded.store, folder, NOON + 3 * DAY_S, settings, 0)
    assert made.file.exists()


def test_one_process_at_a_time_writes_into_a_folder(embedded: World, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="another backup is being made there"):
            back_up(embedded.store, folder, NOON, config(folder), 0)
    back_up(embedded.store, folder, NOON, config(folder), 0)
    assert len(names(folder)) == 1


def test_what_a_killed_backup_left_is_cleared_away(embedded: World, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / ".watchkeeper.part").write_text("half a backup")
    (folder / "notes.txt").write_text("of a person")
    back_up(embedded.store, folder, NOON, config(folder), 0)
    assert sorted(one.name for one in folder.iterdir()) == [".lock", "notes.txt", *names(folder)]


def test_a_disk_that_gives_back_other_bytes_makes_no_backup(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "sha256_of", lambda _: "0" * 64)
    with pytest.raises(WatchkeeperError, match="other bytes than were written"):
        back_up(embedded.store, tmp_path / "kept", NOON, config(tmp_path / "kept"), 0)
    assert names(tmp_path / "kept") == []


def test_a_folder_that_cannot_be_made_is_named(embedded: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WatchkeeperError, match=r"file.*no backup was made"):
        back_up(embedded.store, tmp_path / "file" / "kept", NOON, config(tmp_path), 0)
