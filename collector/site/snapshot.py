"""What the operator has ordered, all of it as one value: books, rules, and the share of it that each agent gets.

A reload builds a whole new value or, with a problem anywhere, none at all.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from watchkeeper.collector.site.inventory import Agent, Configuration
from watchkeeper.collector.site.load import read_configuration
from watchkeeper.documents.files import read_documents
from watchkeeper.model.batch import Bundle, Document
from watchkeeper.model.device import Category, Device
from watchkeeper.profiles import load_profiles
from watchkeeper.rules.load import RuleSet, load_rules, shipped


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Books and rules in force. `bundles` is what each agent is handed, ready to send."""

    configuration: Configuration
    rules: RuleSet
    devices: Mapping[str, Device]
    agents: Mapping[str, Agent]
    bundles: Mapping[str, Bundle]

    def owner(self, device: str) -> str:
        """The person who owns a device or an agent; empty where nobody does."""
        if device in self.devices:
            return self.devices[device].owner
        return self.agents[device].owner if device in self.agents else ""

    def device(self, name: str) -> Device | None:
        """The device of that name. An agent counts as one: it is what falls silent."""
        if name in self.devices or name not in self.agents:
            return self.devices.get(name)
        agent = self.agents[name]
        return Device(name, name, Category.WATCHKEEPER, "", owner=agent.owner, location=agent.location)


def read_snapshot(folder: Path) -> Snapshot:
    """Read inventory, contacts, ladders and rules/*.yml, profiles/*.yml. Raises ConfigError with every problem."""
    return make_snapshot(read_configuration(folder), documents(folder / "rules"), documents(folder / "profiles"))


def make_snapshot(
    configuration: Configuration, own_rules: tuple[Document, ...] = (), profiles: tuple[Document, ...] = ()
) -> Snapshot:
    """Put books and the operator's own rules together with the shipped ones. Raises ConfigError, also where an agent would
    have to refuse a profile."""
    load_profiles(profiles)
    rules = (*shipped(), *own_rules)
    return Snapshot(
        configuration,
        load_rules(rules),
        {device.device: device for device in configuration.inventory.devices},
        {agent.agent: agent for agent in configuration.inventory.agents},
        {agent.agent: _bundle(agent, configuration, rules, profiles) for agent in configuration.inventory.agents},
    )


def documents(folder: Path) -> tuple[Document, ...]:
    """Every YAML file of a folder but hidden ones, in the order of their names. Raises ConfigError where one cannot be
    read."""
    return read_documents(sorted(folder.glob("[!.]*.yml")))


def _bundle(
    agent: Agent, configuration: Configuration, rules: tuple[Document, ...], profiles: tuple[Document, ...]
) -> Bundle:
    share = tuple(
        replace(device, owner="", vendor="")
        for device in configuration.inventory.devices
        if device.agent == agent.agent
    )
    bundle = Bundle("", agent.agent, agent.interval_s, share, _bare(rules), _bare(profiles), agent.traps)
    text = json.dumps(bundle_to_json(bundle), sort_keys=True, ensure_ascii=False)
    return replace(bundle, version=hashlib.sha256(text.encode()).hexdigest()[:16])


def _bare(documents: tuple[Document, ...]) -> tuple[Document, ...]:
    """Where a file lies here is nothing to an agent."""
    return tuple(Document(Path(one.name).name, one.text) for one in documents)


def bundle_to_json(bundle: Bundle) -> dict[str, Any]:
    """The bundle as docs/protocol.md has it."""
    return asdict(bundle)
