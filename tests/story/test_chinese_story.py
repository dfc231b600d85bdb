"""What a Chinese person reads while things go wrong contains no English sentence: pages, messages, notes, receipts and errors. Names,
units, addresses and the words of devices stay as they are."""

import html
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.collector_room import ROOT, Room, browser
from watchkeeper.agent.probes.snmp.engine import BAD_COMMUNITY, BAD_LOGIN, NO_V3, NO_V3_PRIVACY
from watchkeeper.channels.ports import Channel, Message, Receipt
from watchkeeper.channels.webhook import WebhookChannel
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.process import actions
from watchkeeper.collector.site.snapshot import read_snapshot
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.batch import Lane, Tombstone
from watchkeeper.model.errors import ConfigError
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import ActiveVerdicts, Evidence, Level, Withdrawal
from watchkeeper.rules.held import NO_LONGER_THERE
from watchkeeper.rules.presence import BY_INVENTORY

NO_SENTENCES = ("watchkeeper collector link PERSON",)
"""What a person types."""

UNREACHABLE = "device.not-answering"


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        yield room


@pytest.fixture
def web(room: Room) -> Iterator[httpx.Client]:
    with browser(room.front) as client:
        client.headers["accept-language"] = "zh-CN,zh;q=0.9"
        client.follow_redirects = True
        yield client


class Phone:
    """Every channel of everybody: keeps what it is given, and answers with a receipt."""

    def __init__(self, receipt: Receipt | None = None, channel: Channel | None = None) -> None:
        self.messages: list[Message] = []
        self._receipt = receipt or Receipt(delivered=True, detail="ntfy accepted it")
        self._channel = channel

    def send(self, message: Message) -> Receipt:
        self.messages.append(message)
        return self._channel.send(message) if self._channel else self._receipt


def deliver(room: Room, phone: Phone) -> str:
    """Decide the due rungs and deliver; what was sent, as one text."""
    room.decide_rungs()
    outbox = Outbox(room.runtime, lambda _: phone)
    outbox.deliver()
    outbox.stop()
    assert phone.messages
    return "\n".join(f"{one.subject}\n{one.text}" for one in phone.messages)


def enter(room: Room, web: httpx.Client) -> None:
    ticket = tokens.mint(room.store, TokenKind.TICKET, "sun.tao", room.clock.wall(), 60.0)
    assert web.get(f"/enter?ticket={ticket}", follow_redirects=False).status_code == 303


def english(text: str) -> list[str]:
    """The runs of three or more English words in a text or page. What is between two tags is read for itself."""
    body = re.sub(r"<(head|script|svg).*?</\1>", "", text, flags=re.DOTALL)
    pieces = html.unescape(re.sub(r"<[^>]+>", "\n", body)).splitlines()
    runs = re.compile(r"(?<![\w.`-])[A-Za-z][a-z']*(?: [A-Za-z][A-Za-z'-]*){2,}")
    return [run for piece in pieces for run in runs.findall(piece) if run not in NO_SENTENCES]


def assert_chinese(web: httpx.Client, *paths: str) -> None:
    for path in paths:
        answer = web.get(path)
        assert answer.status_code == 200, path
        assert not english(answer.text), path


def say_unreachable(room: Room, detail: str) -> None:
    """The device is silent: a frame without values, and the verdict."""
    missing = Missing(Reason.TIMEOUT, detail)
    room.read("ups-1", {("device.answering", "", ""): "no", ("battery.charge", "", ""): missing})
    room.say("ups-1", UNREACHABLE, Level.CRITICAL, Evidence("device.answering", "no", "is no", says=detail))


def test_an_english_sentence_would_be_found() -> None:
    assert english("<p>无读数 <small>no answer within 5 s</small></p>") == ["no answer within"]
    assert english("原因：nothing listens there") == ["nothing listens there"]
    assert english("<td>UPS 1</td><td>phase</td><td>API</td> 设备 app-server-1 snmp · Asia/Shanghai") == []


@pytest.mark.parametrize("detail", [BAD_COMMUNITY, NO_V3, NO_V3_PRIVACY])
def test_a_device_that_is_unreachable(room: Room, web: httpx.Client, detail: str) -> None:
    say_unreachable(room, detail)
    text = deliver(room, Phone())
    assert "原因：无应答：" in text
    assert not english(text)
    assert "无应答：" in web.get("/incidents/1").text
    assert_chinese(web, "/", "/devices", "/devices/ups-1", "/troubles", "/incidents/1")


@pytest.mark.parametrize(
    "detail",
    [
        "the network reports: No route to host",
        "connection refused: nothing listens on port 443, or a firewall rejects it",
        "certificate not accepted: Hostname mismatch, certificate is not valid for 'ups.room'.",
        "no connection to upsd: [Errno 111] Connect call failed ('127.0.0.1', 3493)",
        "no secret called `room`; set WATCHKEEPER_SECRET_ROOM, or give systemd a credential `room`",
        "the probe did not finish within 30 s",
    ],
)
def test_reasons_of_every_sort(room: Room, web: httpx.Client, detail: str) -> None:
    say_unreachable(room, detail)
    assert not english(deliver(room, Phone()))
    assert_chinese(web, "/devices/ups-1", "/incidents/1")


def test_a_refused_snmp_user(room: Room, web: httpx.Client) -> None:
    say_unreachable(room, BAD_LOGIN)
    text = deliver(room, Phone())
    assert "认证被拒绝：用户名、密码、协议或安全级别错误" in text
    assert not english(text)
    assert_chinese(web, "/", "/devices/ups-1", "/incidents/1")


def test_a_full_spool(room: Room, web: httpx.Client) -> None:
    room.push(Lane.READINGS, [Tombstone(1, 4000)])
    assert "4000" in web.get("/").text
    assert_chinese(web, "/")


def test_a_lost_channel(room: Room, web: httpx.Client) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    webhook = WebhookChannel(f"http://127.0.0.1:{port}/page", Secret("s"), room.clock, 1.0)
    say_unreachable(room, BAD_LOGIN)
    text = deliver(room, Phone(channel=webhook))
    assert not english(text)
    page = web.get("/incidents/1").text
    assert f"无法连接 127.0.0.1:{port}：连接被拒绝" in page
    assert_chinese(web, "/incidents/1")


@pytest.mark.parametrize("detail", ["broker.room answered 503", "ntfy: no answer within 10 s", "the console cannot be written: Broken pipe",
                                    "the secret `page` is empty; the channel cannot be used without it", "no answer within 60 s"])  # fmt: skip
def test_receipts_of_every_sort(room: Room, web: httpx.Client, detail: str) -> None:
    say_unreachable(room, BAD_LOGIN)
    deliver(room, Phone(Receipt(delivered=False, detail=detail)))
    assert_chinese(web, "/incidents/1")


def test_notes_of_the_timeline(room: Room, web: httpx.Client) -> None:
    room.heat()
    value = Missing(NO_LONGER_THERE.reason, NO_LONGER_THERE.detail)
    room.say("sensor-cold-aisle", "environment.temperature", Level.UNKNOWN, Evidence("temperature.ambient", value))
    actions.escalate(room.runtime.notifier(), 1, "sun.tao", room.clock.wall(), "cannot open the rack")
    room.push(Lane.EVENTS, [ActiveVerdicts(room.clock.wall())])  # the agent reports nothing: reconciled
    say_unreachable(room, BAD_LOGIN)
    room.push(Lane.EVENTS, [Withdrawal("w", "ups-1", UNREACHABLE, "", room.clock.wall(), BY_INVENTORY)])
    text = deliver(room, Phone())
    assert set(english(text)) <= {"cannot open the rack"}, "a person's own words"
    page = web.get("/incidents/1").text
    assert set(english(page)) == {"cannot open the rack"}
    assert "以前有读数，现在设备已没有该项" in page
    assert "对账结果：采集代理不再上报该故障" in page
    assert "设备清单中注明该设备没有该部件" in web.get("/incidents/2").text
    assert_chinese(web, "/incidents/2", "/")


def test_why_a_profile_was_chosen(room: Room, web: httpx.Client) -> None:
    why = "sysObjectID 1.3.6.1.4.1.318.1; sysDescr fits `APC`; 12 readings of its maker's objects give a value; next is rfc1628 with 4"
    room.read("ups-1", {("device.answering", "", ""): "yes"}, facts=(("profile", "apc-ups (APC, ups)"), ("why", why)))
    page = web.get("/devices/ups-1").text
    assert (
        "sysObjectID 1.3.6.1.4.1.318.1; sysDescr 符合 `APC`; 厂商自有对象中有 12 个读数有值; 其次为 rfc1628，4 个"
        in html.unescape(page)
    )
    assert_chinese(web, "/devices/ups-1")


def test_an_event_of_a_trap(room: Room, web: httpx.Client) -> None:
    label = "SNMP request with a wrong community or password"
    room.read("ups-1", {("device.answering", "", ""): "yes", ("device.event", "1.3.6.1.6.3.1.1.5.5", label): "warning"})
    room.say(
        "ups-1",
        "device.event",
        Level.WARNING,
        Evidence("device.event", "warning", "is warning", label),
        "1.3.6.1.6.3.1.1.5.5",
    )
    text = deliver(room, Phone())
    assert "收到团体名或密码错误的 SNMP 请求" in text
    assert not english(text)
    assert_chinese(web, "/devices/ups-1", "/incidents/1")


def test_what_a_person_cannot_do(room: Room, web: httpx.Client) -> None:
    enter(room, web)
    room.heat()
    page = web.get("/incidents/1").text
    csrf = re.findall(r'name="csrf" value="([0-9a-f]{64})"', page)[0]
    for path, code, told in (
        ("/troubles/1/resolve", 409, "最新判定仍为严重"),
        ("/troubles/9/acknowledge", 404, "没有故障 9"),
        ("/troubles/1/eat", 404, "没有操作"),
        ("/devices/nothing/poll", 404, "没有设备"),
    ):
        answer = web.post(path, data={"csrf": csrf})
        assert (answer.status_code, told in answer.text) == (code, True), path
        assert not english(answer.text)


def test_mistakes_in_the_configuration(room: Room, web: httpx.Client, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    shutil.copytree(ROOT / "configs", folder)
    inventory = (folder / "inventory.yml").read_text(encoding="utf-8")
    (folder / "inventory.yml").write_text(
        inventory.replace("retries: 1 ", "retires: 1 ")
        .replace("owner: chen.jing", "owner: chen.jin", 1)
        .replace("timeout: 2 s", "timeout: two", 1),
        encoding="utf-8",
    )
    (folder / "rules" / "own.yml").write_text(
        "rules:\n  - {rule: a.b, clause: x, title: t, advice: a, quantity: disk.usge, critical: {above: 5 V}}\n"
    )
    with pytest.raises(ConfigError) as wrong:
        read_snapshot(folder)
    room.runtime.problem = str(wrong.value)
    page = html.unescape(web.get("/").text)
    for told in (
        "inventory.yml:",
        "未知的键 `retires`；是否为 `retries`？",
        "`two` 不是有效的 duration；格式如 `10 min`",
    ):
        assert told in page
    assert not english(page.partition("<main")[0])


def test_the_api_stays_english(room: Room, web: httpx.Client) -> None:
    say_unreachable(room, BAD_LOGIN)
    assert f'"says":"{BAD_LOGIN}"' in web.get("/api/v1/incidents/1").text


def test_a_duration_reads_as_one(room: Room) -> None:
    """240 s is 4 min, in the value and in the limit."""
    room.say("ups-1", "power.battery-runtime", Level.CRITICAL, Evidence("battery.runtime", 240.0, "below 5 min"))
    text = deliver(room, Phone())
    assert "4 分钟（低于 5 分钟）" in text
