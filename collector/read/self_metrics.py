"""The collector's own metrics: incidents, rungs, messages, agents, lanes, and how it fares itself."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read.agents import AgentStatus, agent_statuses
from watchkeeper.collector.store.schema import incident, outbox, receipt, rung, tally

OUTBOX_STATES = ("pending", "delivered", "given-up")


class SelfMetrics(Collector):
    """Counts what the store holds at the moment it is asked. Raises StoreError where the store cannot be read."""

    def __init__(self, runtime: Runtime, journal: Journal, ingest: AgentEndpoint) -> None:
        self._runtime = runtime
        self._journal = journal
        self._ingest = ingest

    def collect(self) -> Iterator[Metric]:
        """Every metric of our own, also those that have no sample now."""
        runtime = self._runtime
        with runtime.store.read() as connection:
            heard = agent_statuses(connection, runtime.snapshot, runtime.clock.wall(), runtime.started_at)
            yield from _incidents(connection)
            yield from _messages(connection)
            yield _count(
                "reconciled", "Differences found between an agent's standing verdicts and our incidents.",
                connection.execute(sa.select(tally.c.count).where(tally.c.name == "reconciled")).scalar() or 0,
            )  # fmt: skip
        yield from _agents(heard)
        yield from _lanes(heard)
        yield from self._ourselves()

    def _ourselves(self) -> Iterator[Metric]:
        runtime = self._runtime
        yield _gauge("journal_waiting", "Pushes waiting for the next commit.", self._journal.waiting)
        yield _count(
            "journal_faults", "Pushes that could not be applied; they stay in the journal.", self._journal.faults
        )
        refused = CounterMetricFamily(
            "watchkeeper_pushes_refused", "Requests of agents that were refused, by HTTP status.", labels=["status"]
        )
        for status, count in sorted(self._ingest.refused.items()):
            refused.add_metric([str(status)], count)
        yield refused
        yield _gauge(
            "orders_problem", "1 while the books have a mistake and the orders of before stay in force.",
            1.0 if runtime.problem else 0.0,
        )  # fmt: skip
        yield _gauge("started_seconds", "When this collector began to work, in Unix time.", runtime.started_at)
        build = GaugeMetricFamily("watchkeeper_build_info", "The version that runs; always 1.", labels=["version"])
        build.add_metric([release()], 1.0)
        yield build


def release() -> str:
    """The version installed; empty in a tree that never was."""
    try:
        return version("watchkeeper")
    except PackageNotFoundError:
        return ""


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(f"watchkeeper_{name}", says, value=value)


def _count(name: str, says: str, value: float) -> Metric:
    return CounterMetricFamily(f"watchkeeper_{name}", says, value=value)


def _incidents(connection: sa.Connection) -> Iterator[Metric]:
    opened = GaugeMetricFamily(
        "watchkeeper_incidents_open", "Incidents that are open.", labels=["level", "rule", "device"]
    )
    columns = (incident.c.level, incident.c.rule, incident.c.device)
    standing = (
        sa.select(*columns, sa.func.count()).where(incident.c.state == IncidentState.OPEN.value).group_by(*columns)
    )
    for level, rule, device, count in connection.execute(standing):
        opened.add_metric([level, rule, device], count)
    yield opened
    decided = CounterMetricFamily(
        "watchkeeper_rungs_decided", "Rungs decided, by the clock or by hand.", labels=["rung"]
    )
    done = sa.select(rung.c.rung, sa.func.count()).where(rung.c.decided_at.is_not(None)).group_by(rung.c.rung)
    for name, count in connection.execute(done):
        decided.add_metric([name], count)
    yield decided


def _messages(connection: sa.Connection) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "watchkeeper_outbox_messages", "Messages in the outbox, by what became of them.", labels=["state"]
    )
    by_state = sa.select(outbox.c.state, sa.func.count()).group_by(outbox.c.state)
    counts = {row[0]: row[1] for row in connection.execute(by_state)}
    for state in OUTBOX_STATES:
        held.add_metric([state], counts.get(state, 0))
    yield held
    tried = CounterMetricFamily(
        "watchkeeper_deliveries", "Tries to deliver a message, by channel and outcome.", labels=["channel", "outcome"]
    )
    both = (receipt.c.channel, receipt.c.delivered)
    for channel, delivered, count in connection.execute(sa.select(*both, sa.func.count()).group_by(*both)):
        tried.add_metric([channel, "delivered" if delivered else "failed"], count)
    yield tried


def _agents(heard: list[AgentStatus]) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "watchkeeper_agent_heard_age_seconds", "Time since the agent was last heard.", labels=["agent"]
    )
    skew = GaugeMetricFamily(
        "watchkeeper_agent_clock_skew_seconds",
        "The agent's wall clock less ours; nothing depends on it.",
        labels=["agent"],
    )
    current = GaugeMetricFamily(
        "watchkeeper_agent_bundle_current", "1 if the bundle in force at the agent is the newest.", labels=["agent"]
    )
    for one in heard:
        age.add_metric([one.agent], one.age_s)
        if one.heard_at is not None:
            skew.add_metric([one.agent], one.skew_s)
            current.add_metric([one.agent], 1.0 if one.current else 0.0)
    yield from (age, skew, current)


def _lanes(heard: list[AgentStatus]) -> Iterator[Metric]:
    labels = ["agent", "lane"]
    items = CounterMetricFamily("watchkeeper_lane_items", "Items taken from the agent.", labels=labels)
    gaps = CounterMetricFamily(
        "watchkeeper_lane_gap_items", "Items that never came and that no tombstone explains.", labels=labels
    )
    dropped = CounterMetricFamily(
        "watchkeeper_lane_dropped_frames", "Frames the agent had to drop because its spool was full.", labels=labels
    )
    for agent in heard:
        for one in agent.lanes:
            names = [agent.agent, one.lane]
            items.add_metric(names, one.items)
            gaps.add_metric(names, one.gaps)
            dropped.add_metric(names, one.dropped)
    yield from (items, gaps, dropped)
