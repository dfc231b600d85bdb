"""For tests and benchmarks: a room in a process of its own, on free ports, answering when you get it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.faults import switch
from watchkeeper.simulator.serve import READY

_STOP_S = 10.0
_HOUSE = Path(__file__).parent.parent.parent  # where `watchkeeper` can be imported from, installed or in a clone


@dataclass(frozen=True, slots=True)
class RunningRoom:
    """A room that answers. `addresses` holds host:port by device name (`ups`, `pac`, `sensor-1`, `sensor-2`)."""

    directory: Path
    pid: int
    addresses: Mapping[str, str]
    community: str

    def switch(self, fault: str, *, on: bool = True) -> None:
        """Break something, or mend it. Every answer to a request sent afterwards shows it."""
        switch(self.directory, fault, on=on)

    def given(self) -> list[dict[str, Any]]:
        """Every answer so far, oldest first: `at` (UTC seconds), `device`, `values` by numeric OID."""
        return _lines(self.directory / "given.jsonl")

    def switched(self) -> list[dict[str, Any]]:
        """Every switching of a fault so far: `at` (UTC seconds), `fault`, `on`."""
        return _lines(self.directory / "faults.jsonl")


@contextmanager
def running_room(directory: Path, pace: float = 1.0, seed: int = 0, port_base: int = 0) -> Iterator[RunningRoom]:
    """Start a room over `directory` and stop it in the end; a `port_base` of 0 takes free ports.
    Raises WatchkeeperError, with the room's own words, if it does not come up or does not go well."""
    command = [sys.executable, "-m", "watchkeeper", "simulate", "room", "--dir", str(directory.resolve())]
    command += [f"--pace={pace}", f"--seed={seed}", f"--port-base={port_base}"]
    with subprocess.Popen(  # noqa: S603 -- ourselves
        command, cwd=_HOUSE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield _ready(process, directory)
        finally:
            process.terminate()
            try:
                said, _ = process.communicate(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if process.returncode:
            raise WatchkeeperError(f"the simulated room ended badly: {said}")


def _ready(process: "subprocess.Popen[str]", directory: Path) -> RunningRoom:
    said = []
    for line in process.stdout or ():
        said.append(line)
        if line.startswith(READY):
            break
    else:
        raise WatchkeeperError(f"the simulated room did not start: {''.join(said)}")
    facts = json.loads((directory / "room.json").read_text(encoding="utf-8"))
    addresses = {entry["device"]: entry["address"] for entry in facts["devices"]}
    return RunningRoom(directory, facts["pid"], addresses, facts["devices"][0]["community"])


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
