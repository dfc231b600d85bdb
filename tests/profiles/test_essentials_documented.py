"""The tables of essential readings in docs/known-devices.md are true, and each of their cells is explained."""

from dataclasses import replace

import pytest

from tests import essentials
from tests.essentials import Essentials, Lack
from watchkeeper.documents.bind import load
from watchkeeper.model.errors import ConfigError
from watchkeeper.profiles import Profile, load_profiles

FILES = essentials.load_essentials()


@pytest.fixture(scope="module")
def by_name() -> dict[str, Profile]:
    return {one.profile: one for one in load_profiles()}


@pytest.mark.parametrize("one", FILES, ids=[one.category for one in FILES])
def test_every_essential_is_read_or_its_mib_lacks_it(one: Essentials, by_name: dict[str, Profile]) -> None:
    assert not list(essentials.mistakes(one, by_name))


@pytest.mark.parametrize("one", FILES, ids=[one.category for one in FILES])
def test_every_name_in_the_file_is_a_profile(one: Essentials, by_name: dict[str, Profile]) -> None:
    known = {*by_name, *(base for profile in by_name.values() for base in profile.extends)}
    named = {*one.other, *(name for lack in one.lacks for name in lack.profiles)}
    assert named <= known
    assert all(by_name[name].category is one.category for name in one.other)


def test_the_page_has_the_tables() -> None:
    page = essentials.PAGE.read_text(encoding="utf-8")
    shown = page.partition(essentials.BEGIN)[2].partition(essentials.END)[0]
    assert shown == essentials.text(), "run `python -m tests.essentials`"


def small(by_name: dict[str, Profile], *lacks: Lack) -> Essentials:
    """Two essentials of UPSes, of which `ups-mib` reads one, judged for it and for a profile that extends it."""
    ups = {"charge": ("battery.charge",), "fuel": ("fuel.level", "generator.health")}
    rest = tuple(one.profile for one in by_name.values() if one.profile not in ("ups-mib", "ups-mib-aeg"))
    return Essentials(category=by_name["ups-mib"].category, essentials=ups, lacks=lacks, other=rest)


def test_an_empty_cell_is_found(by_name: dict[str, Profile]) -> None:
    told = list(essentials.mistakes(small(by_name), by_name))
    assert [one.partition(".")[0] for one in told] == ["ups-mib-aeg does not read: fuel", "ups-mib does not read: fuel"]


def test_what_a_base_lacks_its_children_lack(by_name: dict[str, Profile]) -> None:
    lack = Lack(profiles=("ups-mib",), mib="UPS-MIB", without=("fuel",))
    assert not list(essentials.mistakes(small(by_name, lack), by_name))
    row = "| AEG | `ups-mib-aeg` | read | not in UPS-MIB |"
    assert row in list(essentials.table(small(by_name, lack), by_name))


def test_what_is_read_cannot_be_lacking(by_name: dict[str, Profile]) -> None:
    lack = Lack(profiles=("ups-mib",), mib="UPS-MIB", without=("fuel", "charge"))
    told = list(essentials.mistakes(small(by_name, lack), by_name))
    assert told == ["ups-mib reads charge: delete it from `lacks` of docs/essentials/ups.yml"]


def test_a_child_may_read_what_its_base_lacks(by_name: dict[str, Profile]) -> None:
    lack = Lack(profiles=("ups-mib",), mib="UPS-MIB", without=("fuel",))
    fuel = replace(by_name["ups-mib"].readings[0], quantity="fuel.level")
    aeg = replace(by_name["ups-mib-aeg"], readings=(*by_name["ups-mib-aeg"].readings, fuel))
    assert not list(essentials.mistakes(small(by_name, lack), by_name | {"ups-mib-aeg": aeg}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("category: ups\nessentials: {charge: [battery.chrage]}", "`battery.chrage` is no quantity"),
        (
            "category: ups\nessentials: {charge: [battery.charge]}\nlacks: [{profiles: [x], mib: M, without: [fuel]}]",
            "`fuel` is not one of the essentials",
        ),
    ],
)
def test_a_wrong_name_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(text, "x.yml", Essentials)
