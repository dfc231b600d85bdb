"""Who may hold a connection: strangers have few places, and those who are known keep theirs."""

from dataclasses import dataclass, field

import pytest

from watchkeeper.collector.web.edge.places import ConnectionPlaces, PlaceLimits, site_of


@dataclass(eq=False)
class One:
    """A connection that remembers that it was shut."""

    ended: list["One"] = field(default_factory=list)

    def shut(self) -> None:
        self.ended.append(self)


def entered(places: ConnectionPlaces, host: str, count: int) -> list[One]:
    made = [One() for _ in range(count)]
    for one in made:
        places.enter(one, host)
    return made


def test_of_one_address_the_oldest_stranger_is_shut() -> None:
    places = ConnectionPlaces(PlaceLimits(100, 50, 3))
    flood, other = entered(places, "192.0.2.1", 5), entered(places, "192.0.2.2", 1)
    assert [bool(one.ended) for one in (*flood, *other)] == [True, True, False, False, False, False]
    assert (places.count, places.strangers, places.shut) == (4, 4, 2)


def test_a_flood_of_many_addresses_takes_no_place_of_those_that_are_known() -> None:
    places = ConnectionPlaces(PlaceLimits(100, 10, 5))
    agent = entered(places, "192.0.2.1", 1)[0]
    assert places.recognise(agent, "agent:room-1")
    again = entered(places, "192.0.2.1", 2)
    flood = [one for last in range(50) for one in entered(places, f"198.51.100.{last}", 1)]
    assert not any(one.ended for one in (agent, *again))
    assert sum(not one.ended for one in flood) == 10


def test_the_connections_of_one_name_that_are_safe_are_limited() -> None:
    places = ConnectionPlaces(PlaceLimits(100, 50, 50, name=2))
    mine = entered(places, "192.0.2.1", 3)
    assert [places.recognise(one, "agent:room-1") for one in mine] == [True, True, False]
    places.leave(mine[0])
    assert places.recognise(mine[2], "agent:room-1")
    assert places.recognise(mine[2], "person:li.na"), "it has a place already"
    for one in mine:
        places.leave(one)
        places.leave(one)
    assert (places.count, places.strangers) == (0, 0)
    assert not places.recognise(mine[0], "agent:room-1")


def test_all_connections_together_have_a_limit() -> None:
    places = ConnectionPlaces(PlaceLimits(4, 4, 4))
    known = entered(places, "192.0.2.1", 3)
    for number, one in enumerate(known):
        places.recognise(one, f"agent:room-{number}")
    strangers = entered(places, "198.51.100.1", 3)
    assert [bool(one.ended) for one in (*known, *strangers)] == [False, False, False, True, True, False]


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("", ""), ("a name", "a name"),
    ],
)  # fmt: skip
def test_what_counts_as_one_address(host: str, site: str) -> None:
    assert site_of(host) == site
