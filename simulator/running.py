"""For tests and benchmarks: a room in its own process, on free ports, ready to answer."""

import json
import signal
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

_ROOM_STOP_S = 10.0
_IMPORT_ROOT = Path(__file__).parent.parent.parent  # `watchkeeper` can be imported from here, installed or in a clone


@dataclass(frozen=True, slots=True)
class RunningRoom:
    """A room that answers. `addresses` has host:port by device name (`ups`, `pac`, `sensor-1`, `sensor-2`)."""

    directory: Path
    pid: int
    addresses: Mapping[str, str]
    community: str

    def switch(self, fault: str, *, on: bool = True) -> None:
        """Switch a fault. Every answer to a request sent afterwards shows it."""
        switch(self.directory, fault, on=on)

    def given(self) -> list[dict[str, Any]]:
        """Every answer so far, oldest first: `at` (UTC seconds), `device`, `values` by numeric OID."""
        return _json_lines(self.directory / "given.jsonl")

    def switched(self) -> list[dict[str, Any]]:
        """Every switch of a fault so far: `at` (UTC seconds), `fault`, `on`."""
        return _json_lines(self.directory / "faults.jsonl")


@contextmanager
def running_room(directory: Path, pace: float = 1.0, seed: int = 0, port_base: int = 0) -> Iterator[RunningRoom]:
    """Start a room with that folder, and stop it at the end. A `port_base` of 0 takes free ports. Raises
    WatchkeeperError, with the room's output, if it does not start or does not end well. A room that is closing when the
    stop comes (Ctrl-C reaches it too) ends well."""
    command = [sys.executable, "-m", "watchkeeper", "simulate", "room", "--dir", str(directory.resolve())]
    command += [f"--pace={pace}", f"--seed={seed}", f"--port-base={port_base}"]
    with subprocess.Popen(  # noqa: S603 -- our own command
        command, cwd=_IMPORT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield _wait_until_ready(process, directory)
        finally:
            process.terminate()
            try:
                output, _ = process.communicate(timeout=_ROOM_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if process.returncode not in (0, -signal.SIGTERM):
            raise WatchkeeperError(f"the simulated room failed: {output}")


def _wait_until_ready(process: "subprocess.Popen[str]", directory: Path) -> RunningRoom:
    output = []
    for line in process.stdout or ():
        output.append(line)
        if line.startswith(READY):
            break
    else:
        raise WatchkeeperError(f"the simulated room did not start: {''.join(output)}")
    facts = json.loads((directory / "room.json").read_text(encoding="utf-8"))
    addresses = {entry["device"]: entry["address"] for entry in facts["devices"]}
    return RunningRoom(directory, facts["pid"], addresses, facts["devices"][0]["community"])


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
