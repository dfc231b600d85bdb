"""Profiles: how to read each family of devices, in YAML. The shipped ones are in `library/`.

There are many, and a device needs one. So only the head of a shipped profile (the part before `readings:`) is parsed
until a device is recognised by it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from watchkeeper.documents.bind import Bound, try_load
from watchkeeper.documents.files import packaged
from watchkeeper.model.batch import Document
from watchkeeper.model.errors import ConfigError, Problem
from watchkeeper.profiles.condition import Speaks
from watchkeeper.profiles.objects import objects_named
from watchkeeper.profiles.recognise import (
    BY_OBJECTS,
    NO_MATCH,
    Candidate,
    SystemGroup,
    best_match,
    by_text_only,
    enterprise_of,
    object_id,
    rank,
)
from watchkeeper.profiles.scalars import scalars
from watchkeeper.profiles.shape import Head, Match, Profile, ProfileReading

__all__ = ["Profile", "Profiles", "load_profiles", "shipped"]

END_OF_HEAD = "\nreadings:"
MOST_KEPT = 24  # parsed profiles that no device is read by, and lists of objects

T = TypeVar("T")
_ROOT_LINE = re.compile(r"^root: *[\"']?(\d+(?:\.\d+)+)", re.ASCII | re.MULTILINE)
_PLACEHOLDER_ROOT = "0.0"
"""The root by which a base profile is parsed to find its mistakes."""


class Profiles:
    """All profiles by name, each with the readings of those it extends. A document is parsed when it is first needed. A
    base profile is not among them: it needs the root of a profile that extends it."""

    def __init__(self, documents: Mapping[str, Document], heads: Mapping[str, Head]) -> None:
        self._documents = documents
        self._heads = dict(sorted(heads.items()))
        self._full: dict[str, Profile] = {}
        self._tried: dict[str, Profile] = {}
        self._objects: dict[str, frozenset[str]] = {}
        self._by_enterprise: dict[str, list[str]] = {}
        snmp = (name for name, head in self._heads.items() if head.match and head.speaks is Speaks.SNMP)
        self._candidates = tuple(name for name in snmp if not is_base(documents[name]))
        self._makers = {
            enterprise_of(oid)
            for name in self._candidates
            for match in self._heads[name].match
            for oid in match.sys_object_id
        }

    def __iter__(self) -> Iterator[Profile]:
        return (self._load(name) for name in self._heads if not is_base(self._documents[name]))

    def get(self, name: str) -> Profile | None:
        """The profile of that name, or None."""
        return self._load(name) if name in self._heads and not is_base(self._documents[name]) else None

    def names(self, speaks: Speaks) -> list[str]:
        """The names of the profiles that can be used by this probe."""
        return [
            name for name, head in self._heads.items() if head.speaks is speaks and not is_base(self._documents[name])
        ]

    def system(self, sys_object_id: str, sys_descr: str) -> SystemGroup:
        """What a device reports about itself, cleaned, and compared with the makers that profiles are for."""
        dotted = object_id(sys_object_id)
        return SystemGroup(dotted, sys_descr, bool(enterprise_of(dotted)) and enterprise_of(dotted) in self._makers)

    def questions(self, system: SystemGroup) -> tuple[str, ...]:
        """The objects to ask such a device for before `candidates`: those whose answers may make a match fit."""
        matches = (match for name in self._candidates for match in self._heads[name].match)
        return tuple(sorted({match.answers for match in matches if match.answers and rank(match, system) > NO_MATCH}))

    def of_enterprise(self, enterprise: str) -> tuple[str, ...]:
        """The profiles that read objects of that enterprise (`318` means 1.3.6.1.4.1.318), by name."""
        if not self._by_enterprise:
            for name in self._candidates:
                for number in {enterprise_of(oid) for oid in self.objects(name)} - {""}:
                    self._by_enterprise.setdefault(number, []).append(name)
        return tuple(self._by_enterprise.get(enterprise, ()))

    def objects(self, name: str) -> frozenset[str]:
        """Every object and column that the profile may ask for, with those of the profiles that it extends."""
        if name not in self._objects:
            if len(self._objects) >= MOST_KEPT:
                del self._objects[next(iter(self._objects))]
            self._objects[name] = self._named_objects(name, None, ())
        return self._objects[name]

    def candidates(
        self, system: SystemGroup, answers: Mapping[str, str], enterprises: Iterable[str]
    ) -> list[Candidate]:
        """The profiles that may fit: those with a match that fits, and those with objects of an enterprise that
        answers. `answers` are the texts for those `questions` that the device answers."""
        answering = {name for number in enterprises for name in self.of_enterprise(number)}
        found = []
        for name in self._candidates:
            matches = self._heads[name].match
            best, why = best_match(matches, system, answers)
            if best < BY_OBJECTS and name in answering and not by_text_only(matches):
                best, why = BY_OBJECTS, ""
            if best > NO_MATCH:
                found.append(Candidate(name, best, why))
        return found

    def tried(self, name: str) -> Profile:
        """The profile, to be compared with others. Only the last MOST_KEPT of these are kept."""
        if name in self._full:
            return self._full[name]
        if name not in self._tried:
            if len(self._tried) >= MOST_KEPT:
                del self._tried[next(iter(self._tried))]
            self._tried[name] = self._parsed(name)
        return self._tried[name]

    def with_match(self, name: str, match: tuple[Match, ...]) -> "Profiles":
        """The same profiles, of which one is recognised in another way: for tests."""
        changed = Profiles(self._documents, {**self._heads, name: replace(self._heads[name], match=match)})
        changed._full, changed._by_enterprise = self._full, self._by_enterprise
        return changed

    def lineage(self, name: str) -> frozenset[str]:
        """The profile's name, and those of all profiles that it extends."""
        head = self._heads.get(name)
        return (
            frozenset({name}).union(*(self.lineage(base) for base in head.extends if base != name))
            if head
            else frozenset()
        )

    def _named_objects(self, name: str, root: str | None, below: tuple[str, ...]) -> frozenset[str]:
        head, document = self._heads.get(name), self._documents.get(name)
        if head is None or document is None or name in below:
            return frozenset()
        before, _, body = document.text.partition(END_OF_HEAD)
        own = objects_named(body or before, root or head.root)
        bases = (self._named_objects(base, root or head.root, (*below, name)) for base in head.extends)
        return own.union(*bases)

    def _load(self, name: str) -> Profile:
        if name not in self._full:
            self._full[name] = self._tried.pop(name) if name in self._tried else self._parsed(name)
        return self._full[name]

    def _parsed(self, name: str) -> Profile:
        problems: list[Problem] = []
        profile = _extended(name, _BoundDocuments(self._documents, problems), ())
        if problems or profile is None:
            raise ConfigError(problems)
        return profile


class _BoundDocuments:
    """Parses documents when they are needed, and collects the problems found."""

    def __init__(self, documents: Mapping[str, Document], problems: list[Problem]) -> None:
        self.documents, self.problems = documents, problems
        self.held: dict[tuple[str, str | None], Bound[Profile]] = {}

    def bound(self, name: str, root: str | None) -> Bound[Profile]:
        """The parsed document, with that root instead of its own."""
        if (name, root) not in self.held:
            bound = self.held[name, root] = bind_profile(self.documents[name], Profile, root)
            self.problems.extend(one for one in bound.problems if one not in self.problems)
        return self.held[name, root]


def bind_profile(document: Document, cls: type[T], root: str | None = None) -> Bound[T]:
    """Parse a profile or its head. `ROOT` stands for `root`, or else for the document's own root, which is searched
    before parsing because identifiers need it."""
    own = _ROOT_LINE.search(document.text)
    return try_load(document.text, document.name, cls, scalars(root or (own[1] if own else None)))


def is_base(document: Document) -> bool:
    """Whether the profile is only a base for others: it uses `ROOT`, but has neither `root` nor `match`."""
    return "ROOT." in document.text and not re.search("^(root|match):", document.text, re.MULTILINE)


def shipped_profiles() -> tuple[Document, ...]:
    """The profiles that come with Watchkeeper; each file has its profile's name. Raises BrokenInstallation if they are
    missing."""
    files = packaged(Path(__file__).parent / "library")
    return tuple(Document(file.name, file.read_text(encoding="utf-8")) for file in files)


def load_profiles(documents: Iterable[Document] = ()) -> Profiles:
    """Load the shipped profiles and the operator's own. An own profile replaces a shipped one of the same name. Raises
    ConfigError with every problem of every document."""
    problems: list[Problem] = []
    texts: dict[str, Document] = {}
    heads: dict[str, Head] = {}
    for document in shipped_profiles():
        head = _head(document)
        problems.extend(head.problems)
        if head.value:
            texts[head.value.profile], heads[head.value.profile] = document, head.value
    bound = _BoundDocuments(texts, problems)
    parsed = _parse_own(documents, problems)
    for name, (document, profile) in parsed.items():
        texts[name], heads[name] = document, profile
    own = {name: full for name in parsed if not is_base(texts[name]) and (full := _extended(name, bound, ()))}
    if problems:
        raise ConfigError(problems)
    profiles = Profiles(texts, heads)
    profiles._full |= own  # noqa: SLF001 -- the class is in this module
    return profiles


@lru_cache(maxsize=512)
def _head(document: Document) -> Bound[Head]:
    """The head of a shipped profile: the part before its readings. It is the same at every new bundle."""
    text, _, _ = document.text.partition(END_OF_HEAD)
    return bind_profile(Document(document.name, text), Head)


def _parse_own(documents: Iterable[Document], problems: list[Problem]) -> dict[str, tuple[Document, Profile]]:
    found: dict[str, tuple[Document, Profile]] = {}
    for document in documents:
        bound = bind_profile(document, Profile, _PLACEHOLDER_ROOT if is_base(document) else None)
        problems.extend(bound.problems)
        if bound.value is None:
            continue
        name = bound.value.profile
        if name in found:
            problems.append(bound.mark(bound.value).problem(f"`{name}` is also in {found[name][0].name}", "profile"))
        found[name] = document, bound.value
    return found


def _extended(name: str, documents: _BoundDocuments, below: tuple[str, ...], root: str | None = None) -> Profile | None:
    """The profile with the readings of those it extends. Those of the quantities that it reads itself become `hidden`;
    an earlier one of `extends` goes before a later one. All are parsed with the root of the extending profile. None if
    there is a problem, which is added to `documents.problems`."""
    bound = documents.bound(name, root)
    profile = bound.value
    if profile is None or not profile.extends:
        return profile
    mark = bound.mark(profile)
    if name in below:
        documents.problems.append(mark.problem(f"`{name}` extends itself by way of {', '.join(below)}", "extends"))
        return None
    readings, quirks = profile.readings, profile.quirks
    hidden: list[tuple[ProfileReading, ...]] = []
    for base_name in profile.extends:
        if base_name not in documents.documents:
            documents.problems.append(mark.problem(f"there is no profile `{base_name}`", "extends"))
            return None
        base = _extended(base_name, documents, (*below, name), root or profile.root)
        if base is None:
            continue
        known = {id(one) for one in readings}
        more, covered = _without((one for one in base.readings if id(one) not in known), readings)
        hidden += [layer for layer in (covered, *base.hidden) if layer]
        readings += more
        quirks += base.quirks
    return replace(profile, readings=readings, quirks=quirks, hidden=tuple(hidden))


def _without(
    readings: Iterable[ProfileReading], own: Iterable[ProfileReading]
) -> tuple[tuple[ProfileReading, ...], ...]:
    """Those of the readings that say something else than a profile's own ones, and those that do not: they are of the same
    quantity. The health of a part is something else than that of the whole device."""
    own = tuple(own)
    quantities, of_parts = {one.quantity for one in own}, {one.quantity for one in own if _is_of_part(one)}
    fresh: tuple[list[ProfileReading], list[ProfileReading]] = [], []
    for one in readings:
        is_other = one.quantity.endswith(".health") and _is_of_part(one) and one.quantity not in of_parts
        fresh[one.quantity in quantities and not is_other].append(one)
    return tuple(map(tuple, fresh))


def _is_of_part(reading: ProfileReading) -> bool:
    return reading.each is not None or bool(reading.instance)
