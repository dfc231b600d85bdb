"""docs/devices.md is kept true: every shipped profile, quantity and key stands in it, and its example loads."""

import dataclasses
import re
from pathlib import Path

import pytest

from agent.probes.host_mounts import PSEUDO
from agent.profiles import load_profiles
from agent.profiles.shape import Each, Match, Profile, Wanted
from model.batch import Document
from model.reading import Reason

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_every_shipped_profile_and_what_it_reads_is_documented() -> None:
    for profile in load_profiles():
        (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{profile.profile}` |"))
        for wanted in profile.readings:
            assert f"`{wanted.quantity}`" in row, f"{profile.profile} reads {wanted.quantity}"


@pytest.mark.parametrize("shape", [Profile, Match, Wanted, Each])
def test_every_key_of_a_profile_is_documented(shape: type) -> None:
    for field in dataclasses.fields(shape):
        assert re.search(rf"\b{field.name}\b", TEXT), f"`{field.name}` of {shape.__name__}"


def test_the_example_is_a_profile() -> None:
    (example,) = (text for text in EXAMPLES if text.startswith("profile:"))
    box = load_profiles([Document("acme-box.yml", example)]).get("acme-box")
    assert box is not None
    assert [wanted.quantity for wanted in box.readings] == ["temperature.ambient", "battery.state", "humidity.relative"]


def test_every_reason_a_device_can_have_is_explained() -> None:
    for reason in set(Reason) - {Reason.FAULT}:
        assert f"`{reason}`" in TEXT


def test_the_pseudo_file_systems_named_are_the_ones_skipped() -> None:
    assert {"tmpfs", "proc", "overlay", "squashfs", "iso9660"} <= PSEUDO
