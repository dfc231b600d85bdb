"""An agent whose machine is started anew with another wall clock, while a verdict waits in its spool. Agent and collector are real
processes; the agent has the shim."""

import os
import random
import socket
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TextIO
from unittest import mock

import requests
from requests.exceptions import RequestException

from tests.chaos.clocks import HOUR, Clocks, shim, wait_for
from tests.chaos.kills import _query, free_port, ladder_files, start_program
from tests.chaos.outcome import Outcome
from watchkeeper.deployment import AGENT, write_deployment

TEN_YEARS = 10 * 365 * 86_400.0
AGE_S = 6.0
"""By how much the beginning of a fault may be wrong: the service is looked at twice a second, on a busy machine."""

_RULES = """\
changes:
  - {rule: service.down, because: quick, critical: {is: down, for: 1 s}, clear: {for: 1 s}}
off:
  - {rule: device.not-answering, because: the service tells it}
"""


class AgentSite:
    """A service that is there or not, an agent that looks at it, and a collector that is up or not."""

    def __init__(self, folder: Path, seed: int, log: TextIO) -> None:
        self._folder, self._log = folder, log
        self._chance = random.Random(seed)  # noqa: S311 -- must be repeatable, and is no secret
        self._clocks = Clocks(folder, "agent", shim(folder))
        self._service = _listen(0)
        self._port = int(self._service.getsockname()[1])
        inventory = (
            f"site: {{name: Clocks, timezone: Asia/Shanghai}}\nagents:\n  - {{agent: {AGENT}, owner: olga, interval: 60 s}}\n"
            f"devices:\n  - {{device: web, agent: {AGENT}, category: service, probe: tcp, address: '127.0.0.1:{self._port}',"
            " every: 500 ms, timeout: 300 ms, owner: olga}\n"
        )
        files = {"inventory.yml": inventory, "rules/quick.yml": _RULES, **ladder_files(free_port())}
        self._home = write_deployment(folder, free_port(), files, {"webhook": "k" * 32})
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start the agent or the collector."""
        environ = self._clocks.environ if name == "agent" else {}
        with mock.patch.dict(os.environ, environ):
            self._running[name] = start_program(name, self._folder / f"{name}.yml", self._log)

    def kill(self, name: str) -> None:
        """Send SIGKILL."""
        self._running[name].kill()
        self._running[name].wait()

    def close(self) -> None:
        """Stop everything."""
        for process in self._running.values():
            process.kill()
            process.wait()
        self._service.close()

    def round(self, number: int) -> float:
        """The service stops while there is no collector, and the agent's machine is started anew. Returns by how many seconds the
        fault is older than it is; infinity if it was lost."""
        wait_for("the service is up", lambda: self._open() == [] and self._looked())
        self.kill("collector")
        self._service.close()
        began = time.time()
        wait_for("the verdict is in the spool", self._in_spool)
        self.kill("agent")
        self._clocks.restart_machine(f"boot-{number}")
        wrong = self._chance.choice((HOUR, -HOUR, TEN_YEARS, -TEN_YEARS, 0.0))
        self._clocks.set(wrong, boot=0.1 - time.clock_gettime(time.CLOCK_BOOTTIME))
        self.start("agent")
        time.sleep(1.0)
        self.start("collector")
        found: list[float] = []
        with suppress(AssertionError):
            wait_for("the fault is known", lambda: found.extend(self._open() or ()) or bool(found))
        self._service = _listen(self._port)
        return began - found[0] if found else float("inf")

    def _open(self) -> list[float] | None:
        """When the open incidents began; None without an answer."""
        with suppress(RequestException):
            answer = requests.get(f"{self._home.url}/api/v1/incidents", timeout=2).json()
            return [one["began_at"] for one in answer["incidents"] if one["rule"] == "service.down"]
        return None

    def _looked(self) -> bool:
        """Whether the agent has read the service in its present run, and its readings have arrived."""
        with suppress(RequestException):
            readings = requests.get(f"{self._home.url}/api/v1/devices/web", timeout=2)
            return readings.ok and "up" in readings.text
        return False

    def _in_spool(self) -> bool:
        rows = _query(self._folder / "agent" / "spool.db", "SELECT body FROM events")
        return any('"service.down"' in row["body"] and '"critical"' in row["body"] for row in rows)


def _listen(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen(64)
    return made


def run(rounds: int, seed: int, folder: Path) -> Outcome:
    """Run so many rounds."""
    with (folder / "log").open("w", encoding="utf-8") as log, closing(AgentSite(folder, seed, log)) as made:
        made.start("collector")
        made.start("agent")
        older = [made.round(number) for number in range(rounds)]
    lost = sum(one == float("inf") for one in older)
    wrong = [round(one, 1) for one in older if one != float("inf") and abs(one) > AGE_S]
    worst = max((abs(one) for one in older), default=0.0)
    note = f"the beginning of a fault was wrong by at most {worst:.1f} s"
    return Outcome(rounds, rounds - lost - len(wrong), lost, 0, len(wrong), 0, note)
