"""Builds and runs the real collector. Only this module makes its clock, sockets, store and channels."""

import gc
import imaplib
import logging
import os
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import uvicorn
from apscheduler.schedulers.background import BackgroundScheduler

from watchkeeper.channels.mail_inbox import Mailbox
from watchkeeper.channels.open import open_channel
from watchkeeper.collector.access.links import Links, own_secret
from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.notify.outbox import Opener, Outbox
from watchkeeper.collector.notify.page_tests import write_weekly
from watchkeeper.collector.notify.preflight import unreachable, unusable_links
from watchkeeper.collector.process.own.agents import AgentsHeard
from watchkeeper.collector.process.own.disk import DiskSpace
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.process.own.twins import TwinAgents
from watchkeeper.collector.process.replies.mail import MailReplies
from watchkeeper.collector.process.replies.sms import SmsReplies
from watchkeeper.collector.process.replies.ways import ReplyTaker, WaysBack
from watchkeeper.collector.process.runtime import ConfigReloader, Runtime
from watchkeeper.collector.process.set_back import begin
from watchkeeper.collector.read.exposition import Metrics
from watchkeeper.collector.read.self_metrics import installed_version
from watchkeeper.collector.site.settings import ConfigFile, MailRepliesConfig
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.life.identity import beside
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.peers import CollectorIdentity, enter
from watchkeeper.collector.store.retention import delete_expired
from watchkeeper.collector.ticker import Ticker
from watchkeeper.collector.web.app import build_app
from watchkeeper.collector.web.edge.limits import ConnectionLimits
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock, SystemClock
from watchkeeper.model.sd_notify import notify, watchdog_s

log = logging.getLogger(__name__)
_STUCK_AFTER_S = 30.0
_SMS_EVERY_S, _MAIL_EVERY_S = 2.0, 10.0
_IMAP_WAIT_S = 10.0
_STARTED_POLL_S = 0.05
_WATCHDOG_DEFAULT_S = 20.0
_NAMED_STORE_PREFIX = "secret:"
_LINK_KEY_FILE = "links.key"
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2, because uvicorn's default list has only ciphers of TLS 1.0. TLS 1.3 has its own list."""


def open_secrets(config_file: ConfigFile) -> Secrets:
    """The collector's secrets. Raises SecretError."""
    return Secrets(config_file.path(config_file.config.secrets) if config_file.config.secrets else None)


def open_store(config_file: ConfigFile, secrets: Secrets) -> Store:
    """Open the store that collector.yml names, and upgrade its schema. Raises StoreError, SecretError."""
    written = config_file.config.store
    if written.startswith(_NAMED_STORE_PREFIX):
        store = Store(secrets.get(written.removeprefix(_NAMED_STORE_PREFIX)).reveal())
    else:
        file = config_file.path(written)
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        store = Store(f"sqlite:///{file}")
    migrate(store)
    return store


def open_links(config_file: ConfigFile, secrets: Secrets, store: Store, clock: Clock) -> Links | None:
    """What signs personal links: with the secret `link_key`, or with a secret that is made once beside an SQLite store. None
    for PostgreSQL without `link_key`. Raises SecretError."""
    name = config_file.config.link_key
    if name is not None:
        return Links(store, clock, secrets.get(name).reveal())
    return Links(store, clock, own_secret(store.folder / _LINK_KEY_FILE)) if store.folder else None


def open_channels(secrets: Secrets, clock: Clock) -> Opener:
    """The function that opens the channel for an address in contacts.yml."""
    return partial(open_channel, secrets=secrets, clock=clock, console=sys.stderr)


def open_mailbox(config: MailRepliesConfig, secrets: Secrets) -> Mailbox:
    """The mailbox to which persons answer, by IMAP over TLS. Raises SecretError."""
    trust = ssl.create_default_context()
    connect = partial(imaplib.IMAP4_SSL, config.host, config.port, ssl_context=trust, timeout=_IMAP_WAIT_S)
    return Mailbox(connect, config.user, secrets.get(config.secret), config.folder)


class RunningCollector:
    """All parts of the collector, connected to each other. Raises ConfigError, SecretError, StoreError."""

    def __init__(self, config_file: ConfigFile) -> None:
        for deprecated in config_file.deprecated:
            log.warning("%s", deprecated)
        self.config = config = config_file.config
        self.clock = SystemClock()
        self.reloader = ConfigReloader(config_file.path(config.site))
        snapshot = self.reloader.read()
        secrets = open_secrets(config_file)
        self.store = open_store(config_file, secrets)
        links = open_links(config_file, secrets, self.store, self.clock)
        ways = WaysBack(secrets, sms=config.sms_replies, mail=config.mail_replies is not None and links is not None)
        files = beside(self.store)
        files.write_mark(begin(self.store, files, self.clock.wall()))
        identity = CollectorIdentity(config.own_name)
        enter(self.store, identity, installed_version(), self.clock.wall())
        self.runtime = Runtime(self.store, self.clock, snapshot, config.page_url, links, ways, identity)
        self.runtime.activate(snapshot)
        opener = open_channels(secrets, self.clock)
        for problem in unreachable(snapshot.configuration.contacts.people, opener):
            log.warning("contacts.yml: %s", problem)
        for problem in unusable_links(
            config.page_url, snapshot.configuration.contacts.people, signed=links is not None
        ):
            log.warning("collector.yml: %s", problem)
        self.outbox = Outbox(self.runtime, opener, self.runtime.robots)
        disk = DiskSpace(self.store, config.reserve_bytes)
        own_rules = OwnRules(
            self.runtime, (disk, AgentsHeard(self.store, deaf=lambda: disk.full), TwinAgents(self.store))
        )
        requests = Requests(self.store, self.clock)
        self.ticker = Ticker(self.runtime, self.reloader, own_rules, requests, self.outbox)
        self.replies = self._reply_takers(secrets)
        self.journal = Journal(self.store, self.runtime, self.clock, self.ticker.wake)
        self.ingest = AgentEndpoint(self.runtime, self.journal, requests, lambda: disk.full)
        metrics = Metrics(self.runtime, self.journal, self.ingest)
        self.app = build_app(
            self.runtime, self.ingest, metrics, config.names, open_reading=config.loopback, key_of=secrets.get
        )

    def _reply_takers(self, secrets: Secrets) -> list[ReplyTaker]:
        """What takes the replies of persons, where collector.yml allows them."""
        takers = []
        if self.config.sms_replies:
            take = SmsReplies(self.runtime).take
            takers.append(ReplyTaker("SMS replies", take, _SMS_EVERY_S, self.outbox.wake, self.clock))
        if self.config.mail_replies:
            take = MailReplies(self.runtime, open_mailbox(self.config.mail_replies, secrets)).take
            takers.append(ReplyTaker("mail replies", take, _MAIL_EVERY_S, self.outbox.wake, self.clock))
        return takers

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all threads; at the end stop them in the order of the data flow."""
        hourly = BackgroundScheduler(timezone="UTC")
        for task in (self._delete_expired, self._test_channels):
            hourly.add_job(task, "interval", hours=1, jitter=300, coalesce=True, max_instances=1)
        self.journal.start()
        self.outbox.start()
        self.ticker.start()
        for one in self.replies:
            one.start()
        hourly.start()
        try:
            yield
        finally:
            hourly.shutdown(wait=False)
            for one in self.replies:
                one.stop()
            self.journal.stop()
            self.ticker.stop()
            self.outbox.stop()
            self.store.close()

    def alive(self) -> bool:
        """Whether every thread has shown within the last 30 seconds that it works."""
        if self.store.file.lost:  # under systemd, the watchdog restarts it on what is there now
            return False
        workers = [self.journal.worker, self.ticker.worker, self.outbox.worker, *(one.worker for one in self.replies)]
        beats = [worker.beat_at for worker in workers]
        return self.clock.boot() - min(beats) < _STUCK_AFTER_S

    def _test_channels(self) -> None:
        try:
            write_weekly(self.runtime.notifier(), self.clock.wall())
        except Exception:
            log.exception("the weekly tests of the channels could not be written; this is tried again within the hour")

    def _delete_expired(self) -> None:
        try:
            delete_expired(self.store, self.clock.wall(), self.config.history_s)
        except Exception:
            log.exception("expired rows could not be deleted; this is tried again within the hour")


def run(config_file: ConfigFile) -> None:
    """Run until SIGTERM or SIGINT. Raises WatchkeeperError if the collector cannot start."""
    collector = RunningCollector(config_file)
    config = collector.config
    server = _Server(
        uvicorn.Config(
            collector.app, host=config.host, port=config.port, http=ConnectionLimits, ws="none", access_log=False,
            log_config=None, log_level="warning", lifespan="off", server_header=False, date_header=False,
            timeout_graceful_shutdown=3, backlog=2048,
            timeout_keep_alive=75,  # longer than the pauses of agents, or each push needs a new connection
            ssl_certfile=str(config_file.path(config.tls.certificate)) if config.tls else None,
            ssl_keyfile=str(config_file.path(config.tls.key)) if config.tls else None,
            ssl_ciphers=_CIPHERS,
        ),
        collector.app.close,
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


class _Server(uvicorn.Server):
    """Calls `ending` when it must stop, which ends the connections of waiting pages at once."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End waiting pages, then stop as uvicorn does."""
        self._ending()
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
    interval = (watchdog_s() or _WATCHDOG_DEFAULT_S) / 2
    while not done.wait(interval):
        if collector.alive():
            notify("WATCHDOG=1")
