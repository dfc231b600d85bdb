"""`watchkeeper probe`: targets as URLs, and the output, which never contains a secret."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from watchkeeper.agent.poll import kinds
from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.tools import probe_cli
from watchkeeper.agent.tools.probe_cli import lines, read, table
from watchkeeper.agent.tools.target import mask, parse_target, parse_targets
from watchkeeper.cli import command_line
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import (
    PROBE_OPTIONS,
    Database,
    Device,
    Http,
    Ipmi,
    Modbus,
    Nut,
    Snmp,
    SnmpAuth,
    SnmpEngine,
    SnmpPriv,
    SnmpVersion,
)
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value


class Scripted:
    """A probe that returns the given columns of values, one per sweep."""

    def __init__(self, *answers: Iterable[Value]) -> None:
        self.answers = list(answers)
        self.closed = False

    async def sweep(self, device: Device) -> Sweep:
        names = (("device.answering", "", ""), ("cpu.usage", "", ""), ("disk.size", "/", "system"))
        series = tuple(Series(device.device, name, instance, label, "x.1") for name, instance, label in names)
        return Sweep(device.device, 990.0, series, tuple(self.answers.pop(0)))

    async def forget(self, device: str) -> None:
        raise AssertionError

    async def close(self) -> None:
        self.closed = True


WARMING = ("yes", Missing(Reason.WARMING_UP, "a rate needs two samples"), 1.5e9)
HEALTHY = ("yes", 12.345, 1.5e9)
HOST = parse_target("host")


def sweep_of(*answers: Iterable[Value]) -> tuple[Sweep, Scripted]:
    probe = Scripted(*answers)
    return asyncio.run(read(HOST, probe, asyncio.Semaphore(), second_sample_s=0)), probe


# ---- targets ----


def test_a_community_in_the_url_becomes_a_secret() -> None:
    target = parse_target("snmp://p%40ss%2Fword@10.0.0.7:1161")
    assert (target.masked, target.device.address) == ("snmp://***@10.0.0.7:1161", "10.0.0.7:1161")
    assert target.device.snmp is not None
    assert target.device.snmp.version is SnmpVersion.V2C
    assert Secrets(None, target.environ).get(target.device.snmp.community).reveal() == "p@ss/word"
    assert "p@ss" not in repr(target)


@pytest.mark.parametrize(
    ("url", "address", "snmp"),
    [
        ("snmp://ups.example?community=room", "ups.example:161", Snmp(community="room")),
        ("snmp://c@[::1]:99?version=1", "[::1]:99", Snmp(SnmpVersion.V1, "probe-target-N")),
        ("snmp://ops@h?version=3&engine=pysnmp", "h:161", Snmp(SnmpVersion.V3, user="ops", engine=SnmpEngine.PYSNMP)),
        (
            "snmp://ops@h?auth=sha-256&auth_secret=a&priv=AES&priv_secret=p",
            "h:161",
            Snmp(SnmpVersion.V3, "", "ops", SnmpAuth.SHA256, "a", SnmpPriv.AES, "p"),
        ),
    ],
)
def test_versions_users_and_names_of_secrets(url: str, address: str, snmp: Snmp) -> None:
    device = parse_target(url, "ups-mib").device
    assert device.snmp is not None
    if device.snmp.community.startswith("probe-target-"):  # every community of a URL gets a name of its own
        device = replace(device, snmp=replace(device.snmp, community="probe-target-N"))
    assert (device.address, device.snmp, device.profile, device.probe) == (address, snmp, "ups-mib", "snmp")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hunter2@host", "write `host`"),
        ("https://hunter2@h", "takes nothing before an `@`"),
        ("ftp://hunter2@h", "write `host`"),
        ("ipmi://u@h", "needs `password`"),
        ("ipmi://u@h?password=a&cipher=hunter2", "cipher: expected a whole number"),
        ("postgresql://u@h/db?password=a&tls=hunter2", "tls: expected yes or no"),
        ("modbus://h?unit=300", "unit: must be between 0 and 255"),
        ("icmp://h?x=hunter2", "takes nothing after"),
        ("nut://h", "needs `ups`"),
        ("snmp://hunter2@h:99999", "not a URL"),
        ("snmp://hunter2@[::1", "not a URL"),
        ("snmp://hunter2@", "write `host`"),
        ("snmp://hunter2/1@h", "`%2F`"),
        ("snmp://hunter2@h?colour=red", "unknown key `colour`"),
        ("snmp://h", "snmp://COMMUNITY@HOST"),
        ("snmp://u@h?auth=hunter2", "auth: expected one of MD5"),
        ("snmp://u@h?auth=SHA", "needs `auth_secret`"),
        ("snmp://u:hunter2@h?auth=SHA&auth_secret=a", "must not contain a password"),
        ("postgresql://u:hunter2@h/db", "must not contain a password"),
        ("redis://:hunter2@h", "must not contain a password"),
        ("snmp://u@h?version=3&priv=AES&priv_secret=p", "no privacy without authentication"),
    ],
)
def test_a_wrong_target_is_explained_and_its_secret_not_repeated(url: str, said: str) -> None:
    done = CliRunner().invoke(probe_cli.probe, [url])
    assert done.exit_code == 2
    assert said in done.output
    assert "hunter2" not in done.output


def test_a_shown_target_has_no_secret() -> None:
    assert mask("snmp://public@host:161") == "snmp://***@host:161"
    assert mask("snmp://a@b@host?auth=SHA") == "snmp://***@host"
    assert mask("snmp://host?community=room") == "snmp://host"


def test_the_mistakes_of_a_profile_are_reported_before_a_device_is_asked(tmp_path: Path) -> None:
    (tmp_path / "box.yml").write_text("profile: box\ncategory: env\nverified: []\nreadingz: []\n", encoding="utf-8")
    done = CliRunner().invoke(command_line, ["probe", "--add", str(tmp_path / "box.yml"), "snmp://public@127.0.0.1:1"])
    assert done.exit_code == 1
    assert f"{tmp_path}/box.yml:4:1: unknown key `readingz`; did you mean `readings`?" in done.stderr


# ---- reading ----


def test_a_rate_gets_its_second_sample() -> None:
    sweep, probe = sweep_of(WARMING, HEALTHY)
    assert sweep.values == HEALTHY
    sweep, probe = sweep_of(HEALTHY, WARMING)
    assert (sweep.values, len(probe.answers)) == (HEALTHY, 1)


def test_a_device_whose_tables_are_still_read_is_asked_until_it_has_values() -> None:
    learning = ("yes", *[Missing(Reason.WARMING_UP, "its tables are read")] * 2)
    sweep, _ = sweep_of(learning, learning, learning, HEALTHY)
    assert sweep.values == HEALTHY
    sweep, probe = sweep_of(*[learning] * 12)
    assert (sweep.values, len(probe.answers)) == (learning, 2)


def test_a_json_line_has_the_value_with_its_unit_and_the_time_it_was_read() -> None:
    """`at` was 990 s after boot; the fake clock is at 1,000 s."""
    sweep, _ = sweep_of(HEALTHY)
    answering, cpu, disk = map(json.loads, lines(HOST, sweep, FakeClock(now=1_800_000_010.0)))
    assert (answering["state"], answering["level"]) == ("yes", "ok")
    assert cpu == {
        "name": "host", "target": "host", "profile": "", "vendor": "", "category": "server", "quantity": "cpu.usage", "instance": "", "label": "", "value": 12.345,
        "unit": "%", "oid": "x.1", "at": "2027-01-15T08:00:00+00:00",
    }  # fmt: skip
    assert (disk["instance"], disk["label"], disk["value"]) == ("/", "system", 1.5e9)


def test_a_json_line_of_a_missing_value_has_the_reason_and_no_value() -> None:
    sweep, _ = sweep_of(("no", Missing(Reason.TIMEOUT, "no answer in 2 s"), Missing(Reason.ABSENT)))
    _, cpu, disk = map(json.loads, lines(HOST, sweep, FakeClock()))
    assert cpu["missing"] == ["timeout", "no answer in 2 s"]
    assert disk["missing"] == ["absent", ""]
    assert not {"value", "state", "unit"} & {*cpu, *disk}


def test_the_table_has_aligned_columns_and_units() -> None:
    sweep, _ = sweep_of(("yes", Missing(Reason.TIMEOUT, "no answer in 2 s"), 1.5e9))
    assert list(table(HOST, sweep, FakeClock(now=1_800_000_010.0))) == [
        "host, 2027-01-15 08:00:00 UTC",
        "  device.answering              yes",
        "  cpu.usage                     missing: timeout, no answer in 2 s",
        "  disk.size         / (system)  1,500,000,000 B",
    ]


@pytest.mark.parametrize(("answering", "code"), [("yes", 0), ("no", 1)])
def test_a_device_that_does_not_answer_is_exit_code_1(
    answering: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripted(kind: str, _: ProbeContext) -> Scripted:
        return Scripted((answering if kind == "snmp" else "yes", 1.0, 1.0))

    monkeypatch.setattr(kinds, "build", scripted)
    done = CliRunner().invoke(probe_cli.probe, ["host", "snmp://hunter2@bad", "--format", "jsonl"])
    assert done.exit_code == code
    assert [json.loads(line)["target"] for line in done.output.splitlines()] == ["host"] * 3 + ["snmp://***@bad"] * 3
    assert "hunter2" not in done.output


def test_a_file_may_list_many_targets_with_names() -> None:
    found = list(parse_targets(["# UPSes", "", "ups-1 snmp://a@10.0.0.1", "ups-2  snmp://b@10.0.0.1"], "room.txt"))
    assert [(target.device.device, target.device.address) for target in found] == [
        ("ups-1", "10.0.0.1:161"), ("ups-2", "10.0.0.1:161"),
    ]  # fmt: skip
    together = {key: text for target in found for key, text in target.environ.items()}
    communities = [
        Secrets(None, together).get(target.device.snmp.community).reveal() for target in found if target.device.snmp
    ]
    assert communities == ["a", "b"]  # on one address, two devices


def test_a_file_of_targets_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    file = tmp_path / "room.txt"
    file.write_bytes("\N{BYTE ORDER MARK}machine\thost\r\n".encode())
    done = CliRunner().invoke(probe_cli.probe, ["--targets", str(file), "--format", "jsonl"])
    assert {json.loads(line)["name"] for line in done.output.splitlines()} == {"machine"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("snmp://hunter2@h", "room.txt:2: write NAME and URL"),
        ("one snmp://hunter2@h", "room.txt:2: `one` is also in line 1"),
        ("two ftp://hunter2@h", "room.txt:2: ftp://***@h: write `host`"),
    ],
)
def test_a_wrong_line_is_named_and_its_secret_not_repeated(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"room\.txt:2") as caught:
        list(parse_targets(["one snmp://hunter1@h", line], "room.txt"))
    assert said in str(caught.value)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind", "address", "says"),
    [
        ("ipmi://ops@bmc?password=bmc-1", "ipmi", "bmc:623", Ipmi("ops", "bmc-1")),
        ("modbus://10.0.0.5?unit=7", "modbus", "10.0.0.5:502", Modbus(7)),
        ("nut://eaton@nas", "nut", "nas:3493", Nut("eaton")),
        ("icmp://10.0.0.5", "icmp", "10.0.0.5", None),
        ("tcp://[::1]:25", "tcp", "[::1]:25", None),
        ("https://h/login?a=b", "http", "h:443", Http(path="/login?a=b")),
        ("http://h:8080", "http", "h:8080", Http(tls=False)),
        (
            "postgresql://w@db/shop?password=db-1&tls=yes",
            "postgresql",
            "db:5432",
            Database("w", "db-1", "shop", tls=True),
        ),
    ],
)
def test_every_kind_of_device_has_its_url(url: str, kind: str, address: str, says: object) -> None:
    device = parse_target(url).device
    assert (device.probe, device.address) == (kind, address)
    options = [getattr(device, name) for name in PROBE_OPTIONS if getattr(device, name) is not None]
    assert options == ([] if says is None else [says])


def test_a_url_may_name_its_own_profile() -> None:
    """So that one file of targets can hold meters of several vendors."""
    (meter, ups) = parse_targets(
        ["m modbus://h?unit=3&profile=eastron-sdm630", "u snmp://c@h?profile=ups-mib"], "room.txt", "auto"
    )
    assert (meter.device.profile, meter.device.modbus) == ("eastron-sdm630", Modbus(3))
    assert ups.device.profile == "ups-mib"
