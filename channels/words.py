"""The words of a message as each service shows them: literally, whatever a device wrote. Pure.

We write plain text, and ask a service for plain text where it has that. The others turn some characters into links, headings,
emphasis, tags or calls to people. There these characters are escaped, or a zero-width space after them makes them inert.
"""

import re
from collections.abc import Callable, Mapping

from watchkeeper.model.plain import printable

Measure = Callable[[str], int]

_INERT = "\N{ZERO WIDTH SPACE}"
_ELLIPSIS = "…"
_LINK_LINE = re.compile(r"https?://[\w./:?=&%#~+-]+", re.ASCII)
_MARKS = re.compile(r"[\\`*_~\[\]<>|#{}]")
_LINE_MARKS = re.compile(r"^(\s*)([-+=>]|\d+[.)])", re.MULTILINE)
_CALL = re.compile(r"([@＠])(?=\S)")
_TAG = re.compile(r"<(?=[^\s\d=])")
_MASKED_LINK = re.compile(r"\](?=[(\[:])")


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
    return _MASKED_LINK.sub(f"]{_INERT}", without_tags(without_calls(text)))


def as_markdown(text: str) -> str:
    """For a service that takes all text as Markdown. A line that is only a web address stays as it is: an escaped address would
    lead elsewhere."""
    return "\n".join(line if _LINK_LINE.fullmatch(line) else _escaped(line) for line in text.split("\n"))


def as_html(text: str) -> str:
    """For a service that takes all text as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br/>")


def _escaped(line: str) -> str:
    marked = _MARKS.sub(r"\\\g<0>", without_calls(line))
    return _LINE_MARKS.sub(lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", marked)


SHOWN_AS: Mapping[str, Callable[[str], str]] = {
    # Programs of the operator, and mail (sent as text/plain): exactly the same text
    **dict.fromkeys(("apprise_api", "custom_form", "custom_json", "custom_xml", "email", "mqtt", "amqp", "syslog", "rsyslog"), literal),
    # A text message of these calls people only by a field of its own, which we leave empty
    **dict.fromkeys(("dingtalk", "wecombot", "wechat", "onebot", "line", "pushover", "pushplus", "pushdeer", "gotify", "ntfy"), literal),
    # Apprise escapes &, < and > for it, and without these it calls nobody
    "slack": literal,
    "telegram": without_calls,
    "feishu": without_tags,
    "lark": without_tags,
    "flock": as_html,
    **dict.fromkeys(
        ("discord", "guilded", "fluxer", "mattermost", "nextcloudtalk", "revolt", "ryver", "serverchan", "zulip", "home_assistant"),
        as_markdown,
    ),
}  # fmt: skip
"""How a service, by the name of Apprise's module, must be given a text. Any other: `inert`."""


def shown(text: str, service: str) -> str:
    """The text for this service, without control characters."""
    return SHOWN_AS.get(service, inert)(printable(text))


def shorten(text: str, room: int, measure: Measure = len) -> str:
    """The text in at most `room`, measured by `measure`. The first lines and the last one stay, because the last one is the link;
    what is left out is marked."""
    if measure(text) <= room:
        return text
    *first, last = text.split("\n")
    ending = f"\n{last}" if first else ""
    if measure(_ELLIPSIS + ending) > room:
        ending, first = "", [text]
    body = "\n".join(first) if first else last
    low, high = 0, len(body)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if measure(body[:middle].rstrip() + _ELLIPSIS + ending) <= room:
            low = middle
        else:
            high = middle - 1
    return body[:low].rstrip() + _ELLIPSIS + ending


def utf8_bytes(text: str) -> int:
    """The size of a text in UTF-8."""
    return len(text.encode(errors="replace"))
