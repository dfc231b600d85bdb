"""The running room, read by net-snmp's own programs."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.devices import DEVICES
from watchkeeper.simulator.running import RunningRoom, running_room

pytestmark = [
    pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program} on PATH")
    for program in ("snmpget", "snmpwalk", "snmpbulkwalk", "snmpbulkget")
]

V3 = ["-v3", "-u", "ops", "-l", "authPriv", "-a", "SHA-256", "-A", "authpass12", "-x", "AES", "-X", "privpass12"]
VERSIONS = {"v1": ["-v1", "-cpublic"], "v2c": ["-v2c", "-cpublic"], "v3": V3}
Answer = tuple[dict[str, str], str]
NAMES = [device.name for device in DEVICES]
CHARGE, INPUT_1 = "1.3.6.1.2.1.33.1.2.4.0", "1.3.6.1.2.1.33.1.3.3.1.3.1"
SENSED = "1.3.6.1.4.1.28507.66.1.6.1.1"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRoom]:
    """A room at pace 1; tests switch their faults off again."""
    with running_room(tmp_path_factory.mktemp("room")) as running:
        yield running


@pytest.fixture(scope="module")
def racing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRoom]:
    """A room in which a quarter of an hour passes in a millisecond."""
    with running_room(tmp_path_factory.mktemp("racing"), pace=1_000_000) as running:
        yield running


def run(program: str, address: str, *oids: str, how: list[str], options: str = "") -> tuple[list[str], str]:
    """Run a net-snmp program; return the printed lines (plain numbers and numeric OIDs) and its error output."""
    command = [program, *how, "-r0", "-t0.5", "-On", "-OQ", "-Oe", "-Ot", *options.split(), address, *oids]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    errors = re.sub(r"^Created directory: .*\n", "", done.stderr, flags=re.MULTILINE)  # its first run on a machine
    return done.stdout.splitlines(), errors


def ask(program: str, room: RunningRoom, device: str, *oids: str, how: str = "v2c", options: str = "") -> Answer:
    """Run a net-snmp program for a device of the room; return its values by OID, and its error output."""
    printed, complaint = run(program, room.addresses[device], *oids, how=VERSIONS[how], options=options)
    pairs = [line.removeprefix(".").split(" = ", 1) for line in printed if " = " in line]
    return {name: value.strip('"') for name, value in pairs}, complaint


def get(room: RunningRoom, device: str, oid: str, how: str = "v2c") -> str:
    answer, complaint = ask("snmpget", room, device, oid, how=how)
    assert not complaint
    return answer[oid]


@pytest.mark.parametrize("how", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_a_walk_finds_every_object_in_order(room: RunningRoom, name: str, how: str) -> None:
    walked, complaint = ask("snmpwalk", room, name, "1.3", how=how)
    assert not complaint
    objects = next(device.objects for device in DEVICES if device.name == name)
    assert list(walked) == [".".join(map(str, one.oid)) for one in objects]
    names_last_again = how != "v1"  # v2c and v3 repeat the last name, with an end mark
    assert names_last_again == ("No more variables" in walked[".".join(map(str, objects[-1].oid))])


@pytest.mark.parametrize("how", ["v2c", "v3"])
@pytest.mark.parametrize("name", NAMES)
def test_a_bulk_walk_finds_what_a_walk_finds(room: RunningRoom, name: str, how: str) -> None:
    walked, _ = ask("snmpwalk", room, name, "1.3", how=how)
    in_bulk, complaint = ask("snmpbulkwalk", room, name, "1.3", how=how)
    assert not complaint
    assert list(in_bulk) == list(walked)


@pytest.mark.parametrize("how", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_the_log_has_exactly_the_answered_values(room: RunningRoom, name: str, how: str) -> None:
    objects = next(device.objects for device in DEVICES if device.name == name)
    oids = [".".join(map(str, one.oid)) for one in objects]
    before = len(room.given())
    printed, _ = run("snmpget", room.addresses[name], *oids, how=VERSIONS[how])
    (line,) = room.given()[before:]
    assert line["device"] == name
    logged = [f".{oid} = {_as_printed(value)}" for oid, value in line["values"].items()]
    assert printed == logged


def _as_printed(value: int | str) -> str:
    is_oid = isinstance(value, str) and value.startswith("1.3.")
    return str(value) if isinstance(value, int) else f".{value}" if is_oid else json.dumps(value)


def test_a_bulk_answer_fits_a_datagram_and_is_one_line_of_the_log(room: RunningRoom) -> None:
    before = len(room.given())
    printed, _ = run("snmpbulkget", room.addresses["ups"], "1.3", "1.3", how=VERSIONS["v2c"], options="-Cr500")
    (line,) = room.given()[before:]
    logged = [f".{oid} = {_as_printed(value)}" for oid, value in line["values"].items()]
    assert printed[::2] == printed[1::2] == logged
    assert len(printed) == 64


def test_non_repeaters_are_answered_once(room: RunningRoom) -> None:
    once, repeated = "1.3.6.1.2.1.1.4", "1.3.6.1.2.1.33.1.2.3"
    answer, _ = ask("snmpbulkget", room, "ups", once, repeated, options="-Cn1 -Cr2")
    assert list(answer) == ["1.3.6.1.2.1.1.5.0", "1.3.6.1.2.1.33.1.2.3.0", "1.3.6.1.2.1.33.1.2.4.0"]


def test_a_missing_object_is_an_exception_in_v2c_and_an_error_without_values_in_v1(room: RunningRoom) -> None:
    missing = "1.3.6.1.2.1.33.1.9.1.0"
    before = len(room.given())
    answer, _ = ask("snmpget", room, "ups", missing)
    assert "No Such Object" in answer[missing]
    printed, complaint = run("snmpget", room.addresses["ups"], CHARGE, missing, how=VERSIONS["v1"], options="-Cf")
    assert printed == []
    assert "noSuchName" in complaint
    assert f"Failed object: .{missing}" in complaint
    assert room.given()[before:] == [], "an answer without values was logged as one with values"


def test_a_wrong_community_or_login_gets_no_answer(room: RunningRoom) -> None:
    before = len(room.given())
    logins = ["-v2c -c wrong", "-v3 -u ops -l noAuthNoPriv", "-v3 -u ops -l authNoPriv -a SHA-256 -A authpass12"]
    logins += ["-v3 -u ops -l authPriv -a SHA-256 -A authpass13 -x AES -X privpass12"]
    for login in logins:
        printed, complaint = run("snmpget", room.addresses["ups"], CHARGE, how=login.split(), options="-t0.1")
        assert complaint
        assert printed == []
    assert room.given()[before:] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_dead_device_is_silent_the_others_answer_and_it_answers_again_later(room: RunningRoom, name: str) -> None:
    uptime = "1.3.6.1.2.1.1.3.0"
    room.switch(f"dead-{name}")
    answer, complaint = ask("snmpget", room, name, uptime, options="-t0.1")
    assert (answer, "Timeout" in complaint) == ({}, True)
    assert all(get(room, other, uptime) for other in NAMES if other != name)
    room.switch(f"dead-{name}", on=False)
    assert get(room, name, uptime)


def test_a_dead_device_does_not_even_answer_discovery(room: RunningRoom) -> None:
    room.switch("dead-ups")
    _, complaint = ask("snmpget", room, "ups", CHARGE, how="v3", options="-t0.1")
    room.switch("dead-ups", on=False)
    assert "Timeout" in complaint


def test_rubbish_does_no_harm(room: RunningRoom) -> None:
    host, port = room.addresses["ups"].split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for rubbish in (b"", b"x", b"\x30\x82", b"\x30\x05\x02\x01\x01\x04\x00", b"\x30\x03\x02\x01\x09", bytes(9000)):
            peer.sendto(rubbish, (host, int(port)))
    assert get(room, "ups", CHARGE) == "100"


def test_heat_shows_at_both_sensors_and_is_logged(racing: RunningRoom) -> None:
    racing.switch("heat")
    get(racing, "sensor-1", f"{SENSED}.2.1")  # from now on the compressor is off
    assert int(get(racing, "sensor-1", f"{SENSED}.2.1")) > 235
    assert int(get(racing, "sensor-2", f"{SENSED}.2.1")) > 235
    assert get(racing, "pac", "1.3.6.1.4.1.318.1.1.13.1.3.1.0") == "5"
    racing.switch("heat", on=False)
    assert get(racing, "pac", "1.3.6.1.4.1.318.1.1.13.1.3.1.0") == "1"
    assert [(line["fault"], line["on"]) for line in racing.switched()] == [("heat", True), ("heat", False)]


def test_a_power_cut_shows_in_the_next_answer(racing: RunningRoom) -> None:
    racing.switch("power-cut")
    assert get(racing, "ups", INPUT_1) == "0"
    assert int(get(racing, "ups", CHARGE)) < 100
    racing.switch("power-cut", on=False)
    assert int(get(racing, "ups", INPUT_1)) > 220


def test_a_port_in_use_is_named_and_no_process_is_left(room: RunningRoom, tmp_path: Path) -> None:
    taken = int(room.addresses["sensor-2"].split(":")[1])
    with (
        pytest.raises(WatchkeeperError, match=rf"127\.0\.0\.1:{taken}: Address already in use; .*--port-base"),
        running_room(tmp_path, port_base=taken),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_room_and_frees_its_ports(tmp_path: Path, number: signal.Signals) -> None:
    with running_room(tmp_path) as running:
        os.kill(running.pid, number)
        deadline = time.monotonic() + 20
        while not free(running.addresses["ups"]):
            assert time.monotonic() < deadline, f"the room goes on after {number.name}"
            time.sleep(0.01)


def free(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as next_user:
        try:
            next_user.bind((host, int(port)))
        except OSError:
            return False
    return True


def test_a_second_signal_while_the_room_closes_is_no_failure(tmp_path: Path) -> None:
    with running_room(tmp_path) as running:
        while psutil.Process(running.pid).status() != psutil.STATUS_ZOMBIE:
            os.kill(running.pid, signal.SIGTERM)
            time.sleep(0.001)


def test_a_room_that_is_killed_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match="the simulated room failed"), running_room(tmp_path) as running:
        os.kill(running.pid, signal.SIGKILL)
