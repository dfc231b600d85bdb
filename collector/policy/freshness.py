"""When an agent or a reading no longer counts as current: limits in intervals of the agent or the device. Pure."""

SILENT_AFTER_INTERVALS = 3
"""An agent is silent when it missed this many of its intervals."""

STALE_AFTER_INTERVALS = 3
"""A frame older than this many of its intervals is stale, and so is every reading of a silent agent (docs/protocol.md)."""

EXPORTED_FOR_INTERVALS = 2
"""A reading is exported as a metric until its frame is this many intervals old: old values disappear instead of being
repeated."""


def silent(unheard_s: float, interval_s: float) -> bool:
    """Whether an agent that was not heard for `unheard_s` seconds is silent."""
    return unheard_s > SILENT_AFTER_INTERVALS * interval_s


def stale(age_s: float, every_s: float) -> bool:
    """Whether a frame of that age is stale."""
    return age_s > STALE_AFTER_INTERVALS * every_s
