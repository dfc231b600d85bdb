"""What follows a failed try of a message. Pure."""

from dataclasses import dataclass

TRIES = 3
TRY_AGAIN_AFTER_S = (2.0, 10.0)
NEXT_ROUND_AFTER_S = 300.0
"""Three tries on a channel, 2 and 10 seconds apart, then the next channel. After the last channel everything is tried again
every 5 minutes."""


@dataclass(frozen=True, slots=True)
class NextTry:
    """What happens to a message after a failed try."""

    channel: int
    attempts: int
    wait_s: float
    exhausted: bool = False


def after_failure(channel: int, attempts: int, channels: int, *, permanent: bool, urgent: bool = False) -> NextTry:
    """Decide what comes next: the same channel again, the next channel, or, once all have failed, all of them again later.
    A message that is urgent goes to the next channel after each failure; its `attempts` count the tries on all channels."""
    if urgent and channels > 1:
        return _in_turn(channel, attempts + (TRIES if permanent else 1), channels)
    attempts += 1
    if not permanent and attempts < TRIES:
        return NextTry(channel, attempts, TRY_AGAIN_AFTER_S[attempts - 1])
    if channel + 1 < channels:
        return NextTry(channel + 1, 0, 0.0)
    return NextTry(0, 0, NEXT_ROUND_AFTER_S, exhausted=True)


def _in_turn(channel: int, attempts: int, channels: int) -> NextTry:
    """One try on each channel, then one on each again. A channel that refused for good counts as tried three times."""
    if attempts >= TRIES * channels:
        return NextTry(0, 0, NEXT_ROUND_AFTER_S, exhausted=True)
    if channel + 1 < channels:
        return NextTry(channel + 1, attempts, 0.0)
    rounds = min(max(attempts // channels, 1), len(TRY_AGAIN_AFTER_S))
    return NextTry(0, attempts, TRY_AGAIN_AFTER_S[rounds - 1])
