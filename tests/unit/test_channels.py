"""The channels one by one: the webhook's signature, the console's output, Apprise's bad URLs, opening an address."""

import hashlib
import hmac
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from watchkeeper.channels.open import open_channel
from watchkeeper.channels.ports import Address, Message, Proof, Receipt, Via
from watchkeeper.channels.webhook import TOLERANCE_S, sign, verify
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock, SystemClock
from watchkeeper.model.errors import ChannelError, SecretError

MESSAGE = Message("7/duty/wang.lei", "wang.lei", "Hot", "机房过热", {"level": "critical", "rung": 0})
NOW = 1_800_000_000.0


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments by which the webhook called requests, which answers 200."""
    seen: dict[str, Any] = {}

    def post(url: str, **given: Any) -> requests.Response:
        seen.update(given, url=url)
        answer = requests.Response()
        answer.status_code = 200
        answer.raw = io.BytesIO()
        return answer

    monkeypatch.setattr(requests, "post", post)
    return seen


def send_to_webhook(message: Message) -> Receipt:
    secrets = Secrets(environ={"WATCHKEEPER_SECRET_HOOK": "hush"})
    address = Address(Via.WEBHOOK, "https://pager.example/hook", "hook")
    return open_channel(address, secrets, FakeClock(now=NOW + 0.9), io.StringIO()).send(message)


def test_a_webhook_signs_timestamp_and_body(posted: dict[str, Any]) -> None:
    send_to_webhook(MESSAGE)
    headers, body = posted["headers"], posted["data"]
    assert headers["Watchkeeper-Timestamp"] == "1800000000"
    expected = hmac.new(b"hush", b"1800000000." + body, hashlib.sha256).hexdigest()
    assert headers["Watchkeeper-Signature"] == f"v1={expected}"
    assert verify("hush", headers["Watchkeeper-Timestamp"], body, headers["Watchkeeper-Signature"], NOW)


def test_a_webhook_carries_the_message_and_its_key(posted: dict[str, Any]) -> None:
    send_to_webhook(MESSAGE)
    assert json.loads(posted["data"]) == {
        "key": "7/duty/wang.lei",
        "person": "wang.lei",
        "subject": "Hot",
        "text": "机房过热",
        "facts": {"level": "critical", "rung": 0},
    }
    assert posted["headers"]["Idempotency-Key"] == "7/duty/wang.lei"


def test_a_key_that_is_not_ascii_is_percent_encoded(posted: dict[str, Any]) -> None:
    send_to_webhook(Message("7/值班\r\nX: y", "p", "s", "t"))
    assert posted["headers"]["Idempotency-Key"] == "7/%E5%80%BC%E7%8F%AD%0D%0AX: y"


@pytest.mark.parametrize(
    ("status", "header", "wait_s"),
    [(429, "30", 30), (503, "Fri, 15 Jan 2027 08:01:30 GMT", 90 - 0.9), (429, "", None), (503, "later", None)],
)
def test_a_webhook_that_asks_to_wait_is_tried_again_later(
    status: int, header: str, wait_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def post(*_: object, **__: object) -> requests.Response:
        answer = requests.Response()
        answer.status_code, answer.raw = status, io.BytesIO()
        answer.headers["Retry-After"] = header
        return answer

    monkeypatch.setattr(requests, "post", post)
    receipt = send_to_webhook(MESSAGE)
    assert (receipt.delivered, receipt.permanent) == (False, False)
    assert receipt.retry_after_s == (None if wait_s is None else pytest.approx(wait_s))


SIGNATURE = sign("hush", "1800000000", b"{}")
REQUEST = {"secret": "hush", "timestamp": "1800000000", "body": b"{}", "signature": SIGNATURE, "now": NOW}


@pytest.mark.parametrize("now", [NOW, NOW + TOLERANCE_S, NOW - TOLERANCE_S])
def test_a_receiver_accepts_a_recent_signature(now: float) -> None:
    assert verify(**{**REQUEST, "now": now})  # type: ignore[arg-type]  # a table of mixed values


@pytest.mark.parametrize(
    "forged",
    [
        {"now": NOW + TOLERANCE_S + 1},
        {"now": NOW - TOLERANCE_S - 1},
        {"secret": "hash"},
        {"timestamp": "1800000001"},
        {"timestamp": ""},
        {"timestamp": "now"},
        {"timestamp": "１８００００００００"},
        {"timestamp": "1" * 5000},
        {"body": b"{ }"},
        {"signature": SIGNATURE.removeprefix("v1=")},
        {"signature": ""},
        {"signature": "v1=é"},
    ],
)
def test_a_receiver_refuses_a_forged_or_old_request(forged: dict[str, Any]) -> None:
    assert not verify(**{**REQUEST, **forged})


def test_digits_cannot_be_moved_from_the_timestamp_to_the_body() -> None:
    assert not verify("hush", "180000000", b"0.{}", sign("hush", "1800000000", b"{}"), NOW)


def test_the_console_shows_person_and_text_without_escape_sequences() -> None:
    stream = io.StringIO()
    channel = open_channel(Address(Via.CONSOLE), Secrets(environ={}), FakeClock(), stream)
    assert channel.send(Message("k", "wang.lei", "Fan \x1b[2J stopped", "one\ntwo\r三")).delivered
    assert stream.getvalue() == "--- to wang.lei: Fan \ufffd[2J stopped\n    one\n    two\ufffd三\n"


def test_a_closed_console_gives_a_failed_receipt() -> None:
    stream = io.StringIO()
    stream.close()
    receipt = open_channel(Address(Via.CONSOLE), Secrets(environ={}), FakeClock(), stream).send(MESSAGE)
    assert not receipt.delivered


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
@pytest.mark.parametrize("url", ["nonsense", "nosuch://token", "slack://tokenA", "json://"])
def test_an_unreadable_apprise_url_is_a_permanent_failure_and_not_shown(url: str) -> None:
    secrets = Secrets(environ={"WATCHKEEPER_SECRET_PAGER": url})
    receipt = open_channel(Address(Via.APPRISE, secret="pager"), secrets, FakeClock(), io.StringIO()).send(MESSAGE)
    assert (receipt.delivered, receipt.permanent) == (False, True)
    assert url not in receipt.detail


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_a_failure_of_an_optional_service_is_not_a_delivery() -> None:
    url = "json://127.0.0.1:9/?optional=yes"  # the discard port, where nothing listens
    secrets = Secrets(environ={"WATCHKEEPER_SECRET_PAGER": url})
    receipt = open_channel(Address(Via.APPRISE, secret="pager"), secrets, FakeClock(), io.StringIO()).send(MESSAGE)
    assert not receipt.delivered


def test_an_sms_needs_no_secret(tmp_path: Path) -> None:
    for folder in ("outbox", "sent", "error"):
        (tmp_path / folder).mkdir()
    address = Address(Via.SMS, to="+86 138 0000 0001", spool=str(tmp_path))
    receipt = open_channel(address, Secrets(environ={}), SystemClock(), io.StringIO(), 1e-9).send(MESSAGE)
    assert (receipt.delivered, receipt.proof) == (True, Proof.HANDED_OVER)
    assert len(list((tmp_path / "outbox").iterdir())) == 1


def test_without_gammu_smsds_folders_no_sms_channel_is_opened(tmp_path: Path) -> None:
    for folder in ("outbox", "sent", "error"):
        with pytest.raises(ChannelError, match=f"{folder} cannot be used"):
            open_channel(
                Address(Via.SMS, to="110", spool=str(tmp_path)), Secrets(environ={}), FakeClock(), io.StringIO()
            )
        (tmp_path / folder).mkdir()


def test_every_word_of_the_url_is_removed_from_apprises_text() -> None:
    from watchkeeper.channels.apprise import _without_secrets  # noqa: PLC0415 -- a large import that only this test needs

    url = "mailto://wang:p%40ss%20word@smtp.example.com/?to=head@example.com"
    text = "login of wang with p@ss word (p%40ss%20word) to xsmtp.example.comx failed: 535"
    assert _without_secrets(text, url) == "login of *** with *** (***) to x***x failed: 535"


@pytest.mark.parametrize("address", [Address(Via.APPRISE, secret="p"), Address(Via.WEBHOOK, "http://a.example", "p")])
@pytest.mark.parametrize("environ", [{}, {"WATCHKEEPER_SECRET_P": ""}, {"WATCHKEEPER_SECRET_P": " "}])
def test_a_missing_or_empty_secret_opens_no_channel(address: Address, environ: dict[str, str]) -> None:
    with pytest.raises(SecretError, match="`p`"):
        open_channel(address, Secrets(environ=environ), FakeClock(), io.StringIO())


@pytest.mark.parametrize("url", ["pager.example", "ftp://pager.example", "http://", "http://[::1", "http://a:99999/"])
def test_a_webhook_address_must_be_a_web_address(url: str) -> None:
    assert [key for key, _ in Address(Via.WEBHOOK, url, "p").check()] == ["url"]


def test_the_snippet_of_the_documentation_verifies_what_is_sent(
    posted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "webhook.md").read_text(encoding="utf-8")
    snippet, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)  # the other one signs: test_web_replies.py
    scope: dict[str, Any] = {}
    exec(snippet, scope)  # noqa: S102 -- our own page
    monkeypatch.setattr("time.time", lambda: NOW)
    send_to_webhook(MESSAGE)
    assert scope["is_ours"]("hush", posted["headers"], posted["data"])
    assert not scope["is_ours"]("hush", posted["headers"], posted["data"] + b" ")
    assert not scope["is_ours"]("hash", posted["headers"], posted["data"])
    assert not scope["is_ours"]("hush", {}, posted["data"])
    monkeypatch.setattr("time.time", lambda: NOW + 301)
    assert not scope["is_ours"]("hush", posted["headers"], posted["data"])
