"""Whether an answer comes too late: the trouble is no longer in the state that the answered message told. Pure."""

from collections.abc import Iterable
from enum import StrEnum

from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.replies.reading import AnswerKind
from watchkeeper.collector.policy.troubles import Trouble


class Lateness(StrEnum):
    """Why an answer changes nothing."""

    NO = ""
    OVER = "over"
    CAME_BACK = "came-back"
    TAKEN = "taken"  # another person works on it
    ESCALATED = "escalated"


def lateness(
    kind: AnswerKind,
    person: str,
    told_at: float,
    trouble: Trouble,
    steps: Iterable[ScheduledRung],
    *,
    ended_since: bool,
) -> Lateness:
    """Why an answer changes nothing; `NO` if it counts. `told_at` is when the answered message was written (UTC seconds);
    `ended_since`: the person was told since then that the trouble is over. A comment is never too late.

    The comparison is with the message that the code or key names, not with the time at which the answer came: an SMS can take
    hours."""
    if kind is AnswerKind.COMMENT:
        return Lateness.NO
    if not trouble.open:
        return Lateness.OVER
    if ended_since:
        return Lateness.CAME_BACK
    if kind is AnswerKind.ACKNOWLEDGE:
        since = trouble.acknowledged_at
        other = trouble.acknowledged_by not in {None, person}
        return Lateness.TAKEN if other and since is not None and since > told_at else Lateness.NO
    if kind is AnswerKind.ESCALATE and any(step.decided_at is not None and step.decided_at > told_at for step in steps):
        return Lateness.ESCALATED
    return Lateness.NO
