"""SQLite and PostgreSQL: migrations, several collectors at once, backup and restore."""

import hashlib
import re
import threading
import traceback
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.story.world import World
from watchkeeper.collector.access.tokens import TokenKind, fingerprint, mint
from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.process.due import decide_due
from watchkeeper.collector.store import engine, troubles
from watchkeeper.collector.store.backups.archive import BadBackup
from watchkeeper.collector.store.backups.folder import backup
from watchkeeper.collector.store.backups.restore import restore
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate, version
from watchkeeper.collector.store.schema import agent, metadata, outbox, rung, tally
from watchkeeper.model.errors import Conflict, StoreError, StoreRefused, WatchkeeperError
from watchkeeper.model.verdict import Level

VERSIONS = Path(engine.__file__).parent / "migrations" / "versions"
NEWEST = max(file.name[:4] for file in VERSIONS.glob("[0-9]*.py"))


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    yield made
    made.close()


def everything(store: Store) -> dict[str, list[dict[str, Any]]]:
    with store.read() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            for table in metadata.sorted_tables
        }


def test_the_migrations_make_the_schema_that_the_code_expects(world: World) -> None:
    with world.store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert version(connection) == NEWEST
        partial = {index["name"] for index in sa.inspect(connection).get_indexes("incident") if index["unique"]}
    assert partial == {"incident_open"}
    migrate(world.store)  # a second migration changes nothing


def test_one_key_has_one_open_incident(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    table = metadata.tables["incident"]
    (row,) = everything(world.store)["incident"]
    with world.store.engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.execute(sa.insert(table), {**row, "incident": 99})


@pytest.mark.parametrize(
    "url", ["postgresql://u:hun/ter2@host/db", "postgresql+psycopg://u:hunt@er2@host:port/db", "postgres://u:hunter2@host/db",
            "hunter2", "", "postgresql+psycopg://u:hunter2@127.0.0.1:1/db"]
)  # fmt: skip
def test_an_unusable_url_is_an_error_text_without_the_password(url: str) -> None:
    with pytest.raises(StoreError) as refusal:
        migrate(Store(url))
    said = "".join(traceback.format_exception(refusal.value))
    assert not re.search("hun|er2", str(refusal.value))
    assert "hunter2" not in said


def test_temporary_and_permanent_errors_are_distinguished(world: World) -> None:
    table = metadata.tables["token"]
    row = {"sha256": "x", "kind": "agent", "name": "a", "created_at": 0.0}
    with world.store.write() as connection:
        connection.execute(sa.insert(table), row)
    with pytest.raises(StoreRefused), world.store.write() as connection:
        connection.execute(sa.insert(table), row)
    with pytest.raises(StoreError) as no_table, world.store.read():
        raise sa.exc.TimeoutError
    assert not isinstance(no_table.value, StoreRefused)


def test_several_collectors_can_start_on_an_empty_store_at_once(postgres_url: str) -> None:
    stores = [Store(_fresh(postgres_url))]
    stores += [Store(stores[0].url.render_as_string(hide_password=False)) for _ in range(2)]
    _at_once(*(lambda store=store: migrate(store) for store in stores))
    with stores[0].read() as connection:
        assert version(connection) == NEWEST
    for store in stores:
        store.close()


def test_counters_add_up(world: World) -> None:
    for _ in range(2):
        with world.store.write() as connection:
            world.store.add_to_counters(connection, {"reconciled": 2, "nothing": 0})
    with world.store.read() as connection:
        assert {row.name: row[1] for row in connection.execute(sa.select(tally))} == {"reconciled": 4}


def test_a_failed_transaction_changes_nothing(world: World) -> None:
    before = everything(world.store)
    with pytest.raises(RuntimeError), world.store.write() as connection:
        _count_and_fail(world, connection)
    assert everything(world.store) == before


def _count_and_fail(world: World, connection: sa.Connection) -> None:
    world.store.add_to_counters(connection, {"x": 1})
    raise RuntimeError


def _at_once(*jobs: Callable[[], object]) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], object]) -> None:
        barrier.wait()
        try:
            job()
        except BaseException as error:  # noqa: BLE001 -- raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_collectors_that_decide_at_once_decide_each_rung_once(world: World) -> None:
    rules = [f"rule-{number}" for number in range(30)]
    apart = (world.verdict(Level.CRITICAL, rule=rule, age_s=61.0 * place) for place, rule in enumerate(rules))
    world.push(*apart, more=True)
    world.push()
    with world.store.write() as connection:
        connection.execute(sa.update(agent), {"backlog_until": 0.0})
    world.clock.advance(minutes=21)
    stores = [Store(world.url) for _ in range(4)]

    def decide(store: Store) -> None:
        while decide_due(Notifier(store, world.runtime.snapshot), world.clock.wall()):
            pass

    _at_once(*(lambda store=store: decide(store) for store in stores))
    with world.store.read() as connection:
        decided = connection.execute(
            sa.select(sa.func.count()).select_from(rung).where(rung.c.decided_at.is_not(None))
        ).scalar()
        people = sorted(connection.execute(sa.select(outbox.c.person)).scalars())
    assert decided == 90
    assert people == sorted(["day", "olga", "olga", "hao"] * 30)
    for store in stores:
        store.close()


def test_a_rung_is_decided_by_the_first_claim(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), more=True)
    (known,) = world.troubles()
    claims = []
    for who in ("clock", "person:olga"):
        with world.store.write() as connection:
            step = troubles.rungs_of(connection, [1])[1][0]
            claims.append(troubles.claim_rung(connection, known, step, world.clock.wall(), who))
    assert claims == [True, False]
    with world.store.read() as connection:
        assert troubles.rungs_of(connection, [1])[1][0].decided_by == "clock"


def test_collectors_that_deliver_at_once_send_each_message_once(world: World) -> None:
    apart = (world.verdict(Level.CRITICAL, rule=f"rule-{number}", age_s=61.0 * number) for number in range(20))
    world.push(*apart, more=True)
    with world.store.write() as connection:
        connection.execute(sa.update(agent), {"backlog_until": 0.0})
    while decide_due(world.runtime.notifier(), world.clock.wall()):
        pass
    _at_once(*([world.outbox.deliver] * 4))
    pages = [one.message.key for one in world.told if one.rung == "duty"]
    assert len(pages) == len(set(pages)) == 20


def test_a_backup_restores_everything_also_into_another_kind_of_store(
    world: World, tmp_path: Path, postgres_url: str
) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(12)
    file = tmp_path / "kept.zip"
    counts = backup(world.store, file, world.clock.wall())
    assert counts["incident"] == 1
    assert file.stat().st_mode & 0o777 == 0o600

    for url in (f"sqlite:///{tmp_path}/again.db", _fresh(postgres_url)):
        target = Store(url)
        restore(target, file)
        assert everything(target) == everything(world.store)
        with pytest.raises(Conflict, match="empty store"):
            restore(target, file)
        with target.write() as connection:  # the ids of new rows do not collide with restored ones
            row = dict(connection.execute(sa.select(outbox)).mappings().first() or {})
            del row["id"]
            connection.execute(sa.insert(outbox), {**row, "key": "new"})
        target.close()


def test_a_backup_is_readable_only_by_its_owner_and_has_no_token(world: World, tmp_path: Path) -> None:
    secret = mint(world.store, TokenKind.PERSON, "day", 0.0)
    (tmp_path / "kept.zip.part").write_text("of a backup that was killed")
    (tmp_path / "kept.zip.part").chmod(0o644)
    backup(world.store, tmp_path / "kept.zip", 0.0)
    assert [file.name for file in tmp_path.glob("kept*")] == ["kept.zip"]
    assert (tmp_path / "kept.zip").stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(tmp_path / "kept.zip") as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
    assert fingerprint(secret).encode() in text
    assert secret.encode() not in text
    with pytest.raises(WatchkeeperError, match="no backup was made"):
        backup(world.store, tmp_path / "no such folder" / "kept.zip", 0.0)


@pytest.mark.parametrize("spoil", ["a row less", "another schema", "another table", "a list", "a flipped bit"])
def test_a_damaged_backup_is_refused_and_leaves_the_store_empty(world: World, tmp_path: Path, spoil: str) -> None:
    world.push(world.verdict(Level.CRITICAL))
    backup(world.store, tmp_path / "good.zip", 0.0)
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(tmp_path / "good.zip") as good, zipfile.ZipFile(bad, "w") as out:
        for name in good.namelist():
            text = good.read(name)
            if spoil == "a row less" and name == "rung.jsonl":
                text = b"\n".join(text.splitlines()[1:])
            elif spoil == "another table" and name == "rung.jsonl":
                text = text.replace(b'"number"', b'"nummer"')
            elif spoil == "another schema" and name == "store.json":
                text = text.replace(f'"{NEWEST}"'.encode(), b'"0000"')
            elif spoil == "a list" and name == "store.json":
                text = b"[]"
            out.writestr(name, text)
        out.comment = bytes(72)
    content = bytearray(bad.read_bytes())
    if spoil == "a flipped bit":
        content[content.index(b"environment.temperature")] ^= 1
    content[-72:] = (
        f"sha256 {hashlib.sha256(content[:-72]).hexdigest()}\n".encode()
    )  # so that not only the seal is wrong
    bad.write_bytes(content)
    target = Store(f"sqlite:///{tmp_path}/again.db")
    migrate(target)
    with pytest.raises(BadBackup):
        restore(target, bad)
    assert not any(everything(target).values())
    target.close()


def test_the_ladder_continues_after_a_restore(world: World, tmp_path: Path) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(5)
    backup(world.store, tmp_path / "kept.zip", world.clock.wall())
    target = Store(f"sqlite:///{tmp_path}/again.db")
    restore(target, tmp_path / "kept.zip")
    world.store.close()
    world.store = target
    world.start()
    world.advance(6)
    assert world.pages() == [(0.0, "day", "duty"), (10.0, "olga", "owner")]


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_that_is_no_backup_is_refused_and_leaves_the_store_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.zip").write_bytes(content)
    store = Store(f"sqlite:///{tmp_path}/fresh.db")
    migrate(store)
    with pytest.raises(BadBackup, match=r"bad\.zip"):
        restore(store, tmp_path / "bad.zip")
    assert not any(everything(store).values())
    store.close()


def _fresh(postgres_url: str) -> str:
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS restored")
        connection.exec_driver_sql("CREATE DATABASE restored")
    server.dispose()
    return postgres_url.replace("/postgres?", "/restored?")
