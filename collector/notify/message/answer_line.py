"""The line that tells a person how to answer by the channel that a message leaves by. It is added as the message leaves, because
only some channels have a way back. Pure."""

from dataclasses import replace
from enum import StrEnum

from watchkeeper.channels.ports import Message
from watchkeeper.collector.notify.i18n import marked, translator
from watchkeeper.collector.notify.message.draft import OVER, NoticeKind
from watchkeeper.collector.policy.replies.codes import code_of
from watchkeeper.collector.site.inventory import Language

ANSWERABLE = frozenset(kind.value for kind in NoticeKind if kind not in OVER)
"""The kinds of messages that can be answered: the trouble goes on."""

LINE = marked("Reply {code} ok / {code} here / {code} up / {code} note ...")


class WayBack(StrEnum):
    """How a person can answer."""

    NONE = ""
    SMS = "sms"
    MAIL = "mail"


def with_answer_line(message: Message, way: WayBack, language: Language) -> Message:
    """The message with the line, if it can be answered by this way. In an SMS the line comes first, because the middle of a long text
    is left out; in a mail before the last line, which is the link."""
    number = message.facts.get("trouble")
    if way is WayBack.NONE or not isinstance(number, int) or message.facts.get("kind") not in ANSWERABLE:
        return message
    line = translator(language)(LINE).format(code=code_of(number, message.person, message.key))
    *first, last = message.text.split("\n")
    lines = (line, *first, last) if way is WayBack.SMS else (*first, line, last)
    return replace(message, text="\n".join(filter(None, lines)))
