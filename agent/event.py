"""What all events have in common, whether a trap told of them or a BMC's log (docs/decisions/0015)."""

from watchkeeper.model.reading import Missing, Reason

EVENT_QUANTITY = "device.event"
"""The quantity they are series of."""

EVENT_SHOWN_S = 60.0
"""How long an event shows its level."""

MAX_EVENTS = 50
"""So many of a device are kept at most."""

EVENT_OVER = Missing(Reason.ABSENT, "the event is over, and no poll can tell whether its cause is")
"""What the series says once its moment has passed, and what is said of one that is no longer there."""
