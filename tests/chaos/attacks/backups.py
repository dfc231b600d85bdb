"""Backups that are killed, damaged, or written to a full disk."""

import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyrage
import sqlalchemy as sa

from tests.chaos.outcome import Attack, Outcome
from watchkeeper.collector.site.settings import BackupConfig
from watchkeeper.collector.store.backups.archive import BadBackup
from watchkeeper.collector.store.backups.folder import back_up
from watchkeeper.collector.store.backups.kept import Kept, listed
from watchkeeper.collector.store.backups.verify import verify
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import journal

ROOT = Path(__file__).resolve().parents[3]
KEY = pyrage.x25519.Identity.generate()
POINTS = (
    "collector.backup.rows:1",
    "collector.backup.rows:3",
    "collector.backup.written",
    "collector.backup.named",
    "random",
)
DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    lambda content, chance: content.__delitem__(slice(chance.randrange(len(content)), None)),
    lambda content, chance: content.__setitem__(
        at := chance.randrange(len(content)), content[at] ^ (1 << chance.randrange(8))
    ),
)


@contextmanager
def _site(folder: Path, rows: int, *, encrypted: bool = True) -> Iterator[tuple[Store, BackupConfig]]:
    """A collector.yml with scheduled backups, and its store with some megabytes that cannot be compressed."""
    keys = (str(KEY.to_public()),) if encrypted else ()
    settings = f"backup: {{folder: kept, encrypt_to: [{', '.join(keys)}]}}\n"
    (folder / "collector.yml").write_text(f"store: its.db\nreserve: 1 MB\n{settings}", encoding="utf-8")
    store = Store(f"sqlite:///{folder / 'its.db'}")
    migrate(store)
    body = [{"agent": "a", "received_at": 1.0, "after_seq": 0, "body": os.urandom(2_000)} for _ in range(rows)]
    with store.write() as connection:
        connection.execute(sa.insert(journal), body)
    try:
        yield store, BackupConfig(str(folder / "kept"), encrypt_to=keys)
    finally:
        store.close()


def _command(folder: Path, *words: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "watchkeeper",
        "collector",
        "backup",
        *words,
        "--config",
        str(folder / "collector.yml"),
    ]


# ---- killed ----


def _killed(rounds: int, seed: int, folder: Path) -> Outcome:
    """Before and after each kill all files in the folder are good; nothing that was there is gone; the next one is made."""
    chance, lost, hidden, ended = random.Random(seed), 0, 0, 0  # noqa: S311 -- must be repeatable
    with _site(folder, 3_500) as (store, config):
        back_up(store, folder / "kept", time.time(), config, 0)
        for _ in range(rounds):
            before = {one.file for one in listed(folder / "kept")}
            ended += _kill_one(folder, chance)
            after = listed(folder / "kept")
            lost += len(before - {one.file for one in after})
            hidden += sum(not one.good() for one in after)
        made, _ = back_up(store, folder / "kept", time.time(), config, 0)
        lost += verify(made.file, [KEY], folder).counts["journal"] != 3_500
    left = (
        {one.name for one in (folder / "kept").iterdir()}
        - {one.file.name for one in listed(folder / "kept")}
        - {".lock"}
    )
    note = f"{rounds - ended} killed, {ended} were done before; {len(listed(folder / 'kept'))} backups, all good"
    return Outcome(rounds, rounds if not (lost or hidden or left) else 0, lost, hidden=hidden + len(left), note=note)


def _kill_one(folder: Path, chance: random.Random) -> bool:
    """Start a backup and kill it. Returns whether it was done before."""
    point = chance.choice(POINTS)
    environ = dict(os.environ) if point == "random" else {**os.environ, "WATCHKEEPER_KILL_AT": point}
    process = subprocess.Popen(
        _command(folder), cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if point == "random":
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.4, 1.4))
        process.kill()
    return process.wait(60) == 0


# ---- damaged ----


def _damaged(rounds: int, seed: int, folder: Path) -> Outcome:
    """Each truncation and each flipped bit is found by `verify`, and by the name of the file, without a key."""
    chance, hidden, found = random.Random(seed), 0, 0  # noqa: S311 -- must be repeatable
    for encrypted in (False, True):
        (place := folder / f"encrypted-{encrypted}").mkdir()
        with _site(place, 20, encrypted=encrypted) as (store, config):
            kept, _ = back_up(store, place / "kept", time.time(), config, 0)
        whole = kept.file.read_bytes()
        verify(kept.file, [KEY], place)
        for _ in range(rounds):
            for damage in DAMAGES:
                content = bytearray(whole)
                damage(content, chance)
                kept.file.write_bytes(content)
                hidden += not _is_found(kept, place)
                found += 1
    return Outcome(
        rounds, rounds if not hidden else 0, hidden=hidden, note=f"{found} damaged files, plain and encrypted"
    )


def _is_found(kept: Kept, scratch: Path) -> bool:
    try:
        verify(kept.file, [KEY], scratch)
    except BadBackup:
        return not kept.good()
    return False


# ---- on a full disk ----


def _full(rounds: int, seed: int, folder: Path) -> Outcome:
    """A backup onto a small file system of its own says that there is no space, and leaves what was there."""
    chance, lost, hidden = random.Random(seed), 0, 0  # noqa: S311 -- must be repeatable
    with _site(folder, 800) as (store, config):
        small, _ = back_up(store, folder / "kept", time.time(), config, 0)
    size_kb = small.file.stat().st_size // 1024
    (disk := folder / "disk").mkdir()
    for _ in range(rounds):
        kb = chance.randrange(4, size_kb - 4) & ~3
        out = shlex.join(_command(folder, str(disk / "out.age")))
        script = (
            f"mount -t tmpfs -o size={kb + 4}k tmpfs {shlex.quote(str(disk))} && cd {shlex.quote(str(ROOT))} && "
            f"echo old > {shlex.quote(str(disk / 'old'))} && {{ {out}; echo $?; ls {shlex.quote(str(disk))}; }}"
        )
        done = subprocess.run(
            ["unshare", "--mount", "--map-root-user", "sh", "-c", script], capture_output=True, text=True, check=False
        )
        lost += done.stdout.split() != ["1", "old"]
        hidden += "No space left on device; no backup was made" not in done.stderr
    return Outcome(rounds, rounds if not (lost or hidden) else 0, lost, hidden=hidden, note="a tmpfs that is too small")


ATTACKS = (
    Attack("backup-killed", "A scheduled backup is killed at its commit points or at random", _killed),
    Attack("backup-damaged", "A backup, plain and encrypted, is truncated or has a bit flipped", _damaged),
    Attack(
        "backup-disk-full", "A backup is written to a disk that becomes full", _full, ci_rounds=10, needs=("unshare",)
    ),
)
