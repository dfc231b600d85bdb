"""How well a profile's match fits a device. Pure."""

from collections.abc import Mapping

from watchkeeper.profiles.shape import Match

Rank = tuple[int, int, bool]
"""How good a match is: its weight, the length of its identifiers, and whether it compares a text. A larger one is
better."""

NO_MATCH: Rank = (0, 0, False)
_GENERIC_OIDS = ("1.3.6.1.4.1.8072.3.2", "1.3.6.1.2.1", "1.3.6.1.4.1.2021.250")
"""Identifiers that name no maker: net-snmp's own sysObjectIDs, and standard MIBs."""


def rank(match: Match, sys_object_id: str, sys_descr: str) -> Rank:
    """The rank of the match for the device, if the device answers the match's object; NO_MATCH if it does not fit. A
    maker's sysObjectID ranks above a maker's object that is answered, and this above anything generic. Among equals the
    longer identifier wins."""
    own = sys_object_id.strip(".")
    fitting = [oid for oid in match.sys_object_id if f"{own}.".startswith(f"{oid}.")]
    if (match.sys_object_id and not fitting) or (match.sys_descr and not match.sys_descr.search(sys_descr)):
        return NO_MATCH
    longest = max(map(len, fitting), default=0)
    of_a_maker = any(not _is_generic(oid) for oid in fitting)
    asks_a_maker = match.answers is not None and not _is_generic(match.answers)
    weight = 2 * of_a_maker + asks_a_maker + (match.sys_descr is not None) + 1
    return (weight, longest + len(match.answers or ""), match.says is not None)


def _is_generic(oid: str) -> bool:
    return any(f"{oid}.".startswith(f"{generic}.") for generic in _GENERIC_OIDS)


def answers_match(match: Match, answers: Mapping[str, str]) -> bool:
    """Whether the device's answers fulfil `answers` and `says` of the match."""
    if match.answers is None:
        return True
    text = answers.get(match.answers)
    return text is not None and (match.says is None or bool(match.says.search(text)))
