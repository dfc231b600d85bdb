"""Parsers of the values that an operator writes. Each raises ValueError with a sentence for the operator."""

import contextlib
import datetime
import ipaddress
import math
import re
import zoneinfo
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NewType

ClockTime = NewType("ClockTime", datetime.time)
"""A time of day on the site's clock: `08:30`."""

Seconds = NewType("Seconds", float)
"""A duration with its unit: `10 min`."""

Bytes = NewType("Bytes", int)
"""A size with its unit: `64 MB`."""

_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400, "day": 86400, "days": 86400}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_NUMBER_AND_UNIT = re.compile(r"\s*([-+]?(?:\d+(?:\.\d+)?|\.\d+))\s*(\S*)\s*", re.ASCII)
_LARGEST = 1e18  # in any unit: a larger number is a typing mistake
_TRUE, _FALSE = ("yes", "true", "on"), ("no", "false", "off")


def number_and_unit(text: str) -> tuple[float, str]:
    """Split `85 %` into (85.0, "%")."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if not match:
        raise ValueError(f"`{text}` is not a number")
    value = float(match[1])
    if abs(value) > _LARGEST:
        raise ValueError(f"`{text[:20]}...` is too large a number")
    return value, match[2]


def _scaled(text: str, scale: Mapping[str, float], what: str, example: str) -> float:
    try:
        value, unit = number_and_unit(text)
    except ValueError:
        raise ValueError(f"`{text}` is not a {what}; write it like `{example}`") from None
    if unit not in scale:
        if value == 0 and not unit:
            return 0.0
        raise ValueError(f"`{text}` is not a {what}; write it like `{example}` (units: {', '.join(scale)})")
    if value < 0:
        raise ValueError(f"`{text}`: a {what} cannot be negative")
    return value * scale[unit]


def duration_s(text: str) -> float:
    """`10 min` -> 600.0 seconds. A bare number is refused, because its unit is unknown."""
    return _scaled(text, _SECONDS, "duration", "10 min")


def size_bytes(text: str) -> int:
    """`64 MB` -> 64000000 bytes."""
    return int(_scaled(text, _BYTES, "size", "64 MB"))


def _bool(text: str) -> bool:
    word = text.lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"`{text}` is neither yes nor no")


def _int(text: str) -> int:
    if not re.fullmatch(r"[-+]?\d{1,18}", text.strip(), re.ASCII):
        raise ValueError(f"`{text}` is not a whole number")
    return int(text)


def _float(text: str) -> float:
    value, unit = number_and_unit(text)
    if unit:
        raise ValueError(f"`{text}` is not a plain number; remove `{unit}`")
    return value


def finite_float(text: str) -> float:
    """A number as JSON writes it, also with an exponent: `1e-05`."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise ValueError(f"`{text}` is not a finite number")


def _clock_time(text: str) -> datetime.time:
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip(), re.ASCII)
    if not match:
        raise ValueError(f"`{text}` is not a time of day; write it like `08:30`")
    return datetime.time(int(match[1]), int(match[2]))


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"`{text}` is not a date; write it like `2026-11-21`") from None


def _zone(text: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(text.strip())
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"`{text}` is not a time zone; write it like `Asia/Shanghai`") from None


PARSERS: Mapping[Any, Callable[[str], Any]] = MappingProxyType(
    {
        str: str,
        bool: _bool,
        int: _int,
        float: _float,
        ClockTime: _clock_time,
        datetime.date: _date,
        zoneinfo.ZoneInfo: _zone,
        Seconds: duration_s,
        Bytes: size_bytes,
    }
)


def is_loopback(host: str) -> bool:
    """Whether a host (name or address) is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
