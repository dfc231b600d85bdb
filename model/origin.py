"""Which process sends a push, and what it knows of the collector: the optional members of a push (docs/protocol.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watchkeeper.model.errors import WireError
from watchkeeper.model.json_fields import NAME_LIMIT, Json, array, count_field, limited_text, text_field

NEW_EPOCH = "new"
"""The member `epoch` of an answer 409: begin a new epoch, and send everything again that was not answered."""

PREVIOUS_LIMIT = 16
"""How many earlier sessions are told, and looked at."""


@dataclass(frozen=True, slots=True)
class Origin:
    """`session` names the running process (empty: not told), `previous` are those that used the same spool before it. `turn`
    counts the pushes of the session, from 1. `settled` is the highest seq of the lane that a collector has answered in this
    epoch (None: not told)."""

    session: str = ""
    previous: tuple[str, ...] = ()
    turn: int = 0
    settled: int | None = None


NOWHERE = Origin()
"""Nothing is told."""


def encode_origin(origin: Origin) -> Json:
    """The members that are told."""
    told: Json = {"session": origin.session, "turn": origin.turn} if origin.session else {}
    if origin.previous:
        told["previous"] = list(origin.previous)
    if origin.settled is not None:
        told["settled"] = origin.settled
    return told


def decode_origin(body: Mapping[str, Any]) -> Origin:
    """The inverse of `encode_origin`. Raises WireError."""
    previous = array(body.get("previous", []), "previous")
    if not all(isinstance(name, str) for name in previous):
        raise WireError("previous: expected names of sessions")
    return Origin(
        session=text_field(body, "session", "", NAME_LIMIT) if "session" in body else "",
        previous=tuple(limited_text(name, "previous", NAME_LIMIT) for name in previous[-PREVIOUS_LIMIT:]),
        turn=count_field(body, "turn", "") if "turn" in body else 0,
        settled=count_field(body, "settled", "") if "settled" in body else None,
    )
