"""A restore drill: the newest backup is restored into a temporary folder, and a collector that can send nothing starts on it and is
asked."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import sqlalchemy as sa
import uvicorn

from watchkeeper.channels.ports import Address, Channel, Message, Receipt
from watchkeeper.collector.running import RunningCollector
from watchkeeper.collector.site.settings import CollectorConfig, ConfigFile
from watchkeeper.collector.store.backups.kept import listed
from watchkeeper.collector.store.backups.plan import usable
from watchkeeper.collector.store.backups.restore import Identities
from watchkeeper.collector.store.backups.verify import examine, restored
from watchkeeper.collector.store.schema import trouble
from watchkeeper.model.errors import WatchkeeperError

_HEALTHY_S, _ASK_S, _ENDED_S = 30.0, 10.0, 15.0
_POLL_S = 0.1


class _Nowhere:
    """A channel that sends nothing."""

    def send(self, _message: Message) -> Receipt:
        return Receipt(delivered=False, detail="a restore drill sends nothing", permanent=True)


def _nowhere(_address: Address) -> Channel:
    return _Nowhere()


@dataclass(slots=True)
class _Steps:
    """The lines of the report, each with the time since the one before."""

    at: float

    def line(self, what: str, found: str) -> str:
        before, self.at = self.at, time.monotonic()
        return f"{what:<12} {self.at - before:6.1f} s   {found}"


def newest(config_file: ConfigFile, now: float) -> Path:
    """The newest good backup of the folder in collector.yml. Raises WatchkeeperError if there is none."""
    config = config_file.config.backup
    if config is None:
        raise WatchkeeperError("there is no `backup` in collector.yml; name a file: --file FILE")
    folder = config_file.path(config.folder)
    for one in listed(folder):
        if usable(one.taken_at, now) and one.good():
            return one.file
    raise WatchkeeperError(f"{folder}: there is no good backup in it; `watchkeeper collector backup` makes one")


def drill(config_file: ConfigFile, file: Path, identities: Identities, scratch: Path | None) -> Iterator[str]:
    """Do the drill, and yield its report line by line. Raises WatchkeeperError for the step that fails. The site's configuration is
    read where it is; nothing is written outside a new folder in `scratch`, which is deleted."""
    began = time.monotonic()
    steps = _Steps(began)
    yield f"restore drill with {file}"
    with restored(file, identities, scratch) as (backup, store, counts):
        folder = store.folder or Path()
        what = "decrypted and restored" if backup.encrypted else "restored"
        yield steps.line("restored", f"{what}: {sum(counts.values())} rows of {len(counts)} tables")
        verified = examine(file, backup, store, counts)
        yield steps.line("checked", "; ".join(verified.found))
        yield steps.line("opened", verified.last)
        with store.read() as connection:
            number = connection.execute(sa.select(sa.func.max(trouble.c.trouble))).scalar()
        yield from _asked(config_file, folder, number, steps)
    yield steps.line("removed", str(folder))
    yield f"passed in {time.monotonic() - began:.1f} s: nothing was sent, and nothing is left behind"


def _asked(config_file: ConfigFile, folder: Path, number: int | None, steps: _Steps) -> Iterator[str]:
    """Start a collector on the restored store in `folder`, and ask it for its health and for the last trouble."""
    with _serving(config_file.path(config_file.config.site), folder) as url:
        yield steps.line("started", f"a collector at {url}")
        yield steps.line("/healthz", _health(url))
        if number is not None:
            found = _get(f"{url}/api/v1/troubles/{number}").json()
            yield steps.line(
                "asked",
                f"trouble {found['trouble']}: {found['cause']['device']}, {found['cause']['title']}, {found['state']}",
            )
    yield steps.line("stopped", "the collector")


@contextlib.contextmanager
def _serving(site: Path, folder: Path) -> Iterator[str]:
    """A collector on the store in `folder`, on a free port of the loopback. Its channels send nothing, and it takes no replies: its
    settings are the defaults, not those of the site."""
    with socket.socket() as listener, contextlib.ExitStack() as cleanup:
        listener.bind(("127.0.0.1", 0))
        config = CollectorConfig(port=listener.getsockname()[1], site=str(site), reserve_bytes=0, name="restore-drill")
        collector = RunningCollector(ConfigFile(config, folder), opener=_nowhere)
        cleanup.enter_context(collector.running())
        server = uvicorn.Server(uvicorn.Config(collector.app, log_config=None, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="drill", daemon=True)
        cleanup.callback(thread.join, _ENDED_S)
        cleanup.callback(lambda: setattr(server, "should_exit", True))
        thread.start()
        yield config.own_url


def _health(url: str) -> str:
    """What the collector says of its health, once it says that it is well. Raises WatchkeeperError if it does not within half a
    minute."""
    answer, end = "no answer", time.monotonic() + _HEALTHY_S
    while time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            response = requests.get(f"{url}/healthz", timeout=_ASK_S)
            answer = f"{response.status_code} {response.text.strip()}"
            if response.ok:
                return answer
        time.sleep(_POLL_S)
    raise WatchkeeperError(f"the collector on the restored store is not well: {answer}")


def _get(url: str) -> requests.Response:
    try:
        response = requests.get(url, timeout=_ASK_S)
        response.raise_for_status()
    except requests.RequestException as error:
        raise WatchkeeperError(f"the collector on the restored store does not answer: {error}") from None
    return response
