"""The habits of one device's SNMP agent that differ from the standard (RFC 3416), and what they mean for requests.
Pure."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from watchkeeper.model.device import Device, SnmpVersion

MAX_MUTE = 32  # objects that brought no answer; a device with more has another fault
MAX_ABSENT = 64  # objects that are not asked for alone again
BULK_SILENCES = 2  # tables in a row whose GETBULK gets no answer, although GETNEXT does: one may be a lost datagram
RELEARN_S = 7 * 86_400.0  # after so long all is tried again: a new firmware may have come


@dataclass(frozen=True, slots=True)
class Habits:
    """What was learnt of a device. The defaults are the standard.

    `bulk`: GETBULK gives whole tables. `get`: GET gives objects. `most`: how many objects a request may have (0: no limit
    known). `unsorted`: rows are not in order. `repeats`: after its last row a table begins again. `mute`: objects to which
    the device does not answer at all. `address`: which address of the name answers. `version`: the SNMP version that it
    answers to, if that is another than the inventory's. `since`: when the first of them was learnt, UTC.
    """

    bulk: bool = True
    get: bool = True
    most: int = 0
    unsorted: bool = False
    repeats: bool = False
    mute: tuple[str, ...] = ()
    address: str = ""
    version: str = ""
    since: float = 0.0

    def words(self) -> Iterator[str]:
        """Each habit that differs from the standard, as a word of `model.habit`."""
        if self.version:
            yield f"version={self.version}"
        if self.address:
            yield f"address={self.address}"
        if not self.get:
            yield "no-get"
        if not self.bulk:
            yield "no-getbulk"
        if self.most:
            yield f"most={self.most}"
        if self.unsorted:
            yield "unsorted"
        if self.repeats:
            yield "repeats"
        for name in self.mute:
            yield f"mute={name}"


STANDARD = Habits()
_DEFAULTS = {one.name: one.default for one in fields(Habits)}


@dataclass(slots=True)
class Dialect:
    """The habits of one device as they are now known, and what is known of its answers.

    `get_checked`: whether GET gives objects was once tried. `present`: an object that GET has given. `whole`: answers were
    never cut before this number of objects. `complete_checked`: it was once tried whether what is missing from an answer
    exists. `absent`: objects that were missing from an answer, and do not exist. `has_bulk`: whether SNMP's version has
    GETBULK. `bulk_silences`: how many tables in a row got no answer to it. `mute_asked`: how often one of the mute objects
    was tried again.
    """

    habits: Habits = STANDARD
    get_checked: bool = False
    present: str = ""
    whole: int = 0
    complete_checked: bool = False
    absent: frozenset[str] = frozenset()
    has_bulk: bool = True
    bulk_silences: int = 0
    mute_asked: int = 0

    def learn(self, **changes: Any) -> None:
        """Change the habits."""
        changed = replace(self.habits, **changes)
        if changed != self.habits:
            self.habits = changed

    def try_all_again(self, now_utc: float) -> None:
        """Forget habits that were learnt long ago, except how the device is reached."""
        if self.habits.since and now_utc - self.habits.since > RELEARN_S:
            self.habits = replace(STANDARD, address=self.habits.address, version=self.habits.version)
            self.bulk_silences = 0

    def bulk_was_silent(self) -> None:
        """GETBULK got no answer where GETNEXT did."""
        self.bulk_silences += 1
        if self.bulk_silences >= BULK_SILENCES:
            self.learn(bulk=False)

    def doubts(self, request: Sequence[str], answer: Collection[str]) -> list[str]:
        """Which of the objects that are missing from an answer may exist all the same."""
        missing = [(place, name) for place, name in enumerate(request) if name not in answer]
        doubtful = (name for place, name in missing if not self.complete_checked or place >= self.whole)
        return [name for name in doubtful if name not in self.absent]

    def is_absent(self, names: Iterable[str]) -> None:
        """These objects were asked for alone, and do not exist."""
        if len(self.absent) < MAX_ABSENT:
            self.absent |= frozenset(names)

    def keep_absent(self, asked: Iterable[str]) -> None:
        """Forget the absent objects that nobody asks for any more: thousands of devices would keep them."""
        if self.absent:
            self.absent &= frozenset(asked)

    def never_ask(self, name: str) -> None:
        """The device answers, but never to a request for this object."""
        if len(self.habits.mute) < MAX_MUTE and name not in self.habits.mute:
            self.learn(mute=(*self.habits.mute, name))


def parts_of(habits: Habits, request: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The request, in sizes that the device accepts and without the objects that it never answers."""
    if habits.mute:
        request = [name for name in request if name not in habits.mute]
    size = habits.most or len(request)
    return tuple(tuple(request[start : start + size]) for start in range(0, len(request), size or 1))


def split_all(habits: Habits, requests: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The requests, each in parts that the device accepts. Those that need no change stay the same objects."""
    if not habits.most and not habits.mute:
        return tuple(requests)
    return tuple(part for request in requests for part in parts_of(habits, request))


def by_column(names: Iterable[str]) -> dict[str, list[str]]:
    """The objects, by the object or column that they are instances of."""
    columns: dict[str, list[str]] = {}
    for name in names:
        columns.setdefault(name.rpartition(".")[0], []).append(name)
    return columns


def limit_from(request: Sequence[str], found_alone: Iterable[str]) -> int:
    """How many objects a device answers in one request, if these were left out of the answer and exist: an answer that
    is cut has the first ones."""
    return max(1, min(request.index(name) for name in found_alone))


# ---- kept over a restart ----


def identity(device: Device) -> str:
    """What habits belong to: an address, asked in a certain way. Contains no secret."""
    snmp = device.snmp
    version = snmp.version if snmp else SnmpVersion.V2C
    return f"{device.address} {version} {snmp.answers_from if snmp else ''}".rstrip()


def to_note(habits: Habits, device: Device, read_by: str = "") -> str:
    """The habits as text, and the mark of the profile that gave values (`recognise.mark_of`); empty if there is nothing to
    remember."""
    kept = {name: value for name, value in asdict(habits).items() if value != _DEFAULTS[name] and name != "since"}
    if kept:
        kept["since"] = habits.since
    if read_by:
        kept["read_by"] = read_by
    return json.dumps({"of": identity(device), **kept}) if kept else ""


def mark_in(note: str, device: Device) -> str:
    """The mark of the profile in a note; empty if there is none, or it is of another address."""
    try:
        kept = json.loads(note) if note else {}
        return str(kept.get("read_by", "")) if kept.get("of") == identity(device) else ""
    except (ValueError, AttributeError):
        return ""


def from_note(note: str, device: Device) -> Habits:
    """The habits in a note. STANDARD if it is of another address, or cannot be read."""
    try:
        kept = json.loads(note) if note else {}
        if kept.pop("of", "") != identity(device):
            return STANDARD
        kept.pop("read_by", None)
        kept["mute"] = tuple(kept.get("mute", ()))
        habits = Habits(**kept)
    except (ValueError, TypeError, AttributeError):
        return STANDARD
    right = all(type(getattr(habits, name)) is type(default) for name, default in _DEFAULTS.items())
    return habits if right and all(isinstance(one, str) for one in habits.mute) else STANDARD
