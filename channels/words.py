"""The words of a message as each service shows them: literally, whatever a device wrote. Pure.

We write plain text, and ask a service for plain text where it has that. The others turn some characters into links, headings,
emphasis, tags or calls to people. There these characters are escaped, or a zero-width space after them makes them inert.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Measure = Callable[[str], int]
Words = Callable[[str], str]

_INERT = "\N{ZERO WIDTH SPACE}"
_LINK_LINE = re.compile(r"https?://[\w./:?=&%#~+-]+", re.ASCII)
_MARKS = re.compile(r"[\\`*_~\[\]<>|#{}]")
_LINE_MARK = re.compile(r"^(\s*\d*)([-+=.)])(?=\s|$|[-=])")  # a list, a number, a line under a heading
_CALL = re.compile(r"([@＠])(?=\S)")
_TAG = re.compile(r"<(?=[^\s\d=])")
_LINK_OR_CODE = re.compile(r"\](?=[(\[:])|\[(?=CQ:)")


def literal(text: str) -> str:
    """For a service that shows plain text as it is."""
    return text


def without_calls(text: str) -> str:
    """For a service that calls people by `@name` in plain text."""
    return _CALL.sub(rf"\1{_INERT}", text)


def without_tags(text: str) -> str:
    """For a service that has tags (`<at user_id="all">`, `<!channel>`) in plain text."""
    return _TAG.sub(f"<{_INERT}", text)


def inert(text: str) -> str:
    """For a service of which we do not know what it does with these characters: no call, no tag, no link with another text than
    its address."""
    return _LINK_OR_CODE.sub(rf"\g<0>{_INERT}", without_tags(without_calls(text)))


def as_markdown(text: str) -> str:
    """For a service that takes all text as Markdown. A line that is only a web address stays as it is: an escaped address would
    lead elsewhere."""
    return "\n".join(line if _LINK_LINE.fullmatch(line) else _escaped(line) for line in text.split("\n"))


def as_paragraphs(text: str) -> str:
    """For a service that takes all text as Markdown and joins lines that no empty line parts."""
    return as_markdown(text).replace("\n", "\n\n")


def _escaped(line: str) -> str:
    marked = _MARKS.sub(r"\\\g<0>", without_calls(line))
    return _LINE_MARK.sub(r"\1\\\2", marked)


@dataclass(frozen=True, slots=True)
class Style:
    """How a service must be given a title and a text. `markdown`: the text is Markdown already, so that Apprise does not
    escape it again."""

    title: Words
    text: Words
    markdown: bool = False


_LITERAL = Style(literal, literal)
STYLES: Mapping[str, Style] = {
    # Programs of the operator, and mail (sent as text/plain): exactly the same text
    **dict.fromkeys(("apprise_api", "custom_form", "custom_json", "custom_xml", "email", "mqtt", "amqp", "syslog", "rsyslog"), _LITERAL),
    # Plain text without markup; people are called only by a field of its own, which we leave empty. Apprise escapes what Slack,
    # Flock and PushPlus understand as tags
    **dict.fromkeys(("bark", "dingtalk", "flock", "gotify", "line", "ntfy", "onebot", "pushdeer", "pushover", "pushplus", "slack", "wecombot"), _LITERAL),
    "telegram": Style(without_calls, without_calls),
    **dict.fromkeys(("feishu", "lark", "wechat"), Style(without_tags, without_tags)),
    # Apprise calls it text, but the service shows Markdown
    **dict.fromkeys(("discord", "fluxer", "guilded", "mattermost", "nextcloudtalk", "ryver"), Style(as_markdown, as_markdown)),
    "zulip": Style(literal, as_markdown),
    **dict.fromkeys(("home_assistant", "serverchan"), Style(literal, as_paragraphs)),
    "webexteams": Style(as_markdown, as_paragraphs, markdown=True),
    # The heading of an adaptive card is Markdown too
    "workflows": Style(as_markdown, as_paragraphs, markdown=True),
}  # fmt: skip
"""By the name of Apprise's module."""


def style_of(service: str, *, only_markdown: bool, title_apart: bool) -> Style:
    """The style of a service. `only_markdown`: Apprise sends it nothing but Markdown. `title_apart`: its title is a field of
    its own, which is plain text."""
    if service in STYLES:
        return STYLES[service]
    if only_markdown:
        return Style(inert if title_apart else as_markdown, as_markdown, markdown=True)
    return Style(inert, inert)


def shorten(text: str, room: int, measure: Measure = len, mark: str = "…") -> str:
    """The text in at most `room`, measured by `measure`. The first lines and the last one stay, because the last one is the link;
    `mark` is where something was left out."""
    if measure(text) <= room:
        return text
    *first, last = text.split("\n")
    ending = f"\n{last}" if first else ""
    if measure(mark + ending) > room:
        ending, first = "", [text]
    body = "\n".join(first) if first else last
    low, high = 0, len(body)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if measure(body[:middle].rstrip() + mark + ending) <= room:
            low = middle
        else:
            high = middle - 1
    return body[:low].rstrip() + mark + ending


def utf8_bytes(text: str) -> int:
    """The size of a text in UTF-8."""
    return len(text.encode(errors="replace"))
