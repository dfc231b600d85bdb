"""Keeps docs/profiles.md and docs/devices.md true: they contain every key and reason, and the examples load. The list of
devices, docs/known-devices.md, is rewritten by `python -m tests.profiles.test_profiles_documented`."""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from watchkeeper.agent.probes.host.mounts import PSEUDO
from watchkeeper.model.batch import Document
from watchkeeper.model.reading import Reason
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.cell import Operand
from watchkeeper.profiles.condition import AbsentIf, Scale, UnitFrom, Where
from watchkeeper.profiles.shape import Each, Match, Profile, ProfileReading, Quirk

DOCS = Path(__file__).resolve().parents[2] / "docs"
LIST = DOCS / "known-devices.md"
LANGUAGE = (DOCS / "profiles.md").read_text(encoding="utf-8")
DEVICES = (DOCS / "devices.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", LANGUAGE, re.DOTALL)
MARK, END = "<!-- profiles -->\n", "<!-- end -->\n"


def grouped(quantities: Iterable[str]) -> str:
    """`battery.charge`, `battery.state` and `door` as "battery: charge, state; door"."""
    groups: dict[str, list[str]] = {}
    for name in sorted(quantities):
        first, _, rest = name.partition(".")
        groups.setdefault(first, []).extend([rest] if rest else [])
    return "; ".join(f"{first}: {', '.join(rest)}" if rest else first for first, rest in groups.items())


def listed(profiles: Iterable[Profile]) -> Iterator[str]:
    yield "| vendor | category | profile | seen right on | reads |"
    yield "|---|---|---|---|---|"
    for profile in sorted(profiles, key=lambda one: (one.vendor.lower(), one.category, one.profile)):
        seen = ", ".join(f"{one.model} {one.firmware}".strip() for one in profile.verified) or "none (from the MIB)"
        reads = grouped({reading.quantity for reading in profile.readings})
        yield f"| {profile.vendor} | {profile.category} | `{profile.profile}` | {seen.replace('|', '/')} | {reads} |"


@pytest.mark.parametrize(
    "shape", [Profile, Match, ProfileReading, Operand, Each, Where, AbsentIf, Scale, UnitFrom, Quirk]
)
def test_every_key_of_a_profile_is_documented(shape: type) -> None:
    for field in [one for one in dataclasses.fields(shape) if not one.metadata.get("derived")]:
        key = field.name.removesuffix("_")
        assert re.search(rf"\b{key}\b", LANGUAGE), f"`{key}` of {shape.__name__}"


def test_the_example_is_a_profile() -> None:
    (example,) = (text for text in EXAMPLES if text.startswith("profile:"))
    box = load_profiles([Document("acme-box.yml", example)]).get("acme-box")
    assert box is not None
    assert [reading.quantity for reading in box.readings] == [
        "temperature.ambient",
        "battery.state",
        "humidity.relative",
    ]


def test_every_reason_a_device_can_have_is_explained() -> None:
    for reason in set(Reason) - {Reason.FAULT}:
        assert f"`{reason}`" in DEVICES


def test_the_pseudo_file_systems_named_are_the_ones_skipped() -> None:
    assert {"tmpfs", "proc", "overlay", "squashfs", "iso9660"} <= PSEUDO


def rewrite() -> None:
    head, mark, rest = LIST.read_text(encoding="utf-8").partition(MARK)
    table = "\n".join(listed(load_profiles())) + "\n"
    LIST.write_text(head + mark + table + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    rewrite()
