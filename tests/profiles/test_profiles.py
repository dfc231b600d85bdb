"""Profiles as documents: what they may contain, which mistakes are found and where, and which profile a device gets."""

import dataclasses
import textwrap
from collections.abc import Mapping

import pytest

from tests.profiles.test_profiles_documented import END, LIST, MARK, listed
from watchkeeper import profiles as parser
from watchkeeper.model.batch import Document
from watchkeeper.model.errors import ConfigError
from watchkeeper.model.quantity import QUANTITIES, QuantityType
from watchkeeper.profiles import END_OF_HEAD, Profile, is_base, load_profiles, shipped_profiles
from watchkeeper.profiles.recognise import choose, object_id
from watchkeeper.profiles.scalars import raw_unit
from watchkeeper.profiles.shape import Head

HEAD = (
    "profile: box\nvendor: V\ncategory: env\nverified: none\nmatch: [{sys_object_id: [1.3.6.1.4.1.99999]}]\nreadings:\n"
)
READING = "  - {quantity: battery.voltage, oid: 1.3.6.1.4.1.99999.1.0, raw_unit: 0.1 V, source: X-MIB::volts}\n"


def document(text: str, name: str = "box.yml") -> Document:
    return Document(name, textwrap.dedent(text))


def complaints(*documents: Document) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_profiles(documents)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture(scope="module")
def profiles() -> list[Profile]:
    return list(load_profiles())


def test_the_shipped_profiles_load_and_name_the_source_of_their_units(profiles: list[Profile]) -> None:
    assert {"ups-mib", "gude-esb7213", "apc-networkair-fm"} <= {profile.profile for profile in profiles}
    for profile in profiles:
        for reading in profile.readings:
            for way in reading.ways:
                rule = f"{profile.profile}: {reading.quantity}: source is MIB::object, or where it was recorded"
                assert "::" in way.source or "recorded" in way.source or "manual" in way.source, rule
                if QUANTITIES[reading.quantity].type is QuantityType.GAUGE and QUANTITIES[reading.quantity].unit.symbol:
                    assert way.plausible, f"{profile.profile}: {reading.quantity}: what is plausible?"


def test_a_profile_may_be_verified_by_nothing() -> None:
    profiles = load_profiles([document(HEAD + READING)])
    box = profiles.get("box")
    assert box is not None
    assert box.verified == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1 V", 23.3),
        ("1 mV", 0.233),
        ("1 min", 13980.0),
        ("0.1 °F", -4.833333333333334),
        ("1 K", -40.15),
        ("1", 233.0),
    ],
)
def test_a_raw_unit_gives_the_worth_of_one_step(text: str, value: float) -> None:
    unit = raw_unit(text)
    assert 233 * unit.multiply / unit.divide + unit.offset == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("text", ["10", "/10", "0 V", "V", "0.1 furlong", "-1 V"])
def test_a_bare_divisor_or_an_unknown_unit_is_refused(text: str) -> None:
    (complaint, *_) = complaints(document(HEAD + READING.replace("0.1 V", f'"{text}"')))
    assert complaint.startswith("box.yml:7:")


def test_every_mistake_is_found_with_line_and_column() -> None:
    text = HEAD + (
        "  - quantity: battery.voltage\n"
        "    oid: UPS-MIB::upsBatteryVoltage\n"
        "    raw_unit: 0.1 V\n"
        "    source: X\n"
        "  - quantity: battery.volts\n"
        "    oid: 1.3.6.1\n"
        "    raw_unit: 1 V\n"
        "    source: X\n"
        "  - quantity: battery.state\n"
        "    oid: 1.3.6.1\n"
        "    states: {1: fine}\n"
        "    source: X\n"
        "  - quantity: temperature.ambient\n"
        "    oid: 1.3.6.1\n"
        "    raw_unit: 0.1 V\n"
        "    plausible: 0 .. 50 V\n"
        "    divisor: 10\n"
        "    source: X\n"
    )
    found = complaints(document(text))
    places = [":".join(complaint.split(":")[1:3]) for complaint in found]
    assert places == ["8:10", "11:15", "17:13", "23:5"]
    assert "numeric object identifier" in found[0]
    assert "`fine` is no state of battery.state" in found[2]
    assert "unknown key `divisor`" in found[3]


@pytest.mark.parametrize(
    ("reading", "problem"),
    [
        ("{quantity: battery.voltage, oid: 1.3.6.1, source: X}", "needs `raw_unit`"),
        ("{quantity: battery.voltage, oid: 1.3.6.1, raw_unit: 1 A, source: X}", "cannot become V"),
        ("{quantity: battery.voltage, oid: 1.3.6.1, raw_unit: 1 mV, plausible: 0 .. 9 mV, source: X}", "`0 .. 9 V`"),
        ("{quantity: battery.voltage, oid: 1.3.6.1, raw_unit: 1 V, plausible: 9 .. 0 V, source: X}", "not a range"),
        ("{quantity: battery.voltage, oid: 1.3.6.1, raw_unit: 1 V}", "needs `source`"),
        ("{quantity: battery.voltage, raw_unit: 1 V, source: X}", "needs `oid`"),
        ("{quantity: battery.voltage, oid: 1.3.6.1, raw_unit: 1 V, states: {1: ok}, source: X}", "has no states"),
        ("{quantity: battery.state, oid: 1.3.6.1, source: X}", "needs `states`"),
        ("{quantity: battery.state, oid: 1.3.6.1, raw_unit: 1, states: {1: ok}, source: X}", "is a state"),
        ("{quantity: device.answering, oid: 1.3.6.1, states: {1: 'yes'}, source: X}", "`unknown` is no state"),
        ("{quantity: battery.voltage, oid: 1.3.6.1, raw_unit: 1 V, label: '{index}', source: X}", "inside `each`"),
        (
            "{quantity: battery.voltage, each: {instance: x}, oid: 1.3.6, raw_unit: 1 V, source: X}",
            "differ from row to row",
        ),
        ("{quantity: battery.voltage, each: {}, label: x, oid: 1.3.6, raw_unit: 1 V, source: X}", "inside `each`"),
        (
            "{quantity: battery.voltage, oid: 1.3.6.1, any_of: [{oid: 1.3, raw_unit: 1 V, source: X}]}",
            "beside `any_of`",
        ),
        ("{quantity: battery.voltage, any_of: [{oid: 1.3, raw_unit: 1 A, source: X}]}", "cannot become V"),
    ],
)
def test_a_reading_that_contradicts_itself_is_refused(reading: str, problem: str) -> None:
    found = complaints(document(f"{HEAD}  - {reading}\n"))
    assert len(found) == 1
    assert problem in found[0]
    assert found[0].startswith("box.yml:7:")


def test_one_quantity_read_twice_needs_two_instances() -> None:
    assert "is there twice" in complaints(document(HEAD + READING + READING))[0]
    distinct = READING + READING.replace("oid:", "instance: upper, oid:")
    assert len(load_profiles([document(HEAD + distinct)]).get("box").readings) == 2  # type: ignore[union-attr]


def test_extends_adds_the_quantities_that_the_profile_does_not_read_itself() -> None:
    base = document(
        HEAD + READING + "  - {quantity: battery.charge, oid: 1.3.6.1.2, raw_unit: 1 %, source: X-MIB::charge}\n"
    )
    child = document(
        """\
        profile: child
        extends: box
        vendor: W
        category: ups
        verified: []
        readings:
          - {quantity: battery.charge, oid: 1.3.6.1.9, raw_unit: 1 %, source: "X-MIB::better"}
        """,
        "child.yml",
    )
    readings = {reading.quantity: reading.oid for reading in load_profiles([child, base]).get("child").readings}  # type: ignore[union-attr]
    assert readings == {"battery.charge": "1.3.6.1.9", "battery.voltage": "1.3.6.1.4.1.99999.1.0"}


def test_extending_an_unknown_profile_or_itself_is_refused() -> None:
    unknown = document("profile: a\nvendor: V\ncategory: ups\nverified: none\nextends: nobody\n", "a.yml")
    assert complaints(unknown) == ["a.yml:5:10: there is no profile `nobody`"]
    circle = [
        document(f"profile: {one}\nvendor: V\ncategory: ups\nverified: none\nextends: {other}\n", f"{one}.yml")
        for one, other in (("a", "b"), ("b", "a"))
    ]
    assert any("extends itself" in complaint for complaint in complaints(*circle))


def test_an_operators_profile_replaces_a_shipped_one_but_not_another_one_of_the_operator() -> None:
    own = document(HEAD.replace("box", "ups-mib") + READING)
    assert len(load_profiles([own]).get("ups-mib").readings) == 1  # type: ignore[union-attr]
    assert "is also in box.yml" in complaints(own, Document("twice.yml", own.text))[0]


NOTHING: Mapping[str, str] = {}
ASKED = r"[{sys_object_id: [1.3.6.1.4.1.99999], answers: 1.3.6.1.4.1.99999.1.0, says: '^2\.'}]"


def box(name: str, match: str) -> Document:
    return document(HEAD.replace("box", name).replace("[{sys_object_id: [1.3.6.1.4.1.99999]}]", match) + READING, name)


def test_the_profile_with_the_best_match_is_picked() -> None:
    profiles = load_profiles(
        [
            box("maker", "[{sys_object_id: [1.3.6.1.4.1.99999]}]"),
            box("model", "[{sys_object_id: [1.3.6.1.4.1.99999.7]}]"),
            box("firmware", "[{sys_object_id: [1.3.6.1.4.1.99999.7], sys_descr: 'v2\\.'}]"),
            box("asked", ASKED),
            box("generic", "[{sys_descr: '^Acme'}, {answers: 1.3.6.1.4.1.99999.5.0}]"),
        ]
    )

    def picked(sys_object_id: str, sys_descr: str, answers: Mapping[str, str] = NOTHING) -> str | None:
        best, _ = choose(profiles.candidates(profiles.system(sys_object_id, sys_descr), answers, ()))
        return best.profile if best else None

    assert picked("1.3.6.1.4.1.99999.8", "") == "maker"
    assert picked(".1.3.6.1.4.1.99999.7.1", "") == "model"
    assert picked("1.3.6.1.4.1.99999.7", "Box v2.1") == "firmware"
    assert picked("1.3.6.1.4.1.999991", "") is None
    assert picked("1.3.6.1.4.1.8072.3.2.10", "Acme box") == "generic"
    ups, own, firmware = "1.3.6.1.2.1.33.1.2.1.0", "1.3.6.1.4.1.99999.5.0", "1.3.6.1.4.1.99999.1.0"
    assert picked("", "", {own: "1"}) == "generic"
    assert picked("1.3.6.1.4.1.99999", "", {ups: "2"}) == "maker"
    assert picked("1.3.6.1.4.1.8072.3.2.10", "", {ups: "2"}) == "ups-mib"
    assert picked("1.3.6.1.4.1.8072.3.2.10", "", {ups: "2", own: "1"}) == "generic"
    assert picked("1.3.6.1.4.1.99999.8", "", {firmware: "3.1"}) == "maker"
    assert picked("1.3.6.1.4.1.99999.8", "", {firmware: "2.1"}) == "asked"


def test_a_device_is_asked_only_what_can_make_a_match_fit() -> None:
    profiles = load_profiles([box("asked", ASKED)])
    assert "1.3.6.1.4.1.99999.1.0" in profiles.questions(profiles.system("1.3.6.1.4.1.99999.8", ""))
    assert "1.3.6.1.4.1.99999.1.0" not in profiles.questions(profiles.system("1.3.6.1.4.1.318.1", ""))
    for proves_nothing in ("1.3.6.1.4.1.8072.3.2.10", "1.3.6.1.4.1.77777.1", "", "n/a", "1.3.6.1.4.1."):
        assert "1.3.6.1.4.1.99999.1.0" in profiles.questions(profiles.system(proves_nothing, ""))


@pytest.mark.parametrize(
    ("written", "dotted"),
    [
        (".1.3.6.1.4.1.318.1", "1.3.6.1.4.1.318.1"),
        ("iso.3.6.1.4.1.318.1", "1.3.6.1.4.1.318.1"),
        ("SNMPv2-SMI::enterprises.318.1", "1.3.6.1.4.1.318.1"),
        ("enterprises.318.1", "1.3.6.1.4.1.318.1"),
        ("1.3.6.1.4.1.318.", "1.3.6.1.4.1.318"),
        ("1.3.6..4", ""),
        ("n/a", ""),
        ("1.3.x", ""),
        ("", ""),
    ],
)
def test_a_sys_object_id_is_understood_however_it_is_written(written: str, dotted: str) -> None:
    assert object_id(written) == dotted


def test_every_shipped_profile_and_what_it_reads_is_documented(profiles: list[Profile]) -> None:
    """This test is not in test_profiles_documented.py because the profiles are parsed here: that takes three seconds."""
    table = LIST.read_text(encoding="utf-8").partition(MARK)[2].partition(END)[0]
    assert table.splitlines() == list(listed(profiles)), "run `python -m tests.profiles.test_profiles_documented`"


def test_the_shipped_documents_are_named_after_their_profiles() -> None:
    for document in shipped_profiles():
        head = parser.bind_profile(head_text(document), Head).value
        assert head
        assert document.name == f"{head.profile}.yml"


def test_every_shipped_base_is_extended_by_some_profile(profiles: list[Profile]) -> None:
    extended = {name for profile in profiles for name in profile.extends}
    bases = {document.name.removesuffix(".yml") for document in shipped_profiles() if is_base(document)}
    assert bases
    assert bases <= extended
    assert not bases & {profile.profile for profile in profiles}


def test_the_head_of_every_shipped_profile_is_before_its_readings() -> None:
    """Only the head is parsed until a device is recognised."""
    for document in shipped_profiles():
        whole = parser.bind_profile(document, Profile, "1.3.6.1" if is_base(document) else None).value
        assert whole
        assert parser.bind_profile(head_text(document), Head).value == head_of(whole)


def head_text(document: Document) -> Document:
    return Document(document.name, document.text.partition(END_OF_HEAD)[0])


def head_of(profile: Profile) -> Head:
    return Head(**{field.name: getattr(profile, field.name) for field in dataclasses.fields(Head)})
