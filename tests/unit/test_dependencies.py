"""`depends_on`: every mistake has its place, and the answers are those of a naive search of the graph."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_site_load import CONTACTS, LADDERS, problems
from watchkeeper.agent.push.bundle import decode_bundle
from watchkeeper.collector.site.dependencies import Dependencies
from watchkeeper.collector.site.inventory import Agent, Configuration, Inventory, Unmonitored
from watchkeeper.collector.site.load import parse_configuration
from watchkeeper.collector.site.snapshot import Snapshot, bundle_to_json, make_snapshot
from watchkeeper.model.device import Category, Device

ROOM = """\
site: {name: Room, timezone: Asia/Shanghai}
agents:
  - {agent: room-1, depends_on: switch-1}
  - {agent: room-2, depends_on: [switch-1]}
unmonitored:
  - {name: feed-a, location: 配电间}
  - {name: rack-1, depends_on: [pdu-1, pdu-2]}
devices:
  - {device: ups-1, agent: room-1, category: ups, probe: icmp, address: a, owner: ann, depends_on: feed-a}
  - {device: pdu-1, agent: room-1, category: pdu, probe: icmp, address: b, owner: ann, depends_on: ups-1}
  - {device: pdu-2, agent: room-2, category: pdu, probe: icmp, address: c, owner: ann, depends_on: ups-1}
  - {device: switch-1, agent: room-2, category: network, probe: icmp, address: d, owner: ann, depends_on: ups-1}
  - {device: server-1, agent: room-1, category: server, probe: icmp, address: e, owner: ann, depends_on: [rack-1, switch-1]}
  - {device: bmc-1, agent: room-1, category: bmc, probe: icmp, address: f, owner: ann, depends_on: [rack-1]}
"""


def room(text: str = ROOM) -> Snapshot:
    return make_snapshot(parse_configuration(text, CONTACTS, LADDERS))


def changed_room(old: str, new: str) -> str:
    assert ROOM.count(old) == 1, old
    return ROOM.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("depends_on: feed-a", "depends_on: feed", ["9:100: there is no device or unmonitored thing `feed`; did you mean `feed-a`?"]),
        ("depends_on: feed-a", "depends_on: xyz", ["9:100: there is no device or unmonitored thing `xyz`; known: ups-1, pdu-1, pdu-2, switch-1, server-1, bmc-1, feed-a, rack-1"]),
        ("[pdu-1, pdu-2]", "[pdu-1, pdu-3]", ["7:32: there is no device or unmonitored thing `pdu-3`; did you mean `pdu-2`?"]),
        ("depends_on: [switch-1]", "depends_on: [swich-1]", ["4:33: there is no device or unmonitored thing `swich-1`; did you mean `switch-1`?"]),
        ("[rack-1, switch-1]", "[rack-1, room-1]", ["13:106: `room-1` is an agent; name devices and unmonitored things (a device depends on its agent anyway)"]),
        ("depends_on: feed-a", "depends_on: ups-1", ["9:100: `ups-1` depends on itself; remove the name"]),
        ("name: feed-a,", "name: feed-a, depends_on: feed-a,", ["6:32: `feed-a` depends on itself; remove the name"]),
        ("[rack-1, switch-1]", "[rack-1, switch-1, rack-1]", ["13:106: `rack-1` is named twice; remove one"]),
        ("depends_on: feed-a", "depends_on: [feed-a, server-1]", ["7:32: `rack-1` depends on itself: rack-1 -> pdu-1 -> ups-1 -> server-1 -> rack-1; remove one of these"]),
        ("name: feed-a,", "name: feed-a, depends_on: [bmc-1],", ["6:32: `feed-a` depends on itself: feed-a -> bmc-1 -> rack-1 -> pdu-1 -> ups-1 -> feed-a; remove one of these"]),
        ("name: feed-a", "name: feed/a", ["6:12: `feed/a` is not a valid name; use letters, digits, `.`, `-` and `_`, at most 200", "9:100: there is no device or unmonitored thing `feed-a`; did you mean `feed/a`?"]),
        ("{name: feed-a, ", "{name: feed-a}\n  - {name: feed-a, ", ["7:12: the unmonitored thing `feed-a` is defined twice; the first is on line 6"]),
        ("{name: feed-a, ", "{name: room-1}\n  - {name: feed-a, ", ["6:12: the name `room-1` is already taken; give the unmonitored thing another name"]),
        ("{name: feed-a, ", "{name: collector}\n  - {name: feed-a, ", ["6:12: the name `collector` is already taken; give the unmonitored thing another name"]),
        ("{name: feed-a, ", "{name: server-1}\n  - {name: feed-a, ", ["6:12: the name `server-1` is already taken; give the unmonitored thing another name"]),
        ("{name: feed-a, location", "{location", ["6:5: an unmonitored thing needs `name`"]),
        ("depends_on: feed-a", "depends_on: {a: b}", ["9:100: expected a list, found keys and values"]),
        ("depends_on: feed-a", "depends_on: ''", ["9:100: there is no device or unmonitored thing ``; known: ups-1, pdu-1, pdu-2, switch-1, server-1, bmc-1, feed-a, rack-1"]),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place(old: str, new: str, expected: list[str]) -> None:
    assert problems(inventory=changed_room(old, new)) == [f"inventory.yml:{one}" for one in expected]


def test_each_cycle_is_told_once_and_does_not_hide_another() -> None:
    text = ROOM.replace("depends_on: feed-a", "depends_on: pdu-1").replace(
        "{name: feed-a,", "{name: feed-b, depends_on: feed-a}\n  - {name: feed-a, depends_on: feed-b,"
    )
    found = problems(inventory=text)
    assert [one.partition(": ")[2] for one in found] == [
        "`feed-b` depends on itself: feed-b -> feed-a -> feed-b; remove one of these",
        "`ups-1` depends on itself: ups-1 -> pdu-1 -> ups-1; remove one of these",
    ]


def test_the_room_from_the_feed_to_the_server() -> None:
    found = room().dependencies
    assert found.parents("server-1") == ("rack-1", "switch-1")
    assert found.ancestors("server-1") == ("rack-1", "switch-1", "pdu-1", "pdu-2", "ups-1", "feed-a")
    assert found.dependants("ups-1") == (
        "pdu-1",
        "pdu-2",
        "switch-1",
        "rack-1",
        "room-1",
        "room-2",
        "server-1",
        "bmc-1",
    )
    assert found.dependants("switch-1") == ("room-1", "room-2", "server-1"), "not what its dependent agents read"
    assert found.dependants("server-1") == ()
    assert found.ancestors("room-1") == ("switch-1", "ups-1", "feed-a")
    assert found.agent_of("server-1") == "room-1"
    assert [found.agent_of(name) for name in ("room-1", "rack-1", "nobody")] == ["", "", ""]
    assert (found.parents("nobody"), found.ancestors("nobody"), found.dependants("nobody")) == ((), (), ())


def test_unmonitored_things_are_looked_through_to_the_nearest_devices() -> None:
    found = room().dependencies
    assert found.monitored_parents("server-1") == ("switch-1", "pdu-1", "pdu-2")
    assert found.monitored_parents("pdu-1") == ("ups-1",)
    assert found.monitored_parents("ups-1") == ()


def test_an_answer_is_computed_once() -> None:
    found = room().dependencies
    assert found.ancestors("server-1") is found.ancestors("server-1")
    assert found.dependants("ups-1") is found.dependants("ups-1")


def test_a_silent_agent_is_shown_with_what_it_depends_on() -> None:
    agent = room().device("room-1")
    assert agent
    assert agent.depends_on == ("switch-1",)


def test_a_bundle_has_the_nearest_devices_that_its_agent_reads() -> None:
    bundle = room().bundles["room-1"]
    assert {device.device: device.depends_on for device in bundle.devices} == {
        "ups-1": (),
        "pdu-1": ("ups-1",),
        "server-1": ("pdu-1",),
        "bmc-1": ("pdu-1",),
    }
    sent = json.loads(json.dumps(bundle_to_json(bundle)))
    assert decode_bundle(sent, "room-1") == bundle


def test_an_older_collector_sends_no_dependencies() -> None:
    sent = json.loads(json.dumps(bundle_to_json(room().bundles["room-1"])))
    for device in sent["devices"]:
        del device["depends_on"]
    assert {device.depends_on for device in decode_bundle(sent, "room-1").devices} == {()}


# ---- properties ----


NAMES = [f"n{number}" for number in range(9)]
GRAPHS = st.permutations(NAMES).flatmap(
    lambda order: st.tuples(
        *(st.lists(st.sampled_from(order[:place] or ["none"]), unique=True) for place in range(len(order)))
    ).map(lambda parents: {name: tuple(one) if place else () for place, (name, one) in enumerate(zip(order, parents, strict=True))})
)  # fmt: skip
"""Each name with names that are earlier in some order: a graph without cycles."""
SORTS = st.lists(st.sampled_from(["device", "agent", "unmonitored"]), min_size=len(NAMES), max_size=len(NAMES))


def dependencies(graph: dict[str, tuple[str, ...]], sorts: dict[str, str]) -> Dependencies:
    agents, devices, things = [Agent("reader")], [], []
    for name, parents in graph.items():
        if sorts[name] == "device":
            devices.append(Device(name, "reader", Category.SERVER, "icmp", depends_on=parents))
        elif sorts[name] == "agent":
            agents.append(Agent(name, depends_on=parents))
        else:
            things.append(Unmonitored(name, parents))
    room = parse_configuration(ROOM, CONTACTS, LADDERS)
    inventory = Inventory(room.inventory.site, tuple(agents), tuple(devices), tuple(things))
    return Dependencies.of(Configuration(inventory, room.contacts, room.ladders))


def distances(graph: dict[str, tuple[str, ...]], name: str) -> dict[str, int]:
    """How many steps each ancestor is away, by the definition."""
    found: dict[str, int] = {}
    step, front = 1, set(graph[name])
    while front:
        found.update({one: step for one in front if one not in found})
        step, front = step + 1, {parent for one in front for parent in graph[one]}
    return found


@given(GRAPHS, SORTS)
def test_the_answers_are_those_of_a_naive_search(graph: dict[str, tuple[str, ...]], sorts: list[str]) -> None:
    of_name = dict(zip(NAMES, sorts, strict=True))
    found = dependencies(graph, of_name)
    for name in NAMES:
        away = distances(graph, name)
        ancestors = found.ancestors(name)
        assert found.parents(name) == graph[name] == ancestors[: len(graph[name])]
        assert sorted(ancestors) == sorted(away), "each once"
        assert [away[one] for one in ancestors] == sorted(away.values()), "the nearest first"
        behind = {other: distances(graph, other)[name] for other in NAMES if name in distances(graph, other)}
        assert sorted(found.dependants(name)) == sorted(behind)
        assert [behind[one] for one in found.dependants(name)] == sorted(behind.values())
        assert found.agent_of(name) == ("reader" if of_name[name] == "device" else "")


@given(GRAPHS, SORTS)
def test_the_nearest_devices_have_only_unmonitored_things_before_them(
    graph: dict[str, tuple[str, ...]], sorts: list[str]
) -> None:
    of_name = dict(zip(NAMES, sorts, strict=True))
    found = dependencies(graph, of_name)

    def nearest(name: str) -> set[str]:
        return {one for parent in graph[name] for one in ({parent} if of_name[parent] == "device" else nearest(parent))}

    for name in NAMES:
        assert set(found.monitored_parents(name)) == nearest(name)
        assert len(set(found.monitored_parents(name))) == len(found.monitored_parents(name))


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True, max_size=4), min_size=1))
def test_a_graph_is_refused_if_and_only_if_it_has_a_cycle(graph: dict[str, list[str]]) -> None:
    whole = {name: tuple(graph.get(name, ())) for name in NAMES}
    text = "site: {name: R, timezone: UTC}\nagents: []\ndevices: []\nunmonitored:\n" + "".join(
        f"  - {{name: {name}, depends_on: [{', '.join(parents)}]}}\n" for name, parents in whole.items()
    )
    cyclic = {name for name in NAMES if name in distances_in_any(whole, name)}
    found = problems(inventory=text)
    assert bool(found) is bool(cyclic)
    for one in found:
        chain = one.rpartition(": ")[2].partition(";")[0].split(" -> ")
        if len(chain) > 1:
            assert chain[0] == chain[-1]
            assert all(parent in whole[child] for child, parent in itertools.pairwise(chain))
            assert min(chain) == chain[0], "begins with the first in the file"


def distances_in_any(graph: dict[str, tuple[str, ...]], name: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += graph[one]
    return found
