"""Measured durations in messages and on pages. Pure."""

import re

from watchkeeper.collector.notify.i18n import Translate

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_UNITS_S = {"s": 1, "min": _MINUTE_S, "h": _HOUR_S, "d": _DAY_S}
_WRITTEN = re.compile(r"(-?\d+(?:\.\d+)?) (s|min|h|d)")


def duration(seconds: float, say: Translate) -> str:
    """A duration in its two largest units: `4 min`, `3 h 20 min`; below a minute with its decimals. It may be negative."""
    if abs(seconds) < _MINUTE_S:
        return say("{s} s").format(s=f"{seconds:.3g}")
    whole, sign = round(abs(seconds)), "-" if seconds < 0 else ""
    if whole >= _DAY_S:
        text = say("{d} d {h} h").format(d=whole // _DAY_S, h=whole % _DAY_S // _HOUR_S)
    elif whole >= _HOUR_S:
        pattern = say("{h} h {min} min") if whole % _HOUR_S >= _MINUTE_S else say("{h} h")
        text = pattern.format(h=whole // _HOUR_S, min=whole % _HOUR_S // _MINUTE_S)
    else:
        pattern = say("{min} min {s} s") if whole % _MINUTE_S else say("{min} min")
        text = pattern.format(min=whole // _MINUTE_S, s=whole % _MINUTE_S)
    return sign + text


def readable(limit: str, say: Translate) -> str:
    """A limit as the operator wrote it; a duration in the reader's language."""
    written = _WRITTEN.fullmatch(limit)
    return duration(float(written[1]) * _UNITS_S[written[2]], say) if written else limit
