"""Every service that people really use, with a transport that answers as told: what is posted, in which format and of which
type, and what the receipt says. tests/contract/test_channel_contract.py has a real HTTP server."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
from requests.adapters import HTTPAdapter

from watchkeeper.channels.apprise import AppriseChannel
from watchkeeper.channels.ports import Message, Proof, Receipt
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.clock import FakeClock

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise 2.2's import

LINK = "https://watch.example/incidents/1?a=b_c_d"
SUBJECT = "[critical] hub_1: Room (Rack <b>7</b> [ok](http://evil.example) *all* @everyone)"
TEXT = (
    'Reason: # x <script>a</script> & [ok](http://evil.example) @all <!channel> <at user_id="all"></at> _well_ 机房\n'
    + LINK
)
MESSAGE = Message("k", "p", SUBJECT, TEXT, {"kind": "page", "level": "critical"})
ZWSP = "\N{ZERO WIDTH SPACE}"
TOKEN = "a" * 32


@dataclass
class Transport:
    """Answers every request of requests, and remembers it."""

    status: int = 200
    answer: Any = field(default_factory=lambda: {"errcode": 0, "code": 0, "ok": True, "success": True, "status": 1})
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[requests.PreparedRequest] = field(default_factory=list)

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        self.seen.append(request)
        given = requests.Response()
        given.status_code, given.request, given.url = self.status, request, request.url or ""
        given.headers.update(self.headers)
        body = self.answer.encode() if isinstance(self.answer, str) else json.dumps(self.answer).encode()
        vars(given).update(_content=body, _content_consumed=True)
        return given

    def posted(self) -> Any:
        """The fields of the last request."""
        body = self.seen[-1].body or b""
        text = body.decode() if isinstance(body, bytes) else str(body)
        if text.startswith("{"):
            return json.loads(text)
        fields = {name: values[0] for name, values in parse_qs(text).items()}
        return json.loads(fields["payload"]) if "payload" in fields else fields


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Transport:
    made = Transport()
    monkeypatch.setattr(HTTPAdapter, "send", made.send)
    return made


def send(url: str, message: Message = MESSAGE) -> Receipt:
    return AppriseChannel(Secret(url), 10.0, FakeClock()).send(message)


DINGTALK = f"dingtalk://{TOKEN}/"
WECOM = "wecombot://693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
WECOM_APPLICATION = "wechat://corpid:corpsecret@1000001/@zhang"
FEISHU = f"feishu://{TOKEN}/"
LARK = f"lark://{TOKEN}/"
SERVERCHAN = f"schan://{TOKEN}/"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general"
SLACK_BOT = "slack://xoxb-1234-1234-abc124/#general"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544/"
TEAMS = "workflows://host:443/workflow1a/signature1b/"
MATTERMOST = "mmost://chat.example/3ccdd113474722377935511fc85d3dd4"
GOOGLE_CHAT = "gchat://workspace/key/token"
WEBEX = "wxteams://" + "a" * 80
ROCKETCHAT = "rocket://" + "a" * 24 + "/" + "b" * 24 + "@chat.example/#channel"
ZULIP = f"zulip://botname@apprise/{TOKEN}/#general"
PUSHOVER = "pover://" + "a" * 30 + "@" + "b" * 30
NTFY = "ntfy://push.example/topic"
GOTIFY = "gotify://push.example/" + "a" * 15
BARK = "bark://push.example/device"
PUSHPLUS = f"pushplus://{TOKEN}"
WXPUSHER = "wxpusher://AT_" + "a" * 24 + "/UID_abc"
PUSHDEER = "pushdeer://pushKey"
SYNOLOGY = "synology://nas.example/token"
NEXTCLOUD = "nctalk://user:pass@cloud.example/roomid"
MATRIX = "matrix://user:token@chat.example?mode=matrix"
KOOK = "kook://" + "t" * 24 + "/123456"
ONEBOT = "onebot://tok@chat.example/123456"
LINE = f"line://{TOKEN}/U123"


# ---- receipts ----

REFUSALS: list[tuple[str, Any, str]] = [
    (DINGTALK, {"errcode": 310000, "errmsg": "keywords not in content"}, "DingTalk: 310000: keywords not in content"),
    (WECOM, {"errcode": 93000, "errmsg": "invalid webhook url"}, "WeCom Bot: 93000: invalid webhook url"),
    (FEISHU, {"code": 19021, "msg": "sign match fail"}, "Feishu: 19021: sign match fail"),
    (LARK, {"code": 19001, "msg": "param invalid"}, "Lark (Feishu): 19001: param invalid"),
    (SERVERCHAN, {"code": 40001, "message": "bad sendkey"}, "ServerChan: 40001: bad sendkey"),
    (SLACK_BOT, {"ok": False, "error": "channel_not_found"}, "Slack: channel_not_found"),
    (TELEGRAM, {"ok": False, "description": "chat not found"}, "Telegram: chat not found"),
    (PUSHPLUS, {"code": 903, "msg": "无效的用户token"}, "Pushplus: 903: 无效的用户token"),
    (WXPUSHER, {"code": 1001, "msg": "no token"}, "WxPusher: 1001: no token"),
    (PUSHDEER, {"code": 80501, "error": "bad key"}, "PushDeer: 80501: bad key"),
    # A word of the URL is a secret, wherever it appears
    (BARK, {"code": 400, "message": "no device"}, "Bark: 400: no ***"),
    (SYNOLOGY, {"success": False, "error": {"code": 404, "errors": "bad token"}}, "Synology Chat: 404: bad ***"),
    (ONEBOT, {"status": "failed", "retcode": 100, "wording": "not a friend"}, "OneBot: 100: not a friend"),
    (PUSHOVER, {"status": 0, "errors": ["user key is invalid"]}, "Pushover: user key is invalid"),
    ("json://hook.example/", {"ok": False, "message": "full"}, "JSON: ok=False: full"),
    (MATTERMOST, {"error": {"message": "locked"}}, "Mattermost: error: locked"),
]


@pytest.mark.parametrize(("url", "answer", "detail"), REFUSALS, ids=[url.partition(":")[0] for url, *_ in REFUSALS])
def test_a_refusal_inside_200_is_not_a_delivery(url: str, answer: Any, detail: str, transport: Transport) -> None:
    transport.answer = answer
    receipt = send(url)
    assert (receipt.delivered, receipt.detail) == (False, detail)


SUCCESSES: list[tuple[str, Any, Proof]] = [
    (DINGTALK, {"errcode": 0, "errmsg": "ok"}, Proof.ACCEPTED),
    (WECOM, {"errcode": 0, "errmsg": "ok"}, Proof.ACCEPTED),
    (FEISHU, {"StatusCode": 0, "StatusMessage": "success"}, Proof.ACCEPTED),
    (LARK, {"code": 0, "msg": "success"}, Proof.ACCEPTED),
    (SERVERCHAN, {"code": 0, "message": ""}, Proof.ACCEPTED),
    (SLACK, "ok", Proof.ACCEPTED),
    (SLACK_BOT, {"ok": True}, Proof.ACCEPTED),
    (TELEGRAM, {"ok": True, "result": {}}, Proof.ACCEPTED),
    (PUSHPLUS, {"code": 200, "msg": "ok"}, Proof.ACCEPTED),
    (WXPUSHER, {"code": 1000, "msg": "ok"}, Proof.ACCEPTED),
    (DISCORD, "", Proof.HANDED_OVER),
    (TEAMS, "", Proof.HANDED_OVER),
    (GOOGLE_CHAT, {"name": "spaces/x"}, Proof.HANDED_OVER),
    ("json://hook.example/", "thanks", Proof.HANDED_OVER),
]


@pytest.mark.parametrize(("url", "answer", "proof"), SUCCESSES, ids=[url.partition(":")[0] for url, *_ in SUCCESSES])
def test_a_receipt_claims_no_more_than_the_service_said(
    url: str, answer: Any, proof: Proof, transport: Transport
) -> None:
    transport.answer = answer
    receipt = send(url)
    assert (receipt.delivered, receipt.proof) == (True, proof), receipt


@pytest.mark.parametrize("url", [DINGTALK, WECOM, FEISHU, LARK, SERVERCHAN, SLACK, TELEGRAM])
@pytest.mark.parametrize("answer", ["", "<html>Sign in to the guest network</html>", "{}", "null"])
def test_a_page_of_somebody_else_is_not_a_delivery(url: str, answer: str, transport: Transport) -> None:
    transport.answer = answer
    assert not send(url).delivered


WAITS: list[tuple[str, Transport, float]] = [
    (DINGTALK, Transport(200, {"errcode": 130101, "errmsg": "send too fast"}), 600),
    (WECOM, Transport(200, {"errcode": 45009, "errmsg": "api freq out of limit"}), 60),
    (FEISHU, Transport(200, {"code": 11232, "msg": "frequency limited psm"}), 60),
    (SLACK, Transport(429, "rate_limited", {"Retry-After": "30"}), 30),
    (TELEGRAM, Transport(429, {"ok": False, "parameters": {"retry_after": 7}}), 7),
    ("json://hook.example/", Transport(503, "", {"Retry-After": "Fri, 15 Jan 2027 08:01:30 GMT"}), 90),
]


@pytest.mark.parametrize(("url", "given", "wait_s"), WAITS, ids=[one[0][:8] for one in WAITS])
def test_a_service_that_is_asked_too_often_says_when_to_come_back(
    url: str, given: Transport, wait_s: float, transport: Transport
) -> None:
    transport.status, transport.answer, transport.headers = given.status, given.answer, given.headers
    receipt = send(url)
    assert (receipt.delivered, receipt.permanent, receipt.retry_after_s) == (False, False, wait_s)


def test_discord_says_when_to_come_back(transport: Transport) -> None:
    """Apprise itself would sleep until then."""
    transport.status, transport.answer = 429, {"message": "You are being rate limited.", "retry_after": 64.57}
    transport.headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4102444800", "Retry-After": "65"}
    receipt = send(DISCORD + "?retry=3&wait=60")
    assert (receipt.delivered, receipt.permanent, receipt.retry_after_s) == (False, False, 64.57)
    assert len(transport.seen) == 2


@pytest.mark.parametrize(
    ("url", "status", "answer"),
    [
        (DINGTALK, 200, {"errcode": 400101, "errmsg": "access_token不存在"}),
        (WECOM, 200, {"errcode": 93000, "errmsg": "invalid webhook url"}),
        (FEISHU, 200, {"code": 19001, "msg": "param invalid"}),
        (SLACK, 404, "no_service"),
        (TELEGRAM, 401, {"ok": False, "description": "Unauthorized"}),
        (DISCORD, 404, {"message": "Unknown Webhook", "code": 10015}),
        (TEAMS, 410, ""),
    ],
)
def test_a_wrong_token_or_a_removed_robot_is_refused_for_good(
    url: str, status: int, answer: Any, transport: Transport
) -> None:
    transport.status, transport.answer = status, answer
    receipt = send(url)
    assert (receipt.delivered, receipt.permanent) == (False, True), receipt


def test_a_service_that_repeats_the_token_does_not_bring_it_into_the_receipt(transport: Transport) -> None:
    transport.answer = {"errcode": 300001, "errmsg": f"token {TOKEN} is not exist"}
    assert send(DINGTALK).detail == "DingTalk: 300001: token *** is not exist"


def test_one_refusal_of_several_receivers_is_a_refusal(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: HTTPAdapter, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        transport.answer = {"ok": bool(transport.seen), "description": "blocked"}  # the first is refused
        return transport.send(request, **more)

    monkeypatch.setattr(HTTPAdapter, "send", answer)
    receipt = send("tgram://123456789:abcdefg_hijklmnop/1/2/")
    assert len(transport.seen) == 2
    assert (receipt.delivered, receipt.detail) == (False, "Telegram: blocked")


def test_the_application_of_wecom_gets_a_token_and_no_tag(transport: Transport) -> None:
    """Its text messages have links: `<a href="...">`."""
    transport.answer = {"errcode": 0, "errmsg": "ok", "access_token": "t", "expires_in": 7200}
    receipt = send(WECOM_APPLICATION)
    assert (receipt.delivered, receipt.proof, len(transport.seen)) == (True, Proof.ACCEPTED, 2)
    posted = transport.posted()
    assert (posted["msgtype"], posted["text"]["content"]) == ("text", f"{UNTAGGED_SUBJECT}\r\n{UNTAGGED}")


def test_a_wrong_secret_of_the_application_of_wecom_is_permanent(transport: Transport) -> None:
    transport.answer = {"errcode": 40001, "errmsg": "invalid credential"}
    receipt = send(WECOM_APPLICATION)
    assert (receipt.delivered, receipt.permanent) == (False, True)
    assert receipt.detail == "WeChat (WeCom): 40001: invalid credential"


@pytest.mark.parametrize("url", ["tgram://?", "slack://", "nonsense"])
def test_a_url_on_which_apprise_stumbles_is_a_receipt_and_no_error(url: str, transport: Transport) -> None:
    receipt = send(url)
    assert (receipt.delivered, receipt.permanent) == (False, True)


# ---- words ----

ESCAPED_LINE = (
    "Reason: \\# x \\<script\\>a\\</script\\> & \\[ok\\](http://evil.example) @\u200ball \\<!channel\\> "
    '\\<at user\\_id="all"\\>\\</at\\> \\_well\\_ 机房'
)
ESCAPED = f"{ESCAPED_LINE}\n{LINK}"
ESCAPED_SUBJECT = (
    "\\[critical\\] hub\\_1: Room (Rack \\<b\\>7\\</b\\> \\[ok\\](http://evil.example) \\*all\\* @\u200beveryone)"
)
AS_HTML = (
    "Reason: # x &lt;script&gt;a&lt;/script&gt; &amp; [ok](http://evil.example) @all &lt;!channel&gt; "
    '&lt;at user_id="all"&gt;&lt;/at&gt; _well_ 机房\n' + LINK
)
HTML_SUBJECT = "[critical] hub_1: Room (Rack &lt;b&gt;7&lt;/b&gt; [ok](http://evil.example) *all* @everyone)"
UNTAGGED = TEXT.replace("<", f"<{ZWSP}")
UNTAGGED_SUBJECT = SUBJECT.replace("<", f"<{ZWSP}")
INERT = UNTAGGED.replace("@", f"@{ZWSP}").replace("](", f"]{ZWSP}(")
INERT_SUBJECT = UNTAGGED_SUBJECT.replace("@", f"@{ZWSP}").replace("](", f"]{ZWSP}(")


WORDS: list[tuple[str, Callable[[Any], Any], Any]] = [
    (DINGTALK, lambda it: (it["msgtype"], it["at"]["isAtAll"], it["text"]["content"]), ("text", False, f"{SUBJECT}\r\n{TEXT}")),
    (WECOM, lambda it: (it["msgtype"], it["text"]), ("text", {"content": f"{SUBJECT}\r\n{TEXT}"})),
    (FEISHU, lambda it: (it["msg_type"], it["content"]["text"]), ("text", f"{UNTAGGED_SUBJECT}\r\n{UNTAGGED}")),
    (LARK, lambda it: (it["msg_type"], it["content"]["text"]), ("text", f"{UNTAGGED_SUBJECT}\n{UNTAGGED}")),
    (SERVERCHAN, lambda it: (it["title"], it["desp"]), (SUBJECT, ESCAPED.replace("\n", "\n\n"))),
    (SLACK, lambda it: (it["mrkdwn"], it["attachments"][0]["title"], it["attachments"][0]["text"]), (False, HTML_SUBJECT, AS_HTML)),
    (DISCORD, lambda it: (it["content"], it.get("embeds")), (f"{ESCAPED_SUBJECT}\r\n{ESCAPED}", None)),
    (TELEGRAM, lambda it: (it["parse_mode"], it["text"]),
     ("HTML", f"<b>{HTML_SUBJECT}</b>\r\n{AS_HTML}".replace("\n", "\r\n").replace("\r\r", "\r").replace("@", f"@{ZWSP}"))),
    (TEAMS, lambda it: [block["text"] for block in it["attachments"][0]["content"]["body"] if block["type"] == "TextBlock"],
     [ESCAPED_SUBJECT, ESCAPED.replace("\n", "\n\n")]),
    (MATTERMOST, lambda it: it["text"], f"{ESCAPED_SUBJECT}\r\n{ESCAPED}"),
    (ROCKETCHAT, lambda it: it["text"], f"# {ESCAPED_SUBJECT}\n{ESCAPED}"),
    (WEBEX, lambda it: it["markdown"], f"# {ESCAPED_SUBJECT}\n" + ESCAPED.replace("\n", "\n\n")),
    (KOOK, lambda it: it["content"], f"**{ESCAPED_SUBJECT}**\n{ESCAPED}"),
    (ZULIP, lambda it: (it["topic"][:20], it["content"]), (SUBJECT[:20], ESCAPED)),
    (NEXTCLOUD, lambda it: it["message"], f"{ESCAPED_SUBJECT}\r\n{ESCAPED}"),
    (PUSHOVER, lambda it: (it.get("html"), it["title"], it["message"]), (None, SUBJECT, TEXT)),
    (NTFY, lambda it: (it.get("markdown"), it["title"], it["message"]), (None, SUBJECT, TEXT)),
    (GOTIFY, lambda it: (it.get("extras"), it["title"], it["message"]), (None, SUBJECT, TEXT)),
    (BARK, lambda it: (it.get("markdown"), it["title"], it["body"]), (None, SUBJECT, TEXT)),
    (LINE, lambda it: it["messages"][0]["text"], f"{SUBJECT}\r\n{TEXT}"),
    (ONEBOT, lambda it: it["message"], [{"type": "text", "data": {"text": f"{SUBJECT}\r\n{TEXT}"}}]),
    (PUSHDEER, lambda it: (it["type"], it["text"], it["desp"]), ("text", SUBJECT, TEXT)),
    (WXPUSHER, lambda it: (it["contentType"], it["summary"], it["content"]), (1, INERT_SUBJECT, INERT)),
    (SYNOLOGY, lambda it: it["text"], f"{INERT_SUBJECT}\r\n{INERT}"),
    (MATRIX, lambda it: (it["format"], it["text"]), ("plain", f"{INERT_SUBJECT}\r\n{INERT}")),
    ("json://hook.example/", lambda it: (it["title"], it["message"]), (SUBJECT, TEXT)),
]  # fmt: skip


@pytest.mark.parametrize("wish", ["", "format=markdown", "format=html"])
@pytest.mark.parametrize(("url", "part", "expected"), WORDS, ids=[url.partition(":")[0] for url, *_ in WORDS])
def test_a_devices_words_stay_words(
    url: str, part: Callable[[Any], Any], expected: Any, wish: str, transport: Transport
) -> None:
    """Whatever format the URL asks for."""
    send(url + ("&" if "?" in url else "?") + wish if wish else url)
    assert part(transport.posted()) == expected


def test_google_chat_gets_no_tag_and_its_link(transport: Transport) -> None:
    send(GOOGLE_CHAT)
    text = transport.posted()["text"]
    assert "<" not in text
    assert text.endswith("\n" + LINK.replace("&", "&amp;"))


def test_pushplus_gets_html_without_tags_of_a_device(transport: Transport) -> None:
    send(PUSHPLUS)
    posted = transport.posted()
    assert posted["template"] == "html"
    assert "&lt;script&gt;" in posted["content"]
    assert "<script" not in posted["content"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"kind": "page", "level": "critical"}, "failure"),
        ({"kind": "page", "level": "warning"}, "warning"),
        ({"kind": "recovered", "level": "critical"}, "success"),
        ({"kind": "withdrawn", "level": "critical"}, "info"),
        ({}, "info"),
    ],
)
def test_a_service_is_told_the_type_of_a_message(facts: dict[str, str], expected: str, transport: Transport) -> None:
    send("json://hook.example/", Message("k", "p", "s", "t", facts))
    assert transport.posted()["type"] == expected


@pytest.mark.parametrize(
    ("url", "part", "limit"),
    [
        (WECOM, lambda it: it["text"]["content"].encode(), 2048),
        (DISCORD, lambda it: it["content"], 2000),
        (TELEGRAM, lambda it: it["text"], 4096 + len("<b></b>")),
        (PUSHOVER, lambda it: it["message"], 1024),
        (MATTERMOST, lambda it: it["text"], 4000),
    ],
)
def test_a_long_message_is_shortened_to_what_the_service_takes(
    url: str, part: Callable[[Any], str | bytes], limit: int, transport: Transport
) -> None:
    """A service refuses what is longer. The link stays."""
    send(url, Message("k", "p", "【严重】ups-1", "第一行\n" + "_机房*过热 " * 2000 + "\n" + LINK))
    assert len(transport.seen) == 1
    written = part(transport.posted())
    assert len(written) <= limit
    text = written.decode() if isinstance(written, bytes) else written
    assert text.endswith(("…\n" + LINK, "…\r\n" + LINK))


def test_a_known_service_whose_answer_nobody_saw_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would be if Apprise left requests for another library."""
    monkeypatch.setattr("apprise.plugins.dingtalk.NotifyDingTalk.send", lambda *_, **__: True)
    receipt = send(DINGTALK)
    assert (receipt.delivered, receipt.detail) == (False, "DingTalk: no answer says that it was accepted")


def test_requests_outside_of_a_delivery_are_not_watched(transport: Transport) -> None:
    send(DINGTALK)
    assert requests.get("https://elsewhere.example/", timeout=1).status_code == 200
    transport.answer = {"errcode": 0}
    assert send(DINGTALK).delivered


def test_a_title_is_cut_between_characters_and_not_inside_an_escape(transport: Transport) -> None:
    send(TEAMS, Message("k", "p", "_" * 500, "x"))
    [title, _] = [one["text"] for one in transport.posted()["attachments"][0]["content"]["body"] if "text" in one]
    assert title == "\\_" * ((len(title) - 1) // 2) + "…"
    assert len(title) <= 250
