"""Profiles: how to read each family of devices, in YAML. The shipped ones are in `library/`.

There are many, and a device needs one. So only the head of a shipped profile (the part before `readings:`) is parsed
until a device is recognised by it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from watchkeeper.documents.bind import Bound, try_load
from watchkeeper.documents.files import packaged
from watchkeeper.model.batch import Document
from watchkeeper.model.errors import ConfigError, Problem
from watchkeeper.profiles.condition import Speaks
from watchkeeper.profiles.recognise import NO_MATCH, Rank, answers_match, rank
from watchkeeper.profiles.scalars import scalars
from watchkeeper.profiles.shape import Head, Profile

__all__ = ["Profile", "Profiles", "load_profiles", "shipped"]

END_OF_HEAD = "\nreadings:"

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

    def questions(self, sys_object_id: str, sys_descr: str) -> tuple[str, ...]:
        """The objects to read from such a device before `pick`: those whose answers can change the choice."""
        fitting = [
            (rank(match, sys_object_id, sys_descr), match) for head in self._heads.values() for match in head.match
        ]
        certain = max((one for one, match in fitting if match.answers is None), default=NO_MATCH)
        return tuple(sorted({match.answers for one, match in fitting if match.answers and one > certain}))

    def pick(self, sys_object_id: str, sys_descr: str, answers: Mapping[str, str]) -> Profile | None:
        """Return the profile with the best match, or None. `answers` are the texts of those `questions` that the device
        has."""
        best: Rank = NO_MATCH
        chosen: str | None = None
        for name, head in self._heads.items():
            for match in head.match:
                one = rank(match, sys_object_id, sys_descr)
                if one > best and answers_match(match, answers):
                    best, chosen = one, name
        return self._load(chosen) if chosen else None

    def _load(self, name: str) -> Profile:
        if name not in self._full:
            problems: list[Problem] = []
            profile = _extended(name, _BoundDocuments(self._documents, problems), ())
            if problems or profile is None:
                raise ConfigError(problems)
            self._full[name] = profile
        return self._full[name]


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
        text, _, _ = document.text.partition(END_OF_HEAD)
        head = bind_profile(Document(document.name, text), Head)
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
    """The profile with the readings of those it extends, without the quantities that it reads itself; an earlier one of
    `extends` goes before a later one. All are parsed with the root of the extending profile. None if there is a
    problem, which is added to `documents.problems`."""
    bound = documents.bound(name, root)
    profile = bound.value
    if profile is None or not profile.extends:
        return profile
    mark = bound.mark(profile)
    if name in below:
        documents.problems.append(mark.problem(f"`{name}` extends itself by way of {', '.join(below)}", "extends"))
        return None
    readings, quirks = profile.readings, profile.quirks
    for base_name in profile.extends:
        if base_name not in documents.documents:
            documents.problems.append(mark.problem(f"there is no profile `{base_name}`", "extends"))
            return None
        base = _extended(base_name, documents, (*below, name), root or profile.root)
        own = {one.quantity for one in readings}
        readings += tuple(one for one in base.readings if one.quantity not in own) if base else ()
        quirks += base.quirks if base else ()
    return replace(profile, readings=readings, quirks=quirks)
