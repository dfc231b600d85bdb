"""The whole configuration of a site as one value: inventory, contacts, ladders, rules, and the bundle of each agent.

A reload makes a new snapshot. If any file has a problem, it makes none.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from watchkeeper.collector.site.dependencies import Dependencies
from watchkeeper.collector.site.files import PROFILES, RULES, SiteFiles, read_files
from watchkeeper.collector.site.inventory import Agent, Configuration
from watchkeeper.collector.site.load import configuration_of
from watchkeeper.model.batch import Bundle, Document
from watchkeeper.model.device import Category, Device
from watchkeeper.profiles import load_profiles
from watchkeeper.rules.load import RuleSet, load_rules, shipped


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The configuration and the rules that are active. `bundles` is the configuration that each agent receives,
    `dependencies` what depends on what."""

    configuration: Configuration
    rules: RuleSet
    devices: Mapping[str, Device]
    agents: Mapping[str, Agent]
    bundles: Mapping[str, Bundle]
    dependencies: Dependencies

    def owner(self, device: str) -> str:
        """The person who owns a device or an agent; empty if it has no owner."""
        if device in self.devices:
            return self.devices[device].owner
        return self.agents[device].owner if device in self.agents else ""

    def device(self, name: str) -> Device | None:
        """The device of that name. An agent counts as a device, because the incident of a silent agent is about it."""
        if name in self.devices or name not in self.agents:
            return self.devices.get(name)
        agent = self.agents[name]
        return Device(
            name,
            name,
            Category.WATCHKEEPER,
            "",
            depends_on=agent.depends_on,
            owner=agent.owner,
            location=agent.location,
        )


def read_snapshot(folder: Path) -> Snapshot:
    """Read inventory, contacts, ladders and rules/*.yml, profiles/*.yml. Raises ConfigError with every problem."""
    return snapshot_of(read_files(folder))


def snapshot_of(files: SiteFiles) -> Snapshot:
    """The configuration that these files are. Raises ConfigError with every problem."""
    own = files.documents(PROFILES)
    configuration = configuration_of(files, load_profiles(own))
    return make_snapshot(configuration, files.documents(RULES), own)


def make_snapshot(
    configuration: Configuration, own_rules: tuple[Document, ...] = (), profiles: tuple[Document, ...] = ()
) -> Snapshot:
    """Combine the configuration, the shipped rules and the operator's own rules and profiles. Raises ConfigError, also
    for a profile that an agent would refuse."""
    load_profiles(profiles)
    rules = (*shipped(), *own_rules)
    dependencies, agents = Dependencies.of(configuration), configuration.inventory.agents
    return Snapshot(
        configuration,
        load_rules(rules),
        {device.device: device for device in configuration.inventory.devices},
        {agent.agent: agent for agent in agents},
        {agent.agent: _bundle(agent, configuration, dependencies, rules, profiles) for agent in agents},
        dependencies,
    )


def _bundle(
    agent: Agent,
    configuration: Configuration,
    dependencies: Dependencies,
    rules: tuple[Document, ...],
    profiles: tuple[Document, ...],
) -> Bundle:
    share = tuple(
        replace(device, depends_on=_own_parents(device, dependencies), owner="", vendor="")
        for device in configuration.inventory.devices
        if device.agent == agent.agent
    )
    bundle = Bundle(
        "", agent.agent, agent.interval_s, share, _file_names_only(rules), _file_names_only(profiles), agent.traps
    )
    text = json.dumps(bundle_to_json(bundle), sort_keys=True, ensure_ascii=False)
    return replace(bundle, version=hashlib.sha256(text.encode()).hexdigest()[:16])


def _own_parents(device: Device, dependencies: Dependencies) -> tuple[str, ...]:
    """The nearest devices that a device depends on, as far as its own agent reads them."""
    parents = dependencies.monitored_parents(device.device)
    return tuple(parent for parent in parents if dependencies.agent_of(parent) == device.agent)


def _file_names_only(documents: tuple[Document, ...]) -> tuple[Document, ...]:
    """The documents without the collector's folders in their names: an agent does not have these folders."""
    return tuple(Document(Path(document.name).name, document.text) for document in documents)


def bundle_to_json(bundle: Bundle) -> dict[str, Any]:
    """The bundle in the form of docs/protocol.md."""
    return asdict(bundle)
