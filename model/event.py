"""What the events of traps and of a BMC's log have in common (docs/decisions/0015)."""

from watchkeeper.model.reading import Missing, Reason

EVENT_QUANTITY = "device.event"
"""The quantity of their series."""

EVENT_SHOWN_S = 60.0
"""How long an event shows its level, in seconds."""

MAX_EVENTS = 50
"""The largest number of events kept per device."""

EVENT_OVER = Missing(Reason.ABSENT, "the event is over, but no poll can tell whether its cause is")
"""The value of the series after that time, and of a series that no longer exists."""
