"""Databases that are half dead: silent, slow, read-only, without a right or a table, restarted, locked, full."""

import contextlib
import os
import shlex
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from tests.chaos import cut_pair
from tests.chaos.half_dead import HalfDead, execute, on_postgres, on_sqlite
from tests.chaos.outcome import Attack, Outcome
from tests.conftest import _postgres_programs

Mend = Callable[[], object]
_TABLES = ("journal", "lane", "agent", "incident", "trouble", "rung", "outbox", "transition", "receipt")


def _end_silence(it: HalfDead) -> Mend:
    """The cable is put back, or a firewall has forgotten the connections, or it ends them."""
    return it.chance.choice((it.proxy.resume, it.proxy.lose, lambda: (it.proxy.reset(), it.proxy.resume())))


def _cut_in_transaction(it: HalfDead) -> Mend:
    commit, commits = it.chance.randint(1, 5), []

    def cut(_connection: sa.Connection) -> None:
        commits.append(1)
        if len(commits) == commit:
            it.proxy.silence()

    engine = it.worlds[0].store.engine
    sa.event.listen(engine, "commit", cut)
    mend = _end_silence(it)
    return lambda: (sa.event.remove(engine, "commit", cut), mend())


def _cut_idle(it: HalfDead) -> Mend:
    up, down = it.chance.choice(((True, True), (True, False), (False, True)))
    it.proxy.silence(up=up, down=down)
    return _end_silence(it)


def _slow(it: HalfDead) -> Mend:
    it.proxy.delay_s = it.chance.uniform(0.001, 0.02)

    def mend() -> None:
        it.proxy.delay_s = 0.0

    return mend


def _read_only(it: HalfDead) -> Mend:
    def turn(state: str) -> None:
        execute(it.home, f"ALTER SYSTEM SET default_transaction_read_only = {state}")
        execute(it.home, "SELECT pg_reload_conf()")

    turn("on")
    return lambda: turn("off")


def _rights(it: HalfDead) -> Mend:
    table = it.chance.choice((*_TABLES, "token"))
    right = it.chance.choice(("SELECT", "INSERT", "UPDATE", "ALL"))
    execute(it.home, f"REVOKE {right} ON {table} FROM app")
    return lambda: execute(it.home, f"GRANT ALL ON {table} TO app")


def _schema(it: HalfDead) -> Mend:
    table = it.chance.choice(_TABLES)
    there, back = it.chance.choice(
        (
            (f"ALTER TABLE {table} RENAME TO gone", f"ALTER TABLE gone RENAME TO {table}"),
            ("ALTER SCHEMA public RENAME TO gone", "ALTER SCHEMA gone RENAME TO public"),
            ("ALTER TABLE incident RENAME state TO gone", "ALTER TABLE incident RENAME gone TO state"),
            ("ALTER TABLE journal ADD more int NOT NULL", "ALTER TABLE journal DROP IF EXISTS more"),
        )
    )
    execute(it.home, there)
    return lambda: execute(it.home, back)


def _restart(it: HalfDead) -> Mend:
    mode = it.chance.choice(("fast", "immediate"))

    def control(what: str) -> None:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        command = shlex.split(f"{_postgres_programs()}/pg_ctl -D {it.home}/data -w -l {it.home}/log {what}")
        subprocess.run(command, cwd="/", check=True, capture_output=True, **user)  # type: ignore[call-overload]

    control(f"-m {mode} stop")
    options = f"-c listen_addresses= -k {it.home} -c fsync=off -c full_page_writes=off"
    return lambda: control(f"-o '{options}' start")


def _locked(it: HalfDead) -> Mend:
    other = sqlite3.connect(it.worlds[0].url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)
    other.execute(it.chance.choice(("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE")))
    return lambda: (other.execute("ROLLBACK"), other.close())


def _full(it: HalfDead) -> Mend:
    """Take all free space of the small disk."""
    rest = Path(it.worlds[0].url.removeprefix("sqlite:///")).with_name("rest")
    with rest.open("wb", buffering=0) as out:
        for size in (65_536, 4_096, 512):
            with contextlib.suppress(OSError):
                while out.write(b"\0" * size) == size:
                    pass
    return rest.unlink


def _attack_postgres(harm: Callable[[HalfDead], Mend]) -> Callable[[int, int, Path], Outcome]:
    def run(rounds: int, seed: int, _folder: Path) -> Outcome:
        with on_postgres(seed) as it:
            for _ in range(rounds):
                it.run(harm)
            return it.outcome()

    return run


def _lock_sqlite(rounds: int, seed: int, folder: Path) -> Outcome:
    with on_sqlite(folder, seed) as it:
        for _ in range(rounds):
            it.run(_locked)
        return it.outcome()


def _fill_disk(rounds: int, seed: int, folder: Path) -> Outcome:
    with _small_disk(folder) as disk, on_sqlite(disk, seed) as it:
        for _ in range(rounds):
            it.run(_full)
        return it.outcome()


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 40 MB in memory: more than the log of SQLite takes. Raises PermissionError where this user may make none."""
    if os.geteuid() != 0:
        raise PermissionError("the attack mounts a small disk; run it as root")
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


_INIT = ("initdb",)
ATTACKS = (
    Attack("database-cut-in-transaction", "A collector is cut off from PostgreSQL before a commit; another one shares the store",
           _attack_postgres(_cut_in_transaction), needs=_INIT),
    Attack("database-cut-idle", "A collector is cut off from PostgreSQL between two transactions, in one direction or both",
           _attack_postgres(_cut_idle), needs=_INIT),
    Attack("database-slow", "Every answer of PostgreSQL is late", _attack_postgres(_slow), needs=_INIT),
    Attack("database-read-only", "PostgreSQL becomes read-only", _attack_postgres(_read_only), needs=_INIT),
    Attack("database-rights", "A right on a table is revoked", _attack_postgres(_rights), needs=_INIT),
    Attack("database-schema", "A table, a column or the schema is renamed, or a column is added", _attack_postgres(_schema), needs=_INIT),
    Attack("database-restart", "PostgreSQL is stopped, by `fast` or `immediate`, and started again", _attack_postgres(_restart), needs=_INIT),
    Attack("database-locked", "Another process holds the lock of the SQLite file", _lock_sqlite),
    Attack("database-disk-full", "The disk of the SQLite file is full", _fill_disk, needs=("mount",)),
    Attack("database-cut-processes", "One of two collector processes is cut off from PostgreSQL in a transaction; "
           "all 12 agents must be served by the other one within 15 s", cut_pair.attack, ci_rounds=2, needs=_INIT),
)  # fmt: skip
