"""Fixtures and settings of all tests: caches, skips (which CI forbids), and an empty store of each kind."""

import contextlib
import functools
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import hypothesis
import psycopg
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from watchkeeper import profiles
from watchkeeper.collector.store import engine

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

set_hypothesis_home_dir(ROOT / ".cache" / "hypothesis")
# The cores are shared: the duration of an example says nothing about the code.
hypothesis.settings.register_profile(
    "watchkeeper", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("watchkeeper")

_serial = itertools.count(1)


# ---- a skip is a failure if WATCHKEEPER_NO_SKIP is set (CI) ----


def _unskipped(report: Any) -> Any:
    """Turn a skip into a failure if WATCHKEEPER_NO_SKIP is set. An expected failure (xfail) is not changed."""
    if os.environ.get("WATCHKEEPER_NO_SKIP") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped although WATCHKEEPER_NO_SKIP is set: {report.nodeid}: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Handles skips in a test, a fixture or a mark."""
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """Handles skips of a whole module."""
    return _unskipped((yield))


# ---- a test that hangs fails (pytest-timeout) ----


class Hang(BaseException):
    """The time limit of a test, as an exception that nothing catches.

    pytest-timeout raises pytest's own failure. Hypothesis catches that, and would run the hanging example again and
    again to make it smaller, without a time limit.
    """


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(settings: Any) -> Generator[None, Any, Any]:
    """Raise Hang in place of what pytest-timeout raises. The stacks of all threads are printed as before."""
    done = yield
    theirs = signal.getsignal(signal.SIGALRM)
    if settings.method == "signal" and callable(theirs):

        def handler(number: int, frame: FrameType | None) -> None:
            try:
                theirs(number, frame)
            except pytest.fail.Exception as error:
                raise Hang(str(error)) from None

        signal.signal(signal.SIGALRM, handler)
    return done


# ---- parsing the shipped profiles, once ----


@pytest.fixture(scope="session", autouse=True)
def _profiles_are_parsed_once() -> Iterator[None]:
    """A hundred tests load the shipped profiles, in 0.1 s each. Parsing depends on the document alone, and what it gives
    cannot be changed."""
    with mock.patch.object(profiles, "bind_profile", functools.cache(profiles.bind_profile)):
        yield


# ---- a store: SQLite, and a private PostgreSQL ----


def _postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs, of the newest version. On Debian it is not on the PATH."""
    found = shutil.which("initdb")
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda home: float(home.parent.name), reverse=True)
    homes += [Path(found).parent] if found else []
    return next((home for home in homes if (home / "initdb").exists()), None)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a private PostgreSQL server on a Unix socket, deleted after the run. Skips if PostgreSQL is not installed."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL's initdb on PATH or in /usr/lib/postgresql (Debian: postgresql)")
    # The path of a socket must be short, and the server's user must be able to enter every folder above it.
    with tempfile.TemporaryDirectory(prefix="watchkeeper-pg-", dir="/tmp") as home, _postgres(programs, home):
        yield f"postgresql+psycopg://watchkeeper@/postgres?host={home}"


@contextlib.contextmanager
def _postgres(programs: Path, home: str) -> Iterator[None]:
    """Run a server in `home`. It does not wait for the disk: its data need not survive a crash."""
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(home, "postgres", "postgres")

    def run(command: str) -> None:
        done = subprocess.run(shlex.split(f"{programs}/{command}"), cwd="/", capture_output=True, text=True, **user)  # noqa: PLW1510 -- checked below, with the output in the error
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")

    lax = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    run(f"initdb -D {home}/data -U watchkeeper -A trust -E UTF8 --no-locale --no-sync")
    run(f"pg_ctl -D {home}/data -w -l {home}/log -o '-c listen_addresses= -k {home} {lax}' start")
    try:
        yield
    finally:
        run(f"pg_ctl -D {home}/data -w -m immediate stop")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store: the test runs once with SQLite and once with PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'collector.sqlite'}"
    made: str = request.getfixturevalue("postgres_database")
    return made


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database of the PostgreSQL server."""
    name = f"test_{next(_serial)}"
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        yield postgres_url.replace("/postgres?", f"/{name}?")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A story in which the event loop of an agent runs in the thread of the test, where the collector has none."""
    monkeypatch.setattr(engine, "_refuse_event_loop", lambda: None)
