"""Words of a device that mean harm come in by a push, and are looked for wherever a person, a terminal or a program gets texts."""

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from fastapi.routing import APIRoute

from tests.collector_room import Room, browser, enter, serving
from watchkeeper.channels.apprise import AppriseChannel, _written
from watchkeeper.channels.console import ConsoleChannel
from watchkeeper.channels.ports import Message
from watchkeeper.channels.sms import written
from watchkeeper.cli import command_line
from watchkeeper.collector.process import actions
from watchkeeper.collector.web import api, pages
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.batch import Block, Frame, Item, Lane, Push
from watchkeeper.model.plain import LogFormatter
from watchkeeper.model.reading import Missing, Reason, Series
from watchkeeper.model.verdict import ActiveVerdicts, Companion, Event, Evidence, Level, Verdict, Withdrawal
from watchkeeper.model.wire import decode_push, encode_block, encode_event, encode_values, to_json

CONTROLS = "\x1b\x07\x9b\x85\r\u202e\u2066\u2069\u200e\u200f\u061c\u200b\u200d\u2060\ufeff\u2028\u2029\u3164"
KEPT = "机房一号 א ع 👨‍👩‍👧 °C"
HOSTILE = f"X{CONTROLS}[31m\nBcc: all@example.org\n{KEPT}"


def words(number: int) -> str:
    """One of several hostile texts, so that no two are the same name."""
    return f"{HOSTILE}{number}"


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        hostile_push(room)
        yield room


def hostile_push(room: Room) -> None:
    """A foreign agent sends hostile words wherever the protocol has a text of a device."""
    now = room.clock.wall()
    series = [
        ("device.answering", "", "", words(0)),
        ("temperature.ambient", words(1), words(2), words(3)),
        ("battery.state", words(4), words(5), words(6)),
        ("device.number", words(7), "", ""),
        ("sensor.absent", words(8), words(9), ""),
    ]
    block = Block(
        1, "ups-1", "snmp", 30.0, tuple(Series("ups-1", *one) for one in series),
        (("profile", words(10)), ("why", words(11)), ("transport", words(12)), (words(13), words(14))),
    )  # fmt: skip
    values = encode_values(("yes", 31.5, words(15), Missing(Reason.MALFORMED, words(16)), 600.0))
    evidence = Evidence(
        "temperature.ambient", words(17), words(18), words(19), words(20), now - 60, words(21),
        (Companion("humidity.relative", words(22), words(23)),),
    )  # fmt: skip
    bad = Verdict("v1", "ups-1", "environment.temperature", words(24), Level.CRITICAL, now, evidence)
    silent = Verdict(
        "v2", "ups-1", "device.not-answering", "", Level.CRITICAL, now,
        Evidence("device.answering", Missing(Reason.TIMEOUT, words(25)), says=words(26)),
    )  # fmt: skip
    gone = Verdict("v3", "ups-1", "absence.sensor", words(27), Level.WARNING, now, evidence)
    withdrawn = Withdrawal("v4", "ups-1", "absence.sensor", words(27), now, words(28))
    submitted(room, Lane.READINGS, [{"block": 1, "age_s": 0.0, **values}], [block])
    for events in ([bad, silent, gone], [withdrawn], [ActiveVerdicts(now, (bad, silent))]):
        submitted(room, Lane.EVENTS, [encode_event(event, now) for event in events])


def submitted(room: Room, lane: Lane, bodies: list[dict[str, Any]], blocks: list[Block] | None = None) -> None:
    """Push what a foreign agent has written, by the collector's own decoder."""
    body = {
        "protocol": 1, "agent": "room-1", "epoch": room.epoch, "lane": lane.value, "sent_at": room.clock.wall(),
        "blocks": [encode_block(one) for one in blocks or ()],
        "items": [{"seq": next(room._seqs[lane]), **one} for one in bodies],
    }  # fmt: skip
    push = decode_push(json.loads(to_json(body)), room.clock.wall())
    for seq, one in push.items:
        room._seqs[lane] = iter(range(seq, 1 << 30))  # type: ignore[assignment]  # `push` counts them again
        room.push(lane, [one], push.blocks)  # type: ignore[list-item]  # frames and events


def assert_safe(text: str, where: str) -> None:
    found = sorted(
        {f"U+{ord(char):04X}" for char in text} & {f"U+{ord(char):04X}" for char in CONTROLS if char != "\u200d"}
    )
    assert not found, f"{where}: {found}"
    assert "\u200d" not in text.replace("👨\u200d👩\u200d👧", ""), where
    assert not re.search(r"^\s*Bcc:", text, re.MULTILINE), f"{where}: a line of the device's own"


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for one in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        yield from texts_of(one)


def delivered(room: Room) -> list[Message]:
    room.decide_rungs()
    for minutes in (11, 10, 40):
        room.clock.advance(minutes=minutes)
        room.decide_rungs()
    room.deliver()
    assert len(room.sent) >= 3
    return room.sent


def pages_of() -> list[str]:
    """Every page and list that needs no further word, and those of the device and of its trouble."""
    own = [(one, "") for one in pages.router.routes] + [(one, "/api/v1") for one in api.router.routes]
    paths = {
        one.path if one.path.startswith(before) else before + one.path
        for one, before in own
        if isinstance(one, APIRoute) and "GET" in one.methods
    }
    filled = {path.replace("{name}", "ups-1").replace("{number}", "1") for path in paths}
    return sorted({path for path in filled if "{" not in path} | {"/metrics"})


def assert_pages_safe(web: httpx.Client, language: str) -> set[str]:
    """Returns the paths that show the device's words."""
    shown = set()
    for path in pages_of():
        answer = web.get(path, headers={"Accept-Language": language})
        if answer.status_code != 200:
            continue
        if "json" in answer.headers["content-type"]:
            for text in texts_of(answer.json()):
                assert_safe(text, path)
        else:
            assert_safe(answer.text, path)
        if KEPT.split(maxsplit=1)[0] in answer.text:
            shown.add(path)
    return shown


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_metrics_and_api_show_a_devices_words_without_their_controls(room: Room, language: str) -> None:
    with browser(room.front) as web:
        enter(room, web)
        shown = assert_pages_safe(web, language)
        delivered(room)
        shown |= assert_pages_safe(web, language)
    wanted = {
        "/",
        "/devices/ups-1",
        "/troubles/1",
        "/metrics",
        "/api/v1/devices/ups-1",
        "/api/v1/troubles/1",
        "/api/v1/incidents",
    }
    assert wanted <= shown, "the device's words are there"


def test_messages_carry_a_devices_words_without_their_controls(room: Room) -> None:
    for message in delivered(room):
        assert "\n" not in message.subject
        for text in (message.subject, message.text, *texts_of(json.loads(json.dumps(dict(message.facts))))):
            assert_safe(text, "message")
    assert any(KEPT in message.text for message in room.sent)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Apprise, when it loads its plugins
@pytest.mark.parametrize(
    "url", ["mailto://u:p@mail.example.org", "dingtalk://token/13800000000", "json://h", "feishu://token"]
)
def test_channels_send_no_control_even_of_a_text_that_was_stored_before(url: str) -> None:
    """A store may have texts of an older version."""
    message = Message("k", "wang.lei", HOSTILE, HOSTILE, {})
    channel = AppriseChannel(Secret(url), 1.0)
    out = _written(message, channel._to[0])
    assert not {"\n", *CONTROLS.replace("\u200d", "").replace("\u200b", "")} & set(out["title"])
    assert not {*CONTROLS.replace("\u200d", "").replace("\u200b", "")} & set(out["body"]), (
        "a zero-width space is our own mark"
    )
    stream = io.StringIO()
    ConsoleChannel(stream).send(message)
    assert_safe(stream.getvalue().replace("\n    Bcc", ""), "console")
    assert_safe(written(message).replace("\nBcc", ""), "SMS")


def test_a_persons_words_are_as_harmless_as_a_devices(room: Room) -> None:
    actions.acknowledge(room.runtime.notifier(), 1, "sun.tao", room.clock.wall(), HOSTILE.replace("\n", " "))
    with browser(room.front) as web:
        enter(room, web)
        page = web.get("/troubles/1").text
    assert "Bcc: all@example.org" in page
    assert_safe(page, "the timeline")


def test_commands_print_no_control(room: Room, tmp_path: Path) -> None:
    with serving(room.front) as url:
        listed = CliRunner().invoke(command_line, ["collector", "troubles", "--url", url])
    assert listed.exit_code == 0, listed.output
    assert "ups-1" in listed.output
    assert_safe(listed.output, "collector troubles")


def test_logs_have_no_control(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("watchkeeper").warning("%s: %s", "ups-1", HOSTILE)
    lines = LogFormatter("%(message)s").format(caplog.records[0])
    assert_safe(lines.replace("\n    Bcc", ""), "log")
    assert all(line.startswith(("ups-1", "    ")) for line in lines.split("\n"))


def test_two_hostile_events_stay_two_after_they_were_made_safe() -> None:
    """Names that differ only in controls are one name afterwards: the later one wins, and nothing breaks."""
    at = 1_800_000_000.0
    events: list[Event] = [
        Withdrawal("a", "ups-1", "r", "x\x1b", at, ""), Withdrawal("b", "ups-1", "r", "x\x9b", at, ""),
    ]  # fmt: skip
    body = {
        "protocol": 1, "agent": "room-1", "epoch": "e", "lane": "events", "sent_at": at,
        "items": [{"seq": seq, **encode_event(one, at)} for seq, one in enumerate(events, 1)],
    }  # fmt: skip
    push = decode_push(json.loads(to_json(body)), at)
    assert isinstance(push, Push)
    assert {
        item.body.instance for item in push.items if isinstance(item, Item) and isinstance(item.body, Withdrawal)
    } == {"x\ufffd"}
    assert not any(isinstance(item.body, Frame) for item in push.items)
