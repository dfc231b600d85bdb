"""Damage every recorded device, and count how often it is still recognised and how many of the readings left are read.

`python -m benchmarks.damaged` drops random columns, single objects and whole tables, the sysDescr and the sysObjectID, or
replaces the sysObjectID by net-snmp's, by one of no maker, or by text that is no identifier. Each recording is damaged
with 20 seeds; the same seed damages it in the same way.

A damaged device is counted if it still tells what it is: it has its own sysObjectID, if that names its vendor and
category; or an object that profiles of its vendor and category read, and no other profile; or a text that a match of its
profile names. Nothing can be said of a device with none of them; these are printed as not counted. A reading is left if
its object is, and so are the objects of its conditions and its scale. It is still read if the quantity has the same value.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.snmp.recognise import SYS_DESCR, SYS_OBJECT_ID, Recognised
from watchkeeper.agent.probes.testing import MemoryDevice, read_snmprec
from watchkeeper.agent.tools.draft import sort_objects
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.model.reading import Missing, Reading
from watchkeeper.profiles import Profile, Profiles, load_profiles
from watchkeeper.profiles.decode import Raw, raw_text
from watchkeeper.profiles.recognise import NO_MATCH, SystemGroup, by_text_only, enterprise_of, is_below, rank
from watchkeeper.profiles.scalars import Oid
from watchkeeper.profiles.shape import Match

DEFAULT_CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
SEEDS, PROCESSES = 20, 2
NEVER = Match(sys_object_id=(Oid("1.3.6.1.4.1.99999.9"),))  # fits no device
DROPPED_SHARES = (0.0, 0.1, 0.3, 0.6)
NET_SNMP, NO_MAKER = "1.3.6.1.4.1.8072.3.2.10", "1.3.6.1.4.1.99999.1.2"
NO_IDENTIFIERS = ("enterprises.unknown", "n/a", "1.3.6.1.4.1.", "..", "SNMPv2-SMI::zeroDotZero", "0.0", "")

Objects = Mapping[str, Raw]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One damaged device. `telling` is whether it still tells what it is; `left` are the readings that it could still
    give, and `read` those that it does."""

    recording: str
    seed: int
    telling: bool
    recognised: bool
    left: int
    read: int
    by: str = ""


@cache
def library() -> Profiles:
    """The shipped profiles, parsed once in each process."""
    return load_profiles()


def probe(name: str, objects: Objects, profiles: Profiles | None = None) -> tuple[list[Reading], Recognised]:
    """Read a device with these objects once."""
    memory_device = MemoryDevice(objects)
    snmp_probe = SnmpProbe(profiles or library(), Secrets(None), FakeClock(), memory_device.open)
    device = Device(name, "bench", Category.SERVER, "snmp", "192.0.2.1", snmp=Snmp(community="none"))
    sweep = asyncio.run(snmp_probe.sweep(device))
    given = [one for one in sweep.readings() if not isinstance(one.value, Missing)]
    return [one for one in given if sources(one)], snmp_probe.recognised(name)


def damage(objects: Objects, random: Random) -> Objects:
    """What is left of the objects."""
    system = {oid: value for oid, value in objects.items() if oid.startswith("1.3.6.1.2.1.1.")}
    parts = sort_objects({oid: value for oid, value in objects.items() if oid not in system})
    columns, tables = random.choice(DROPPED_SHARES), random.choice(DROPPED_SHARES)
    left = {oid: value for oid, value in parts.scalars.items() if random.random() >= columns}
    for table in parts.tables:
        if random.random() >= tables:
            for column in table.columns:
                if random.random() >= columns:
                    rows = (f"{column.oid}.{index}" for index in table.indices)
                    left |= dict(zip(rows, column.values, strict=True))
    if random.random() < 0.5:
        system.pop(SYS_DESCR, None)
    own = system.pop(SYS_OBJECT_ID, None)
    fates = (own, own, None, NET_SNMP, NO_MAKER, random.choice(NO_IDENTIFIERS))
    identifier = random.choice(fates)
    if identifier is not None:
        system[SYS_OBJECT_ID] = identifier
    return system | left


def tells(before: Objects, after: Objects, profile: Profile) -> bool:
    """Whether the damaged device still tells that it is one of this profile's vendor and category."""
    system = _system(after)
    if after.get(SYS_OBJECT_ID) == before.get(SYS_OBJECT_ID) and _means(system.sys_object_id, profile):
        return True
    if not own_objects(profile.profile).isdisjoint(prefixes_of(after)):
        return True
    for match in profile.match:
        text = raw_text(after.get(match.answers or "", ""))
        named_by = bool(system.sys_descr and match.sys_descr) or bool(match.says and match.says.search(text))
        if named_by and rank(match, system) > NO_MATCH and (match.answers is None or text):
            return True
    return False


def _system(objects: Objects) -> SystemGroup:
    return library().system(*(raw_text(objects.get(oid, "")) for oid in (SYS_OBJECT_ID, SYS_DESCR)))


def prefixes_of(objects: Objects) -> set[str]:
    """Every object, and every subtree that it is in."""
    return {".".join(arcs[:end]) for arcs in (oid.split(".") for oid in objects) for end in range(7, len(arcs) + 1)}


def _means(sys_object_id: str, profile: Profile) -> bool:
    """Whether the sysObjectID alone names this vendor and category: the longest one that a profile asks nothing else
    with."""
    named = [
        (len(oid), (one.vendor, one.category))
        for one in library()
        for match in one.match
        for oid in match.sys_object_id
        if not (match.answers or match.sys_descr) and is_below(sys_object_id, oid) and enterprise_of(oid)
    ]
    return bool(named) and max(named)[1] == (profile.vendor, profile.category)


@cache
def own_objects(name: str) -> frozenset[str]:
    """The maker's objects that this profile reads, and that no profile of another vendor or category reads."""
    own = {oid for oid in library().objects(name) if enterprise_of(oid)}
    vendor, category, _ = all_objects()[name]
    return frozenset(own.difference(*(found for *kind, found in all_objects().values() if kind != [vendor, category])))


@cache
def all_objects() -> Mapping[str, tuple[str, Category, frozenset[str]]]:
    """Vendor, category and objects of every profile that a device can be recognised by."""
    return {one.profile: (one.vendor, one.category, library().objects(one.profile)) for one in library() if one.match}


def needed(readings: list[Reading], profiles: tuple[Profile, ...]) -> Iterator[tuple[Reading, frozenset[str]]]:
    """Each reading with the objects that it is made of: its values, its conditions, its scale and unit."""
    ways = [
        (way.ref.oid, [*(one.ref for one in (*reading.where, *way.conditions)), *way.helper_refs])
        for profile in profiles
        for layer in (profile.readings, *profile.hidden)
        for reading in layer
        for way in reading.ways
        if not way.operation
    ]
    for one in readings:
        made_of = sources(one)
        for source in sources(one):
            for oid, refs in ways:
                if source == oid or source.startswith(f"{oid}."):
                    made_of |= {ref.name(source[len(oid) + 1 :]) for ref in refs if ref.oid}
        yield one, frozenset(made_of)


def sources(reading: Reading) -> set[str]:
    """The objects of the reading's value: one, or those that it is calculated from."""
    return set(re.findall(r"\d+(?:\.\d+)+", reading.series.source))


def judge(file: Path, seeds: int) -> list[Outcome]:
    """Damage one recording with each seed."""
    logging.disable()
    objects = read_snmprec(file.read_text(encoding="utf-8", errors="replace").splitlines())
    readings, known = probe(file.stem, objects)
    profile = known.profile
    if profile is None:
        return []
    made_of = list(needed(readings, (profile, *known.standards)))
    outcomes = []
    for seed in range(seeds):
        after = damage(objects, Random(f"{file.stem} {seed}"))
        still, found = probe(file.stem, after)
        same = found.profile is not None and found.profile.vendor == profile.vendor
        given = {(one.series.quantity, one.value) for one in still}
        left = [one for one, parts in made_of if all(part in after or part not in objects for part in parts)]
        read = sum((one.series.quantity, one.value) in given for one in left)
        outcomes.append(
            Outcome(
                file.stem,
                seed,
                tells(objects, after, profile),
                bool(same and found.profile and found.profile.category == profile.category),
                len(left),
                read,
                found.profile.profile if found.profile else "",
            )
        )
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.damaged", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=DEFAULT_CORPUS, help="the folder with snmprec/")
    parser.add_argument("--only", default="", help="only recordings whose name contains TEXT", metavar="TEXT")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how often each recording is damaged", metavar="N")
    parser.add_argument("--list", action="store_true", help="print each device that is not recognised or not read")
    options = parser.parse_args()
    files = [file for file in sorted((options.corpus / "snmprec").glob("*.snmprec")) if options.only in file.stem]
    if not files:
        print(f"skipped: needs recordings in {options.corpus / 'snmprec'}")
        return 0
    with multiprocessing.Pool(PROCESSES) as pool:
        outcomes = [one for found in pool.starmap(judge, [(file, options.seeds) for file in files]) for one in found]
        new = [one for one in pool.map(unknown_model, files) if one]
    report(outcomes, full=options.list)
    missed = [name for name, right in new if not right]
    but = f"; not {', '.join(missed)}" if missed else ""
    print(f"without the matches that fit them: {len(new) - len(missed)} of {len(new)} devices right{but}")
    return 0


def unknown_model(file: Path) -> tuple[str, bool] | None:
    """Read one recording while its profile has no match that fits it, as if the model were new. Returns its name and
    whether vendor and category are still right; None if its objects are not this vendor's and category's alone."""
    logging.disable()
    objects = read_snmprec(file.read_text(encoding="utf-8", errors="replace").splitlines())
    _, known = probe(file.stem, objects)
    profile = known.profile
    if profile is None or by_text_only(profile.match) or own_objects(profile.profile).isdisjoint(prefixes_of(objects)):
        return None
    kept = (*(one for one in profile.match if rank(one, _system(objects)) == NO_MATCH), NEVER)
    _, found = probe(file.stem, objects, library().with_match(profile.profile, kept))
    same = found.profile and (found.profile.vendor, found.profile.category) == (profile.vendor, profile.category)
    return file.stem, bool(same)


def report(outcomes: list[Outcome], *, full: bool) -> None:
    """Print the figures."""
    counted = [one for one in outcomes if one.telling]
    right = sum(one.recognised for one in counted)
    left, read = sum(one.left for one in outcomes), sum(one.read for one in outcomes)
    if full:
        for one in outcomes:
            if (one.telling and not one.recognised) or one.read < one.left:
                print(
                    f"  {json.dumps([one.recording, one.seed, one.telling, one.recognised, one.left, one.read, one.by])}"
                )
    worst = Counter(one.recording for one in counted if not one.recognised).most_common(10)
    print(f"{len(outcomes)} damaged devices; {len(outcomes) - len(counted)} tell no longer what they are, not counted")
    print(f"vendor and category right: {100 * right / max(1, len(counted)):.2f} % of {len(counted)}")
    print(f"readings still there that are read: {100 * read / max(1, left):.2f} % of {left}")
    print("most often not recognised:", ", ".join(f"{name} {count}" for name, count in worst) or "none")


if __name__ == "__main__":
    sys.exit(main())
