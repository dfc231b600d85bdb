"""What depends on what, as `depends_on` in inventory.yml says: mains feed, UPS, PDU, rack, server; a switch and what is
behind it. Devices, agents and unmonitored things are names here; a name that the inventory does not have depends on
nothing.
"""

import graphlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from watchkeeper.collector.site.inventory import Agent, Configuration, Inventory, Unmonitored
from watchkeeper.model.device import Device

_Names = tuple[str, ...]
_Edges = Mapping[str, _Names]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The graph of `depends_on`, without cycles. Answers are computed once."""

    _parents: _Edges
    _children: _Edges
    _agents: Mapping[str, str]
    _ancestors: dict[str, _Names] = field(default_factory=dict, compare=False, repr=False)
    _dependants: dict[str, _Names] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, configuration: Configuration) -> "Dependencies":
        """The dependencies of a cross-checked configuration."""
        inventory = configuration.inventory
        parents = {_name(one): one.depends_on for one in all_dependants(inventory) if one.depends_on}
        children: dict[str, list[str]] = {}
        for name, wanted in parents.items():
            for parent in wanted:
                children.setdefault(parent, []).append(name)
        return cls(
            parents,
            {name: tuple(behind) for name, behind in children.items()},
            {device.device: device.agent for device in inventory.devices},
        )

    def parents(self, name: str) -> tuple[str, ...]:
        """What a device, agent or unmonitored thing depends on directly."""
        return self._parents.get(name, ())

    def ancestors(self, name: str) -> tuple[str, ...]:
        """All that it depends on, the nearest first. Its agent is not among them: a silent agent gives no verdicts, so it
        explains none."""
        return _reached(name, self._parents, self._ancestors)

    def dependants(self, name: str) -> tuple[str, ...]:
        """All that depends on it, the nearest first; an agent is among them, but not the devices that it reads."""
        return _reached(name, self._children, self._dependants)

    def agent_of(self, name: str) -> str:
        """The agent that reads a device; empty for everything else."""
        return self._agents.get(name, "")

    def monitored_parents(self, name: str) -> tuple[str, ...]:
        """The nearest devices that it depends on. Where a parent is unmonitored, its own parents take its place."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = list(self.parents(name))
        for parent in waiting:
            if parent in self._agents:
                found[parent] = None
            elif parent not in seen:
                seen.add(parent)
                waiting += self.parents(parent)
        return tuple(found)


def _reached(name: str, edges: _Edges, known: dict[str, _Names]) -> _Names:
    """Every name that the edges lead to, breadth first."""
    if name not in known:
        found = dict.fromkeys(edges.get(name, ()))
        waiting = list(found)
        for one in waiting:
            new = [other for other in edges.get(one, ()) if other not in found]
            found.update(dict.fromkeys(new))
            waiting += new
        known[name] = tuple(found)
    return known[name]


# ---- checks ----

Dependant = Device | Agent | Unmonitored
"""What may have `depends_on`."""


def all_dependants(inventory: Inventory) -> tuple[Dependant, ...]:
    """Every record of the inventory that may have `depends_on`."""
    return (*inventory.unmonitored, *inventory.agents, *inventory.devices)


def _name(record: Dependant) -> str:
    if isinstance(record, Device):
        return record.device
    return record.agent if isinstance(record, Agent) else record.name


def dependency_problems(inventory: Inventory) -> Iterator[tuple[Dependant, str]]:
    """Each record whose `depends_on` names an agent, itself or a name twice, or is part of a cycle; and what is wrong.
    Unknown names are not looked at."""
    agents = {agent.agent for agent in inventory.agents}
    records = {_name(record): record for record in all_dependants(inventory)}
    for record in all_dependants(inventory):
        for parent in dict.fromkeys(record.depends_on):
            if parent == _name(record):
                yield record, f"`{parent}` depends on itself; remove the name"
            elif parent in agents:
                yield (
                    record,
                    f"`{parent}` is an agent; name devices and unmonitored things (a device depends on its agent anyway)",
                )
            if record.depends_on.count(parent) > 1:
                yield record, f"`{parent}` is named twice; remove one"
    for cycle in _cycles({name: record.depends_on for name, record in records.items()}):
        chain = " -> ".join((*cycle, cycle[0]))
        yield records[cycle[0]], f"`{cycle[0]}` depends on itself: {chain}; remove one of these"


def _cycles(parents: _Edges) -> Iterator[_Names]:
    """Cycles that have no name in common, each begun with the name that `parents` has first."""
    left = {name: [parent for parent in wanted if parent != name] for name, wanted in parents.items()}
    order = {name: number for number, name in enumerate(parents)}
    while True:
        try:
            graphlib.TopologicalSorter(left).prepare()
        except graphlib.CycleError as error:
            # CycleError has it from parent to child, with its first name again at the end.
            cycle: list[str] = error.args[1][:0:-1]
            first = min(range(len(cycle)), key=lambda place: order[cycle[place]])
            yield (*cycle[first:], *cycle[:first])
            left = {name: wanted for name, wanted in left.items() if name not in cycle}
        else:
            return
