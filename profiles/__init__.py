"""Profiles: what each family of devices answers, in YAML. The shipped ones are in `library/`.

There are many, and a device needs one: of a shipped profile only the head (all that stands before `readings:`) is read until a
device is recognised by it.
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
from watchkeeper.profiles.recognise import NO_MATCH, Rank, answered, rank
from watchkeeper.profiles.scalars import scalars
from watchkeeper.profiles.shape import Head, Profile

__all__ = ["Profile", "Profiles", "load_profiles", "shipped"]

READINGS = "\nreadings:"

T = TypeVar("T")
_ROOT = re.compile(r"^root: *[\"']?(\d+(?:\.\d+)+)", re.ASCII | re.MULTILINE)
_ANY_ROOT = "0.0"
"""What a base profile is read with to find its mistakes, when nobody's root is asked for."""


class Profiles:
    """Every profile by its name, those that extend another filled up; each of `documents` is read when it is first asked for.
    A base, which waits for the root of those that extend it, is none of them."""

    def __init__(self, documents: Mapping[str, Document], heads: Mapping[str, Head]) -> None:
        self._documents = documents
        self._heads = dict(sorted(heads.items()))
        self._full: dict[str, Profile] = {}

    def __iter__(self) -> Iterator[Profile]:
        return (self._whole(name) for name in self._heads if not is_base(self._documents[name]))

    def get(self, name: str) -> Profile | None:
        """The profile called so."""
        return self._whole(name) if name in self._heads and not is_base(self._documents[name]) else None

    def questions(self, sys_object_id: str, sys_descr: str) -> tuple[str, ...]:
        """The objects to ask such a device for before `pick`: those whose answer could still make a difference."""
        fitting = [
            (rank(match, sys_object_id, sys_descr), match) for head in self._heads.values() for match in head.match
        ]
        certain = max((one for one, match in fitting if match.answers is None), default=NO_MATCH)
        return tuple(sorted({match.answers for one, match in fitting if match.answers and one > certain}))

    def pick(self, sys_object_id: str, sys_descr: str, answers: Mapping[str, str]) -> Profile | None:
        """Return the profile whose match says most about the device, or None; `answers` are those of the `questions` that the
        device has, and what it says."""
        best: Rank = NO_MATCH
        chosen: str | None = None
        for name, head in self._heads.items():
            for match in head.match:
                one = rank(match, sys_object_id, sys_descr)
                if one > best and answered(match, answers):
                    best, chosen = one, name
        return self._whole(chosen) if chosen else None

    def _whole(self, name: str) -> Profile:
        if name not in self._full:
            problems: list[Problem] = []
            profile = _full(name, _BoundDocuments(self._documents, problems), ())
            if problems or profile is None:
                raise ConfigError(problems)
            self._full[name] = profile
        return self._full[name]


class _BoundDocuments:
    """Documents bound when they are needed, and the problems found."""

    def __init__(self, documents: Mapping[str, Document], problems: list[Problem]) -> None:
        self.documents, self.problems = documents, problems
        self.held: dict[tuple[str, str | None], Bound[Profile]] = {}

    def bound(self, name: str, root: str | None) -> Bound[Profile]:
        """The document with that root in the place of its own."""
        if (name, root) not in self.held:
            bound = self.held[name, root] = bind_profile(self.documents[name], Profile, root)
            self.problems.extend(one for one in bound.problems if one not in self.problems)
        return self.held[name, root]


def bind_profile(document: Document, cls: type[T], root: str | None = None) -> Bound[T]:
    """Read a profile, or its head, with `ROOT` as that root, else the document's own: it must be known before all that is
    written with it is read."""
    own = _ROOT.search(document.text)
    return try_load(document.text, document.name, cls, scalars(root or (own[1] if own else None)))


def is_base(document: Document) -> bool:
    """Whether it is there for others to extend: it says `ROOT`, without a `root` of its own and a `match`."""
    return "ROOT." in document.text and not re.search("^(root|match):", document.text, re.MULTILINE)


def shipped_profiles() -> tuple[Document, ...]:
    """The profiles that come with Watchkeeper; each file is called as its profile is. Raises BrokenInstallation
    where they are not there."""
    files = packaged(Path(__file__).parent / "library")
    return tuple(Document(file.name, file.read_text(encoding="utf-8")) for file in files)


def load_profiles(documents: Iterable[Document] = ()) -> Profiles:
    """Read the operator's profiles on top of the shipped ones; one of the same name takes a shipped one's place.
    Raises ConfigError with every problem of every document."""
    problems: list[Problem] = []
    texts: dict[str, Document] = {}
    heads: dict[str, Head] = {}
    for document in shipped_profiles():
        text, _, _ = document.text.partition(READINGS)
        head = bind_profile(Document(document.name, text), Head)
        problems.extend(head.problems)
        if head.value:
            texts[head.value.profile], heads[head.value.profile] = document, head.value
    shelf = _BoundDocuments(texts, problems)
    read = _read(documents, problems)
    for name, (document, profile) in read.items():
        texts[name], heads[name] = document, profile
    own = {name: full for name in read if not is_base(texts[name]) and (full := _full(name, shelf, ()))}
    if problems:
        raise ConfigError(problems)
    profiles = Profiles(texts, heads)
    profiles._full |= own  # noqa: SLF001 -- of the same module
    return profiles


def _read(documents: Iterable[Document], problems: list[Problem]) -> dict[str, tuple[Document, Profile]]:
    found: dict[str, tuple[Document, Profile]] = {}
    for document in documents:
        bound = bind_profile(document, Profile, _ANY_ROOT if is_base(document) else None)
        problems.extend(bound.problems)
        if bound.value is None:
            continue
        name = bound.value.profile
        if name in found:
            problems.append(bound.mark(bound.value).problem(f"`{name}` is also in {found[name][0].name}", "profile"))
        found[name] = document, bound.value
    return found


def _full(name: str, shelf: _BoundDocuments, below: tuple[str, ...], root: str | None = None) -> Profile | None:
    """The profile with the readings of those it extends, but for the quantities it names itself; an earlier one of them goes
    before a later one. All are read with the root of the one that extends. None where something is wrong with it, which the
    shelf then knows."""
    bound = shelf.bound(name, root)
    profile = bound.value
    if profile is None or not profile.extends:
        return profile
    mark = bound.mark(profile)
    if name in below:
        shelf.problems.append(mark.problem(f"`{name}` extends itself by way of {', '.join(below)}", "extends"))
        return None
    readings, quirks = profile.readings, profile.quirks
    for wanted in profile.extends:
        if wanted not in shelf.documents:
            shelf.problems.append(mark.problem(f"there is no profile `{wanted}`", "extends"))
            return None
        base = _full(wanted, shelf, (*below, name), root or profile.root)
        own = {one.quantity for one in readings}
        readings += tuple(one for one in base.readings if one.quantity not in own) if base else ()
        quirks += base.quirks if base else ()
    return replace(profile, readings=readings, quirks=quirks)
