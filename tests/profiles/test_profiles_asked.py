"""Whether a profile asks for a series, and whether a named profile fits."""

import pytest

from watchkeeper.model.batch import Document
from watchkeeper.model.reading import Series
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.asked import asks_for, misfit, still_asked
from watchkeeper.profiles.condition import Speaks

OWN = """
profile: box
vendor: Acme
category: env
verified: []
match: [{sys_object_id: [1.3.6.1.4.1.99999]}]
readings:
  - {quantity: temperature.ambient, each: {label: "{1.3.6.1.4.1.99999.1.1.2}"}, oid: 1.3.6.1.4.1.99999.1.1.3, raw_unit: 1 °C, source: "A::b"}
  - {quantity: humidity.relative, oid: 1.3.6.1.4.1.99999.2.0, raw_unit: 1 %, source: "A::c"}
  - {quantity: leak, instance: "2", oid: 1.3.6.1.4.1.99999.3.0, states: {1: dry, 2: wet}, source: "A::d"}
quirks:
  - when: {oid: 1.3.6.1.4.1.99999.9.0, is: [old]}
    because: it is old
    readings:
      - {quantity: smoke, oid: 1.3.6.1.4.1.99999.4.0, states: {1: clear, 2: smoke}, source: "A::e"}
"""
PROFILES = load_profiles([Document("box.yml", OWN)])
BOX = PROFILES.get("box")
assert BOX


@pytest.mark.parametrize(
    ("quantity", "instance", "source", "asked"),
    [
        ("temperature.ambient", "7", "1.3.6.1.4.1.99999.1.1.3.7", True),
        ("temperature.ambient", "Rack 7", "1.3.6.1.4.1.99999.1.1.3.7", True),
        ("temperature.ambient", "7", "1.3.6.1.4.1.99999.1.1.33.7", False),
        ("temperature.ambient", "7", "1.3.6.1.4.1.99999.1.1.2.7", False),
        ("temperature.supply", "7", "1.3.6.1.4.1.99999.1.1.3.7", False),
        ("humidity.relative", "", "1.3.6.1.4.1.99999.5.0", True),
        ("humidity.relative", "1", "1.3.6.1.4.1.99999.2.0", False),
        ("leak", "2", "1.3.6.1.4.1.99999.3.0", True),
        ("leak", "", "1.3.6.1.4.1.99999.3.0", False),
        ("smoke", "", "1.3.6.1.4.1.99999.4.0", True),
        ("door", "", "1.3.6.1.4.1.99999.4.0", False),
        ("uptime", "", "1.3.6.1.2.1.1.3.0", True),
    ],
)
def test_a_profile_asks_for_its_own_readings(quantity: str, instance: str, source: str, asked: bool) -> None:
    assert BOX
    assert asks_for(BOX, Series("box", quantity, instance, "", source)) is asked


def test_a_profile_asks_for_what_it_takes_from_the_profile_that_it_extends() -> None:
    text = """
profile: own
vendor: Acme
category: env
verified: []
extends: [box]
match: [{sys_object_id: [1.3.6.1.4.1.99999.7]}]
readings:
  - {quantity: humidity.relative, instance: door, oid: 1.3.6.1.4.1.99999.8.0, raw_unit: 1 %, source: "A::f"}
"""
    own = load_profiles([Document("box.yml", OWN), Document("own.yml", text)]).get("own")
    assert own
    assert asks_for(own, Series("box", "humidity.relative", "door", "", "1.3.6.1.4.1.99999.8.0"))
    assert asks_for(own, Series("box", "humidity.relative", "", "", "1.3.6.1.4.1.99999.2.0"))  # hidden
    assert asks_for(own, Series("box", "leak", "2", "", "1.3.6.1.4.1.99999.3.0"))


@pytest.mark.parametrize(
    ("name", "speaks", "why"),
    [
        ("auto", Speaks.SNMP, ""),
        ("auto", Speaks.NUT, ""),
        ("auto", Speaks.MODBUS, "a Modbus device cannot be recognised; name a profile that speaks modbus"),
        ("box", Speaks.SNMP, ""),
        ("box", Speaks.MODBUS, "the profile `box` reads by snmp, not by modbus; name a profile that speaks modbus"),
        ("nut", Speaks.NUT, ""),
        ("boxx", Speaks.SNMP, "there is no profile `boxx`; did you mean `box`?"),
        ("boxx", Speaks.NUT, "there is no profile `boxx`; name a profile that speaks nut"),
    ],
)
def test_a_named_profile_fits_or_not(name: str, speaks: Speaks, why: str) -> None:
    assert misfit(PROFILES, name, speaks) == why


def test_what_was_read_in_place_of_another_reading_is_not_asked_for_when_that_is_back() -> None:
    """A management card that lost its UPS: for a while the standard MIB gives the voltage, under other names."""
    maker, standard = PROFILES.get("eaton-xups"), PROFILES.get("ups-mib")
    assert maker
    assert standard
    own = Series("ups", "output.voltage", "1", "", "1.3.6.1.4.1.534.1.4.4.1.2.1")
    instead = Series("ups", "output.voltage", "line 1", "", "1.3.6.1.2.1.33.1.4.4.1.2.1")
    charge = Series("ups", "battery.charge", "", "", "1.3.6.1.2.1.33.1.2.4.0")
    both = (maker, standard)
    assert still_asked(both, instead, [instead, charge])
    assert not still_asked(both, instead, [own, charge])
    assert still_asked(both, own, [instead])
    assert still_asked(both, own, [own])
    assert not still_asked((standard,), own, [])
    assert still_asked((standard,), Series("ups", "uptime"), [])
