"""How a service's answer is judged: by its body where the status proves nothing, with its own words, code and waiting time."""

import email.utils
import importlib.util
import json
from typing import Any

import pytest

from watchkeeper.channels.answers import Acceptance, HttpAnswer, final, judge, wait_of
from watchkeeper.channels.services import KNOWN

NOW = 1_800_000_000.0


def judged(service: str, body: object, status: int = 200, retry_after: str = "") -> Acceptance:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return judge(HttpAnswer(status, raw, retry_after), KNOWN.get(service), NOW)


ACCEPTED: list[tuple[str, Any]] = [
    ("dingtalk", {"errcode": "0", "errmsg": "ok"}),
    ("dingtalk", {"errcode": 0, "errmsg": "ok"}),
    ("wecombot", {"errcode": 0, "errmsg": "ok"}),
    ("wechat", {"errcode": 0, "errmsg": "ok", "msgid": "x"}),
    ("feishu", {"code": 0, "msg": "success", "data": {}}),
    ("feishu", {"StatusCode": 0, "StatusMessage": "success"}),
    ("lark", {"Extra": None, "StatusCode": 0, "StatusMessage": "success"}),
    ("slack", "ok"),
    ("slack", {"ok": True, "channel": "C1"}),
    ("telegram", {"ok": True, "result": {}}),
    ("serverchan", {"code": 0, "message": "", "data": {"errno": 0, "error": "SUCCESS"}}),
    ("pushplus", {"code": 200, "msg": "ok"}),
    ("wxpusher", {"code": 1000, "msg": "ok"}),
    ("wxpusher", {"code": 1000, "msg": "ok", "data": [{"uid": "a", "code": 1000}]}),
    ("pushdeer", {"code": 0, "content": {"result": []}}),
    ("bark", {"code": 200, "message": "success"}),
    ("qq", {"success": True, "code": 0}),
    ("pushme", "success"),
    ("synology", {"success": True}),
    ("pushover", {"status": 1, "request": "x"}),
    ("viber", {"status": 0}),
    ("onebot", {"status": "async", "retcode": 1}),
    ("vonage", {"messages": [{"status": "0"}, {"status": "0"}]}),
    ("infobip", {"messages": [{"status": {"groupName": "PENDING"}}]}),
    ("africas_talking", {"SMSMessageData": {"Recipients": [{"statusCode": 101}]}}),
    ("bulksms", [{"status": {"type": "ACCEPTED"}}]),
    ("seven", {"success": "100"}),
    ("burstsms", {"message_id": 1, "error": {"code": "SUCCESS", "description": "OK"}}),
    ("clickatell", {"messages": [{"accepted": True, "error": None}], "error": None}),
]


@pytest.mark.parametrize(("service", "body"), ACCEPTED)
def test_a_service_confirms_in_its_own_way(service: str, body: Any) -> None:
    assert judged(service, body) == Acceptance(accepted=True, confirmed=True)


REFUSED: list[tuple[str, Any, str]] = [
    ("dingtalk", {"errcode": 310000, "errmsg": "keywords not in content"}, "310000: keywords not in content"),
    ("dingtalk", {"errcode": 999999, "errmsg": "new"}, "999999: new"),
    ("wecombot", {"errcode": 93000, "errmsg": "invalid webhook url"}, "93000: invalid webhook url"),
    ("feishu", {"code": 19021, "msg": "sign match fail"}, "19021: sign match fail"),
    ("lark", {"code": 19001, "msg": "param invalid"}, "19001: param invalid"),
    ("serverchan", {"code": 40001, "message": "bad sendkey"}, "40001: bad sendkey"),
    ("slack", {"ok": False, "error": "channel_not_found"}, "channel_not_found"),
    ("telegram", {"ok": False, "error_code": 403, "description": "bot was blocked"}, "403: bot was blocked"),
    ("pushplus", {"code": 900, "msg": "用户账号使用受限"}, "900: 用户账号使用受限"),
    ("synology", {"success": False, "error": {"code": 404, "errors": "invalid token"}}, "404: invalid token"),
    ("wxpusher", {"code": 1000, "msg": "ok", "data": [{"code": 1000}, {"code": 1001}]}, "1001: ok"),
    ("vonage", {"messages": [{"status": "0"}, {"status": "4", "error-text": "x"}]}, "4"),
    ("infobip", {"messages": [{"status": {"groupName": "REJECTED"}}]}, "REJECTED"),
    ("pushme", "no such key", "its answer is not that of an accepted message: no such key"),
    ("dingtalk", "<html>Sign in to the network</html>", "its answer is not that of an accepted message: <html>Sign in to the network</html>"),
    ("wecombot", "", "its answer is not that of an accepted message"),
    ("dingtalk", {}, "its answer is not that of an accepted message: {}"),
    ("dingtalk", {"errcode": False}, 'its answer is not that of an accepted message: {"errcode": false}'),
    ("dingtalk", {"errcode": None}, 'its answer is not that of an accepted message: {"errcode": null}'),
]  # fmt: skip


@pytest.mark.parametrize(("service", "body", "said"), REFUSED)
def test_what_is_not_a_success_is_a_refusal_in_the_services_words(service: str, body: Any, said: str) -> None:
    found = judged(service, body)
    assert (found.accepted, found.confirmed, found.said) == (False, False, said)


PERMANENT: list[tuple[str, Any]] = [
    ("dingtalk", {"errcode": 400101, "errmsg": "access_token不存在"}),
    ("dingtalk", {"errcode": 400102, "errmsg": "机器人已停用"}),
    ("dingtalk", {"errcode": 310000, "errmsg": "sign not match"}),
    ("wecombot", {"errcode": 93000, "errmsg": "invalid webhook url"}),
    ("feishu", {"code": 19001, "msg": "param invalid"}),
    ("serverchan", {"code": 40001, "message": "bad sendkey"}),
    ("slack", {"ok": False, "error": "account_inactive"}),
]


@pytest.mark.parametrize(("service", "body"), PERMANENT)
def test_a_wrong_token_or_a_removed_robot_is_permanent(service: str, body: Any) -> None:
    assert judged(service, body).permanent


BUSY: list[tuple[str, Any, float]] = [
    ("dingtalk", {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}, 600),
    ("wecombot", {"errcode": 45009, "errmsg": "api freq out of limit"}, 60),
    ("feishu", {"code": 11232, "msg": "frequency limited psm"}, 60),
    ("slack", {"ok": False, "error": "ratelimited"}, 60),
    ("synology", {"success": False, "error": {"code": 411, "errors": "create post too fast"}}, 10),
]


@pytest.mark.parametrize(("service", "body", "wait_s"), BUSY)
def test_too_many_messages_are_refused_for_a_time(service: str, body: Any, wait_s: float) -> None:
    found = judged(service, body)
    assert (found.accepted, found.permanent, found.retry_after_s) == (False, False, wait_s)


@pytest.mark.parametrize("code", [-1, 999999])
def test_a_code_that_may_pass_is_tried_again(code: int) -> None:
    found = judged("dingtalk", {"errcode": code, "errmsg": "system busy"})
    assert (found.accepted, found.permanent, found.retry_after_s) == (False, False, None)


def test_the_waiting_time_in_the_body_is_read_first() -> None:
    telegram = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 7}}
    assert judged("telegram", telegram, 429, "9").retry_after_s == 7
    assert (
        judged("discord", {"message": "You are being rate limited.", "retry_after": 0.3}, 429, "1").retry_after_s == 0.3
    )
    assert judged("json", "", 503, "9").retry_after_s == 9


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_by_status_is_permanent(status: int) -> None:
    found = judged("json", {"error": "gone"}, status)
    assert (found.accepted, found.by_status, found.permanent, found.said) == (False, True, True, f"HTTP {status}: gone")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_the_servers_own_trouble_is_not_permanent(status: int) -> None:
    assert not judged("json", "", status).permanent


def test_a_service_that_asks_to_wait_is_not_permanent_whatever_its_status() -> None:
    assert not judged("json", "", 403, "30").permanent
    assert judged("feishu", {"code": 11232, "msg": "frequency limited"}, 400) == Acceptance(
        accepted=False, by_status=True, said="HTTP 400: 11232: frequency limited", retry_after_s=60
    )


SIGNS: list[Any] = [
    {"ok": False},
    {"success": False, "message": "no"},
    {"success": 0},
    {"errcode": 5},
    {"code": 40001},
    {"code": "E12"},
    {"StatusCode": 1},
    {"retcode": 100},
    {"status": "error"},
    {"status": "FAILED"},
    {"result": "failure"},
    {"error": "quota"},
    {"error": {"code": 4, "message": "quota"}},
    {"errors": ["quota"]},
]


@pytest.mark.parametrize("body", SIGNS)
def test_an_unknown_service_that_shows_a_sign_of_refusal_has_refused(body: Any) -> None:
    assert not judged("somebody", body).accepted


@pytest.mark.parametrize(
    "text", ["ERROR|101", "Error: no credit", "failed", "Webhook message delivery failed with error: 429"]
)
def test_a_text_that_says_it_failed_is_a_refusal(text: str) -> None:
    assert judged("somebody", text).said == text
    assert not judged("somebody", text).accepted


HARMLESS: list[Any] = [
    "no error, delivered",
    "",
    "thank you",
    "<ok/>",
    [],
    "3",
    {},
    {"id": "abc"},
    {"code": 0},
    {"code": "0"},
    {"code": 200, "message": "accepted"},
    {"code": "OK"},
    {"status": "queued"},
    {"status": 202},
    {"error": None, "errors": []},
    {"error": "", "success": True},
]


@pytest.mark.parametrize("body", HARMLESS)
def test_an_unknown_service_without_such_a_sign_has_taken_it_but_confirmed_nothing(body: Any) -> None:
    found = judged("somebody", body)
    assert (found.accepted, found.confirmed) == (True, False)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 50_000, b'{"errcode": 1e999}', b'{"errcode": [0]}', b"null"])
def test_a_strange_body_of_a_known_service_is_a_refusal_and_raises_nothing(body: bytes) -> None:
    assert not judge(HttpAnswer(200, body), KNOWN["dingtalk"], NOW).accepted
    assert judge(HttpAnswer(500, body), None, NOW).said.startswith("HTTP 500")


def test_what_a_service_says_is_one_short_line_without_control_characters() -> None:
    said = judged("dingtalk", {"errcode": 1, "errmsg": "a\nb\x1b[2J" + "x" * 1000}).said
    assert said.startswith("1: a b\N{REPLACEMENT CHARACTER}[2Jxx")
    assert len(said) < 250


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [("120", 120), ("0", 0), ("-5", 0), ("1.5", 1.5), ("99999999", 86400), ("soon", None), ("inf", None), ("nan", None),
     (email.utils.formatdate(NOW + 90, usegmt=True), 90), (email.utils.formatdate(NOW - 90, usegmt=True), 0),
     ("Wed, 99 Foo 2026", None)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(header: str, wait_s: float | None) -> None:
    assert wait_of(header, NOW) == wait_s


def test_only_a_clients_mistake_is_final() -> None:
    assert [status for status in (302, 404, 408, 429, 500, 503) if final(status)] == [302, 404]


def test_every_known_service_is_one_of_apprise() -> None:
    """A new version of Apprise that renames a module would make us believe the service's status again."""
    absent = [name for name in KNOWN if importlib.util.find_spec(f"apprise.plugins.{name}") is None]
    assert not absent
