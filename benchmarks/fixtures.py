"""Shared by the benchmarks: temporary folders, free ports on 127.0.0.1, child processes, their CPU time and memory."""

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
REPOSITORY = Path(__file__).resolve().parent.parent
_LISTEN_TIMEOUT_S, _TERMINATE_TIMEOUT_S = 20.0, 5.0


class NotInstalled(Exception):
    """A program is not installed. The text names the Debian package that has it."""


@dataclass(frozen=True, slots=True)
class MeasuredProcess:
    """A running child process and its log file."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_s(self) -> float:
        """CPU seconds of all its threads since it started, from its CPU clock in the kernel (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss_mb(self) -> float:
        """Resident memory in MB (10^6 bytes)."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


@contextlib.contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A folder that is deleted when the block ends."""
    with tempfile.TemporaryDirectory(
        prefix=f"watchkeeper-bench-{name}-", dir="/var/tmp"
    ) as folder:  # on a real disk; /tmp may be in memory
        yield Path(folder)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that is free now."""
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def program(name: str, package: str) -> str:
    """The path of a program. Raises NotInstalled."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise NotInstalled(f"{name} is not installed (Debian: {package})")
    return found


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, port: int = 0, **more: object) -> Iterator[MeasuredProcess]:
    """Run a process until the block ends. First wait until it listens on `port`, unless that is 0."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=REPOSITORY, **more)  # type: ignore[call-overload]
    measured = MeasuredProcess(process, log)
    try:
        if port:
            wait_for_port(port, measured)
        yield measured
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGTERM, and SIGKILL if the process does not end."""
    process.terminate()
    try:
        process.wait(_TERMINATE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_port(port: int, measured: MeasuredProcess) -> None:
    """Wait until the process listens. Raises RuntimeError with the end of its log if it does not."""
    deadline = time.monotonic() + _LISTEN_TIMEOUT_S
    while time.monotonic() < deadline and measured.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
            return
        time.sleep(0.05)
    output = measured.log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"{measured.process.args!r} does not listen on {port}: {output}")


def watchkeeper(*words: str) -> list[str]:
    """The command line of `watchkeeper` with these arguments."""
    return [sys.executable, "-m", "watchkeeper", *words]


def machine() -> str:
    """The machine: processors, Python version and load average."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} x {model}, Python {sys.version.split()[0]}, load before {load:.1f}"
