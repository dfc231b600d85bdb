"""The examples of the pages are real: YAML that is accepted, outputs that come out, a message as it is sent, limits as they are."""

import dataclasses
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner
from pydantic_core import to_json

from tests.collector_room import NIGHT, Room
from watchkeeper.agent import pipeline
from watchkeeper.agent.config import AgentConfig
from watchkeeper.agent.push import pusher
from watchkeeper.agent.push.bundle import decode_bundle
from watchkeeper.agent.spool import spool
from watchkeeper.agent.tools.profile_cli import profile
from watchkeeper.channels import webhook
from watchkeeper.channels.ports import Message
from watchkeeper.collector.access import tokens
from watchkeeper.collector.intake import body
from watchkeeper.collector.notify.delivery import tries as outbox_of
from watchkeeper.collector.policy import freshness, grouping, hold, incidents, troubles
from watchkeeper.collector.process import actions
from watchkeeper.collector.site.inventory import Agent, Language
from watchkeeper.collector.site.settings import CollectorConfig
from watchkeeper.collector.store.schema import outbox
from watchkeeper.documents.bind import load
from watchkeeper.model.batch import Document
from watchkeeper.model.device import Category, Device
from watchkeeper.model.errors import ConfigError, WireError
from watchkeeper.model.reading import Missing, Reason, Series, Sweep
from watchkeeper.model.verdict import Evidence, Level, Verdict
from watchkeeper.model.wire import decode_push
from watchkeeper.profiles import load_profiles
from watchkeeper.rules import judge
from watchkeeper.rules.load import load_rules, shipped

DOCS = Path(__file__).resolve().parents[2] / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


# ---- YAML ----


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A part of inventory.yml."""

    agents: tuple[Agent, ...] = ()
    devices: tuple[Device, ...] = ()


OPTIONS = """\
  - device: ups-1
    agent: room-1
    category: ups
    probe: snmp
    address: 10.0.0.7
"""


def inventories() -> Iterator[tuple[str, str]]:
    for page in ("devices.md", "ipmi.md", "services.md"):
        for text in blocks(page, "yaml"):
            if re.match(r"[a-z-]+: \.\.\.", text):  # a file of secrets
                assert all(value == "..." for value in yaml.safe_load(text).values())
                continue
            whole = OPTIONS + text if text.startswith("    snmp:") else text
            yield page, whole if whole.startswith("devices:") else f"devices:\n{whole}"


@pytest.mark.parametrize(("page", "text"), list(inventories()))
def test_a_part_of_an_inventory_is_accepted(page: str, text: str) -> None:
    devices = load(text, page, Part).devices
    assert devices
    for device in devices:
        assert not [*device.check_kind()], device.device


def test_every_kind_of_probe_with_options_is_shown() -> None:
    shown = {device.probe for page, text in inventories() for device in load(text, page, Part).devices}
    assert shown == {"snmp", "modbus", "nut", "ipmi", "icmp", "tcp", "http", "postgresql", "process", "systemd"}


@pytest.mark.parametrize(
    ("page", "cls"), [("agent.md", AgentConfig), ("install.md", CollectorConfig), ("install.md", AgentConfig)]
)
def test_settings_are_accepted(page: str, cls: type[Any]) -> None:
    (text,) = (text for text in blocks(page, "yaml") if text.startswith("agent:") == (cls is AgentConfig))
    load(text, page, cls)


def test_every_yaml_of_a_page_is_checked_somewhere() -> None:
    here = {"agent.md", "devices.md", "install.md", "ipmi.md", "services.md", "profiles.md", "tutorial-profile.md"}
    # test_backup_plan, test_site_starter, test_rules_cli, test_traps_inventory, test_health
    elsewhere = {"backup.md", "operators.md", "rules.md", "traps.md", "watching.md"}
    pages = (path for path in DOCS.rglob("*.md") if "```yaml" in path.read_text(encoding="utf-8"))
    assert {str(path.relative_to(DOCS)) for path in pages} == (here | elsewhere)


def test_profiles_are_accepted() -> None:
    (base,) = (text for text in blocks("profiles.md", "yaml") if text.startswith("profile:"))
    (model,) = (text for text in blocks("profiles.md", "yaml") if text.startswith("#"))
    taught = load_profiles([Document("acme-box.yml", base), Document("acme-box-4.yml", model)]).get("acme-box-4")
    assert taught is not None
    assert [wanted.quantity for wanted in taught.readings] == [
        "temperature.ambient",
        "battery.state",
        "humidity.relative",
    ]


def test_single_readings_are_accepted() -> None:
    single = [text for text in blocks("profiles.md", "yaml") if text.startswith("  - quantity:")]
    head = "profile: box\nvendor: V\ncategory: ups\nverified: none\nreadings:\n"
    found = load_profiles([Document("box.yml", head + "".join(single))]).get("box")
    assert found is not None
    assert [reading.quantity for reading in found.readings] == ["leak", "battery.runtime", "disk.usage"]


# ---- the tutorial ----


def runs(page: str) -> dict[str, str]:
    """Outputs by commands."""
    text = "\n".join(blocks(page, "console"))
    return dict(re.findall(r"^\$ ([^\n]*)\n(.*?)(?=^\$ |\Z)", text, re.DOTALL | re.MULTILINE))


def test_the_tutorial_shows_the_draft_of_a_device_with_a_broken_sysobjectid(tmp_path: Path) -> None:
    recording = (DOCS / "examples" / "coldwatch.snmprec").read_text(encoding="utf-8")
    broken = tmp_path / "broken.snmprec"
    broken.write_text(
        re.sub(r"^1\.3\.6\.1\.2\.1\.1\.2\.0\|.*$", "1.3.6.1.2.1.1.2.0|4|n/a", recording, flags=re.MULTILINE)
    )
    (shown,) = blocks("tutorial-profile.md", "text")
    assert shown in CliRunner().invoke(profile, ["new", str(broken), "--name", "coldwatch"]).output


def test_the_tutorial_shows_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = str(DOCS / "examples" / "coldwatch.snmprec")
    mine = (DOCS / "examples" / "coldwatch.yml").read_text(encoding="utf-8")
    shown = runs("tutorial-profile.md")
    assert blocks("tutorial-profile.md", "yaml") == [mine]
    monkeypatch.chdir(tmp_path)
    draft = CliRunner().invoke(profile, ["new", box, "--name", "coldwatch"]).output
    assert shown["cat coldwatch.yml"].strip() == draft.strip()
    Path("coldwatch.yml").write_text(mine, encoding="utf-8")
    checked = CliRunner().invoke(profile, ["check", "coldwatch.yml", box]).output
    assert shown["watchkeeper profile check coldwatch.yml snmp://public@127.0.0.1:11700"].strip() == checked.strip()
    Path("coldwatch.yml").write_text(mine.replace("raw_unit: 1 rpm", "raw_unit: 1 rpn"), encoding="utf-8")
    with pytest.raises(ConfigError) as wrong:
        CliRunner().invoke(profile, ["check", "coldwatch.yml"], catch_exceptions=False)
    assert str(wrong.value).startswith(shown["watchkeeper profile check coldwatch.yml"].partition("...")[0].strip())


# ---- docs/on-call.md ----

ON_CALL = DOCS / "on-call.md"


def messages(folder: Path, language: Language) -> list[str]:
    """Messages of a room that is too hot, as they are sent: the first one to the person on duty, that of the twentieth
    minute to the head, and the recovery."""
    with Room(folder) as room:
        snapshot = room.runtime.snapshot
        configuration = snapshot.configuration
        people = tuple(dataclasses.replace(person, language=language) for person in configuration.contacts.people)
        contacts = dataclasses.replace(configuration.contacts, people=people)
        room.runtime.activate(
            dataclasses.replace(snapshot, configuration=dataclasses.replace(configuration, contacts=contacts))
        )
        overheat(room)
        with room.store.read() as connection:
            rows = connection.execute(sa.select(outbox).order_by(outbox.c.id)).all()
        shown = {(row.rung, row.person): row for row in rows}
        picked = [shown["duty", "sun.tao"], shown["on-site", "zhou.gang"], shown["recovered", "zhou.gang"]]
        drafts = [(Message(row.key, row.person, row.subject, row.text), row.created_at) for row in picked]
        sent = [room.runtime.notifier().personal(message, at) for message, at in drafts]
    return [f"{one.subject}\n{one.text}\n" for one in sent]


def overheat(room: Room) -> None:
    """It gets hotter for 24 minutes, then cooler for ten; a minute later the trouble is over."""
    room.read("sensor-cold-aisle", {("temperature.ambient", "", ""): 27.4})
    room.heat(value=27.4)
    for minute in range(36):
        if minute == 4:
            actions.acknowledge(room.runtime.notifier(), 1, "sun.tao", room.clock.wall(), "on my way")
        if minute == 8:
            actions.escalate(room.runtime.notifier(), 1, "sun.tao", room.clock.wall(), "the compressor does not start")
        if minute == 34:
            ended = Evidence("temperature.ambient", 24.2)
            room.say("sensor-cold-aisle", "environment.temperature", Level.OK, ended)
        room.decide_rungs()
        room.deliver()
        room.clock.advance(60)
        value = 27.4 + 0.4 * minute if minute < 24 else 37.0 - 1.6 * (minute - 24)
        room.read("sensor-cold-aisle", {("temperature.ambient", "", ""): value})


def test_the_messages_are_as_they_are_sent(tmp_path: Path) -> None:
    """To write them anew: `python -m tests.unit.test_docs_examples`."""
    folders = [tmp_path / language for language in Language]
    for folder in folders:
        folder.mkdir()
    sent = [messages(folder, language) for folder, language in zip(folders, Language, strict=True)]
    assert blocks("on-call.md", "text") == [text for one in sent for text in one]


def rewrite() -> None:
    page = ON_CALL.read_text(encoding="utf-8")
    shown = blocks("on-call.md", "text")
    for place, language in enumerate(Language):
        with tempfile.TemporaryDirectory() as folder:
            for number, text in enumerate(messages(Path(folder), language)):
                page = page.replace(f"```text\n{shown[3 * place + number]}```", f"```text\n{text}```", 1)
    ON_CALL.write_text(page, encoding="utf-8")


# ---- numbers in sentences ----

WORDS = {1: "one", 2: "two", 3: "three", 5: "five", 10: "ten"}


def sentences() -> Iterator[tuple[str, str]]:
    hour, minute = 3600, 60
    first_s, second_s = outbox_of.TRY_AGAIN_AFTER_S
    yield "agent.md", f"of the readings at most {spool.MEMORY_BYTES / 1e6:.0f} MB"
    yield (
        "agent.md",
        f"within {'half a second' if pipeline.COMMIT_WITHIN_S == 0.5 else pipeline.COMMIT_WITHIN_S} otherwise",
    )
    yield "agent.md", f"withdrawn after {WORDS[judge.WITHDRAW_AFTER_SWEEPS]} sweeps"
    assert pusher.UNAUTHORIZED_WAIT_S == pusher.MAX_WAIT_S == minute
    yield "agent.md", "tries again every minute"
    yield "agent.md", "doubling up to a minute"
    yield "operators.md", f"each one {WORDS[outbox_of.TRIES]} times, {first_s:.0f} s and {second_s:.0f} s apart"
    yield "operators.md", f"tried again every {outbox_of.NEXT_ROUND_AFTER_S / minute:.0f} minutes"
    yield "webhook.md", f"tried {WORDS[outbox_of.TRIES]} times in all, {first_s:.0f} s and {second_s:.0f} s apart"
    yield "webhook.md", f"more than {webhook.TOLERANCE_S:.0f} seconds"
    yield "glossary.md", f"returns within {WORDS[round(incidents.REOPEN_WITHIN_S / minute)]} minutes"
    yield from sentences_about_troubles()
    yield "on-call.md", f"works once, within {WORDS[round(tokens.TICKET_S / hour)]} hour"
    yield "on-call.md", f"stale after {WORDS[freshness.STALE_AFTER_INTERVALS]} missed intervals"
    yield "metrics.md", f"until its frame is {WORDS[freshness.EXPORTED_FOR_INTERVALS]} intervals old"


def sentences_about_troubles() -> Iterator[tuple[str, str]]:
    minute = 60
    over_s, flapping_min = troubles.RECOVERED_AFTER_S, troubles.FLAPPING_RECOVERED_AFTER_S / minute
    yield "on-call.md", f"began on one device within {grouping.SAME_DEVICE_S:.0f} seconds"
    yield "on-call.md", f"each within {grouping.SAME_PLACE_S:.0f} seconds of the one before"
    yield "on-call.md", f"still there {troubles.CHILD_STAYS_S / minute:.0f} minutes after the fault that explained it"
    yield (
        "on-call.md",
        f"came back for {over_s:.0f} seconds; if one had come back before, for {flapping_min:.0f} minutes",
    )
    yield "on-call.md", f"同一设备上 {grouping.SAME_DEVICE_S:.0f} 秒内"
    yield "on-call.md", f"相隔不超过 {grouping.SAME_PLACE_S:.0f} 秒"
    yield "on-call.md", f"原因消除 {troubles.CHILD_STAYS_S / minute:.0f} 分钟后"
    yield "on-call.md", f"保持 {over_s:.0f} 秒 （曾经复发的为 {flapping_min:.0f} 分钟）"
    yield "operators.md", f"began on the same device within {grouping.SAME_DEVICE_S:.0f} s;"
    yield "operators.md", f"not more than {grouping.SAME_PLACE_S:.0f} s before or after"
    yield "operators.md", f"up to {grouping.PARENT_LATE_S / minute:.0f} minutes later; the troubles are then merged"
    yield "operators.md", f"waits up to {troubles.PARENT_READ_S:.0f} s, until that has been read again"
    yield (
        "operators.md",
        f"still there {troubles.CHILD_STAYS_S / minute:.0f} minutes after the end of what explained it",
    )
    yield "operators.md", f"there for {over_s:.0f} s, or for {flapping_min:.0f} minutes once it has come back"
    yield "operators.md", f"returns within {troubles.RETURNS_WITHIN_S / minute:.0f} minutes after that"


def test_a_number_in_a_sentence_is_that_of_the_code() -> None:
    for page, sentence in sentences():
        assert sentence in " ".join((DOCS / page).read_text(encoding="utf-8").split()), page


# ---- docs/protocol.md ----

LIMITS = dict(
    re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PROTOCOL.partition("### Limits")[2].partition("\n### ")[0], re.MULTILINE)
)


def limit(start: str) -> list[float]:
    """The numbers of a row of the table."""
    (text,) = (text for what, text in LIMITS.items() if re.match(rf"{re.escape(start)}\b", what))
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]


def example(key: str) -> Any:
    decoder = json.JSONDecoder()
    for block in blocks("protocol.md", "json"):
        text = block.replace("[ ... ]", "[]").strip()
        while text:
            value, end = decoder.raw_decode(text)
            if key in value:
                return value
            text = text[end:].strip()
    raise KeyError(key)


def accepted(**changes: Any) -> bool:
    """Whether a push with this verdict is accepted."""
    push = {**example("protocol"), "lane": "events", "blocks": [], "items": [{**example("evidence"), **changes}]}
    try:
        decode_push(push, NIGHT)
    except WireError:
        return False
    return True


def test_names_and_texts_have_the_limits_that_the_page_says() -> None:
    (name,), (text,) = limit("a name"), limit("a text")
    evidence = example("evidence")["evidence"]
    for key in ("id", "device", "rule", "instance"):
        assert accepted(**{key: "x" * int(name)})
        assert not accepted(**{key: "x" * (int(name) + 1)})
    for key in ("expects", "says"):
        assert accepted(evidence={**evidence, key: "x" * int(text)})
        assert not accepted(evidence={**evidence, key: "x" * (int(text) + 1)})
    (cut,) = limit("the detail")
    missing = {"missing": "timeout", "detail": "x" * (int(cut) + 1)}
    push = {**example("protocol"), "lane": "events", "blocks": [],
            "items": [{**example("evidence"), "evidence": {**evidence, "value": missing}}]}  # fmt: skip
    (item,) = decode_push(push, NIGHT).items
    assert isinstance(item.body, Verdict)
    assert isinstance(item.body.evidence.value, Missing)
    assert len(item.body.evidence.value.detail) == cut


def test_an_age_has_the_limits_that_the_page_says() -> None:
    low, high = limit("an age")
    year_s = 365.25 * 86_400
    assert accepted(age_s=low)
    assert not accepted(age_s=low - 1)
    assert accepted(age_s=high * year_s)
    assert not accepted(age_s=(high + 1) * year_s)


def test_our_agent_cuts_a_reason_where_the_page_says() -> None:
    rules = load_rules(shipped())
    judging = judge.Judge({})
    device = Device("ups-1", "room-1", Category.UPS, "snmp")
    judging.activate(rules, [device], 0.0)
    series = (Series("ups-1", "device.answering", ""), Series("ups-1", "uptime", ""))
    events = [
        event
        for at in (0.0, 3600.0)
        for event in judging.sweep(
            Sweep("ups-1", at, series, ("no", Missing(Reason.TIMEOUT, "x" * 5_000))), Category.UPS
        ).events
        if isinstance(event, Verdict) and event.level is Level.CRITICAL
    ]
    assert [len(event.evidence.says) for event in events] == limit("`says` as")


def test_the_other_limits_are_those_of_the_code() -> None:
    megabyte, minute = 1_000_000, 60.0
    assert limit("the body") == [body.BODY_LIMIT / megabyte, body.UNZIPPED_LIMIT / megabyte]
    assert limit("`more` delays rungs") == [hold.BACKLOG_S / minute, hold.BACKLOG_LONGEST_S / minute]
    assert limit("a value counts as stale after") == [freshness.STALE_AFTER_INTERVALS]
    assert limit("a value leaves `/metrics` after") == [freshness.EXPORTED_FOR_INTERVALS]
    assert limit("an agent counts as silent after") == [freshness.SILENT_AFTER_INTERVALS]
    assert f"sent again every {pipeline.REPORT_EVERY_S / minute:.0f} min" in PROTOCOL


def test_the_bundle_of_the_page_is_one_an_agent_takes_and_a_collector_gives(tmp_path: Path) -> None:
    shown = example("devices")
    bundle = decode_bundle(shown, "room-1")
    assert bundle.devices[0].snmp is not None
    assert bundle.traps is not None
    with Room(tmp_path) as room:
        given = json.loads(to_json(room.runtime.snapshot.bundles["room-1"]))
    assert given.keys() == shown.keys()
    ups = next(device for device in given["devices"] if device["probe"] == "snmp")
    assert ups.keys() > shown["devices"][0].keys()
    assert ups["snmp"].keys() == shown["devices"][0]["snmp"].keys()


if __name__ == "__main__":
    rewrite()
