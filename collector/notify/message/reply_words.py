"""What is said of replies: in the timeline, and to the person whose reply changed nothing."""

from collections.abc import Mapping
from types import MappingProxyType

from watchkeeper.collector.notify.i18n import marked
from watchkeeper.collector.policy.replies.lateness import Lateness
from watchkeeper.collector.policy.replies.reading import AnswerKind

BY_SMS, BY_MAIL, BY_WEBHOOK = marked("by SMS"), marked("by mail"), marked("by webhook")
LATE_NOTE = marked("late answer that changed nothing: {answer} {note}")
MERGED_NOTE = marked("answer to trouble {number}, which is part of this one")

NOT_CLEAR = marked("It was not understood.")
NO_SUCH_CODE = marked("No message to you has this code.")
NO_SUCH_KEY = marked("No message to you has this key.")
LATE: Mapping[Lateness, str] = MappingProxyType({
    Lateness.OVER: marked("It is over already."),
    Lateness.CAME_BACK: marked("It was over and has come back since that message."),
    Lateness.TAKEN: marked("{person} works on it since {time}."),
    Lateness.ESCALATED: marked("It was escalated already since that message."),
})  # fmt: skip
ANSWERS: Mapping[AnswerKind, str] = MappingProxyType({
    AnswerKind.ACKNOWLEDGE: marked("I am working on it"),
    AnswerKind.ON_SITE: marked("I am on site"),
    AnswerKind.ESCALATE: marked("Escalate now"),
    AnswerKind.COMMENT: marked("Comment"),
})  # fmt: skip

SUBJECT = marked("[reply changed nothing] Trouble {number}")
SUBJECT_ANY = marked("[reply changed nothing]")
HOW = marked(
    "Write the code of the message and one word: ok (I work on it), here (I am on site), up (escalate), or note and a text."
)
