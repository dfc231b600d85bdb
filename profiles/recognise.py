"""How much a profile's match says of a device: pure."""

from collections.abc import Mapping

from watchkeeper.profiles.shape import Match

Rank = tuple[int, int, bool]
"""How much is certain, how long the identifiers are that say so, and whether a text was looked at."""

NO_MATCH: Rank = (0, 0, False)
_GENERIC = ("1.3.6.1.4.1.8072.3.2", "1.3.6.1.2.1", "1.3.6.1.4.1.2021.250")
"""What says only which software answers: net-snmp's own sysObjectIDs, and standard MIBs."""


def rank(match: Match, sys_object_id: str, sys_descr: str) -> Rank:
    """How much the match says of the device, if it answers what it is asked; `NOBODY` where it does not fit. A maker's
    sysObjectID says more than an object of a maker's that answers, that more than anything generic; and the longer identifier
    more than the shorter."""
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
    return any(f"{oid}.".startswith(f"{generic}.") for generic in _GENERIC)


def answered(match: Match, answers: Mapping[str, str]) -> bool:
    """Whether the device answers what the match asks it."""
    if match.answers is None:
        return True
    said = answers.get(match.answers)
    return said is not None and (match.says is None or bool(match.says.search(said)))
