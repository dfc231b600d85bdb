"""Health is work that was done lately; the heartbeat goes out only after it; refusals are counted without secrets."""

import logging
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from watchkeeper.channels.ports import Receipt
from watchkeeper.collector.access.refusals import MOST_SOURCES, OTHERS, Refusals, Refused
from watchkeeper.collector.process.health.health import (
    OUTBOX,
    STALE_AFTER_S,
    TURN,
    WRITE,
    Health,
)
from watchkeeper.collector.process.health.heartbeat import (
    AGAIN_AFTER_S,
    Heartbeat,
    Ping,
    Signal,
    call_of,
    checked,
)
from watchkeeper.collector.site.settings import CollectorConfig
from watchkeeper.documents.bind import load
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import ConfigError, SecretError

URL = "https://hc.example/uuid-1"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> Health:
    made = Health(clock)
    for work in (WRITE, TURN):
        made.expect(work)
    return made


def work(health: Health) -> None:
    health.done(WRITE)
    health.done(TURN)


# ---- health ----


def test_work_that_is_not_done_is_named_with_its_age(clock: FakeClock, health: Health) -> None:
    clock.advance(STALE_AFTER_S)
    assert health.lapses() == ()
    health.done(TURN)
    clock.advance(1)
    assert [str(one) for one in health.lapses()] == ["nothing was written to the store for 31 s"]
    health.done(WRITE)
    assert health.lapses() == ()


def test_work_may_tell_by_itself_when_it_was_done(clock: FakeClock, health: Health) -> None:
    at = [clock.boot()]
    health.expect(OUTBOX, lambda: at[0])
    clock.advance(40)
    work(health)
    assert [one.work for one in health.lapses()] == [OUTBOX]
    at[0] = clock.boot()
    assert not health.lapses()


def test_it_is_ready_after_the_first_turn_until_it_stops(health: Health) -> None:
    assert list(health.unready()) == ["it is starting: the first turn is not done"]
    health.done(TURN)
    assert not list(health.unready())
    health.stopping = True
    assert list(health.unready()) == ["it is stopping"]


def test_work_that_lapsed_is_not_ready(clock: FakeClock, health: Health) -> None:
    health.done(TURN)
    clock.advance(STALE_AFTER_S + 1)
    assert len(list(health.unready())) == 2


# ---- the forms of the heartbeat ----


def test_healthchecks_has_paths() -> None:
    assert call_of(URL, Signal.BEAT) == Ping("GET", URL)
    assert call_of(URL, Signal.START) == Ping("POST", f"{URL}/start")
    assert call_of(f"{URL}/?create=1", Signal.FAIL, "why") == Ping("POST", f"{URL}/fail?create=1", "why")


def test_uptime_kuma_has_parameters() -> None:
    pasted = "http://kuma.example:3001/api/push/tok?status=up&msg=OK&ping="
    assert call_of(pasted, Signal.START) is None
    call = call_of(pasted, Signal.FAIL, "no write & more")
    assert call
    assert call.method == "GET"
    assert not call.body
    assert dict(parse_qsl(urlsplit(call.url).query, keep_blank_values=True)) == {
        "status": "down", "msg": "no write & more", "ping": "",
    }  # fmt: skip
    beat = call_of(pasted, Signal.BEAT)
    assert beat
    assert "status=up&msg=OK" in beat.url
    assert beat.url.startswith("http://kuma.example:3001/api/push/tok?")


@pytest.mark.parametrize(
    "text", ["", "hc.example/uuid-1", "ftp://hc.example/x", "https:///x-hidden", "https://h:99999/x"]
)
def test_what_is_no_web_address_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(SecretError) as raised:
        checked(Secret(text), "beat-url")
    assert "`beat-url`" in str(raised.value)
    assert not text or text not in str(raised.value)


def test_http_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert checked(Secret(f"{URL}\n"), "b") == URL
    assert not caplog.text
    checked(Secret("http://kuma.lan/api/push/hidden"), "b")
    assert "by http" in caplog.text
    assert "hidden" not in caplog.text


def test_the_setting_of_the_docs_is_accepted_and_wrong_ones_are_named() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "watching.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    config = load(example, "watching.md", CollectorConfig)
    assert config.heartbeat
    assert (config.heartbeat.secret, config.heartbeat.every_s) == ("heartbeat-url", 60.0)
    with pytest.raises(ConfigError) as raised:
        load("heartbeat: {url: https://hc.example/hidden, every: 5 s}", "collector.yml", CollectorConfig)
    assert "write `secret:NAME` here" in str(raised.value)
    assert "between `15 s` and `1 h`" in str(raised.value)
    assert "hidden" not in str(raised.value)


# ---- when the heartbeat is sent ----


class Outside:
    """The address outside: what it got, and what it answers."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.wrong = ""

    def __call__(self, call: Ping) -> Receipt:
        self.got.append(call.url.removeprefix(URL) or "beat")
        return Receipt(delivered=not self.wrong, detail=self.wrong)

    def take(self) -> list[str]:
        got, self.got = self.got, []
        return got


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def heartbeat(clock: FakeClock, health: Health, outside: Outside) -> Heartbeat:
    return Heartbeat(URL, 60.0, health, clock, outside)


def steps(heartbeat: Heartbeat, clock: FakeClock, seconds: int, *, working: Health | None = None) -> None:
    for _ in range(seconds):
        clock.advance(1)
        if working:
            work(working)
        heartbeat.step()


def test_a_beat_comes_only_after_every_kind_of_work(
    clock: FakeClock, health: Health, outside: Outside, heartbeat: Heartbeat
) -> None:
    steps(heartbeat, clock, 3)
    health.done(WRITE)
    steps(heartbeat, clock, 1)
    assert outside.take() == ["/start"]
    health.done(TURN)
    steps(heartbeat, clock, 1)
    assert outside.take() == ["beat"]
    steps(heartbeat, clock, 59, working=health)
    assert outside.take() == []
    steps(heartbeat, clock, 1, working=health)
    assert outside.take() == ["beat"]


def test_without_new_work_there_is_no_beat_but_a_failure(
    clock: FakeClock, health: Health, outside: Outside, heartbeat: Heartbeat
) -> None:
    work(health)
    steps(heartbeat, clock, 5, working=health)
    assert outside.take() == ["/start", "beat"]
    steps(heartbeat, clock, 30)
    assert outside.take() == []
    steps(heartbeat, clock, 90)
    assert outside.take() == ["/fail", "/fail"]
    steps(heartbeat, clock, 12, working=health)
    assert outside.take() == ["beat"], "the end of the trouble does not wait for its turn"


def test_what_cannot_be_sent_is_a_failure_although_the_work_is_done(
    clock: FakeClock, health: Health, outside: Outside, heartbeat: Heartbeat
) -> None:
    steps(heartbeat, clock, 20, working=health)
    health.unsent = "no message has left for 10 min"
    outside.take()
    steps(heartbeat, clock, 5, working=health)
    assert outside.take() == ["/fail"]


def test_an_address_that_takes_nothing_is_asked_again_and_counted(
    clock: FakeClock, health: Health, outside: Outside, heartbeat: Heartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    outside.wrong = "it answered 302"
    steps(heartbeat, clock, 41, working=health)
    assert outside.take() == ["/start", *["beat"] * 4]
    assert (heartbeat.failures, heartbeat.sent_at, heartbeat.wrong) == (5, None, "it answered 302")
    assert caplog.text.count("was not taken") == 1
    outside.wrong = ""
    steps(heartbeat, clock, int(AGAIN_AFTER_S), working=health)
    assert heartbeat.sent_at == clock.wall()
    assert not heartbeat.wrong
    assert "taken again" in caplog.text


# ---- refusals ----


def test_refusals_are_counted_by_source_and_logged_once_a_minute(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = Refusals(clock)
    for _ in range(3000):
        refusals.note(Refused.AGENT, "192.0.2.7")
    refusals.note(Refused.PERSON, "192.0.2.8")
    assert refusals.recent() == {"192.0.2.7": 3000, "192.0.2.8": 1}
    assert refusals.total == {Refused.AGENT: 3000, Refused.PERSON: 1}
    assert caplog.text.count("a wrong agent's token from 192.0.2.7") == 1
    clock.advance(60)
    refusals.note(Refused.AGENT, "192.0.2.7")
    assert "3001 in all: 3000 from 192.0.2.7, 1 from 192.0.2.8" in caplog.text


def test_refusals_are_forgotten_after_five_minutes_but_stay_in_the_total(clock: FakeClock) -> None:
    refusals = Refusals(clock)
    refusals.note(Refused.TICKET, "192.0.2.7")
    clock.advance(299)
    assert refusals.recent().total() == 1
    clock.advance(1)
    assert refusals.recent().total() == 0
    assert refusals.total.total() == 1


def test_many_sources_take_no_more_memory_and_no_more_log(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(clock)
    with caplog.at_level(logging.WARNING):
        for number in range(10_000):
            refusals.note(Refused.LINK, f"10.0.{number // 250}.{number % 250}")
    assert len(refusals.recent()) == MOST_SOURCES + 1
    assert refusals.recent()[OTHERS] == 10_000 - MOST_SOURCES
    assert len(caplog.records) == MOST_SOURCES + 1


def test_a_source_that_a_proxy_gives_cannot_write_lines_of_the_log(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = Refusals(clock)
    refusals.note(Refused.AGENT, "1.2.3.4\nERROR forged" + "x" * 500)
    (source,) = refusals.recent()
    assert "\n" not in source
    assert len(source) <= 60
