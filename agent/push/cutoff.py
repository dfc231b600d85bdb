"""When an agent counts as cut off from every collector. Pure."""

from dataclasses import dataclass

CUT_OFF_AFTER_S = 900.0
"""An agent whose pushes nobody has accepted for so long is cut off: nobody is notified of the faults that it finds."""

SAID_AGAIN_S = 3600.0


@dataclass(frozen=True, slots=True)
class CutOff:
    """No collector has accepted a push for `lasted_s`. `why` is the last error."""

    lasted_s: float
    why: str

    def __str__(self) -> str:
        return (
            f"no collector has accepted anything for {self.lasted_s / 60:.0f} min ({self.why}): nobody is notified of the "
            "faults that this agent finds"
        )


def cut_off(away_since: float | None, now: float, why: str) -> CutOff | None:
    """Whether the agent is cut off, if the first refused push since the last accepted one was at `away_since`."""
    if away_since is None or now - away_since < CUT_OFF_AFTER_S:
        return None
    return CutOff(now - away_since, why)


def say_again(said_at: float | None, now: float) -> bool:
    """Whether the log must say it now."""
    return said_at is None or now - said_at >= SAID_AGAIN_S
