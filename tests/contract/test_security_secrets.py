"""Ways in which a secret can leak: readable files, error texts that quote it, logs at DEBUG, redirects, proxies."""

import asyncio
import contextlib
import json
import logging
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from pydantic_core import from_json

from tests.chaos.kills import free_port
from tests.security_room import keyring, listening
from watchkeeper.agent.config import Places, read_config
from watchkeeper.agent.main import _run
from watchkeeper.agent.probes.host.probe import HostProbe, Machine
from watchkeeper.agent.push.uplink import Uplink
from watchkeeper.agent.tools.target import parse_target
from watchkeeper.collector.cli import collector
from watchkeeper.collector.site.load import parse_configuration
from watchkeeper.collector.store.engine import Store
from watchkeeper.documents.secrets import Secret, Secrets
from watchkeeper.model.batch import Block, Lane, Push
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device
from watchkeeper.model.errors import ConfigError, PushError, SecretError, StoreError, WatchkeeperError
from watchkeeper.model.plain import LogFormatter, one_line
from watchkeeper.model.wire import decode_push, encode_block

ROOT = Path(__file__).resolve().parents[2]
HUSH = "Hunter2-the-secret"


# ---- files ----


@pytest.mark.parametrize(
    "text",
    [
        f"room:{HUSH}", f"room: !{HUSH}", f"room: *{HUSH}", f"room: '{HUSH}", f"room: [{HUSH}]", f"room: {{{HUSH}: x}}",
        HUSH, f"- {HUSH}", f"{HUSH}: a\n{HUSH}: b", f"room: {HUSH}: x", f"room: %{HUSH}", f"room: {HUSH}\x01",
    ],
)  # fmt: skip
def test_a_secrets_file_with_an_error_is_refused_without_quoting_it(text: str, tmp_path: Path) -> None:
    with pytest.raises(SecretError) as refused:
        Secrets(keyring(tmp_path, text), {})
    assert HUSH not in str(refused.value)
    assert re.search(r"secrets.yml:\d+:\d+: ", str(refused.value))


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o644])
def test_a_secrets_file_that_others_can_access_is_refused_also_through_a_link(mode: int, tmp_path: Path) -> None:
    file = keyring(tmp_path, f"room: {HUSH}\n", mode)
    (tmp_path / "link.yml").symlink_to(file)
    for path in (file, tmp_path / "link.yml"):
        with pytest.raises(SecretError, match="chmod 600"):
            Secrets(path, {})


def test_a_secrets_file_that_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent"):
        with pytest.raises(SecretError):
            Secrets(path, {})


def test_systemd_credentials_come_first_and_trailing_line_ends_are_removed(tmp_path: Path) -> None:
    (tmp_path / "agent-token").write_bytes(HUSH.encode() + b"\r\n")
    (tmp_path / "broken").write_bytes(b"\xff" + HUSH.encode())
    secrets = Secrets(None, {"CREDENTIALS_DIRECTORY": str(tmp_path), "WATCHKEEPER_SECRET_AGENT_TOKEN": "another"})
    assert secrets.get("agent-token").bearer() == f"Bearer {HUSH}"
    with pytest.raises(SecretError, match="UTF-8") as refused:
        secrets.get("broken")
    assert HUSH not in str(refused.value)
    with pytest.raises(SecretError):
        secrets.get("../agent-token")


def test_the_unit_has_the_token_under_the_default_name_of_agent_yml() -> None:
    unit = (ROOT / "systemd" / "watchkeeper-agent.service").read_text(encoding="utf-8")
    (name,) = re.findall(r"^LoadCredential=([\w-]+):", unit, re.MULTILINE)
    assert read_config(ROOT / "configs" / "agent.yml")[0].token == name


def test_an_invalid_secret_name_may_be_the_secret_and_is_not_repeated() -> None:
    for name in (f"{HUSH}!", f"{HUSH} x", f"-{HUSH}"):
        with pytest.raises(SecretError) as refused:
            Secrets(None, {}).get(name)
        assert HUSH not in str(refused.value)
    for text in (f"snmp://pub?{HUSH}@host", f"snmp://pub?x&{HUSH}=1@host", f"snmp://{HUSH}@host:99999"):
        with pytest.raises(ValueError, match="snmp") as wrong:
            parse_target(text)
        assert HUSH not in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "before", "slip"),
    [
        ("inventory", "address: 192.0.2.11", f"address: snmp://{HUSH}@192.0.2.11"),
        ("inventory", "address: 192.0.2.11", f"address: user:{HUSH}/x@192.0.2.11"),
        ("contacts", "- {via: console}", f"- {{via: webhook, url: 'json://u:{HUSH}@h/x', secret: s}}"),
        ("contacts", "- {via: console}", f"- {{via: webhook, url: 'https://u:{HUSH}@h/x', secret: s}}"),
    ],
)
def test_a_configuration_with_a_secret_in_the_wrong_place_is_refused_without_quoting_it(
    name: str, before: str, slip: str
) -> None:
    texts = {
        file: (ROOT / "configs" / f"{file}.yml").read_text("utf-8") for file in ("inventory", "contacts", "ladders")
    }
    assert before in texts[name]
    texts[name] = texts[name].replace(before, slip, 1)
    with pytest.raises(ConfigError) as refused:
        parse_configuration(**texts)
    assert HUSH not in str(refused.value)


@pytest.mark.parametrize(
    "address", [f"https://u:{HUSH}", f"https://u:{HUSH}@h", f"https://[{HUSH}", f"https://h?{HUSH}"]
)
def test_an_agent_yml_with_a_password_in_the_address_is_refused_without_quoting_it(
    address: str, tmp_path: Path
) -> None:
    (tmp_path / "agent.yml").write_text(f"agent: room-1\ncollector: '{address}'\n")
    with pytest.raises(ConfigError) as refused:
        read_config(tmp_path / "agent.yml")
    assert HUSH not in str(refused.value)


# ---- the agent and its collector ----


@pytest.mark.parametrize("token", [HUSH + "\r", HUSH + "\nX: y", HUSH + " x", HUSH + "中", HUSH + "\udcff", ""])
def test_an_invalid_token_is_refused_before_a_library_quotes_it(token: str) -> None:
    with pytest.raises(SecretError) as refused:
        Uplink("http://127.0.0.1:9", "room-1", Secret(token))
    assert HUSH not in str(refused.value)


def test_a_bundle_cannot_use_the_agent_s_own_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a collector could make the agent send the token, as a community, to any address."""
    given: list[Secrets] = []

    class Seen(Exception):
        pass

    def agent(*_: object, secrets: Secrets, **__: object) -> None:
        given.append(secrets)
        raise Seen

    monkeypatch.setattr("watchkeeper.agent.main.AgentService", agent)
    file = keyring(tmp_path, f"agent-token: {HUSH}\nroom: public\n")
    (tmp_path / "agent.yml").write_text("agent: room-1\ncollector: http://127.0.0.1:9\nsecrets: secrets.yml\n")
    config, places = read_config(tmp_path / "agent.yml")
    assert isinstance(places, Places)
    assert places.secrets == file.resolve()
    with pytest.raises(Seen):
        asyncio.run(_run(config, places, FakeClock()))
    assert given[0].get("room").reveal() == "public"
    with pytest.raises(SecretError, match="not for this"):
        given[0].get("agent-token")


def env_that_lures(monkeypatch: pytest.MonkeyPatch, folder: Path, proxy: int) -> None:
    """An environment with another login in ~/.netrc, and with a proxy that would see our requests."""
    (folder / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (folder / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("NETRC", str(folder / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_token_goes_only_to_the_collector_and_into_no_log(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = tmp_path / "token"
    token.write_text(HUSH)
    token.chmod(0o600)
    with (
        listening({}, 200) as (elsewhere, lured),
        listening({"Location": f"http://127.0.0.1:{elsewhere}/"}, status) as here,
    ):
        env_that_lures(monkeypatch, tmp_path, elsewhere)
        url = f"http://127.0.0.1:{here[0]}"
        uplink = Uplink(url, "room-1", Secret(HUSH))
        with contextlib.closing(uplink):
            with pytest.raises(PushError):
                uplink.push(Push("room-1", "e", Lane.EVENTS, 1.0), [])
            with pytest.raises(PushError):
                uplink.bundle("")
        words = ["acknowledge", "1", "--url", url, "--token-file", str(token)]
        done = CliRunner().invoke(collector, words)
        assert isinstance(done.exception, WatchkeeperError)
    assert [token for _, token in here[1]] == [f"Bearer {HUSH}"] * 3
    assert lured == []
    assert HUSH not in caplog.text + done.output + str(done.exception)


def test_a_person_s_token_is_not_sent_without_tls(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(HUSH)
    token.chmod(0o600)
    for url in ("http://192.0.2.1:8760", "ftp://127.0.0.1", "http://127.0.0.1.example", "192.0.2.1:8760"):
        done = CliRunner().invoke(collector, ["resolve", "1", "--url", url, "--token-file", str(token)])
        assert isinstance(done.exception, WatchkeeperError), url


# ---- databases ----


@pytest.mark.parametrize(
    "url", [f"postgresql://u:p@{HUSH}@127.0.0.1:9/d", f"postgres://u:{HUSH}@h/d", HUSH, f"pg://{HUSH}:x"]
)
def test_an_invalid_database_url_is_not_quoted(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        Store(url)
    assert HUSH not in str(refused.value)


def test_the_error_about_an_unreachable_database_has_no_password() -> None:
    store = Store(f"postgresql://u:{HUSH}@127.0.0.1:{free_port()}/d")
    with contextlib.closing(store), pytest.raises(StoreError) as refused, store.read():
        pass
    assert HUSH not in str(refused.value) + repr(store.url) + str(store.engine)


# ---- text from outside, in logs ----


def test_logged_text_cannot_forge_a_record_or_control_a_terminal() -> None:
    record = logging.LogRecord(
        "x", logging.ERROR, "", 0, "it said: %s", ("no\x1b[2J\r\n2026-01-01 INFO all is well",), None
    )
    text = LogFormatter("%(levelname)s %(message)s").format(record)
    assert text == "ERROR it said: no\ufffd[2J\ufffd\n    2026-01-01 INFO all is well"


def test_the_name_of_a_mount_cannot_make_a_push_invalid() -> None:
    """Otherwise one name that the collector refuses would cause the loss of all readings of this host."""
    mounts = [SimpleNamespace(device=f"/dev/{n}", mountpoint=path, fstype="fuse.sshfs") for n, path in enumerate(
        ["/mnt/\udcff", "/mnt/a\n2026-01-01 INFO all is well", "/" + "a" * 4000]
    )]  # fmt: skip
    probe = HostProbe(FakeClock(), Machine(partitions=lambda: list(mounts), statvfs=lambda _: os.statvfs("/")))
    sweep = asyncio.run(probe.sweep(Device("here", "room-1", Category.SERVER, "host")))
    assert sum(series.quantity == "disk.usage" for series in sweep.series) == 4
    block = encode_block(Block(1, "here", "host", 15.0, sweep.series))
    push = {"protocol": 1, "agent": "room-1", "epoch": "e", "lane": "readings", "sent_at": 1.0, "blocks": [block]}
    assert decode_push(from_json(json.dumps(push)), 1.0).blocks[0].series == sweep.series


def test_any_name_of_a_mount_fits_the_wire_form() -> None:
    for text in ("/mnt/\udcff\n\x00x", "/" + "a" * 4000, "机房　一", "\N{ZERO WIDTH SPACE}"):
        made = one_line(text)
        made.encode()
        assert len(made) <= 200
        assert not {"\n", "\0"} & set(made)
    assert one_line("机房　一") == "机房　一"
    assert one_line("/" + "a" * 300) != one_line("/" + "b" * 300)
