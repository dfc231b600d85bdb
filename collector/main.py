"""Runs the real collector as a service: its web server, signals, systemd."""

import gc
import logging
import signal
import threading
import time
from types import FrameType

import uvicorn

from watchkeeper.collector.opening import open_secrets, open_watch
from watchkeeper.collector.process.configuration.reload import ConfigReloader
from watchkeeper.collector.process.health.health import REQUESTS, WRITE
from watchkeeper.collector.process.health.self_watch import SelfWatch
from watchkeeper.collector.running import RunningCollector
from watchkeeper.collector.site.settings import ConfigFile
from watchkeeper.collector.web.edge.limits import ConnectionLimits
from watchkeeper.collector.web.edge.places import PlaceLimits
from watchkeeper.collector.web.edge.server import Server, raise_file_limit
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.errors import StoreError, StoreRefused
from watchkeeper.model.sd_notify import notify, watchdog_s

log = logging.getLogger(__name__)
_STARTED_POLL_S = 0.05
_OPEN_EVERY_S, _EXTEND_US = 5.0, 60_000_000
_WATCHDOG_DEFAULT_S = 20.0
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2, because uvicorn's default list has only ciphers of TLS 1.0. TLS 1.3 has its own list."""


def run(config_file: ConfigFile) -> None:
    """Run until SIGTERM or SIGINT. Raises WatchkeeperError if the collector cannot start."""
    files = raise_file_limit()
    collector = _opened(config_file)
    config = collector.config
    server = _HttpServer(
        uvicorn.Config(
            collector.app, host=config.host, port=config.port, http=ConnectionLimits, ws="none", access_log=False,
            log_config=None, log_level="warning", lifespan="off", server_header=False, date_header=False,
            timeout_graceful_shutdown=3, backlog=2048,
            timeout_keep_alive=75,  # longer than the pauses of agents, or each push needs a new connection
            ssl_certfile=str(config_file.path(config.tls.certificate)) if config.tls else None,
            ssl_keyfile=str(config_file.path(config.tls.key)) if config.tls else None,
            ssl_ciphers=_CIPHERS,
        ),
        collector,
        PlaceLimits.within(files),
    )  # fmt: skip

    def reload(_signal: int, _frame: FrameType | None) -> None:
        collector.reloader.reload()

    signal.signal(signal.SIGHUP, reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops at these signals and then raises them again. Ignoring them lets `running` stop the threads.
        signal.signal(number, _ignore)
    done = threading.Event()
    with collector.running():
        watchdog = threading.Thread(target=_feed_watchdog, args=(collector, server, done), name="watchdog", daemon=True)
        watchdog.start()
        gc.collect()
        gc.freeze()  # later collections skip the objects made so far: walking them stops all threads for 50 ms
        try:
            server.run()
        finally:
            done.set()
            notify("STOPPING=1")


def _opened(config_file: ConfigFile) -> RunningCollector:
    """The collector, as soon as its store can be opened. Meanwhile its watch over itself runs: people are told, and the
    heartbeat fails. Raises WatchkeeperError where waiting does not help."""
    watch: SelfWatch | None = None
    while True:
        try:
            return RunningCollector(config_file, watch)
        except StoreError as error:
            if (
                isinstance(error, StoreRefused) or error.__cause__ is None
            ):  # not the database, but what is written of it
                raise
            log.error("the store cannot be opened: %s; this is tried every %g s", error, _OPEN_EVERY_S)  # noqa: TRY400 -- a sentence for the operator needs no traceback
            if watch is None:
                snapshot = ConfigReloader(config_file.path(config_file.config.site), config_file.config.own_name).read()
                watch = open_watch(config_file, open_secrets(config_file), SystemClock(), snapshot)
                watch.health.expect(WRITE)
                watch.start()
        notify(f"STATUS=waiting for the store\nEXTEND_TIMEOUT_USEC={_EXTEND_US}")
        time.sleep(_OPEN_EVERY_S)


class _HttpServer(Server):
    """The web server of a collector, which must show that it runs."""

    def __init__(self, config: uvicorn.Config, collector: RunningCollector, limits: PlaceLimits) -> None:
        super().__init__(config, collector.app.close, limits)
        self._collector = collector
        collector.watch.health.expect(REQUESTS)

    async def on_tick(self, counter: int) -> bool:
        """Show ten times a second that the event loop runs."""
        self._collector.watch.health.done(REQUESTS)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The collector is not ready any more."""
        self._collector.watch.health.stopping = True
        super().handle_exit(sig, frame)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing: uvicorn has already stopped serving."""


def _feed_watchdog(collector: RunningCollector, server: uvicorn.Server, done: threading.Event) -> None:
    """Report readiness to systemd; then feed its watchdog while every thread works."""
    while not server.started and not done.wait(_STARTED_POLL_S):
        pass
    if server.started:
        log.info("the collector serves at %s", collector.config.own_url)
        notify("READY=1")
    status = ""
    interval = (watchdog_s() or _WATCHDOG_DEFAULT_S) / 2
    while not done.wait(interval):
        if collector.alive():
            notify("WATCHDOG=1")
        before, status = status, "; ".join(map(str, collector.watch.health.lapses()))
        if status != before:
            notify(f"STATUS={status or 'working'}")
