"""Where things are measured: folders and ports of our own on loopback, processes that end with us, and their CPU time."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
HOUSE = Path(__file__).resolve().parent.parent
_START_S, _STOP_S = 20.0, 5.0


class Absent(Exception):
    """A program that is not installed here; says where it comes from."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process of ours."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_s(self) -> float:
        """CPU seconds of all its threads since it began, from the kernel's own clock of it (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss_mb(self) -> float:
        """Resident memory in MB (10^6 bytes)."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that goes away."""
    with tempfile.TemporaryDirectory(
        prefix=f"watchkeeper-bench-{name}-", dir="/var/tmp"
    ) as folder:  # a real disk: /tmp may be memory
        yield Path(folder)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def program(name: str, package: str) -> str:
    """Where a program lies. Raises Absent."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise Absent(f"{name} is not installed (Debian: {package})")
    return found


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, port: int = 0, **more: object) -> Iterator[Running]:
    """Start a process, wait until it listens on `port` (0: not at all), and end it."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=HOUSE, **more)  # type: ignore[call-overload]
    one = Running(process, log)
    try:
        if port:
            wait_for_port(port, one)
        yield one
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """By its id, gently, then not."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_port(port: int, one: Running) -> None:
    """Until it listens. Raises RuntimeError with its own words where it does not."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until and one.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
            return
        time.sleep(0.05)
    said = one.log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"{one.process.args!r} does not listen on {port}: {said}")


def watchkeeper(*words: str) -> list[str]:
    """Our own command."""
    return [sys.executable, "-m", "watchkeeper", *words]


def machine() -> str:
    """On what this was measured."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} x {model}, Python {sys.version.split()[0]}, load before {load:.1f}"
