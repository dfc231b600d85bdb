"""Tells people directly that this collector cannot page: without store, ticker and outbox, from what is in memory.

Without the store collectors cannot agree who says it, so each one that sees it says it (decision 47). It climbs the ladder of
critical troubles. A person whom a rung names is told once in an outage.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from watchkeeper.channels.ports import Message
from watchkeeper.collector.notify.delivery.direct import send_directly
from watchkeeper.collector.notify.i18n import marked, translator
from watchkeeper.collector.notify.message.values import clock_time, span
from watchkeeper.collector.notify.outbox import Opener
from watchkeeper.collector.policy.ladder import ladder_for
from watchkeeper.collector.policy.roster import audience, people_of
from watchkeeper.collector.process.health.health import NOT_DONE, STALE_AFTER_S, Health, Lapse
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.clock import Clock
from watchkeeper.model.verdict import Level
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)

SAY_AFTER_S = 30.0
"""How long the work must be lapsed, and be looked at, before people are told. A lapse itself is found after 30 s."""

OVER_AFTER_S = 60.0
"""How long the work must be done again before people are told that it is over. One single write looks well for 30 s."""

QUIET_S = 1800.0
"""No second outage is told sooner than this after the first one, however often the store comes and goes."""

PAUSE_S = 10.0
"""After a longer pause this process was stopped, or its machine slept: nothing that happened meanwhile counts."""

LOOK_S, RETRY_S = 1.0, 60.0

_SUBJECT = marked("[emergency] Watchkeeper cannot notify: collector {name}")
_WHAT = marked("The collector {name} is not working. No fault is recorded by it, and it notifies nobody of faults.")
_SINCE = marked("Since {time}: {reason}")
_DO = marked(
    "Watch the devices by other means, and mend it now. Its log has the reason (journalctl -u watchkeeper-collector)."
)
_PEERS = marked("Other collectors that worked before: {names}. If they work now, they go on notifying.")
_HOW = marked("This message comes directly from the collector. It is sent once, and is on no page.")
_OVER_SUBJECT = marked("[recovered] Watchkeeper notifies again: collector {name}")
_OVER = marked("The collector {name} works again, after {lasted}. Faults that came meanwhile are notified now.")


@dataclass(slots=True)
class Outage:
    """A time in which the collector does not work (boot clock). `told` are the persons who were reached, `tried` when each of the
    others was tried last."""

    began: float
    told: set[str] = field(default_factory=set)
    tried: dict[str, float] = field(default_factory=dict)
    well_since: float | None = None


class Emergency:
    """Looks once a second, from a thread of its own. `snapshot` is the configuration in memory; `peers` are the other collectors
    that were heard lately. Both are set anew while the collector starts and runs."""

    def __init__(
        self, health: Health, clock: Clock, opener: Opener, name: str, snapshot: Callable[[], Snapshot]
    ) -> None:
        self._health, self._clock, self._opener, self._name = health, clock, opener, name
        self.snapshot = snapshot
        self.peers: Callable[[], Iterable[str]] = tuple
        self._outage: Outage | None = None
        self._looked_at = clock.boot()
        self._quiet_until = float("-inf")
        self.worker = Worker("emergency", self._turn, clock)

    def _turn(self) -> float:
        self.look()
        return LOOK_S

    def look(self) -> None:
        """Tell whom the outage has reached by now, or that it is over."""
        now, lapses = self._clock.boot(), self._health.lapses()
        away, outage = now - self._looked_at > PAUSE_S, self._outage
        if lapses:
            if outage is None or (away and not outage.told):
                outage = self._outage = Outage(now)
            outage.well_since = None
            if now - outage.began >= SAY_AFTER_S and (outage.told or now >= self._quiet_until):
                self._say(outage, lapses, now)
        elif outage is not None:
            if outage.well_since is None or away:
                outage.well_since = now
            if not outage.told:
                self._outage = None
            elif now - outage.well_since >= OVER_AFTER_S:
                self._say_over(outage)
        self._looked_at = self._clock.boot()  # a delivery may have taken long

    def _say(self, outage: Outage, lapses: tuple[Lapse, ...], now: float) -> None:
        snapshot = self.snapshot()
        people = [one for one in self._people(snapshot, outage, now) if one.person not in outage.told]
        due = [one for one in people if now - outage.tried.get(one.person, float("-inf")) >= RETRY_S]
        if not due:
            return
        log.critical("this collector cannot notify: %s; it tells people directly", "; ".join(map(str, lapses)))
        for person in due:
            outage.tried[person.person] = now
            if self._deliver(person, self._message(person, snapshot, outage, lapses)):
                outage.told.add(person.person)
                self._quiet_until = now + QUIET_S

    def _people(self, snapshot: Snapshot, outage: Outage, now: float) -> Iterator[Person]:
        """Whom the ladder of critical troubles has reached; and its fallback, if nobody of them could be told."""
        at, configuration = self._clock.wall(), snapshot.configuration
        ladder = ladder_for(Level.CRITICAL, configuration.ladders)
        reached: dict[str, Person] = {}
        for rung in ladder.rungs:
            if rung.after_s <= now - outage.began:
                reached |= {one.person: one for one in audience(rung, ladder, configuration, "", at).people}
        if outage.tried and not outage.told:
            reached |= {one.person: one for one in people_of(ladder.fallback, configuration, "", at)}
        yield from reached.values()

    def _deliver(self, person: Person, message: Message) -> bool:
        """Send by the person's channels, in their order, until one takes it."""
        for address in person.channels:
            receipt = send_directly(address, message, self._opener)
            if receipt.delivered:
                self._health.told_directly += 1
                log.warning("%s was told directly by %s", person.person, address.via.value)
                return True
            log.error("%s was not told by %s: %s", person.person, address.via.value, receipt.detail)
        return False

    def _message(self, person: Person, snapshot: Snapshot, outage: Outage, lapses: tuple[Lapse, ...]) -> Message:
        say, clock = translator(person.language), self._clock
        oldest = max(one.age_s for one in lapses)
        reason = "; ".join(say(NOT_DONE[one.work]).format(s=int(one.age_s)) for one in lapses)
        peers = ", ".join(self.peers())
        lines = (
            say(_WHAT).format(name=self._name),
            say(_SINCE).format(time=clock_time(clock.wall() - oldest, snapshot), reason=reason),
            say(_DO),
            say(_PEERS).format(names=peers) if peers else "",
            say(_HOW),
        )
        return self._made(person, outage, "emergency", say(_SUBJECT).format(name=self._name), lines)

    def _say_over(self, outage: Outage) -> None:
        """Tell everybody who was told, by the same channel or the next ones."""
        clock, snapshot = self._clock, self.snapshot()
        people = {one.person: one for one in snapshot.configuration.contacts.people}
        for name in sorted(outage.told):
            if name in people:
                say = translator(people[name].language)
                lasted = span((outage.well_since or clock.boot()) - outage.began + STALE_AFTER_S, say)
                lines = (say(_OVER).format(name=self._name, lasted=lasted),)
                subject = say(_OVER_SUBJECT).format(name=self._name)
                self._deliver(people[name], self._made(people[name], outage, "recovered", subject, lines))
        self._outage = None

    def _made(self, person: Person, outage: Outage, kind: str, subject: str, lines: Iterable[str]) -> Message:
        wall = self._clock.wall()
        began_at = wall - (self._clock.boot() - outage.began)
        facts = {
            "kind": kind, "level": Level.CRITICAL.value, "collector": self._name, "rung": "", "person": person.person,
            "began_at": began_at, "told_at": wall,
        }  # fmt: skip
        key = f"{kind}/{self._name}/{int(self._clock.wall() - self._clock.boot() + outage.began)}/{person.person}"
        return Message(key, person.person, subject, "\n".join(filter(None, lines)), facts)
