"""`watchkeeper profile new|check`, recordings and drafts: from an unknown device to a profile."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from watchkeeper.agent.tools.draft import DeviceIdentity, draft, sort_objects
from watchkeeper.agent.tools.profile_cli import profile
from watchkeeper.agent.tools.recording import redacted
from watchkeeper.model.batch import Document
from watchkeeper.model.errors import ConfigError
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
BOX, MINE = EXAMPLES / "coldwatch.snmprec", EXAMPLES / "coldwatch.yml"


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(profile, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_draft_tells_tables_from_single_objects_and_text_from_numbers() -> None:
    lines = run("new", BOX, "--name", "coldwatch").splitlines()
    assert "profile: coldwatch" in lines
    assert "  - sys_object_id: [1.3.6.1.4.1.32473.7]" in lines
    assert "  # ---- table 1.3.6.1.4.1.32473.7.2.1, 3 rows: 1, 2, 3 ----" in lines
    assert "  # text 1.3.6.1.4.1.32473.7.2.1.2: Cold aisle, Hot aisle, Spare" in lines
    (temperature,) = (line for line in lines if "oid: 1.3.6.1.4.1.32473.7.2.1.3," in line)
    assert 'each: {label: "{1.3.6.1.4.1.32473.7.2.1.2}"}' in temperature  # rows have the device's names
    assert temperature.endswith("# 218, 331, -9999")
    assert any(line.endswith("oid: 1.3.6.1.4.1.32473.7.3.1.0, raw_unit: TODO, source: TODO}  # 1480") for line in lines)


def test_a_draft_becomes_a_profile_by_filling_in_what_it_asks_for() -> None:
    text = run("new", BOX)
    for was, becomes in (
        ("vendor: TODO", "vendor: Nordlys"),
        ("category: TODO", "category: env"),
        (
            "  # - {quantity: TODO, oid: 1.3.6.1.4.1.32473.7.3.1.0, raw_unit: TODO, source: TODO}",
            "  - {quantity: fan.speed, oid: 1.3.6.1.4.1.32473.7.3.1.0, raw_unit: 1 rpm, source: X}",
        ),
    ):
        assert was in text
        text = text.replace(was, becomes)
    made = load_profiles([Document("new.yml", text)]).get("new-device")
    assert made is not None
    assert [wanted.quantity for wanted in made.readings] == ["fan.speed"]


def test_a_draft_with_its_todos_is_no_profile() -> None:
    with pytest.raises(ConfigError, match="`TODO` is not one of"):
        load_profiles([Document("new.yml", run("new", BOX))])


def test_a_draft_extends_a_standard_profile_that_fits_and_has_only_the_rest(tmp_path: Path) -> None:
    recording = tmp_path / "ups.snmprec"
    lines = [
        "1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.32473.9",
        "1.3.6.1.2.1.33.1.2.1.0|2|2",
        "1.3.6.1.2.1.33.1.2.4.0|2|97",
        "1.3.6.1.4.1.32473.9.1.0|2|5",
    ]
    recording.write_text("\n".join(lines), encoding="utf-8")
    text = run("new", recording)
    assert "extends: [ups-mib]" in text
    assert "1.3.6.1.2.1.33" not in text.partition("extends")[2]


def test_a_device_without_objects_of_its_vendor_gets_a_draft_that_says_so(tmp_path: Path) -> None:
    recording = tmp_path / "box.snmprec"
    recording.write_text("1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.32473.9\n", encoding="utf-8")
    lines = run("new", recording).splitlines()
    assert lines[0].startswith("# A draft for: a device without sysDescr.")
    assert lines[-1] == "  # It has no objects of its vendor (below 1.3.6.1.4.1)."


def test_a_file_that_is_not_a_recording_is_reported(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the box hangs in rack 4\n", encoding="utf-8")
    done = CliRunner().invoke(profile, ["new", str(tmp_path / "notes.txt")])
    assert done.exit_code == 1
    assert "not a recording: its lines must be OID|TYPE|VALUE" in done.output


def test_a_check_shows_every_raw_value_and_its_decoded_value() -> None:
    lines = run("check", MINE, BOX).splitlines()
    assert lines[0].endswith("coldwatch is valid: Nordlys env, 5 readings; verified: ColdWatch 4")
    assert lines[1].endswith("is recognised by `coldwatch`")
    assert any(
        line.split()
        == ["temperature.ambient", "Cold", "aisle", "1.3.6.1.4.1.32473.7.2.1.3.1", "218", "->", "21.8", "°C"]
        for line in lines
    )
    assert any("-9999" in line and "missing: absent" in line for line in lines)
    assert lines[-1] == "12 readings, 2 of them missing"


def test_a_check_says_when_the_device_would_get_another_profile(tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    text = MINE.read_text(encoding="utf-8").replace("sys_object_id: [1.3.6.1.4.1.32473.7]", "sys_descr: HotWatch")
    other.write_text(text, encoding="utf-8")
    assert "is recognised by no profile, not by `coldwatch`: see `match`" in run("check", other, BOX)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check", "absent.yml"], "absent.yml"),
        (["new", "absent.snmprec"], "neither an snmp:// URL nor a recording"),
        (["new", "snmp://hunter2@127.0.0.1:1"], "unreachable: nothing listens there"),
        (["record", "host", "--out", "x"], "profiles are for SNMP devices"),
        (["record", "snmp://hunter2@h?colour=red", "--out", "x"], "unknown key `colour`"),
    ],
)
def test_an_error_is_a_sentence_without_a_secret(words: list[str], says: str) -> None:
    done = CliRunner().invoke(profile, words)
    assert done.exit_code != 0
    assert says in (done.output or "") + str(done.exception)
    assert "hunter2" not in done.output + str(done.exception)


def test_an_index_of_several_numbers_and_a_row_0() -> None:
    objects = {f"1.3.6.1.4.1.9.2.1.{column}.{row}": column for column in (1, 2) for row in ("1.1", "1.2", "2.1")}
    objects |= {f"1.3.6.1.4.1.9.3.1.{column}.{row}": column for column in (1, 2) for row in (0, 1)}
    objects |= {"1.3.6.1.4.1.9.1.1.0": 5}
    found = sort_objects(objects)
    assert dict(found.scalars) == {"1.3.6.1.4.1.9.1.1.0": 5}
    assert {(table.entry, table.indices) for table in found.tables} == {
        ("1.3.6.1.4.1.9.2.1", ("1.1", "1.2", "2.1")), ("1.3.6.1.4.1.9.3.1", ("0", "1")),
    }  # fmt: skip


READING = "  - {quantity: battery.charge, oid: 1.3.6.1.4.1.99999.7.1.0, raw_unit: 1 %, source: X}"


def test_a_device_with_a_generic_sysobjectid_is_matched_by_its_sysdescr() -> None:
    lines = list(draft("box", DeviceIdentity("1.3.6.1.4.1.8072.3.2.10", "Bob's box (v1)", {}), sort_objects({})))
    assert "  - sys_descr: '^Bob''s box \\(v1\\)'" in lines


@pytest.mark.parametrize("sys_object_id", ["1.3.6.1.4.1.8072.3.2.10", "n/a", "", "0.0", "1.3.6.1.2.1.33"])
def test_a_device_whose_sysobjectid_names_no_vendor_is_matched_by_its_vendors_objects(sys_object_id: str) -> None:
    objects: dict[str, Raw] = {f"1.3.6.1.4.1.99999.7.{number}.0": 1 for number in range(1, 4)}
    objects |= {"1.3.6.1.4.1.8072.1.1.0": 1, "1.3.6.1.4.1.318.1.1.0": 1}
    lines = list(draft("box", DeviceIdentity(sys_object_id, "Bob's box", {}), sort_objects(objects)))
    assert "  - answers: 1.3.6.1.4.1.99999.7  # it has objects below this" in lines
    assert not any("sys_object_id:" in line for line in lines)
    text = "\n".join(lines).replace("TODO  #", "env  #").replace("vendor: TODO", "vendor: Bob")
    made = load_profiles([Document("box.yml", text.replace("readings:", f"readings:\n{READING}"))])
    assert made.get("box")


def test_a_sysobjectid_of_a_vendor_is_matched_however_it_is_written() -> None:
    lines = list(draft("box", DeviceIdentity("iso.3.6.1.4.1.99999.7", "Bob's box", {}), sort_objects({})))
    assert "  - sys_object_id: [1.3.6.1.4.1.99999.7]" in lines


# ---- recordings ----


def record(*rows: tuple[str, int, int | str | bytes]) -> Iterator[str]:
    return redacted(rows, "hunter2")


def test_a_recording_has_no_names_addresses_or_communities() -> None:
    lines = list(
        record(
            ("1.3.6.1.2.1.1.1.0", 4, b"Box at 10.1.2.3 (hunter2), 00:1b:21:aa:bb:cc, ask bob@example.com"),
            ("1.3.6.1.2.1.1.5.0", 4, b"ups-hall-2"),
            ("1.3.6.1.2.1.2.2.1.6.1", 4, bytes.fromhex("001b21aabbcc")),
            ("1.3.6.1.2.1.4.20.1.1.10.1.2.3", 64, "10.1.2.3"),
            ("1.3.6.1.4.1.9.1.0", 64, "10.1.2.3"),
            ("1.3.6.1.4.1.9.2.0", 4, bytes.fromhex("001b21aabbcc")),
            ("1.3.6.1.6.3.18.1.1.1.2.1", 4, b"hunter2"),
        )
    )
    assert lines == [
        "1.3.6.1.2.1.1.1.0|4|Box at 192.0.2.1 (redacted), 00:00:5e:00:53:01, ask redacted@example.org",
        "1.3.6.1.2.1.1.5.0|4|redacted",
        "1.3.6.1.2.1.2.2.1.6.1|4|redacted",
        "1.3.6.1.4.1.9.1.0|64|192.0.2.1",
        "1.3.6.1.4.1.9.2.0|4x|00005e005301",
    ]


def test_a_recording_contains_none_of_several_secrets_not_even_as_an_index() -> None:
    rows: list[tuple[str, int, int | str | bytes]] = [
        ("1.3.6.1.4.1.318.9.1.6.115.51.99", 2, 1), ("1.3.6.1.4.1.318.9.1.6.115.51.9", 2, 1),
        ("1.3.6.1.4.1.318.2.1.5", 4, b"s3c and hunter2"),
    ]  # fmt: skip
    assert list(redacted(rows, "s3c", "", "hunter2")) == [
        "1.3.6.1.4.1.318.9.1.6.115.51.9|2|1", "1.3.6.1.4.1.318.2.1.5|4|redacted and redacted",
    ]  # fmt: skip


def test_numbers_versions_and_binary_values_stay_as_they_are() -> None:
    assert list(
        record(
            ("1.3.6.1.4.1.9.1.0", 2, -5),
            ("1.3.6.1.4.1.9.2.0", 70, 2**40),
            ("1.3.6.1.4.1.9.3.0", 6, "1.3.6.1"),
            ("1.3.6.1.4.1.9.4.0", 4, b"1.2.3.400 \xff"),
            ("1.3.6.1.4.1.9.5.0", 64, "0.0.0.0"),
        )
    ) == [
        "1.3.6.1.4.1.9.1.0|2|-5",
        "1.3.6.1.4.1.9.2.0|70|1099511627776",
        "1.3.6.1.4.1.9.3.0|6|1.3.6.1",
        "1.3.6.1.4.1.9.4.0|4x|312e322e332e34303020ff",
        "1.3.6.1.4.1.9.5.0|64|0.0.0.0",
    ]


# ---- the tutorial ----


def test_the_tutorial_shows_the_output_of_the_tools() -> None:
    page = (EXAMPLES.parent / "tutorial-profile.md").read_text(encoding="utf-8")
    assert run("new", BOX, "--name", "coldwatch").rstrip() in page
    assert MINE.read_text(encoding="utf-8").rstrip() in page
    shown = run("check", MINE, BOX).rstrip().replace(str(MINE), MINE.name)
    assert shown in page
