"""How pages say things: texts in the reader's language, times on the site's clock, values with their unit."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from watchkeeper.collector.notify.compose import LEVELS, clock_time, in_words, limit_in_words, span, title_of
from watchkeeper.collector.notify.i18n import marked, translator
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.roster import audience
from watchkeeper.collector.read.devices import ProbeReadings
from watchkeeper.collector.site.inventory import Language, Person
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.quantity import BYTE, QUANTITIES, SECOND
from watchkeeper.model.reading import Missing, Series, Value

REASONS = {
    "timeout": marked("no answer in time"),
    "unreachable": marked("cannot be reached"),
    "refused": marked("refused us"),
    "absent": marked("not there"),
    "malformed": marked("answer not understood"),
    "implausible": marked("impossible value"),
    "warming-up": marked("first sample, wait for the second"),
    "hung": marked("hangs"),
    "fault": marked("fault of the probe"),
}
KINDS = {
    "opened": marked("Fault began"),
    "reopened": marked("Fault came back"),
    "risen": marked("Became critical"),
    "eased": marked("Eased to warning"),
    "unseen": marked("Cannot be judged any more"),
    "acknowledged": marked("Acknowledged"),
    "escalated": marked("Escalated by hand"),
    "resolved": marked("Resolved"),
    "withdrawn": marked("Withdrawn"),
}
STATES = {
    "open": marked("open"),
    "resolved": marked("resolved"),
    "withdrawn": marked("withdrawn"),
    "pending": marked("not delivered yet"),
    "delivered": marked("delivered"),
    "given-up": marked("given up"),
}
NOTICES = {
    "page": marked("paged"),
    "risen": marked("told that it became critical"),
    "passed": marked("told that it came and went"),
    "recovered": marked("told of the recovery"),
    "withdrawn": marked("told that it was withdrawn"),
}
CATEGORIES = {
    "server": marked("Server"),
    "network": marked("Network"),
    "storage": marked("Storage"),
    "ups": marked("UPS"),
    "pdu": marked("Power distribution"),
    "ats": marked("Transfer switch"),
    "cooling": marked("Air conditioning"),
    "env": marked("Environment"),
    "dc-power": marked("DC power"),
    "meter": marked("Meter"),
    "bmc": marked("Management controller"),
    "service": marked("Service"),
    "watchkeeper": marked("Watchkeeper"),
}
LANES = {"events": marked("events"), "readings": marked("readings")}
_ALL: Mapping[str, Mapping[str, str]] = {
    "level": LEVELS, "reason": REASONS, "kind": KINDS, "state": STATES, "notice": NOTICES, "category": CATEGORIES,
    "lane": LANES,
}  # fmt: skip
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Formatter:
    """The words of one page at one moment: `now` is UTC seconds."""

    language: Language
    snapshot: Snapshot
    now: float

    def say(self, text: str) -> str:
        """An English text in the reader's language."""
        return translator(self.language)(text) if text else ""

    def of(self, list_: str, word: str) -> str:
        """A word of one of our own vocabularies: a level, a state, a kind ..."""
        return self.say(_ALL[list_].get(word, word))

    # ---- times ----

    def moment(self, at: float) -> Markup:
        """A time of day on the site's clock; with the date where it is not today's, with the offset where it is not
        the present one."""
        text = clock_time(at, self.snapshot)
        if text[:10] == clock_time(self.now, self.snapshot)[:10]:
            text = text[11:]
        if self.offset(at) != self.offset(self.now):
            text += f" {self.offset(at)}"
        return Markup('<time datetime="{}">{}</time>').format(self._local(at).isoformat(timespec="seconds"), text)

    def clock(self) -> str:
        """The date, the time and the offset that hold for the page."""
        return f"{clock_time(self.now, self.snapshot)} {self.offset(self.now)}"

    def offset(self, at: float) -> str:
        """`UTC+08:00`."""
        offset = self._local(at).strftime("%z")
        return f"UTC{offset[:3]}:{offset[3:5]}"

    def _local(self, at: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(at, self.snapshot.configuration.inventory.site.timezone)

    def span(self, seconds: float) -> str:
        """How long, in words."""
        return span(seconds, translator(self.language))

    def left(self, due_at: float) -> Markup:
        """How long until then, as a clock that static/watch.js lets run."""
        return Markup('<b class="timer" data-until="{}">{}</b>').format(f"{due_at:.0f}", ticking(due_at - self.now))

    def passed(self, since: float) -> Markup:
        """How long since then, as a clock that runs."""
        return Markup('<b class="timer" data-since="{}">{}</b>').format(f"{since:.0f}", ticking(self.now - since))

    # ---- things ----

    def title(self, one: Incident) -> str:
        """The incident in words."""
        return title_of(one, self.snapshot, translator(self.language))

    def quantity(self, name: str) -> str:
        """What is measured, in words."""
        return self.say(QUANTITIES[name].title) if name in QUANTITIES else name

    def value(self, value: Value, quantity: str) -> str:
        """A value with its unit; for a missing one, why."""
        if isinstance(value, Missing):
            return self.of("reason", value.reason.value)
        unit = QUANTITIES[quantity].unit if quantity in QUANTITIES else None
        if unit is SECOND and not isinstance(value, str):
            return self.long(value)
        if unit is BYTE and not isinstance(value, str):
            return _bytes(value)
        return in_words(value, quantity, translator(self.language))

    def limit(self, expects: str) -> str:
        """A limit as the rule has it, in the reader's language; empty where the value says it all."""
        return limit_in_words(expects, self.say)

    def long(self, seconds: float) -> str:
        """A span that may be of days."""
        if seconds < _DAY_S:
            return self.span(seconds)
        return self.say("{d} d {h} h").format(d=int(seconds // _DAY_S), h=int(seconds % _DAY_S // 3600))

    def part(self, series: Series) -> str:
        """Which disk, phase or probe."""
        return series.label or series.instance

    def age(self, column: ProbeReadings) -> str:
        """How old a column is."""
        return self.long(column.age_s)

    # ---- people ----

    def person(self, name: str) -> Person | None:
        """Somebody of contacts.yml."""
        return next((one for one in self.snapshot.configuration.contacts.people if one.person == name), None)

    def name(self, name: str) -> str:
        """What somebody is called; the bare name of somebody who left."""
        known = self.person(name)
        return known.name if known else name

    def who(self, by: str) -> str:
        """`person:NAME`, `agent:NAME`, `clock` or `collector` in words."""
        kind, _, name = by.partition(":")
        if kind == "person":
            return self.name(name)
        if kind == "agent":
            return self.say("agent {agent}").format(agent=name)
        return self.say("the clock") if by == "clock" else self.say("the collector")

    def told(self, step: ScheduledRung, device: str) -> tuple[str, ...]:
        """Who would be told if this step were decided at its time."""
        ladders = (one for one in self.snapshot.configuration.ladders.ladders if one.ladder == step.ladder)
        ladder = next(ladders, None)
        rung = next((one for one in ladder.rungs if one.rung == step.rung), None) if ladder else None
        if ladder is None or rung is None:
            return ()
        at = max(step.due_at, self.now)
        people = audience(rung, ladder, self.snapshot.configuration, self.snapshot.owner(device), at).people
        return tuple(person.name for person in people)


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000:  # noqa: PLR2004 -- the step between these units
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} PB"


def ticking(seconds: float) -> str:
    """`9:05`, `1:04:03`, `2 d 1:04:03`; the same as static/watch.js writes."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, _DAY_S)
    hours, rest = divmod(rest, 3600)
    minutes, second = divmod(rest, 60)
    text = f"{hours}:{minutes:02}:{second:02}" if hours or days else f"{minutes}:{second:02}"
    return f"{days} d {text}" if days else text
