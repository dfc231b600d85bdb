"""Self-metrics of the collector: incidents, rungs, messages, channels, agents, lanes, journal and configuration."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from watchkeeper.collector.access.refusals import Refused
from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.notify.delivery.breaker import BreakerState
from watchkeeper.collector.notify.delivery.channel_status import ChannelStatus, channel_statuses
from watchkeeper.collector.notify.delivery.claims import DELIVERIES
from watchkeeper.collector.notify.delivery.robots import RobotStatus
from watchkeeper.collector.notify.notice import About
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.process.guarded_clock import state_of
from watchkeeper.collector.process.health.heartbeat import Heartbeat
from watchkeeper.collector.process.replies.answer import UNKNOWN_REPLIES
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.process.upkeep.backups import Backups
from watchkeeper.collector.read.agents import AgentStatus, agent_statuses
from watchkeeper.collector.site.in_force import FolderStanding
from watchkeeper.collector.store.peers import peers
from watchkeeper.collector.store.schema import incident, outbox, reply, rung, tally

OUTBOX_STATES = ("pending", "delivered", "given-up")


class SelfMetrics(Collector):
    """Computes the metrics from the store at each scrape. Raises StoreError if the store cannot be read."""

    def __init__(
        self, runtime: Runtime, journal: Journal, ingest: AgentEndpoint, backups: Backups | None = None
    ) -> None:
        self._runtime = runtime
        self._journal = journal
        self._ingest = ingest
        self._backups = backups

    def collect(self) -> Iterator[Metric]:
        """Yield every self-metric, also those without a sample."""
        runtime = self._runtime
        yield from self.itself()
        with runtime.store.read() as connection:
            statuses = agent_statuses(connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at)
            yield _beats(connection, runtime.clock.wall())
            yield from _incidents(connection)
            yield from _messages(connection)
            yield _replies(connection)
            yield from _channels(channel_statuses(connection, runtime.snapshot, runtime.robots, runtime.clock.boot()))
            yield _counter(
                "reconciled", "Differences between an agent's verdicts and its incidents, found and corrected.",
                connection.execute(sa.select(tally.c.count).where(tally.c.name == "reconciled")).scalar() or 0,
            )  # fmt: skip
        people = runtime.snapshot.configuration.contacts.people
        addresses = [address for person in people for address in person.channels]
        yield from _robots(runtime.robots.statuses(addresses, runtime.clock.boot()))
        yield from _agents(statuses)
        yield from _lanes(statuses)
        yield from self._collector()
        yield from _backups(self._backups)

    def itself(self) -> Iterator[Metric]:
        """What needs no store."""
        runtime, now = self._runtime, self._runtime.clock.boot()
        ages = GaugeMetricFamily(
            "watchkeeper_work_age_seconds",
            "Time since this collector last did this work: write (a commit), turn (rungs decided), outbox, journal, requests.",
            labels=["work"],
        )
        for work, at in runtime.health.done_at().items():
            ages.add_metric([work], now - at)
        yield ages
        yield _gauge(
            "healthy", "1 while every kind of work is done, as /healthz says.", 0.0 if runtime.health.lapses() else 1.0
        )
        yield _gauge(
            "messages_blocked", "1 while pages wait and no message could be delivered for ten minutes.",
            1.0 if runtime.health.unsent else 0.0,
        )  # fmt: skip
        refused = CounterMetricFamily(
            "watchkeeper_sign_ins_refused", "Refused tokens, links and signatures, by kind.", labels=["kind"]
        )
        for kind in Refused:
            refused.add_metric([kind.value], runtime.refusals.total[kind])
        yield refused
        yield _counter(
            "direct_messages",
            "Messages sent past the store, because this collector did not work.",
            runtime.health.told_directly,
        )
        yield from _heartbeat(runtime.heartbeat)

    def _collector(self) -> Iterator[Metric]:
        runtime = self._runtime
        yield _gauge("journal_waiting", "Pushes waiting for the next commit.", self._journal.waiting)
        yield _counter(
            "journal_faults", "Times that a push was set aside because it could not be applied.", self._journal.faults
        )
        refused = CounterMetricFamily(
            "watchkeeper_pushes_refused", "Requests of agents that were refused, by HTTP status.", labels=["status"]
        )
        for status, count in sorted(self._ingest.refused.items()):
            refused.add_metric([str(status)], count)
        yield refused
        flooding = CounterMetricFamily(
            "watchkeeper_agent_limits_exceeded",
            "Requests of an agent refused because of its own limits.",
            labels=["agent"],
        )
        for agent, count in sorted(self._ingest.shares.refused.items()):
            flooding.add_metric([agent], count)
        yield flooding
        yield _gauge(
            "configuration_problem", "1 while the configuration has errors and the previous one stays active.",
            1.0 if runtime.problem else 0.0,
        )  # fmt: skip
        state = state_of(runtime.clock)
        yield _counter("clock_jumps", "Jumps of the machine's or the database's clock since the start.", state.jumps)
        yield _gauge("clock_offset_seconds", "The machine's wall clock minus the collectors' time.", state.wall_s)
        yield _gauge("clock_doubt", "1 while the time is in doubt and nothing is decided.", 1.0 if state.doubt else 0.0)
        yield _gauge(
            "configuration_number", "The number of the configuration that this collector goes by.", runtime.number
        )
        yield _gauge(
            "configuration_folder_in_force", "1 while the collector's own folder is what is in force.",
            1.0 if runtime.standing is FolderStanding.IN_FORCE else 0.0,
        )  # fmt: skip
        yield from self._build()

    def _build(self) -> Iterator[Metric]:
        yield _gauge("started_seconds", "When the collector started, in Unix time.", self._runtime.started_at)
        build = GaugeMetricFamily(
            "watchkeeper_build_info", "The version of the collector; always 1.", labels=["version"]
        )
        build.add_metric([installed_version()], 1.0)
        yield build


def installed_version() -> str:
    """The installed version; empty in a checkout that was not installed."""
    try:
        return version("watchkeeper")
    except PackageNotFoundError:
        return ""


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"watchkeeper_{name}", documentation, value=value)


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(f"watchkeeper_{name}", documentation, value=value)


def _backups(backups: Backups | None) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "watchkeeper_backup_age_seconds", "The age of the newest good backup; no sample where there is none."
    )
    files = GaugeMetricFamily(
        "watchkeeper_backup_files", "Scheduled backups in the folder, by state.", labels=["state"]
    )
    failures = CounterMetricFamily("watchkeeper_backup_failures", "Scheduled backups that could not be made.")
    if backups is not None:
        if (age_s := backups.age_s()) is not None:
            age.add_metric([], age_s)
        files.add_metric(["good"], backups.kept.good)
        files.add_metric(["damaged"], backups.kept.damaged)
        failures.add_metric([], backups.failures)
    yield from (age, files, failures)


def _heartbeat(heartbeat: Heartbeat | None) -> Iterator[Metric]:
    yield _counter(
        "heartbeat_failures", "Heartbeats that their address did not take.", heartbeat.failures if heartbeat else 0
    )
    sent = GaugeMetricFamily("watchkeeper_heartbeat_seconds", "When a heartbeat was last taken, in Unix time.")
    if heartbeat and heartbeat.sent_at is not None:
        sent.add_metric([], heartbeat.sent_at)
    yield sent


def _beats(connection: sa.Connection, now: float) -> Metric:
    ages = GaugeMetricFamily(
        "watchkeeper_collector_beat_age_seconds",
        "Time since a collector of this store was last at work; none for one that was stopped in order.",
        labels=["collector"],
    )
    for one in peers(connection):
        if one.stopped_at is None:
            ages.add_metric([one.name], max(0.0, now - one.beat_at))
    return ages


def _incidents(connection: sa.Connection) -> Iterator[Metric]:
    opened = GaugeMetricFamily("watchkeeper_incidents_open", "Open incidents.", labels=["level", "rule", "device"])
    columns = (incident.c.level, incident.c.rule, incident.c.device)
    open_counts = (
        sa.select(*columns, sa.func.count()).where(incident.c.state == IncidentState.OPEN.value).group_by(*columns)
    )
    for level, rule, device, count in connection.execute(open_counts):
        opened.add_metric([level, rule, device], count)
    yield opened
    decided = CounterMetricFamily("watchkeeper_rungs_decided", "Decided rungs, automatic or by hand.", labels=["rung"])
    decided_counts = sa.select(rung.c.rung, sa.func.count()).where(rung.c.decided_at.is_not(None)).group_by(rung.c.rung)
    for name, count in connection.execute(decided_counts):
        decided.add_metric([name], count)
    yield decided


def _messages(connection: sa.Connection) -> Iterator[Metric]:
    messages = GaugeMetricFamily("watchkeeper_outbox_messages", "Messages in the outbox, by state.", labels=["state"])
    by_state = sa.select(outbox.c.state, sa.func.count()).where(outbox.c.about != About.TEST).group_by(outbox.c.state)
    counts = {row[0]: row[1] for row in connection.execute(by_state)}
    for state in OUTBOX_STATES:
        messages.add_metric([state], counts.get(state, 0))
    yield messages
    attempts = CounterMetricFamily(
        "watchkeeper_deliveries",
        "Attempts to deliver a message, by channel and outcome.",
        labels=["channel", "outcome"],
    )
    counted = sa.select(tally.c.name, tally.c.count).where(tally.c.name.startswith(DELIVERIES, autoescape=True))
    for name, count in connection.execute(counted.order_by(tally.c.name)):
        channel, _, outcome = name.removeprefix(DELIVERIES).rpartition(" ")
        attempts.add_metric([channel, outcome], count)
    yield attempts


def _replies(connection: sa.Connection) -> Metric:
    taken = CounterMetricFamily(
        "watchkeeper_replies",
        "Replies of persons, by way and outcome: applied, late, refused, or unknown (of nobody in contacts.yml, ignored).",
        labels=["via", "outcome"],
    )
    columns = (reply.c.via, reply.c.outcome)
    for via, outcome, count in connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns)):
        taken.add_metric([via, outcome], count)
    unknown = sa.select(tally.c.name, tally.c.count).where(tally.c.name.startswith(UNKNOWN_REPLIES, autoescape=True))
    for name, count in connection.execute(unknown):
        taken.add_metric([name.removeprefix(UNKNOWN_REPLIES), "unknown"], count)
    return taken


def _robots(statuses: list[RobotStatus]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "watchkeeper_robot_state",
        "The circuit breaker of a robot: 1 for its state, 0 for the others. Nothing is sent by an open one.",
        labels=["robot", "state"],
    )
    calls = GaugeMetricFamily("watchkeeper_robot_calls", "Deliveries under way at a robot.", labels=["robot"])
    for status in statuses:
        for one in BreakerState:
            state.add_metric([status.label, one.value], 1.0 if status.state is one else 0.0)
        calls.add_metric([status.label], status.calls)
    yield from (state, calls)


def _channels(statuses: list[ChannelStatus]) -> Iterator[Metric]:
    labels = ["person", "channel", "robot"]
    passed = GaugeMetricFamily(
        "watchkeeper_channel_test_delivered", "1 if the last test of a person's channel was delivered.", labels=labels
    )
    tested = GaugeMetricFamily(
        "watchkeeper_channel_test_seconds", "When a person's channel was last tested, in Unix time.", labels=labels
    )
    for status in statuses:
        if status.tested_at is not None and status.test != "pending":
            names = [status.person.person, str(status.number + 1), status.robot]
            passed.add_metric(names, 1.0 if status.test == "delivered" else 0.0)
            tested.add_metric(names, status.tested_at)
    yield from (passed, tested)


def _agents(statuses: list[AgentStatus]) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "watchkeeper_agent_heard_age_seconds", "Time since the agent was last heard.", labels=["agent"]
    )
    skew = GaugeMetricFamily(
        "watchkeeper_agent_clock_skew_seconds",
        "The agent's wall clock minus the collector's; for information only.",
        labels=["agent"],
    )
    current = GaugeMetricFamily(
        "watchkeeper_agent_bundle_current", "1 if the agent uses its newest bundle.", labels=["agent"]
    )
    aside = GaugeMetricFamily(
        "watchkeeper_pushes_set_aside",
        "Pushes of the agent that could not be applied and are set aside.",
        labels=["agent"],
    )
    for status in statuses:
        aside.add_metric([status.agent], status.set_aside.count)
        age.add_metric([status.agent], status.age_s)
        if status.heard_at is not None:
            skew.add_metric([status.agent], status.skew_s)
            current.add_metric([status.agent], 1.0 if status.current else 0.0)
    yield from (age, skew, current, aside)


def _lanes(statuses: list[AgentStatus]) -> Iterator[Metric]:
    labels = ["agent", "lane"]
    items = CounterMetricFamily("watchkeeper_lane_items", "Items accepted from the agent.", labels=labels)
    gaps = CounterMetricFamily("watchkeeper_lane_gap_items", "Missing items that no tombstone explains.", labels=labels)
    dropped = CounterMetricFamily(
        "watchkeeper_lane_dropped_frames", "Frames that the agent dropped because its spool was full.", labels=labels
    )
    for status in statuses:
        for lane in status.lanes:
            names = [status.agent, lane.lane]
            items.add_metric(names, lane.items)
            gaps.add_metric(names, lane.gaps)
            dropped.add_metric(names, lane.dropped)
    yield from (items, gaps, dropped)
