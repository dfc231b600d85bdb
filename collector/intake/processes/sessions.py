"""One agent, one process: who may push under a name. Used by the journal's thread, inside its transaction.

The process that pushes has the name for as long as it is heard. A process that follows it on the same spool has it at once. Any
other one is refused until the first has been silent for two intervals; if both go on, the collector's own rules report them.
A process without a session (another agent than this project's) is never refused because of one that has none either."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, agent_session
from watchkeeper.model.batch import Push
from watchkeeper.model.errors import WatchkeeperError

TAKEOVER_INTERVALS, TAKEOVER_LEAST_S = 2.0, 10.0
"""For how many of its intervals a process must be silent until another one takes its name."""

TWIN_WITHIN_S, TWIN_NOTED_EVERY_S = 120.0, 5.0
"""How recent the other process must be for two to count as twins, and how often that is noted."""

_SESSIONLESS = "epoch "


class TwinAgent(WatchkeeperError):
    """Another process has the name of this agent. The agent keeps everything and tries again after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class AgentSession:
    """A row of the table `agent_session`, without the agent."""

    session: str
    address: str = ""
    superseded: str = ""
    rival: str = ""
    rival_address: str = ""
    rival_at: float = 0.0
    twin_at: float = 0.0


class Sessions:
    """The session of each agent. `interval_s` tells how often an agent pushes at least."""

    def __init__(self, store: Store, interval_s: Callable[[str], float]) -> None:
        self._store, self._interval_s = store, interval_s
        self._known: dict[str, AgentSession] = {}
        self._heard: dict[str, float] = {}
        self._changed: set[str] = set()

    def open(self, connection: sa.Connection, pushes: Sequence[Push]) -> None:
        """Read what is known of these agents. With several collectors another one may have changed it."""
        names = {push.agent for push in pushes}
        unread = names if not self._store.embedded else names - self._heard.keys()
        if not unread:
            return
        query = sa.select(agent_session).where(agent_session.c.agent.in_(sorted(unread)))
        for row in connection.execute(query.order_by(agent_session.c.agent).with_for_update()):
            self._known[row.agent] = AgentSession(*row[1:])
        heard = sa.select(agent.c.agent, agent.c.heard_at).where(agent.c.agent.in_(sorted(unread)))
        self._heard |= dict.fromkeys(unread, 0.0)
        self._heard |= {row.agent: row.heard_at for row in connection.execute(heard)}

    def admit(self, push: Push, address: str, now: float) -> AgentSession:
        """What is known of the agent once this push is accepted. Raises TwinAgent."""
        name, mine = push.agent, push.origin.session or _SESSIONLESS + push.epoch
        known = self._known.get(name)
        after = AgentSession(mine, address) if known is None else self._after(known, push, mine, address, now)
        if after.session != mine:
            self._note(name, after)
            raise self._refusal(name, after, mine, address, now)
        return after

    def accept(self, name: str, after: AgentSession, now: float) -> None:
        """The push is accepted as a whole."""
        self._heard[name] = now
        self._note(name, after)

    def _note(self, name: str, after: AgentSession) -> None:
        if after != self._known.get(name):
            self._known[name] = after
            self._changed.add(name)

    def _after(self, known: AgentSession, push: Push, mine: str, address: str, now: float) -> AgentSession:
        if mine == known.session:
            both = known.rival and now - known.rival_at < TWIN_WITHIN_S and now - known.twin_at > TWIN_NOTED_EVERY_S
            return replace(known, twin_at=now) if both else known
        if mine == known.superseded:  # it went on after another one had followed it: that one is a copy
            back = AgentSession(mine, address, rival=known.session, rival_address=known.address, rival_at=now)
            return replace(back, twin_at=now)
        follows = known.session in push.origin.previous or known.session == _SESSIONLESS + push.epoch
        sessionless = mine.startswith(_SESSIONLESS) and known.session.startswith(_SESSIONLESS)
        if (follows and mine != known.rival) or sessionless:
            return replace(known, session=mine, address=address, superseded=known.session)
        silent_s = now - self._heard.get(push.agent, 0.0)
        if not 0.0 <= silent_s < self._patience_s(push.agent):  # below 0: our clock was set back
            return AgentSession(mine, address, rival_at=known.rival_at, twin_at=known.twin_at)
        return replace(known, rival=mine, rival_address=address, rival_at=now)

    def _patience_s(self, name: str) -> float:
        return max(TAKEOVER_LEAST_S, TAKEOVER_INTERVALS * self._interval_s(name))

    def _refusal(self, name: str, known: AgentSession, mine: str, address: str, now: float) -> TwinAgent:
        patience_s = self._patience_s(name)
        return TwinAgent(
            f"agent `{name}` runs twice: `{known.session}` at {known.address or '?'} was heard "
            f"{max(0.0, now - self._heard.get(name, now)):.0f} s ago, and this is `{mine}` at {address or '?'}. Stop one of them, "
            f"or give it a name and a token of its own. Keep everything: it is accepted once the other is silent for {patience_s:.0f} s",
            patience_s / 2,
        )

    def close(self, connection: sa.Connection) -> None:
        """Write what has changed."""
        rows = [
            {
                "agent": name, "session": one.session, "address": one.address, "superseded": one.superseded, "rival": one.rival,
                "rival_address": one.rival_address, "rival_at": one.rival_at, "twin_at": one.twin_at,
            }
            for name, one in ((name, self._known[name]) for name in sorted(self._changed))
        ]  # fmt: skip
        self._store.write_many(connection, agent_session, rows, keep=())
        self._changed.clear()

    def forget(self) -> None:
        """Forget everything after a transaction that failed."""
        self._known.clear()
        self._heard.clear()
        self._changed.clear()
