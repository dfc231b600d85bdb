"""What a service's answer to an HTTP request says about a message. Pure.

Many services refuse with HTTP 200 and a code in the body, so the status alone proves nothing. A service in
`channels/services.py` has accepted a message only if its body says so in its own way. The body of any other service is
searched for the usual signs of a refusal.
"""

import datetime
import email.utils
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchkeeper.model.plain import printable

JUDGED_BYTES = 65_536
"""Bytes of an answer that are judged."""

_LONGEST_WAIT_S = 86_400.0
_SAID_LIMIT = 200
_TRY_AGAIN = frozenset({408, 425, 429})  # RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4: temporary refusals

_CODES = ("errcode", "errCode", "errno", "error_code", "errorCode", "code", "StatusCode", "retcode", "ret")
_FLAGS = ("ok", "success", "Success")
_WORDS = ("status", "result", "type", "stat")
_BAD_WORDS = frozenset({"error", "err", "fail", "failed", "failure", "invalid", "rejected", "ng", "nok"})
_BAD_TEXT = re.compile(r"\W*(error|err|fail|failed|failure)\b|.{0,40}\bdelivery failed\b", re.IGNORECASE)
_GOOD_WORDS = frozenset({"ok", "success", "succeeded", "true", "none", "null", ""})
_SAYINGS = ("errmsg", "msg", "message", "description", "error_message", "errorMessage", "error", "errors", "StatusMessage",
            "reason", "wording", "info")  # fmt: skip
_WAITS = ("retry_after", "parameters.retry_after", "retryAfter")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer: its status, the value of its header Retry-After, the beginning of its body."""

    status: int
    body: bytes = b""
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Grammar:
    """How a service answers. The first of `fields` (`error.code`, `messages.*.status`; `*` is every item) that is present must
    have a value of `accepts`, or the whole body is one of `texts`. `busy` are the codes of too many messages and how many
    seconds its limit asks us to wait, `gone` the codes after which it is useless to try again."""

    fields: tuple[str, ...] = ()
    accepts: tuple[Any, ...] = ()
    texts: tuple[str, ...] = ()
    busy: Mapping[Any, float] = field(default_factory=dict)
    gone: frozenset[Any] = frozenset()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether an answer accepts the message. `confirmed`: the body itself says that it was accepted. `by_status`: the HTTP
    status itself is a refusal. `said` is the service's own code and text of a refusal."""

    accepted: bool
    confirmed: bool = False
    by_status: bool = False
    said: str = ""
    permanent: bool = False
    retry_after_s: float | None = None


def judge(answer: HttpAnswer, grammar: Grammar | None, now: float) -> Acceptance:
    """Judge one answer. `grammar` is None for a service that we do not know. `now` is in UTC seconds, for a Retry-After that
    is a date."""
    body = _parsed(answer.body)
    if not 200 <= answer.status < 300:  # noqa: PLR2004 -- RFC 9110 15.3: successful
        return _refused(answer, body, grammar, now)
    if grammar is None:
        sign = next(_signs_of_refusal(body), "") if body is not None else _bad_text(answer.body)
        wait_s = _wait(answer, body, now)
        return Acceptance(not sign, said=_joined(sign, _saying(body)) if sign else "", retry_after_s=wait_s)
    codes = _codes(body, grammar)
    whole = answer.body.decode(errors="replace").strip()
    if whole in grammar.texts or (codes and all(_among(code, grammar.accepts) for code in codes)):
        return Acceptance(accepted=True, confirmed=True)
    return _refused(answer, body, grammar, now)


def wait_of(header: str, now: float) -> float | None:
    """The seconds that a Retry-After asks for: a number, or an HTTP date (RFC 9110 10.2.3). None if it is neither."""
    seconds = _seconds(header)
    if seconds is not None:
        return seconds
    try:
        at = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return min(max(at.timestamp() - now, 0.0), _LONGEST_WAIT_S)


def final(status: int) -> bool:
    """Whether this status is a refusal for good: not a temporary one, not the server's own fault."""
    return 300 <= status < 500 and status not in _TRY_AGAIN  # noqa: PLR2004 -- RFC 9110 15.4 to 15.6


def _refused(answer: HttpAnswer, body: Any, grammar: Grammar | None, now: float) -> Acceptance:
    """The judgement of a refusal, by its status or by its body."""
    by_status = not 200 <= answer.status < 300  # noqa: PLR2004 -- RFC 9110 15.3
    bad = _bad_codes(body, grammar)
    reasons = [*bad, *(code for path in (*_CODES, "error.code") for code in _at(body, path)), _saying(body)]
    codes = [str(one) for one in reasons[:-1] if isinstance(one, str | int) and not isinstance(one, bool)]
    codes = [code for code in codes if code not in {"0", str(answer.status)}]
    said = _joined(f"HTTP {answer.status}" if by_status else "", *codes[:1], _saying(body))
    if not said or not (bad or by_status):
        said = _joined("its answer is not that of an accepted message", _saying(body) or _shortened(answer.body))
    wait_s = _wait(answer, body, now)
    if grammar and wait_s is None:
        wait_s = next((grammar.busy[code] for code in reasons if _known(code, grammar.busy)), None)
    useless = (by_status and final(answer.status)) or (grammar and any(_known(one, grammar.gone) for one in reasons))
    return Acceptance(
        accepted=False, by_status=by_status, said=said, permanent=bool(useless) and wait_s is None, retry_after_s=wait_s
    )


# ---- inside a body ----


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _at(node: Any, path: str) -> list[Any]:
    """Every value at a path: `error.code`, `messages.*.status`."""
    found = [node]
    for step in path.split("."):
        if step == "*":
            found = [item for one in found if isinstance(one, list) for item in one]
        else:
            found = [one[step] for one in found if isinstance(one, dict) and step in one]
    return found


def _bad_codes(body: Any, grammar: Grammar | None) -> list[Any]:
    if grammar is None:
        return [code for name in _CODES for code in _at(body, name)]
    return [code for code in _codes(body, grammar) if not _among(code, grammar.accepts)]


def _codes(body: Any, grammar: Grammar) -> list[Any]:
    return next((found for path in grammar.fields if (found := _at(body, path))), [])


def _among(code: Any, accepted: tuple[Any, ...]) -> bool:
    """Whether a code is one of these. 0 is "0", but not False."""
    return any(isinstance(code, bool) is isinstance(one, bool) and str(code) == str(one) for one in accepted)


def _known(code: Any, codes: Mapping[Any, float] | frozenset[Any]) -> bool:
    return isinstance(code, str | int) and code in codes


def _signs_of_refusal(body: Any) -> Iterator[str]:
    """What in the body of an unknown service says that it has refused."""
    if not isinstance(body, dict):
        return
    for name in _FLAGS:
        if body.get(name, True) in (False, "false", "False", 0, "0"):
            yield f"{name}={body[name]}"
    for name in _CODES:
        if name in body and not _good_code(body[name]):
            yield f"{name}={body[name]}"
    for name in _WORDS:
        if isinstance(body.get(name), str) and body[name].lower() in _BAD_WORDS:
            yield f"{name}={body[name]}"
    for name in ("error", "errors"):
        if body.get(name) and str(body[name]).lower() not in _GOOD_WORDS:
            yield name


def _bad_text(body: bytes) -> str:
    """The beginning of a body that is no JSON, if it says that the message failed."""
    text = _shortened(body)
    return text if _BAD_TEXT.match(text) else ""


def _good_code(code: Any) -> bool:
    if isinstance(code, str) and code.lstrip("-").isdecimal():
        code = int(code)
    if isinstance(code, str):
        return code.lower() in _GOOD_WORDS
    return code is None or isinstance(code, dict | list) or code == 0 or 200 <= code < 300  # noqa: PLR2004 -- HTTP's own


def _saying(body: Any) -> str:
    """The text by which the service explains itself."""
    if isinstance(body, str):
        return _shortened(body)
    if isinstance(body, list):
        return next((text for one in body if (text := _saying(one))), "")
    if not isinstance(body, dict):
        return ""
    inner = [body[name] for name in _SAYINGS if body.get(name)]
    return next((text for one in inner if (text := _saying(one))), "")


def _wait(answer: HttpAnswer, body: Any, now: float) -> float | None:
    """How long the service asks us to wait. Its body is exact where the header is rounded, so it is read first."""
    for path in _WAITS:
        for value in _at(body, path):
            if (seconds := _seconds(value)) is not None:
                return seconds
    return wait_of(answer.retry_after, now) if answer.retry_after else None


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S) if math.isfinite(seconds) and not isinstance(value, bool) else None


def _joined(*parts: str) -> str:
    return ": ".join(filter(None, parts))


def _shortened(text: str | bytes) -> str:
    text = text if isinstance(text, str) else text.decode(errors="replace")
    return printable(" ".join(text.split()))[:_SAID_LIMIT]
