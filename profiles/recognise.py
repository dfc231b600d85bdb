"""Which profile fits a device: how well each match fits, and how many of its readings give a value. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from watchkeeper.model.text import marked
from watchkeeper.profiles.shape import Match

ENTERPRISES = "1.3.6.1.4.1"
NEAR = 0.5  # a candidate with this share of the most values may still be chosen, if its match is better

NEAR_ARCS = 9  # of an identifier; 7 name the maker

_GENERIC_OIDS = ("1.3.6.1.4.1.8072.3.2", "1.3.6.1.2.1", "1.3.6.1.4.1.2021.250", "1.3.6.1.4.1.0")
"""Identifiers that name no maker: net-snmp's own sysObjectIDs, standard MIBs, and the reserved enterprise."""
GENERIC_ENTERPRISES = frozenset({"8072", "2021"})
"""net-snmp and UCD: many makers' devices answer their objects."""
_WRITTEN_PREFIXES = (
    ("iso.", "1."),
    ("snmpv2-smi::enterprises.", f"{ENTERPRISES}."),
    ("enterprises.", f"{ENTERPRISES}."),
)


class Rank(NamedTuple):
    """How good a match is: its weight, the length of its identifiers, whether it compares a text, and minus the length
    of a sysObjectID that the device should have and does not. A larger one is better."""

    weight: int
    length: int
    text: bool
    given_up: int


BY_SYS_OBJECT_ID = 3  # the least weight of a match that a maker's sysObjectID fits
NO_MATCH = Rank(0, 0, text=False, given_up=0)
BY_OBJECTS = Rank(1, 1000, text=False, given_up=0)
"""The rank of a maker's profile whose objects answer, although no match of it fits: above a standard MIB, below every
match that names the maker."""


@dataclass(frozen=True, slots=True)
class SystemGroup:
    """What a device reports about itself. `sys_object_id` is dotted, or empty if it is no identifier. `known_maker`
    tells whether it is below the identifier of a maker that some profile is for; if it is not, it proves nothing."""

    sys_object_id: str
    sys_descr: str
    known_maker: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A profile that may fit. `rank` is that of its best match, and `why` says what fits in it.

    It names `named` objects and columns of a maker; `present` of them are on the device. They give `own` values; with
    those of standard MIBs there are `values`. `answering` tells whether the device has any object of that maker, and
    `near` how many numbers of an identifier such an object shares with one that the profile names."""

    profile: str
    rank: Rank
    why: str
    named: int = 0
    present: int = 0
    answering: bool = False
    near: int = 0
    own: int = 0
    values: int = 0

    @property
    def merit(self) -> tuple[Rank, int, int, int, int, int]:
        """What decides between candidates that give enough values. Of two profiles with the same objects on the device,
        the one that expects fewer others is the more specific."""
        return self.rank, self.own, self.values, self.present, self.near, -self.named


def object_id(text: str) -> str:
    """A sysObjectID as dotted numbers, however the device writes it; empty if it is no identifier."""
    dotted = text.strip().strip(".").lower()
    for written, numeric in _WRITTEN_PREFIXES:
        if dotted.startswith(written):
            dotted = numeric + dotted.removeprefix(written)
    return dotted if re.fullmatch(r"\d+(\.\d+)+", dotted, re.ASCII) else ""


def is_below(oid: str, ancestor: str) -> bool:
    """Whether the identifier is `ancestor` or below it."""
    return f"{oid}.".startswith(f"{ancestor}.")


def enterprise_of(oid: str) -> str:
    """The enterprise number of an identifier; empty outside 1.3.6.1.4.1 and for those that name no maker."""
    head, _, rest = oid.partition(f"{ENTERPRISES}.")
    number = rest.partition(".")[0]
    return "" if head or number in GENERIC_ENTERPRISES or is_generic(oid) else number


def is_generic(oid: str) -> bool:
    """Whether the identifier names no maker."""
    return any(is_below(oid, generic) for generic in _GENERIC_OIDS)


def rank(match: Match, system: SystemGroup) -> Rank:
    """The rank of the match for the device, if the device answers the match's object; NO_MATCH if it does not fit. A
    maker's sysObjectID ranks above a maker's object that is answered, and this above anything generic. Among equals the
    longer identifier wins.

    A sysObjectID that names no known maker, or another model of the same maker, does not contradict a match: then the
    rest of the match counts, if that names the maker (by its object, or by a text)."""
    fitting = [oid for oid in match.sys_object_id if is_below(system.sys_object_id, oid)]
    if match.sys_descr and not match.sys_descr.search(system.sys_descr):
        return NO_MATCH
    given_up = 0
    if match.sys_object_id and not fitting:
        same_maker = enterprise_of(system.sys_object_id) in map(enterprise_of, match.sys_object_id)
        if (system.known_maker and not same_maker) or not _names_a_maker(match):
            return NO_MATCH
        given_up = -min(map(len, match.sys_object_id))
    longest = max(map(len, fitting), default=0)
    of_a_maker = any(not is_generic(oid) for oid in fitting)
    asks_a_maker = match.answers is not None and not is_generic(match.answers)
    weight = 2 * of_a_maker + asks_a_maker + (match.sys_descr is not None) + 1
    return Rank(weight, longest + len(match.answers or ""), match.says is not None, given_up)


def _names_a_maker(match: Match) -> bool:
    """Whether the match, without its sysObjectID, still tells the maker. A pattern that fits an empty text excludes
    devices and names none."""
    if any(is_below(oid, "1.3.6.1.2.1") for oid in match.sys_object_id):
        return False
    of_a_maker = match.answers is not None and not is_generic(match.answers)
    return of_a_maker or match.says is not None or bool(match.sys_descr and not match.sys_descr.search(""))


def by_text_only(matches: Iterable[Match]) -> bool:
    """Whether only a text tells this profile from another one with the same objects: then its objects prove nothing."""
    return all(match.says or (match.sys_descr and not match.sys_descr.search("")) for match in matches)


def answers_match(match: Match, answers: Mapping[str, str]) -> bool:
    """Whether the device's answers fulfil `answers` and `says` of the match."""
    if match.answers is None:
        return True
    text = answers.get(match.answers)
    return text is not None and (match.says is None or bool(match.says.search(text)))


def best_match(matches: Iterable[Match], system: SystemGroup, answers: Mapping[str, str]) -> tuple[Rank, str]:
    """The rank of the best match that the device fulfils, and what fits in it."""
    best, why = NO_MATCH, ""
    for match in matches:
        one = rank(match, system)
        if one > best and answers_match(match, answers):
            best, why = one, _what_fits(match, system)
    return best, why


def _what_fits(match: Match, system: SystemGroup) -> str:
    parts = []
    if any(is_below(system.sys_object_id, oid) for oid in match.sys_object_id):
        parts.append(f"sysObjectID {system.sys_object_id}")
    if match.answers and match.says:
        parts.append(marked(f"object {match.answers} answers `{match.says.pattern}`"))
    elif match.answers:
        parts.append(marked(f"object {match.answers} answers"))
    if match.sys_descr:
        parts.append(marked(f"sysDescr fits `{match.sys_descr.pattern}`"))
    return "; ".join(parts)


def choose(candidates: Sequence[Candidate]) -> tuple[Candidate | None, Candidate | None]:
    """The best candidate and the next one.

    A maker's objects decide: of the candidates that give at least NEAR of the most values, the one with the best match
    is chosen, and among equal matches the one with the most values. A profile that only reads standard MIBs has no
    objects to be compared by; its match counts, unless its maker's subtree is silent and another maker's answers. If no
    maker's object gives a value, the match alone decides."""
    most = max(candidates, key=lambda one: (one.own, one.values), default=None)
    in_question = [one for one in candidates if most and _can_be_chosen(one, most)]
    ordered = sorted(in_question, key=lambda one: one.merit, reverse=True)
    others = sorted((one for one in candidates if one.own), key=lambda one: one.own, reverse=True)
    best = ordered[0] if ordered else None
    return best, next((one for one in (*others, *ordered) if best and one.profile != best.profile), None)


def _can_be_chosen(one: Candidate, most: Candidate) -> bool:
    """Whether it gives enough values, beside the candidate whose maker's objects give the most. A profile may read some
    quantities from a standard MIB instead of its maker's objects; so all its values count too."""
    if not most.own:
        return one.rank != BY_OBJECTS or bool(one.present) or one.near >= NEAR_ARCS
    if one.own:
        return one.own >= NEAR * most.own or one.values >= NEAR * most.values
    if one.named or not one.values:
        return False
    return one.answering or one.values >= NEAR * most.own
