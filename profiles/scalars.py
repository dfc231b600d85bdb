"""The scalars of a profile: object identifiers, raw units, ranges, markers. A parser raises ValueError with a
sentence."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NewType

from watchkeeper.model.pattern import checked_pattern
from watchkeeper.profiles.labels import KINDS

Oid = NewType("Oid", str)
"""A numeric object identifier without a leading dot: `1.3.6.1.2.1.1.3.0`."""

Pattern = NewType("Pattern", re.Pattern[str])
"""A regular expression."""

Factor = NewType("Factor", Fraction)
"""A factor for a raw value."""

Marker = NewType("Marker", str)
"""A raw value that means "not available"."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference: to the object `oid`, which in a table is another column of the same row; or, with an empty `oid`, to
    the row's index. `arcs` takes only the first (or, if negative, the last) so many numbers of the index; 0 means one
    object for all rows, outside the table."""

    oid: str
    arcs: int | None = None

    def row(self, index: str) -> str:
        """The part of the row's index that `arcs` takes."""
        if self.arcs is None:
            return index
        if not self.arcs:
            return ""
        parts = index.split(".")
        return ".".join(parts[: self.arcs] if self.arcs > 0 else parts[self.arcs :])

    def name(self, index: str) -> str:
        """The object's identifier in that row; outside tables `index` is empty."""
        row = self.row(index)
        return f"{self.oid}.{row}" if row else self.oid


@dataclass(frozen=True, slots=True)
class Template:
    """A text with placeholders: `{index}` is the row's index, `{OID}` the text of that column in the row (or of that
    object outside tables). With `:2` or `:-1` after them, only the first two numbers or the last number of the index
    count."""

    text: str

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The references of its placeholders."""
        return tuple(ref(found) for found in _PLACEHOLDER.findall(self.text))

    def fill(self, text_of_ref: Callable[[Ref], str]) -> str:
        """The text with each placeholder replaced, and with single spaces between words."""
        return " ".join(_PLACEHOLDER.sub(lambda found: text_of_ref(ref(found[1])), self.text).split())


@dataclass(frozen=True, slots=True)
class Register:
    """A value of a Modbus device: its table, its address (counted from 0), and its coding."""

    table: str
    address: int
    kind: str
    swapped: bool = False

    @property
    def name(self) -> str:
        """What it is called in an answer, as it is written in a profile."""
        kind = "" if self.kind == "bit" else f" {self.kind}"
        return f"{self.table} {self.address}{kind}{' swapped' if self.swapped else ''}"


@dataclass(frozen=True, slots=True)
class Comparand:
    """The right side of a comparison: a number, or the object at `ref`, whose raw value is the number. `speaks` is the
    probe that can read the object, and `register` is the object for Modbus."""

    number: float = 0.0
    ref: Ref | None = None
    speaks: str = ""
    register: Register | None = None


NOTHING, INDEX = Template(""), Template("{index}")

_REF = re.compile(r"(index|\d+(?:\.\d+)+)(?::(-?\d{1,2}))?", re.ASCII)
_PLACEHOLDER = re.compile(r"\{((?:index|\d+(?:\.\d+)+)(?::-?\d{1,2})?)\}", re.ASCII)
_ROOT_WORD = re.compile(r"(?:^|(?<=\{))ROOT(?=[.:}]|$)")

_REGISTER = re.compile(
    r"(?:(holding|input) (\d{1,5}) (u?int(?:16|32|64)|float(?:32|64))|(coil|discrete) (\d{1,5}))( swapped)?", re.ASCII
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[-+]?(?:\d+,(?:\d{1,2}|\d{4,})|0,\d+)", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
_RANGE = re.compile(r"\s*([-+]?[\d.]+)\s*\.\.\s*([-+]?[\d.]+)\s*(\S*)\s*", re.ASCII)
_RAW_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(\S.*?)?\s*", re.ASCII)

# Unit as written -> (symbol in model.quantity, factor, offset added after the factor)
_RAW_UNITS: dict[str, tuple[str, Fraction, Fraction]] = {
    written: (symbol, Fraction(factor), Fraction(0))
    for symbol, spellings in {
        "": {"": "1"},
        "%": {"%": "1"},
        "°C": {"°C": "1"},
        "V": {"V": "1", "mV": "1/1000", "kV": "1000"},
        "A": {"A": "1", "mA": "1/1000"},
        "W": {"W": "1", "mW": "1/1000", "kW": "1000", "MW": "1000000"},
        "VA": {"VA": "1", "kVA": "1000"},
        "kWh": {"kWh": "1", "Wh": "1/1000", "mWh": "1/1000000", "MWh": "1000", "J": "1/3600000"},
        "kVAh": {"kVAh": "1", "VAh": "1/1000"},
        "Hz": {"Hz": "1", "mHz": "1/1000"},
        "s": {"s": "1", "ms": "1/1000", "min": "60", "h": "3600", "d": "86400"},
        "B": {"B": "1", "kB": "1000", "KiB": "1024", "MB": "1000000", "MiB": "1048576", "GiB": "1073741824"},
        "B/s": {"B/s": "1"},
        "1/s": {"1/s": "1"},
        "rpm": {"rpm": "1"},
        "Ah": {"Ah": "1", "mAh": "1/1000"},
        "var": {"var": "1", "kvar": "1000"},
        "Ω": {"Ω": "1", "mΩ": "1/1000", "µΩ": "1/1000000"},
        "Pa": {"Pa": "1", "hPa": "100", "kPa": "1000", "bar": "100000", "mbar": "100", "psi": "6894757/1000"},
        "l/min": {"l/min": "1", "l/s": "60", "l/h": "1/60", "kl/h": "1000/60", "gpm": "3785411784/1000000000"},
        "m³/h": {"m³/h": "1", "m³/min": "60", "m³/s": "3600", "cfm": "1699010796/1000000000", "l/s air": "36/10"},
        "m/s": {"m/s": "1", "m/min": "1/60"},
        "dB": {"dB": "1"},
        "lx": {"lx": "1"},
    }.items()
    for written, factor in spellings.items()
}
_RAW_UNITS["K"] = ("°C", Fraction(1), Fraction(-27315, 100))
_RAW_UNITS["°F"] = ("°C", Fraction(5, 9), Fraction(-160, 9))


@dataclass(frozen=True, slots=True)
class RawUnit:
    """What one step of a raw value is worth: value = raw * multiply / divide + offset, in the unit `dimension`. It
    divides because 233 / 10 is 23.3, but 233 * 0.1 is not."""

    text: str
    dimension: str
    multiply: int
    divide: int
    offset: float


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both included, in the unit with this symbol."""

    low: float
    high: float
    unit: str


def oid(text: str) -> Oid:
    """Parse an object identifier: `1.3.6.1`, every number below 2^32."""
    if not re.fullmatch(r"\d+(\.\d+)+", text, re.ASCII) or any(int(arc) >= 2**32 for arc in text.split(".")):
        raise ValueError(f"`{text}` is not a numeric object identifier; write it like `1.3.6.1.2.1.1.3.0`")
    return Oid(text)


def raw_unit(text: str) -> RawUnit:
    """Parse a raw unit: `0.1 V`, `1 min`, `0.1 °F`; `1` for a plain number."""
    match = _RAW_UNIT.fullmatch(text)
    if not match or not float(match[1]):
        raise ValueError(f"`{text}` is not a raw unit; write what one step is worth, like `0.1 V` or `1 min`")
    unit = match[2] or ""
    if unit not in _RAW_UNITS:
        raise ValueError(f"`{unit}` is no unit known here; known: {', '.join(filter(None, _RAW_UNITS))}")
    symbol, factor, offset = _RAW_UNITS[unit]
    step = Fraction(match[1]) * factor
    return RawUnit(text, symbol, step.numerator, step.denominator, float(offset))


def number_in(text: str) -> float | None:
    """The number that a device writes as this text, or None. A comma may stand for the point, but `1,234` is none: it
    may be a thousand."""
    if "," in text and _DECIMAL_COMMA.fullmatch(text.strip()):
        text = text.replace(",", ".")
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def between(text: str) -> Range:
    """Parse a range: `-40 .. 85 °C`."""
    match = _RANGE.fullmatch(text)
    try:
        low, high = (float(match[1]), float(match[2])) if match else (1.0, 0.0)
    except ValueError:
        low, high = 1.0, 0.0
    if not match or low >= high:
        raise ValueError(f"`{text}` is not a range; write it like `-40 .. 85 °C`")
    return Range(low, high, match[3])


def pattern(text: str) -> Pattern:
    """Parse a regular expression, or the name of a kind of contact: `$leak` (profiles.labels)."""
    if text.startswith("$"):
        if text[1:] not in KINDS:
            raise ValueError(f"`{text}` is no kind of contact; known: {', '.join('$' + kind for kind in KINDS)}")
        return Pattern(KINDS[text[1:]])
    return Pattern(checked_pattern(text))


def ref(text: str) -> Ref:
    """Parse a reference: `1.3.6.1.4.1.9.1.2` or `index`, either of them with or without `:1`, `:-1` or `:0` after it. An
    identifier that ends in `.0` is no column: it is one object for all rows, also without `:0`."""
    match = _REF.fullmatch(text)
    if not match or text == "index:0":
        raise ValueError(
            f"`{text}` is neither a numeric object identifier nor `index`; either may end with `:1`, `:-1` or `:0`"
        )
    name, arcs = "" if match[1] == "index" else oid(match[1]), None if match[2] is None else int(match[2])
    return Ref(name, 0 if arcs is None and name.endswith(".0") else arcs)


def comparand(text: str) -> Comparand:
    """Parse the right side of a comparison: a number, an object identifier (two dots or more), a Modbus register or a
    NUT variable."""
    if _NUMBER.fullmatch(text):
        return Comparand(float(text))
    if _REF.fullmatch(text):
        return Comparand(ref=ref(text), speaks="snmp")
    if _REGISTER.fullmatch(text):
        return Comparand(ref=Ref(register(text).name, 0), speaks="modbus", register=register(text))
    if _VARIABLE.fullmatch(text):
        return Comparand(ref=Ref(text, 0), speaks="nut")
    raise ValueError(f"`{text}` is neither a number nor an object; write it like `90` or `1.3.6.1.2.1.33.1.3.2.0`")


def factor(text: str) -> Factor:
    """Parse a factor: `0.01`, `1/60` or `1000`."""
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        raise ValueError(f"`{text}` is not a factor; write it like `0.01`, `1000` or `1/60`")
    return Factor(number)


def register(text: str) -> Register:
    """Parse a Modbus register: `holding 40 uint16`, `input 12 float32 swapped`, `coil 3`, `discrete 7`. Addresses count
    from 0, as in the protocol."""
    match = _REGISTER.fullmatch(text.strip())
    if not match or int(match[2] or match[5]) > 0xFFFF:  # noqa: PLR2004 -- 16 bits
        raise ValueError(
            f"`{text}` is not a register; write it like `holding 40 uint16`, `input 12 float32 swapped` or `coil 3`"
        )
    if match[4]:
        return Register(match[4], int(match[5]), "bit")
    return Register(match[1], int(match[2]), match[3], match[6] is not None)


def scalars(root: str | None = None) -> Mapping[Any, Callable[[str], Any]]:
    """The parsers of a profile's scalars. `ROOT` at the start of an identifier is replaced by `root`; without one it is
    a mistake."""

    def with_root(text: str) -> str:
        if root is None and _ROOT_WORD.search(text):
            raise ValueError(f"`{text}` needs `root`, the identifier that ROOT stands for; add it to the profile")
        return _ROOT_WORD.sub(root or "", text)

    return MappingProxyType(
        {
            Oid: lambda text: oid(with_root(text)),
            RawUnit: raw_unit,
            Range: between,
            Pattern: pattern,
            Marker: str,
            Template: lambda text: Template(with_root(text)),
            Ref: lambda text: ref(with_root(text)),
            Factor: factor,
            Comparand: lambda text: comparand(with_root(text)),
            Register: register,
        }
    )


SCALARS = scalars()
