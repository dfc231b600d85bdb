"""How pages format things: texts in the reader's language, times in the site's timezone, values with their unit."""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from watchkeeper.collector.notify.i18n import marked, translator
from watchkeeper.collector.notify.message.values import (
    LEVELS,
    clock_time,
    companion_text,
    format_limit,
    format_value,
    label_text,
    span,
    title_of,
)
from watchkeeper.collector.policy.hold import Hold
from watchkeeper.collector.policy.incidents import Incident, Transition, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.roster import audience
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.read.devices import ProbeReadings
from watchkeeper.collector.site.inventory import Language
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.habit import HABITS, words_of
from watchkeeper.model.quantity import BYTE, QUANTITIES
from watchkeeper.model.reading import Missing, Series, Value
from watchkeeper.model.verdict import Companion

REASONS = {
    "timeout": marked("timeout"),
    "unreachable": marked("network unreachable"),
    "refused": marked("access refused"),
    "absent": marked("not present"),
    "malformed": marked("invalid response"),
    "implausible": marked("implausible value"),
    "warming-up": marked("first sample, waiting for the second"),
    "hung": marked("no response (hung)"),
    "fault": marked("error in the probe"),
}
TRANSITIONS = {
    "opened": marked("Fault began"),
    "reopened": marked("Fault recurred"),
    "risen": marked("Became critical"),
    "eased": marked("Dropped to warning"),
    "unseen": marked("Can no longer be judged"),
    "acknowledged": marked("Acknowledged"),
    "escalated": marked("Escalated by hand"),
    "taken-over": marked("Taken over"),
    "on-site": marked("On site"),
    "commented": marked("Comment"),
    "vendor": marked("Handed to the vendor"),
    "resolved": marked("Resolved"),
    "withdrawn": marked("Withdrawn"),
}
JOINED = {
    "first": marked("began the trouble"),
    "explained": marked("explained by another fault"),
    "device": marked("same device, same time"),
    "place": marked("same place, same time"),
}
HOLDS = {
    "ended": marked("the trouble is over"),
    "quiet": marked("no fault is there now"),
    "acknowledged": marked("stopped by the acknowledgement"),
    "backlog": marked("on hold until {time}: the agent still sends earlier events"),
    "parent": marked("on hold until {time}: what it depends on is read again"),
    "awaited": marked("on hold until {time}: the agent must report first what is still there"),
}
STATES = {
    "open": marked("unresolved"),
    "resolved": marked("resolved"),
    "withdrawn": marked("withdrawn"),
    "merged": marked("part of another trouble"),
    "pending": marked("not delivered yet"),
    "delivered": marked("delivered"),
    "given-up": marked("delivery failed"),
}
PROOFS = {
    "handed-over": marked("handed over"),
    "accepted": marked("accepted by the service"),
    "delivered": marked("delivered"),
    "read": marked("read"),
}
BREAKERS = {
    "closed": marked("in use"),
    "open": marked("left out: it fails"),
    "half-open": marked("being tried again"),
}
NOTICES = {
    "page": marked("Notification"),
    "risen": marked("Notification: became critical"),
    "returned": marked("Notification: came back"),
    "flapping": marked("Notification: comes and goes"),
    "on-site": marked("Notification: asked to be on site"),
    "taken-over": marked("Notification: taken over"),
    "mentioned": marked("Notification: mentioned"),
    "passed": marked("Notification: cleared before notification"),
    "recovered": marked("Notification: recovered"),
    "withdrawn": marked("Notification: withdrawn"),
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
FACTS = {
    "profile": marked("Profile"),
    "why": marked("Why this profile"),
    "transport": marked("Transport"),
    "excess": marked("Readings"),
}
HOW = {"start": marked("at a start"), "change": marked("files changed"), "command": marked("by command")}
_LABELS: Mapping[str, Mapping[str, str]] = {
    "level": LEVELS, "reason": REASONS, "transition": TRANSITIONS, "state": STATES, "notice": NOTICES,
    "proof": PROOFS, "breaker": BREAKERS, "joined": JOINED, "category": CATEGORIES, "lane": LANES, "fact": FACTS,
    "how": HOW,
}  # fmt: skip
NO_BREAK = "\N{NO-BREAK SPACE}"
_DAY_S = 86_400
_PLACE = re.compile(r"[^ ]*?:\d+:\d+: ")  # model.errors.Problem as text


@dataclass(frozen=True, slots=True)
class Formatter:
    """Formats what one page shows at one moment: `now` is UTC seconds."""

    language: Language
    snapshot: Snapshot
    now: float

    def say(self, text: str) -> str:
        """An English text in the reader's language."""
        return translator(self.language)(text) if text else ""

    def label(self, sort: str, name: str) -> str:
        """The label of a name of ours: a level, a reason, a transition, a state ... An unknown name is shown as it is."""
        return self.say(_LABELS[sort].get(name, name))

    # ---- times ----

    def moment(self, at: float) -> Markup:
        """A time of day in the site's timezone; with the date if it is not today, with the offset if it is not the present
        one."""
        text = clock_time(at, self.snapshot)
        if text[:10] == clock_time(self.now, self.snapshot)[:10]:
            text = text[11:]
        if self.offset(at) != self.offset(self.now):
            text += f" {self.offset(at)}"
        return Markup('<time datetime="{}">{}</time>').format(self._local(at).isoformat(timespec="seconds"), text)

    def clock(self) -> str:
        """The date, the time and the offset of the page."""
        return f"{clock_time(self.now, self.snapshot)} {self.offset(self.now)}"

    def offset(self, at: float) -> str:
        """`UTC+08:00`."""
        offset = self._local(at).strftime("%z")
        return f"UTC{offset[:3]}:{offset[3:5]}"

    def _local(self, at: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(at, self.snapshot.configuration.inventory.site.timezone)

    def span(self, seconds: float) -> Markup:
        """A duration, such as `5 min 3 s` or `2 d 3 h`."""
        return token(span(seconds, translator(self.language)))

    def left(self, due_at: float) -> Markup:
        """The time left until then, as a timer that static/watch.js keeps running."""
        return Markup('<b class="timer" data-until="{}">{}</b>').format(f"{due_at:.0f}", timer_text(due_at - self.now))

    def passed(self, since: float) -> Markup:
        """The time since then, as a timer that keeps running."""
        return Markup('<b class="timer" data-since="{}">{}</b>').format(f"{since:.0f}", timer_text(self.now - since))

    def hold(self, hold: Hold) -> str:
        """Why no rung is decided now."""
        text = self.say(HOLDS[hold.reason.value])
        return text if hold.until is None else text.format(time=clock_time(hold.until, self.snapshot)[11:])

    # ---- things ----

    def title(self, incident: Incident) -> str:
        """The incident's title."""
        return title_of(incident, self.snapshot, translator(self.language))

    def rule_title(self, rule: str) -> str:
        """The title of a rule; its name if the rule is gone."""
        known = self.snapshot.rules.named(rule)
        return self.say(known.title) if known else rule

    def place(self, device: str) -> str:
        """Where a device is."""
        known = self.snapshot.device(device)
        return known.location if known else ""

    def news(self, trouble: Trouble, cause: Incident) -> str:
        """A trouble in one sentence, for a screen reader that reads what has changed."""
        if not trouble.open:
            state = self.label("state", trouble.state.value)
        else:
            state = self.say("no fault now") if trouble.quiet else self.label("level", trouble.level.value)
        parts = [state, self.title(cause), cause.device]
        if trouble.acknowledged_by:
            parts.append(self.say("acknowledged by {name}").format(name=self.name(trouble.acknowledged_by)))
        if trouble.on_site_by:
            parts.append(self.say("{name} is on site").format(name=self.name(trouble.on_site_by)))
        return ", ".join(parts)

    def habits(self, readings: ProbeReadings) -> list[str]:
        """How the device answers otherwise than its protocol's standard says, a sentence each."""
        sources = (one.source for one in readings.series if one.quantity == "device.answering")
        words = words_of(next(sources, ""))
        return [self.say(HABITS.get(name, name)).replace("{value}", value) for name, value in words]

    def fact(self, text: str) -> str:
        """A fact about a probe: its sentences, separated by `; `."""
        return "; ".join(map(self.say, text.split("; ")))

    def problems(self, text: str) -> str:
        """The mistakes in the configuration, each a line that begins with its place."""
        return "\n".join(map(self._problem, text.split("\n")))

    def _problem(self, line: str) -> str:
        place = _PLACE.match(line)
        return place[0] + self.say(line[place.end() :]) if place else self.say(line)

    def note(self, event: Transition) -> str:
        """The note of a transition. A person's own words stay as they are; the note of an escalation begins with its rung."""
        if not event.by.startswith("person:"):
            return self.say(event.note)
        if event.kind is not TransitionKind.ESCALATED:
            return event.note
        rung, colon, words = event.note.partition(": ")
        return self.say(rung) + colon + words

    def quantity(self, name: str) -> str:
        """The title of a quantity."""
        return self.say(QUANTITIES[name].title) if name in QUANTITIES else name

    def value(self, value: Value, quantity: str) -> Markup:
        """A value with its unit; for a missing one, the reason."""
        if isinstance(value, Missing):
            return token(self.label("reason", value.reason.value))
        unit = QUANTITIES[quantity].unit if quantity in QUANTITIES else None
        if unit is BYTE and not isinstance(value, str):
            return token(_bytes(value))
        return token(format_value(value, quantity, translator(self.language)))

    def limit(self, expects: str) -> str:
        """A rule's limit in the reader's language; empty where the value alone is clear. A line may end only after its
        first word."""
        word, _, rest = format_limit(expects, self.say).partition(" ")
        return f"{word} {rest.replace(' ', NO_BREAK)}".strip()

    def companion(self, companion: Companion) -> str:
        """A reading by which a rule's limit counts, or does not count any more."""
        return companion_text(companion, self.say)

    def part(self, series: Series) -> str:
        """Which disk, phase or sensor."""
        return label_text(series.quantity, series.label, self.say) or series.instance

    def age(self, column: ProbeReadings) -> Markup:
        """How old the readings of a probe are."""
        return self.span(column.age_s)

    # ---- people ----

    def name(self, person: str) -> str:
        """A person's display name; the key itself if the person is no longer in contacts.yml."""
        people = self.snapshot.configuration.contacts.people
        return next((one.name for one in people if one.person == person), person)

    def who(self, by: str) -> str:
        """Who did something: `person:NAME`, `agent:NAME`, `clock` or `collector`."""
        kind, _, name = by.partition(":")
        if kind == "person":
            return self.name(name)
        if kind == "agent":
            return self.say("agent {agent}").format(agent=name)
        return self.say("automatic") if by == "clock" else self.say("the collector")

    def audience(self, step: ScheduledRung, device: str) -> tuple[str, ...]:
        """The display names of the people whom this step will notify at its time."""
        ladders = (one for one in self.snapshot.configuration.ladders.ladders if one.ladder == step.ladder)
        ladder = next(ladders, None)
        rung = next((one for one in ladder.rungs if one.rung == step.rung), None) if ladder else None
        if ladder is None or rung is None:
            return ()
        at = max(step.due_at, self.now)
        people = audience(rung, ladder, self.snapshot.configuration, self.snapshot.owner(device), at).people
        return tuple(person.name for person in people)


def token(text: str) -> Markup:
    """A text that no line may break: it goes into the next line as a whole (`.token` in static/watch.css)."""
    return Markup('<span class="token">{}</span>').format(text)


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000:  # noqa: PLR2004 -- the step between these units
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} PB"


def timer_text(seconds: float) -> str:
    """`9:05`, `1:04:03`, `2 d 1:04:03`: the format that static/watch.js writes too."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, _DAY_S)
    hours, rest = divmod(rest, 3600)
    minutes, second = divmod(rest, 60)
    text = f"{hours}:{minutes:02}:{second:02}" if hours or days else f"{minutes}:{second:02}"
    return f"{days} d {text}" if days else text
