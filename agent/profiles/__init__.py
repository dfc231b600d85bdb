"""Profiles: what each family of devices answers, in YAML. The shipped ones lie beside this file."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from agent.profiles.scalars import SCALARS
from agent.profiles.shape import Match, Profile
from documents.bind import Bound, try_load
from model.batch import Document
from model.errors import ConfigError, Problem

__all__ = ["Profile", "Profiles", "load_profiles", "shipped"]

Rank = tuple[int, bool, bool]


class Profiles:
    """Every profile by its name, those that extend another already filled up."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._held = dict(sorted(profiles.items()))
        self.questions: tuple[str, ...] = tuple(
            sorted({match.answers for profile in self._held.values() for match in profile.match if match.answers})
        )
        """The objects to ask an unknown device for; those that exist are the `answers` of `pick`."""

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._held.values())

    def get(self, name: str) -> Profile | None:
        """The profile called so."""
        return self._held.get(name)

    def pick(self, sys_object_id: str, sys_descr: str, answers: Collection[str] = ()) -> Profile | None:
        """Return the profile whose match says most about the device, or None. A longer sysObjectID says more than a
        shorter one, that more than a sysDescr, and that more than an object that answers."""
        best, chosen = (0, False, False), None
        for profile in self._held.values():
            for match in profile.match:
                rank = _rank(match, sys_object_id.strip("."), sys_descr, answers)
                if rank > best:
                    best, chosen = rank, profile
        return chosen


def _rank(match: Match, sys_object_id: str, sys_descr: str, answers: Collection[str]) -> Rank:
    """How much the match says of the device; all zero where it does not fit."""
    fitting = [len(oid) for oid in match.sys_object_id if f"{sys_object_id}.".startswith(f"{oid}.")]
    fits = (
        (bool(fitting) or not match.sys_object_id)
        and (match.sys_descr is None or bool(match.sys_descr.search(sys_descr)))
        and (match.answers is None or match.answers in answers)
    )
    if not fits:
        return (0, False, False)
    return (max(fitting, default=0), match.sys_descr is not None, match.answers is not None)


def shipped() -> tuple[Document, ...]:
    """The profiles that come with Watchkeeper."""
    files = sorted(Path(__file__).parent.glob("*.yml"))
    return tuple(Document(file.name, file.read_text(encoding="utf-8")) for file in files)


def load_profiles(documents: Iterable[Document] = ()) -> Profiles:
    """Read the operator's profiles on top of the shipped ones; one of the same name takes a shipped one's place.
    Raises ConfigError with every problem of every document."""
    problems: list[Problem] = []
    held = {bound.value.profile: bound for bound in _read(shipped(), problems) if bound.value}
    held |= {bound.value.profile: bound for bound in _read(documents, problems) if bound.value}
    full = {name: profile for name in held if (profile := _full(name, held, problems, ()))}
    if problems:
        raise ConfigError(problems)
    return Profiles(full)


def _read(documents: Iterable[Document], problems: list[Problem]) -> list[Bound[Profile]]:
    found: dict[str, Bound[Profile]] = {}
    for document in documents:
        bound = try_load(document.text, document.name, Profile, SCALARS)
        problems.extend(bound.problems)
        if bound.value is None:
            continue
        name = bound.value.profile
        if name in found:
            problems.append(bound.mark(bound.value).problem(f"`{name}` is also in {found[name].file}", "profile"))
        found[name] = bound
    return list(found.values())


def _full(
    name: str, held: Mapping[str, Bound[Profile]], problems: list[Problem], below: tuple[str, ...]
) -> Profile | None:
    """The profile with the readings of those it extends, but for the quantities it names itself."""
    bound = held[name]
    profile = bound.value
    if profile is None or not profile.extends:
        return profile
    mark = bound.mark(profile)
    if profile.extends not in held:
        problems.append(mark.problem(f"there is no profile `{profile.extends}`", "extends"))
        return None
    if name in below:
        problems.append(mark.problem(f"`{name}` extends itself by way of {', '.join(below)}", "extends"))
        return None
    base = _full(profile.extends, held, problems, (*below, name))
    own = {wanted.quantity for wanted in profile.readings}
    inherited = tuple(wanted for wanted in base.readings if wanted.quantity not in own) if base else ()
    return replace(profile, readings=(*profile.readings, *inherited))
