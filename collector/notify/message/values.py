"""Values, limits, times and durations in the reader's language. Pure."""

import datetime
import re

from watchkeeper.collector.notify.i18n import Translate, marked
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.event import EVENT_QUANTITY
from watchkeeper.model.quantity import QUANTITIES, SECOND
from watchkeeper.model.reading import Missing, Value
from watchkeeper.model.verdict import Companion

LEVELS = {
    "ok": marked("ok"),
    "warning": marked("warning"),
    "critical": marked("critical"),
    "unknown": marked("unknown"),
}
LIMITS = {
    "above": marked("above"),
    "below": marked("below"),
    "outside": marked("outside"),
    "missing": marked("missing"),
}
STATE_LABELS = {
    ("device.answering", "yes"): marked("reachable"),
    ("device.answering", "no"): marked("unreachable"),
    ("breaker.state", "closed"): marked("closed (on)"),
    ("breaker.state", "open"): marked("open (off)"),
    ("contact.state", "closed"): marked("closed circuit"),
    ("contact.state", "open"): marked("open circuit"),
    ("battery.test", "running"): marked("in progress"),
    ("agent.heard", "yes"): marked("received"),
    ("agent.heard", "no"): marked("no data"),
    ("agent.pushes", "set-aside"): marked("set aside"),
    ("collector.configuration", "in-force"): marked("in force"),
    ("collector.configuration", "older"): marked("older than what is in force"),
    ("collector.configuration", "differs"): marked("differs from what is in force"),
    ("collector.configuration", "invalid"): marked("has errors"),
    ("collector.configuration", "unusable"): marked("what is in force cannot be used"),
    ("collector.heard", "yes"): marked("at work"),
    ("collector.heard", "no"): marked("not at work"),
}
"""(quantity, state) -> label, where the name of the state alone is not clear, or has another word in Chinese."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_UNITS_S = {"s": 1, "min": _MINUTE_S, "h": _HOUR_S, "d": _DAY_S}
_WRITTEN = re.compile(r"(-?\d+(?:\.\d+)?) (s|min|h|d)")


# ---- things ----


def title_of(incident: Incident, snapshot: Snapshot, say: Translate) -> str:
    """The rule's title in the reader's language, with the instance's label; the rule's name if the rule is gone."""
    rule = snapshot.rules.named(incident.rule)
    return _with_part(say(rule.title) if rule else incident.rule, incident, say)


def quantity_of(incident: Incident, say: Translate) -> str:
    """What was measured, with the instance's label."""
    return _with_part(quantity_title(incident.evidence.quantity, say), incident, say)


def quantity_title(name: str, say: Translate) -> str:
    """The title of a quantity; its name if the catalogue does not have it."""
    return say(QUANTITIES[name].title) if name in QUANTITIES else name


def _with_part(title: str, incident: Incident, say: Translate) -> str:
    part = label_text(incident.evidence.quantity, incident.evidence.label, say) or incident.instance
    return f"{title} ({part})" if part else title


def label_text(quantity: str, label: str, say: Translate) -> str:
    """The label of a series. That of an event is a sentence of ours; any other is a name that the device gives."""
    return say(label) if quantity == EVENT_QUANTITY else label


# ---- values ----


def companion_text(companion: Companion, say: Translate) -> str:
    """A reading by which the rule's limit counts, or does not count any more."""
    name = quantity_title(companion.quantity, say)
    value = format_value(companion.value, companion.quantity, say)
    what = say("{name}: {value}").format(name=f"{name} ({companion.label})" if companion.label else name, value=value)
    if companion.holds:
        return say("At the same time: {what}").format(what=what)
    return say("The limit no longer counts: {what}").format(what=what)


def format_limit(expects: str, say: Translate) -> str:
    """A rule's limit in the reader's language. Empty for `is`: there the value alone is clear."""
    word, _, rest = expects.partition(" ")
    return "" if word == "is" else f"{say(LIMITS.get(word, word))} {readable(rest, say)}".strip()


def format_value(value: Value, quantity: str, say: Translate) -> str:
    """A value with its unit, the label of a state, or the reason why there is no value."""
    if isinstance(value, Missing):
        return say("no reading: {reason}").format(reason=say(value.detail or value.reason.value))
    if isinstance(value, str):
        return say(STATE_LABELS.get((quantity, value), value))
    unit = QUANTITIES[quantity].unit if quantity in QUANTITIES else None
    if unit is SECOND:
        return duration(value, say)
    number = f"{value:.0f}" if abs(value) >= 100 and value == int(value) else f"{value:.1f}".removesuffix(".0")  # noqa: PLR2004 -- three digits are enough
    return f"{number} {unit.symbol if unit else ''}".strip()


def duration(seconds: float, say: Translate) -> str:
    """A measured duration: fractions below ten seconds count (a response time), and it may be negative (a certificate that
    has expired)."""
    if seconds < 0:
        return f"-{duration(-seconds, say)}"
    if seconds < 10 and seconds != int(seconds):  # noqa: PLR2004 -- from ten seconds on, fractions tell nothing
        return say("{s} s").format(s=f"{seconds:.2g}")
    return span(seconds, say)


def readable(limit: str, say: Translate) -> str:
    """A limit as the operator wrote it; a duration in the reader's language."""
    written = _WRITTEN.fullmatch(limit)
    return duration(float(written[1]) * _UNITS_S[written[2]], say) if written else limit


# ---- times ----


def span(seconds: float, say: Translate) -> str:
    """A duration in its two largest units, without the second one if it is 0: `4 min`, `1 h 5 min`, `2 d 3 h`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return say("{s} s").format(s=whole)
    if whole < _HOUR_S:
        form = say("{min} min {s} s") if whole % _MINUTE_S else say("{min} min")
    elif whole < _DAY_S:
        form = say("{h} h {min} min") if whole % _HOUR_S >= _MINUTE_S else say("{h} h")
    else:
        form = say("{d} d {h} h") if whole % _DAY_S >= _HOUR_S else say("{d} d")
    if whole >= _DAY_S:
        return form.format(d=whole // _DAY_S, h=whole % _DAY_S // _HOUR_S)
    return form.format(h=whole // _HOUR_S, min=whole % _HOUR_S // _MINUTE_S, s=whole % _MINUTE_S)


def clock_time(at: float, snapshot: Snapshot) -> str:
    """A UTC time in the site's timezone: `2026-11-21 03:00:07`."""
    zone = snapshot.configuration.inventory.site.timezone
    return datetime.datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def short_time(at: float, now: float, snapshot: Snapshot) -> str:
    """A UTC time in the site's timezone, without the date if it is that of `now`: `03:00:07`."""
    text = clock_time(at, snapshot)
    return text[11:] if text[:10] == clock_time(now, snapshot)[:10] else text
