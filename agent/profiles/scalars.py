"""The words of a profile: object identifiers, raw units, ranges, markers. Parsers raise ValueError with a sentence."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NewType

Oid = NewType("Oid", str)
"""A numeric object identifier without a leading dot: `1.3.6.1.2.1.1.3.0`."""

Pattern = NewType("Pattern", re.Pattern[str])
"""A regular expression."""

Marker = NewType("Marker", str)
"""A raw value by which a device says "not available"."""

Template = NewType("Template", str)
"""Text with `{index}` (the row's index) and `{OID}` (the text that column has in the row)."""

INDEX, NOTHING = Template("{index}"), Template("")
PLACEHOLDER = re.compile(r"\{(index|\d+(?:\.\d+)+)\}")

_RANGE = re.compile(r"\s*([-+]?[\d.]+)\s*\.\.\s*([-+]?[\d.]+)\s*(\S*)\s*", re.ASCII)
_STEP = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(\S*)\s*", re.ASCII)

# Unit as written -> (the symbol of model.quantity it becomes, factor, offset added after the factor)
_UNITS: dict[str, tuple[str, Fraction, Fraction]] = {
    written: (symbol, Fraction(factor), Fraction(0))
    for symbol, spellings in {
        "": {"": "1"},
        "%": {"%": "1"},
        "°C": {"°C": "1"},
        "V": {"V": "1", "mV": "1/1000", "kV": "1000"},
        "A": {"A": "1", "mA": "1/1000"},
        "W": {"W": "1", "kW": "1000"},
        "VA": {"VA": "1", "kVA": "1000"},
        "kWh": {"kWh": "1", "Wh": "1/1000", "MWh": "1000", "J": "1/3600000"},
        "Hz": {"Hz": "1"},
        "s": {"s": "1", "ms": "1/1000", "min": "60", "h": "3600", "d": "86400"},
        "B": {"B": "1", "kB": "1000", "KiB": "1024", "MB": "1000000", "MiB": "1048576", "GiB": "1073741824"},
        "B/s": {"B/s": "1"},
        "1/s": {"1/s": "1"},
        "rpm": {"rpm": "1"},
        "Pa": {"Pa": "1", "hPa": "100", "kPa": "1000", "bar": "100000"},
        "l/s": {"l/s": "1", "l/min": "1/60", "m³/h": "10/36"},
    }.items()
    for written, factor in spellings.items()
}
_UNITS["K"] = ("°C", Fraction(1), Fraction(-27315, 100))
_UNITS["°F"] = ("°C", Fraction(5, 9), Fraction(-160, 9))


@dataclass(frozen=True, slots=True)
class RawUnit:
    """What one step of a raw value is worth: value = raw * multiply / divide + offset, in the unit called `dimension`.
    A division, because 233 / 10 is 23.3 and 233 * 0.1 is not."""

    text: str
    dimension: str
    multiply: int
    divide: int
    offset: float


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both allowed, in the unit with this symbol."""

    low: float
    high: float
    unit: str


def oid(text: str) -> Oid:
    """`1.3.6.1` with every number below 2^32."""
    if not re.fullmatch(r"\d+(\.\d+)+", text, re.ASCII) or any(int(arc) >= 2**32 for arc in text.split(".")):
        raise ValueError(f"`{text}` is not a numeric object identifier; write it like `1.3.6.1.2.1.1.3.0`")
    return Oid(text)


def raw_unit(text: str) -> RawUnit:
    """`0.1 V`, `1 min`, `0.1 °F`; `1` for a plain number."""
    match = _STEP.fullmatch(text)
    if not match or not float(match[1]):
        raise ValueError(f"`{text}` is not a raw unit; write what one step is worth, like `0.1 V` or `1 min`")
    if match[2] not in _UNITS:
        raise ValueError(f"`{match[2]}` is no unit known here; known: {', '.join(filter(None, _UNITS))}")
    symbol, factor, offset = _UNITS[match[2]]
    step = Fraction(match[1]) * factor
    return RawUnit(text, symbol, step.numerator, step.denominator, float(offset))


def between(text: str) -> Range:
    """`-40 .. 85 °C`."""
    match = _RANGE.fullmatch(text)
    try:
        low, high = (float(match[1]), float(match[2])) if match else (1.0, 0.0)
    except ValueError:
        low, high = 1.0, 0.0
    if not match or low >= high:
        raise ValueError(f"`{text}` is not a range; write it like `-40 .. 85 °C`")
    return Range(low, high, match[3])


def pattern(text: str) -> Pattern:
    """A regular expression."""
    try:
        return Pattern(re.compile(text))
    except re.error as error:
        raise ValueError(f"`{text}` is not a regular expression: {error}") from None


SCALARS: Mapping[Any, Callable[[str], Any]] = MappingProxyType(
    {Oid: oid, RawUnit: raw_unit, Range: between, Pattern: pattern, Marker: str, Template: str}
)
