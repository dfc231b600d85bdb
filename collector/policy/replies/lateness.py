"""Whether an answer comes too late: the trouble is no longer in the state that the answered message told. Pure."""

from collections.abc import Iterable

from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.replies.reading import AnswerKind
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.model.text import marked

OVER = marked("It is over already.")
CAME_BACK = marked("It was over and has come back since that message.")
TAKEN = marked("{person} works on it since {time}.")
ESCALATED = marked("It was escalated already since that message.")


def lateness(
    kind: AnswerKind,
    person: str,
    told_at: float,
    trouble: Trouble,
    steps: Iterable[ScheduledRung],
    *,
    ended_since: bool,
) -> str:
    """Why an answer changes nothing; empty if it counts. `told_at` is when the answered message was written (UTC seconds);
    `ended_since`: the person was told since then that the trouble is over. A comment is never too late.

    The comparison is with the message that the code or key names, not with the time at which the answer came: an SMS can take
    hours."""
    if kind is AnswerKind.COMMENT:
        return ""
    if not trouble.open:
        return OVER
    if ended_since:
        return CAME_BACK
    if kind is AnswerKind.ACKNOWLEDGE:
        since = trouble.acknowledged_at
        other = trouble.acknowledged_by not in {None, person}
        return TAKEN if other and since is not None and since > told_at else ""
    if kind is AnswerKind.ESCALATE and any(step.decided_at is not None and step.decided_at > told_at for step in steps):
        return ESCALATED
    return ""
