"""Asks agents to read at once what a device depends on, so that a fault of a parent is known before the device's fault is
told."""

import sqlalchemy as sa

from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import request

ASK_EVERY_S = 10.0
"""How long an agent is not asked again for the same parent."""


def ask_parents(connection: sa.Connection, snapshot: Snapshot, device: str, now: float) -> tuple[str, ...]:
    """Have the nearest devices that a device (or agent) depends on read at once. Those that its own agent reads are left
    out: that agent reads them without being asked. So are those for which a request exists: it waits, or was sent within
    the last `ASK_EVERY_S`. Returns the parents that are asked for."""
    graph = snapshot.dependencies
    own = graph.agent_of(device) or device
    agents = {parent: graph.agent_of(parent) for parent in graph.monitored_parents(device)}
    foreign = {parent: agent for parent, agent in agents.items() if agent != own}
    if not foreign:
        return ()
    query = sa.select(request.c.agent, request.c.device)
    found = connection.execute(query.where(request.c.kind == "poll-now", request.c.device.in_(foreign)))
    known = {(row.agent, row.device) for row in found}
    asked = [parent for parent, agent in foreign.items() if (agent, parent) not in known]
    if asked:
        rows = [
            {"agent": foreign[parent], "kind": "poll-now", "device": parent, "by": COLLECTOR, "asked_at": now}
            for parent in asked
        ]
        connection.execute(sa.insert(request), rows)
    return tuple(asked)
