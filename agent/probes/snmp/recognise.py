"""Which profile a device is read by: its system group, the enterprises that it answers, and what each profile that may
fit would read there.

All of it happens once for a device. Each step is bounded, so a device with 100,000 objects costs a few hundred requests
at most; the answers are kept only until the profile is chosen.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2s
from itertools import takewhile
from sys import intern
from types import MappingProxyType

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.requests import walk_table
from watchkeeper.agent.probes.snmp.engine import EngineBroken, next_object
from watchkeeper.agent.probes.snmp.plan import LONGEST_LABEL, DeviceReader, find_layers
from watchkeeper.model.device import Category, Device, SnmpVersion
from watchkeeper.model.reading import Missing
from watchkeeper.model.text import marked
from watchkeeper.profiles import Profile, Profiles
from watchkeeper.profiles.decode import DecodeStep, Raw, decode, raw_text
from watchkeeper.profiles.recognise import (
    BY_SYS_OBJECT_ID,
    ENTERPRISES,
    Candidate,
    SystemGroup,
    choose,
    enterprise_of,
    is_below,
)

SYS_DESCR, SYS_OBJECT_ID = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"
ENTERPRISE_ARC = 6  # the place of the maker's number in an identifier
MOST_ENTERPRISES = 40  # devices have one to five
FIRST_ROWS, FIRST_ROWS_V1 = 400, 100  # of an enterprise, read in order; SNMPv1 sends each alone
ROWS_OF_A_COLUMN = 8  # of each column beyond them
MOST_COLUMNS = 200
MOST_COMPARED = 6  # profiles whose readings are counted
LAST_ARC = 2**31 - 1  # a larger number is a negative one for some agents

KEPT = "it gave values before; now no object of any maker gives one"
"""Why a profile stays: a management card that lost its UPS is not an ordinary computer."""

ALL_VALUES = (
    1 << 30
)  # more than any standard MIB: nothing is read in place of a profile that gives no value for a while

UPS_MIB, HOST_RESOURCES = "1.3.6.1.2.1.33.1", "1.3.6.1.2.1.25"
COMPUTERS = frozenset({Category.SERVER, Category.STORAGE, Category.NETWORK})
HOST_MIBS = frozenset({"host-resources", "if-mib"})
"""These describe the computer that answers. In a UPS this is its management card, whose disks and ports are nobody's
business; so they are read only of computers and network devices, or if nothing else is there."""
STANDARD_MIBS: Mapping[str, tuple[str, Collection[Category]]] = MappingProxyType(
    {
        "ups-mib": (UPS_MIB, {Category.UPS}),
        "entity-sensor": ("1.3.6.1.2.1.99.1", frozenset(Category)),
        "host-resources": (HOST_RESOURCES, COMPUTERS),
        "if-mib": ("1.3.6.1.2.1.2.2", COMPUTERS),
    }
)
"""Profiles of standard MIBs that are read beside a maker's: their subtrees, and the categories of which they always say
something. A rectifier that answers UPS-MIB calls its healthy state \"on battery\"; there the maker's objects are enough,
unless they give less."""

Arcs = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which profile a device is read by (None: none fits), and why. `readings` are those that the device answers for,
    and `with_value` how many of them gave a value when its tables were last read. `standards` are read for what the
    profile gives no value for. `described` is how the device describes itself, for logs; it is empty as long as the
    device could not be asked for everything. `mark` is that of the last profile that gave values; `settled` means that objects of its own do,
    or that it has none: then `enterprises` are those that the device answered, because a maker's objects may come later."""

    profile: Profile | None = None
    why: str = ""
    readings: int = 0
    with_value: int = 0
    described: str = ""
    standards: tuple[Profile, ...] = ()
    mark: str = ""
    settled: bool = False
    enterprises: tuple[str, ...] | None = None


UNKNOWN = Recognised()


def mark_of(profile: Profile, described: str) -> str:
    """What is remembered of a profile that gave values: its name, and a digest of how the device described itself."""
    return intern(f"{profile.profile} {blake2s(described.encode(), digest_size=6).hexdigest()}")


def known_by(mark: str, profiles: Profiles) -> Recognised:
    """What a mark tells before the device has answered."""
    return Recognised(profiles.get(mark.partition(" ")[0]), mark=mark) if mark else UNKNOWN


async def recognise(reader: DeviceReader, profiles: Profiles, known: Recognised = UNKNOWN) -> Recognised:
    """Find the device's profile. If the device describes itself as before and gave values, `known` is returned without
    further requests; if it gives none now, its profile stays as long as no maker's object speaks for another one. Raises
    NoAnswer."""
    named = reader.device.profile
    if named != "auto":
        return replace(
            known, profile=profiles.get(named), why=marked("the inventory names it"), described=f"the name `{named}`"
        )
    group = await reader.get((SYS_DESCR, SYS_OBJECT_ID))
    if not group and reader.unreadable:
        raise reader.failure()
    own_id, descr = raw_text(group.get(SYS_OBJECT_ID, "")), raw_text(group.get(SYS_DESCR, ""))
    described = intern(f"sysObjectID `{own_id[:LONGEST_LABEL]}`, sysDescr `{descr[:LONGEST_LABEL]}`")
    if known.settled and known.described == described and known.with_value and await _is_still(reader, known):
        return known
    system = profiles.system(own_id, descr)
    survey = await _survey(reader, profiles, system)
    candidates = profiles.candidates(system, survey.answers, survey.enterprises)
    best, next_best = choose(await _counted(reader, survey, profiles, candidates))
    chosen, why = (profiles.get(best.profile), _why(best, next_best)) if best else (None, "")
    values = best.values if best else 0
    if known.profile is not None and known.mark == mark_of(known.profile, described) and _speaks_for_less(best, known):
        chosen, why, values = known.profile, KEPT, ALL_VALUES
    if chosen is None:
        return Recognised(described=described, mark=known.mark)
    try:
        standards = await _standards(reader, profiles, chosen, values or (await count_values(survey, chosen))[1])
    except NoAnswer as nothing:
        if isinstance(nothing, EngineBroken):
            raise
        standards, survey.complete = (), False
    why = intern(why)  # a thousand equal devices share it
    complete = described if survey.complete else ""
    settled = why != KEPT and best is not None and bool(best.own or not best.named)
    others = None if best and best.own else tuple(survey.enterprises)
    return Recognised(
        chosen, why, described=complete, standards=standards, mark=known.mark, settled=settled, enterprises=others
    )


async def _is_still(reader: DeviceReader, known: Recognised) -> bool:
    """Whether a device that was read by no maker's objects still has no others: a card that has just started may answer for
    its UPS later."""
    if known.enterprises is None:
        return True
    try:
        return tuple(await _enterprises(reader)) == known.enterprises
    except NoAnswer as nothing:
        if isinstance(nothing, EngineBroken):
            raise
        return True


def _speaks_for_less(best: Candidate | None, known: Recognised) -> bool:
    """Whether no maker's object gives a value, although the profile that is known reads such objects, or is another one."""
    if best is None or known.profile is None:
        return True
    return not best.own and (best.named > 0 or best.profile != known.profile.profile)


def _why(best: Candidate, next_best: Candidate | None) -> str:
    parts = [best.why] if best.why else []
    if best.own:
        parts.append(marked(f"{best.own} readings of its maker's objects give a value"))
    if next_best and next_best.own:
        parts.append(marked(f"next is {next_best.profile} with {next_best.own}"))
    return "; ".join(parts)


# ---- what the device answers ----


@dataclass(slots=True)
class Survey:
    """Some of a device's objects, by enterprise. `answers` are the texts that profiles ask for. `complete` means that
    no request failed. Implements `plan.ObjectReader`."""

    device: Device
    objects: dict[str, Raw] = field(default_factory=dict)
    enterprises: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    unreadable: dict[str, Missing] = field(default_factory=dict)
    sorted: list[Arcs] = field(default_factory=list)

    async def get(self, oids: Iterable[str]) -> dict[str, Raw]:
        """Implements `ObjectReader.get`."""
        return {oid: self.objects[oid] for oid in oids if oid in self.objects}

    async def cells(self, column: str) -> dict[str, Raw]:
        """Implements `ObjectReader.cells`."""
        return {name[len(column) + 1 :]: self.objects[name] for name in self.below(column)}

    def below(self, oid: str) -> list[str]:
        """The objects below it, in order."""
        start = arcs_of(oid)
        if len(self.sorted) != len(self.objects):
            self.sorted = sorted(map(arcs_of, self.objects))
        first = bisect_left(self.sorted, (*start, -1))
        return [text_of(one) for one in takewhile(lambda one: one[: len(start)] == start, self.sorted[first:])]

    def first_text(self, oid: str) -> str | None:
        """The text of the object, or of the first one below it."""
        name = oid if oid in self.objects else next(iter(self.below(oid)), None)
        return None if name is None else raw_text(self.objects[name])


def arcs_of(oid: str) -> Arcs:
    """The numbers of an object identifier."""
    return tuple(map(int, oid.split(".")))


def text_of(arcs: Iterable[int]) -> str:
    """The object identifier of these numbers."""
    return ".".join(map(str, arcs))


async def _survey(reader: DeviceReader, profiles: Profiles, system: SystemGroup) -> Survey:
    survey = Survey(reader.device)
    questions = profiles.questions(system)
    by_walk = [one for one in questions if enterprise_of(one) or is_below(one, UPS_MIB)]
    survey.answers = await reader.texts([one for one in questions if one not in by_walk])
    try:
        survey.objects.update(await walk_table(reader.session, UPS_MIB, reader.device.retries, FIRST_ROWS))
        survey.enterprises = await _enterprises(reader)
        for enterprise in survey.enterprises:
            root = f"{ENTERPRISES}.{enterprise}"
            named = {oid for name in profiles.of_enterprise(enterprise) for oid in profiles.objects(name)}
            wanted = {arcs_of(oid) for oid in (*named, *questions) if is_below(oid, root)}
            if wanted:
                survey.objects |= await _objects(reader, wanted)
    except EngineBroken:
        raise
    except NoAnswer:
        survey.complete = False
    for one in by_walk:
        text = survey.first_text(one)
        if text is not None:
            survey.answers[one] = text
    return survey


async def _enterprises(reader: DeviceReader) -> list[str]:
    """The enterprises that the device has objects of: the next object after each leads to the next enterprise."""
    found: list[str] = []
    number = -1
    while len(found) < MOST_ENTERPRISES:
        after = f"{ENTERPRISES}.{number + 1}" if found else ENTERPRISES
        try:
            row = await next_object(reader.session, after, reader.device.retries)
        except NoAnswer as nothing:
            if not found or isinstance(nothing, EngineBroken):
                raise
            break  # some agents stay silent after their last object
        arcs = arcs_of(row[0]) if row and row[0].startswith(f"{ENTERPRISES}.") else ()
        if not arcs or arcs[ENTERPRISE_ARC] <= number:
            break
        number = arcs[ENTERPRISE_ARC]
        found.append(str(number))
    return found


async def _objects(reader: DeviceReader, wanted: Collection[Arcs]) -> dict[str, Raw]:
    """Those of the wanted objects that the device has, or enough of them: all if the subtree that they are in is small,
    else all single ones, and the first rows of each column."""
    ordered = sorted(wanted)
    rows = FIRST_ROWS_V1 if reader.version is SnmpVersion.V1 else FIRST_ROWS
    base = _common(ordered)
    walked = await walk_table(reader.session, text_of(base), reader.device.retries, rows)
    found = dict(walked)
    if len(walked) < rows and not walked.cut:
        return found
    last = arcs_of(walked[-1][0]) if walked else base
    rest = [one for one in ordered if one > last]
    found |= await reader.get(text_of(one) for one in rest if one[-1] == 0)
    return found | await _columns(reader, [one for one in rest if one[-1] != 0])


def _common(ordered: Sequence[Arcs]) -> Arcs:
    """The subtree that all are in."""
    first, last = ordered[0], ordered[-1]
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    return first[: min(same, len(first) - 1)]


async def _columns(reader: DeviceReader, columns: Sequence[Arcs]) -> dict[str, Raw]:
    """The first rows of those columns that the device has. The next object before which there is nothing tells which
    columns are empty."""
    found: dict[str, Raw] = {}
    reached: Arcs = ()
    asked = 0
    for column in columns:
        if column < reached and reached[: len(column)] != column:
            continue
        if asked >= MOST_COLUMNS:
            break
        asked += 1
        before = (*column[:-1], column[-1] - 1, LAST_ARC)
        row = await next_object(reader.session, text_of(before), reader.device.retries)
        if row is None:
            break
        reached = arcs_of(row[0])
        if reached[: len(column)] == column:
            found[row[0]] = row[1]
            found |= dict(await walk_table(reader.session, text_of(column), reader.device.retries, ROWS_OF_A_COLUMN))
    return found


# ---- what the profiles would read ----


async def _counted(
    reader: DeviceReader, survey: Survey, profiles: Profiles, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """The candidates, with the number of values that each gives on this device."""
    answering = set(survey.enterprises)
    prefixes = {text_of(one) for arcs in map(arcs_of, survey.objects) for one in _prefixes(arcs)}
    known: list[Candidate] = []
    for one in candidates:
        own = {oid for oid in profiles.objects(one.profile) if enterprise_of(oid)}
        answers = any(enterprise_of(oid) in answering for oid in own) if own else True
        known.append(replace(one, named=len(own), present=len(own & prefixes), answering=answers))
    if not any(one.present for one in known):
        return [replace(one, near=_nearness(profiles.objects(one.profile), prefixes)) for one in known]
    if any(not one.named and one.rank.weight >= BY_SYS_OBJECT_ID for one in known):
        # A computer by its sysObjectID, with a program of some maker: its own values must be seen to be compared
        try:
            survey.objects.update(await walk_table(reader.session, HOST_RESOURCES, reader.device.retries, FIRST_ROWS))
        except EngineBroken:
            raise
        except NoAnswer:
            survey.complete = False
    compared = _to_compare(known)
    return [
        replace(one, own=counts[0], values=counts[1])
        for one in known
        for counts in [await count_values(survey, profiles.tried(one.profile)) if one.profile in compared else (0, 0)]
    ]


def _prefixes(arcs: Arcs) -> Iterator[Arcs]:
    """The identifier, and the subtrees of its maker that it is in."""
    return (arcs[:end] for end in range(7, len(arcs) + 1))


def _nearness(objects: Iterable[str], prefixes: Collection[str]) -> int:
    """How many numbers of an identifier the nearest of the maker's objects shares with one on the device."""
    shared = (
        one for oid in objects if enterprise_of(oid) for one in _prefixes(arcs_of(oid)) if text_of(one) in prefixes
    )
    return max(map(len, shared), default=0)


def _to_compare(candidates: Sequence[Candidate]) -> frozenset[str]:
    """The profiles worth counting: those with the most objects on the device, and those with the best match."""
    having = [one for one in candidates if one.present or not one.named]
    by_objects = sorted(having, key=lambda one: (one.present, one.rank), reverse=True)
    by_match = sorted(having, key=lambda one: (one.rank, one.present), reverse=True)
    chosen = (*by_objects[:MOST_COMPARED], *by_match[: MOST_COMPARED // 2])
    return frozenset(one.profile for one in chosen)


async def count_values(survey: Survey, profile: Profile) -> tuple[int, int]:
    """How many values the profile gives of the objects in the survey: of its maker's objects, and of all. A state that
    the profile does not list is none."""
    columns, _ = await find_layers(survey, (profile.readings, *profile.hidden))
    steps = [one for _, one in columns.values()]
    values = zip(steps, decode(steps, survey.objects), strict=True)
    good = [step for step, value in values if not isinstance(value, Missing) and _is_listed(step, value)]
    return sum(bool(enterprise_of(step.oid)) for step in good), len(good)


def _is_listed(step: DecodeStep, value: object) -> bool:
    states = step.special.states
    return states is None or value in states.values()


async def _standards(reader: DeviceReader, profiles: Profiles, chosen: Profile, values: int) -> tuple[Profile, ...]:
    """The standard MIBs to read beside the chosen profile, which gives so many values: those that say something of such
    a device, and those that give more values than the profile."""
    read_already = profiles.lineage(chosen.profile)
    found: list[Profile] = []
    for name, (subtree, categories) in STANDARD_MIBS.items():
        if name in read_already or (name in HOST_MIBS and chosen.category not in COMPUTERS and (values or found)):
            continue
        profile = profiles.get(name)
        if profile is None or not await walk_table(reader.session, subtree, reader.device.retries, 1):
            continue
        _, valued = await find_layers(reader, (profile.readings,))
        if len(valued) > (0 if chosen.category in categories else values):
            found.append(profile)
            read_already |= profiles.lineage(name)
    return tuple(found)
