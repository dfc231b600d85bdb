"""The running collector: all its parts, connected to each other, and their threads."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from apscheduler.schedulers.background import BackgroundScheduler

from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.intake.shares import Shares
from watchkeeper.collector.notify.outbox import Opener, Outbox
from watchkeeper.collector.notify.page_tests import write_weekly
from watchkeeper.collector.notify.preflight import unreachable, unusable_links
from watchkeeper.collector.opening import open_channels, open_links, open_mailbox, open_secrets, open_store, open_watch
from watchkeeper.collector.process.configuration.finding import FolderInForce
from watchkeeper.collector.process.configuration.reload import ConfigReloader
from watchkeeper.collector.process.guarded_clock import GuardedClock, state_of
from watchkeeper.collector.process.health.health import JOURNAL, OUTBOX, REQUESTS, TURN, WRITE
from watchkeeper.collector.process.health.self_watch import SelfWatch
from watchkeeper.collector.process.own.backups import BackupAge
from watchkeeper.collector.process.own.clock import ClockTrust
from watchkeeper.collector.process.own.disk import DiskSpace
from watchkeeper.collector.process.own.of_agents.heard import AgentsHeard
from watchkeeper.collector.process.own.of_agents.limits import LimitsKept
from watchkeeper.collector.process.own.of_agents.pushes import PushesSetAside
from watchkeeper.collector.process.own.of_agents.twins import TwinAgents
from watchkeeper.collector.process.own.outside import HeartbeatTaken, RefusalsCounted
from watchkeeper.collector.process.own.peers import PeersHeard
from watchkeeper.collector.process.own.ports import OwnSource
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.process.replies.mail import MailReplies
from watchkeeper.collector.process.replies.sms import SmsReplies
from watchkeeper.collector.process.replies.ways import ReplyTaker, WaysBack
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.process.upkeep.backups import Backups, by_process
from watchkeeper.collector.process.upkeep.held_locks import HeldLocks
from watchkeeper.collector.process.upkeep.set_back import begin
from watchkeeper.collector.read.exposition import Metrics
from watchkeeper.collector.read.self_metrics import installed_version
from watchkeeper.collector.site.settings import ConfigFile
from watchkeeper.collector.store.life.identity import beside
from watchkeeper.collector.store.peers import CollectorIdentity, enter, leave
from watchkeeper.collector.store.retention import delete_expired
from watchkeeper.collector.ticker import Ticker
from watchkeeper.collector.web.app import build_app
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import SystemClock, boot_id
from watchkeeper.model.errors import StoreError

log = logging.getLogger(__name__)
_STUCK_AFTER_S = 30.0
_SMS_EVERY_S, _MAIL_EVERY_S = 2.0, 10.0


class _Service(Protocol):
    """A part with threads of its own."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class RunningCollector:
    """All parts of the collector, connected to each other. `watch` is that of an earlier try; `opener` opens the channels, in
    place of the real ones. Raises ConfigError, SecretError, StoreError."""

    def __init__(self, config_file: ConfigFile, watch: SelfWatch | None = None, opener: Opener | None = None) -> None:
        for deprecated in config_file.deprecated:
            log.warning("%s", deprecated)
        self.config = config = config_file.config
        secrets = open_secrets(config_file)
        self.store = open_store(config_file, secrets)
        self.clock = GuardedClock(self.store, SystemClock(), boot_id(), config.own_name)
        self.reloader = ConfigReloader(config_file.path(config.site), config.own_name)
        opener = opener or open_channels(secrets, self.clock)
        self.runtime = self._open_runtime(config_file, secrets, watch, opener)
        self._warn(opener)
        self.backups = self._backups(config_file)
        self.outbox = Outbox(self.runtime, opener, self.runtime.robots, config.own_name)
        disk, shares = DiskSpace(self.store, config.reserve_bytes), Shares(self.clock)
        requests = Requests(self.store, self.clock)
        own_rules = OwnRules(self.runtime, self._own_sources(disk, shares))
        self.ticker = Ticker(self.runtime, self.reloader, own_rules, requests, self.outbox)
        self.replies = self._reply_takers(secrets)
        self.journal = Journal(self.store, self.runtime, self.clock, self.ticker.wake)
        self.ingest = AgentEndpoint(self.runtime, self.journal, requests, lambda: disk.full, lambda: disk.short, shares)
        metrics = Metrics(self.runtime, self.journal, self.ingest, self.backups)
        self.app = build_app(
            self.runtime, self.ingest, metrics, config.names, open_reading=config.loopback, key_of=secrets.get
        )

    def _open_runtime(
        self, config_file: ConfigFile, secrets: Secrets, watch: SelfWatch | None, opener: Opener
    ) -> Runtime:
        """What every part shares, under the configuration in force; and the watch of the collector over itself."""
        config, identity = self.config, CollectorIdentity(self.config.own_name)
        links = open_links(config_file, secrets, self.store, self.clock)
        ways = WaysBack(secrets, sms=config.sms_replies, mail=config.mail_replies is not None and links is not None)
        snapshot = self.reloader.choose(self.store, self.clock.wall())
        files = beside(self.store)
        files.write_mark(begin(self.store, files, self.clock.wall()))
        enter(self.store, identity, installed_version(), self.clock.wall())
        self.watch = watch or open_watch(config_file, secrets, self.clock, snapshot, opener)
        runtime = Runtime(self.store, self.clock, snapshot, config.page_url, links, ways, identity, self.watch.health)
        runtime.heartbeat = self.watch.heartbeat
        self.reloader.begin(runtime)
        return runtime

    def _warn(self, opener: Opener) -> None:
        """Log the channels and links that cannot work."""
        people = self.runtime.snapshot.configuration.contacts.people
        for problem in unreachable(people, opener):
            log.warning("contacts.yml: %s", problem)
        for problem in unusable_links(self.config.page_url, people, signed=self.runtime.links is not None):
            log.warning("collector.yml: %s", problem)

    def _backups(self, config_file: ConfigFile) -> Backups | None:
        """What makes the scheduled backups, where collector.yml asks for them: the command `backup`, as a process of its own."""
        config = self.config.backup
        if config is None:
            return None
        command = [sys.executable, "-m", "watchkeeper", "collector", "backup"]
        make = by_process([*command, "--config", str(config_file.path(config_file.file_name))], config.every_s)
        return Backups(
            config, config_file.path(config.folder), self.clock,
            lambda: self.runtime.snapshot.configuration.inventory.site.timezone, make,
            lambda: state_of(self.clock).doubt is not None,
        )  # fmt: skip

    def _own_sources(self, disk: DiskSpace, shares: Shares) -> list[OwnSource]:
        """What the collector observes itself."""
        runtime, name = self.runtime, self.runtime.identity.name
        peers, emergency = PeersHeard(self.store, name), self.watch.emergency
        emergency.snapshot, emergency.peers = (lambda: runtime.snapshot), (lambda: peers.working)
        return [
            disk,
            AgentsHeard(self.store, deaf=lambda: disk.full),
            LimitsKept(self.store, shares.exceeded),
            PushesSetAside(self.store),
            TwinAgents(self.store),
            ClockTrust(self.clock, name),
            FolderInForce(runtime),
            peers,
            RefusalsCounted(runtime.refusals, name),
            *([HeartbeatTaken(self.watch.heartbeat, name)] if self.watch.heartbeat else []),
            *([BackupAge(name, self.backups.state)] if self.backups else []),
        ]

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
        aside: list[_Service] = [*self.replies, HeldLocks(self.store, self.clock)]
        if self.backups:
            aside.append(self.backups)
        flow: list[_Service] = [self.journal, self.ticker, self.outbox]
        for one in (self.clock, *flow, *aside):
            one.start()
        self._expect_work()
        self.watch.start()
        hourly.start()
        try:
            yield
        finally:
            self.watch.stop()
            hourly.shutdown(wait=False)
            for one in (*reversed(aside), *flow):
                one.stop()
            self._leave()
            self.clock.stop()
            self.store.close()

    def _expect_work(self) -> None:
        """From now on the collector is well only while each kind of work is done."""
        health, outbox, journal = self.watch.health, self.outbox.worker, self.journal.worker
        for work in (WRITE, TURN):
            health.expect(work)
        health.expect(OUTBOX, lambda: outbox.done_at)
        health.expect(JOURNAL, lambda: journal.done_at)

    def _leave(self) -> None:
        """Tell the other collectors that this one is stopped in order."""
        try:
            leave(self.store, self.runtime.identity, self.clock.wall())
        except StoreError as error:
            log.warning("the other collectors may take this one for failed: %s", error)

    def alive(self) -> bool:
        """Whether every thread, and the web server, has shown within the last 30 seconds that it works."""
        if self.store.file.lost:  # under systemd, the watchdog restarts it on what is there now
            return False
        workers = [self.clock.worker, self.journal.worker, self.ticker.worker, self.outbox.worker]
        workers += [one.worker for one in self.replies]
        beats = [*(worker.beat_at for worker in workers), self.watch.health.done_at()[REQUESTS]]
        return self.clock.boot() - min(beats) < _STUCK_AFTER_S

    def _test_channels(self) -> None:
        try:
            write_weekly(self.runtime.notifier(), self.clock.wall())
        except Exception:
            log.exception("the weekly tests of the channels could not be written; this is tried again within the hour")

    def _delete_expired(self) -> None:
        if not self.clock.may_delete:
            log.warning("the time is not sure: nothing is deleted within this hour")
            return
        try:
            delete_expired(self.store, self.clock.wall(), self.config.history_s)
        except Exception:
            log.exception("expired rows could not be deleted; this is tried again within the hour")
