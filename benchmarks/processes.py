"""A collector and agents as real processes: `watchkeeper collector run` and `watchkeeper agent run`."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fixtures import HOST, REPOSITORY, MeasuredProcess, free_port, running, watchkeeper

PERSON = "ann"


@dataclass(frozen=True, slots=True)
class BenchmarkDeployment:
    """A folder with the configuration of a collector, its store, and a token for each agent."""

    folder: Path
    port: int
    tokens: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @contextlib.contextmanager
    def collector(self) -> Iterator[MeasuredProcess]:
        """Run the collector until the block ends."""
        command = watchkeeper("collector", "run", "--config", str(self.folder / "collector.yml"))
        with running(command, self.folder / "collector.log", self.port) as one:
            yield one

    @contextlib.contextmanager
    def agent(self, name: str, url: str = "", secrets: str = "public: public\n") -> Iterator[MeasuredProcess]:
        """Run an agent until the block ends. With `url`, it pushes to that URL instead of the collector. `secrets` are
        those of its devices, in YAML."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        settings = f"agent: {name}\ncollector: {url or self.url}\nsecrets: secrets.yml\nspool: {{path: spool.db}}\n"
        (folder / "agent.yml").write_text(settings, encoding="utf-8")
        file = folder / "secrets.yml"
        file.write_text(f"agent-token: {self.tokens[name]}\n{secrets}", encoding="utf-8")
        file.chmod(0o600)
        command = watchkeeper("agent", "run", "--config", str(folder / "agent.yml"))
        with running(command, folder / "log") as one:
            yield one

    def write_bundle(self, name: str) -> None:
        """Write an agent's bundle where the agent keeps it, for an agent without a collector."""
        from watchkeeper.collector.site.snapshot import bundle_to_json, read_snapshot  # noqa: PLC0415 -- only the benchmarks that use it import it

        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        text = json.dumps(bundle_to_json(read_snapshot(self.folder).bundles[name]))
        (folder / "spool.db.bundle.json").write_text(text, encoding="utf-8")


def deploy(
    folder: Path,
    agents: Sequence[str],
    devices: Sequence[str],
    *,
    rules: str = "",
    channel: str = "{via: console}",
    secrets: str = "",
) -> BenchmarkDeployment:
    """Write the configuration, and make the store and the agents' tokens. `devices`, `rules` and `channel` (of the only
    person) are YAML."""
    port = free_port()
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    agent_lines = "\n".join(f"  - {{agent: {name}, owner: {PERSON}, interval: 15 s}}" for name in agents)
    device_lines = "\n".join(f"  - {one}" for one in devices)
    texts = {
        "collector.yml": f"port: {port}\nstore: collector.db\n" + ("secrets: secrets.yml\n" if secrets else ""),
        "inventory.yml": f"site: {{name: bench, timezone: UTC}}\nagents:\n{agent_lines}\ndevices:\n{device_lines}\n",
        "contacts.yml": (
            f"people:\n  - {{person: {PERSON}, name: Ann, channels: [{channel}]}}\nshifts:\n"
            f"  - {{shift: day, start: 08:00, end: 20:00, rotation: [{PERSON}]}}\n"
            f"  - {{shift: night, start: 20:00, end: 08:00, rotation: [{PERSON}]}}\n"
            f"roles: {{head: [{PERSON}], assistant: [{PERSON}]}}\n"
        ),
        "ladders.yml": (REPOSITORY / "configs" / "ladders.yml").read_text(encoding="utf-8"),
        **({"rules/bench.yml": rules} if rules else {}),
        **({"secrets.yml": secrets} if secrets else {}),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        os.chmod(folder / name, 0o600)  # noqa: PTH101 -- one of the files has secrets
    return BenchmarkDeployment(folder, port, _tokens(folder, agents))


def _tokens(folder: Path, agents: Sequence[str]) -> dict[str, str]:
    """Create the store and a token for each agent."""
    from watchkeeper.collector.access.tokens import TokenKind, mint  # noqa: PLC0415 -- only the benchmarks that use it import it
    from watchkeeper.collector.opening import open_secrets, open_store  # noqa: PLC0415 -- only the benchmarks that use it import it
    from watchkeeper.collector.site.settings import read_config  # noqa: PLC0415 -- only the benchmarks that use it import it

    config = read_config(folder / "collector.yml")
    store = open_store(config, open_secrets(config))
    try:
        return {name: mint(store, TokenKind.AGENT, name, time.time()) for name in agents}
    finally:
        store.close()


def device(
    name: str, agent: str, category: str, probe: str, every: str, *, snmp: str = "", address: str = "", location: str = "",
    parent: str = "",
) -> str:  # fmt: skip
    """A device entry of inventory.yml. `parent` is what it depends on."""
    more = f", address: '{address}', snmp: {{{snmp}}}" if probe == "snmp" else ""
    more += f", location: {location}" if location else ""
    more += f", depends_on: {parent}" if parent else ""
    return f"{{device: {name}, agent: {agent}, category: {category}, probe: {probe}, every: {every}, owner: {PERSON}{more}}}"


def pushed_device(number: int, name: str, agent: str, every: str = "15 s", **more: str) -> str:
    """A device entry for a benchmark that pushes itself: nobody reads the device. One agent reads one host only, so it is an
    SNMP device."""
    address = f"10.{number // 62_500}.{number // 250 % 250}.{number % 250}"
    snmp = "version: 2c, community: public"
    return device(name, agent, "server", "snmp", every, snmp=snmp, address=address, **more)
