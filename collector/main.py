"""Builds the real collector: clocks, sockets, store, channels; nobody else does."""

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import uvicorn
from apscheduler.schedulers.background import BackgroundScheduler

from watchkeeper.channels.open import open_channel
from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.notify.outbox import Opener, Outbox
from watchkeeper.collector.notify.preflight import unreachable
from watchkeeper.collector.process.own_rules import Judge
from watchkeeper.collector.process.runtime import ConfigReloader, Runtime
from watchkeeper.collector.read.exposition import Metrics
from watchkeeper.collector.site.settings import ConfigFile
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.retention import forget_old
from watchkeeper.collector.ticker import Ticker
from watchkeeper.collector.web.app import build_app
from watchkeeper.collector.web.edge.limits import ConnectionLimits
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock, SystemClock
from watchkeeper.model.sd_notify import notify, watchdog_s

log = logging.getLogger(__name__)
_STUCK_S = 30.0
_BY_NAME = "secret:"
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # for TLS 1.2; uvicorn's own list has only what 1.0 had, and 1.3 keeps its own


def open_secrets(place: ConfigFile) -> Secrets:
    """The collector's secrets. Raises SecretError."""
    return Secrets(place.path(place.config.secrets) if place.config.secrets else None)


def open_store(place: ConfigFile, secrets: Secrets) -> Store:
    """The store that collector.yml names, brought to the newest schema. Raises StoreError, SecretError."""
    written = place.config.store
    if written.startswith(_BY_NAME):
        store = Store(secrets.get(written.removeprefix(_BY_NAME)).reveal())
    else:
        file = place.path(written)
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        store = Store(f"sqlite:///{file}")
    migrate(store)
    return store


def open_channels(secrets: Secrets, clock: Clock) -> Opener:
    """What makes a channel of an address in contacts.yml."""
    return partial(open_channel, secrets=secrets, clock=clock, console=sys.stderr)


class Collector:
    """Everything that runs, wired up once."""

    def __init__(self, place: ConfigFile) -> None:
        self.place = place
        for deprecated in place.deprecated:
            log.warning("%s", deprecated)
        config = place.config
        self.clock = SystemClock()
        reloader = ConfigReloader(place.path(config.site))
        snapshot = reloader.read()
        secrets = open_secrets(place)
        self.store = open_store(place, secrets)
        self.runtime = Runtime(self.store, self.clock, snapshot, config.url)
        self.runtime.adopt(snapshot)
        opener = open_channels(secrets, self.clock)
        for sentence in unreachable(snapshot.configuration.contacts.people, opener):
            log.warning("contacts.yml: %s", sentence)
        self.outbox = Outbox(self.runtime, opener)
        judge = Judge(self.runtime, config.reserve_bytes)
        requests = Requests(self.store)
        self.ticker = Ticker(self.runtime, reloader, judge, requests, self.outbox)
        self.journal = Journal(self.store, self.runtime, self.clock, self.ticker.wake)
        self.ingest = AgentEndpoint(self.runtime, self.journal, requests, lambda: judge.full)
        metrics = Metrics(self.runtime, self.journal, self.ingest)
        self.app = build_app(self.runtime, self.ingest, metrics, config.names, open_reading=config.loopback)
        self.reloader = reloader

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start every thread, and end them all in the order the data flows."""
        retention = BackgroundScheduler(timezone="UTC")
        tidy = partial(self._tidy, self.place.config.history_s)
        retention.add_job(tidy, "interval", hours=1, jitter=300, coalesce=True, max_instances=1)
        self.journal.start()
        self.outbox.start()
        self.ticker.start()
        retention.start()
        try:
            yield
        finally:
            retention.shutdown(wait=False)
            self.journal.stop()
            self.ticker.stop()
            self.outbox.stop()
            self.store.close()

    def alive(self) -> bool:
        """Whether every thread has turned lately."""
        beats = [part.worker.beat_at for part in (self.journal, self.ticker, self.outbox)]
        return self.clock.boot() - min(beats) < _STUCK_S

    def _tidy(self, history_s: float) -> None:
        try:
            forget_old(self.store, self.clock.wall(), history_s)
        except Exception:
            log.exception("old readings could not be deleted; tried again within the hour")


def run(place: ConfigFile) -> None:
    """Run until SIGTERM or SIGINT. Raises WatchkeeperError where it cannot start."""
    collector = Collector(place)
    config = place.config
    server = _Server(
        uvicorn.Config(
            collector.app, host=config.host, port=config.port, http=ConnectionLimits, ws="none", access_log=False,
            log_config=None, log_level="warning", lifespan="off", server_header=False, date_header=False,
            timeout_graceful_shutdown=3, backlog=2048,
            timeout_keep_alive=75,  # longer than agents pause, or each push would begin with a new connection
            ssl_certfile=str(place.path(config.tls.certificate)) if config.tls else None,
            ssl_keyfile=str(place.path(config.tls.key)) if config.tls else None,
            ssl_ciphers=_CIPHERS,
        ),
        collector.app.close,
    )  # fmt: skip

    def reload(_signal: int, _frame: FrameType | None) -> None:
        collector.reloader.again()

    signal.signal(signal.SIGHUP, reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn ends at its own, then raises it again: by then everything is to be put away.
        signal.signal(number, _end)
    done = threading.Event()
    with collector.running():
        heart = threading.Thread(target=_beat, args=(collector, server, done), name="heart", daemon=True)
        heart.start()
        gc.collect()
        gc.freeze()  # what stands now stays: no later collection walks it, and holds everybody up for 50 ms
        try:
            server.run()
        finally:
            done.set()
            notify("STOPPING=1")


class _Server(uvicorn.Server):
    """Lets pages that wait for news go (`ending`) at once when the end is asked for."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See uvicorn.Server."""
        self._ending()
        super().handle_exit(sig, frame)


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Leave the ending to uvicorn, which has stopped serving when this is called."""


def _beat(collector: Collector, server: uvicorn.Server, done: threading.Event) -> None:
    """Tell systemd that we serve, and go on saying so while every thread turns."""
    while not server.started and not done.wait(0.05):
        pass
    if server.started:
        log.info("the collector serves at %s", collector.place.config.url)
        notify("READY=1")
    interval = (watchdog_s() or 20.0) / 2
    while not done.wait(interval):
        if collector.alive():
            notify("WATCHDOG=1")
