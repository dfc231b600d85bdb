"""Tells the connection of a request whose it is. A connection of an agent or a person who has authenticated keeps its place when a
flood of others takes theirs (collector/web/edge/places.py)."""

from collections.abc import MutableMapping
from typing import Any

RECOGNISE = "watchkeeper.recognise"
"""In the `state` of a request's scope: a function that takes the name. Any thread may call it."""


def recognise(scope: MutableMapping[str, Any], who: str) -> None:
    """The request's connection is of `who`: `agent:NAME` or `person:NAME`. Servers without such places do not care."""
    tell = scope.get("state", {}).get(RECOGNISE)
    if tell is not None:
        tell(who)
