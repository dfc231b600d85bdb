"""Reads recordings with `watchkeeper probe`, as an operator does. snmpsim answers over UDP."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SNMPSIM = ("snmpsim==1.2.2", "pysmi")
SNMPSIM_VENV = REPOSITORY / ".cache" / "snmpsim"
INDEXING_TIMEOUT_S = 600.0  # at its first start snmpsim indexes every recording


def read(recordings: Sequence[Path], engine: str) -> Iterator[str]:
    """Read each recording. Yields the JSON lines of the probe, one for each reading."""
    with answering(recordings) as port, tempfile.NamedTemporaryFile("w", suffix=".txt") as targets:
        for file in recordings:
            targets.write(f"{file.stem} snmp://{file.stem}@127.0.0.1:{port}?engine={engine}\n")
        targets.flush()
        command = [sys.executable, "-m", "watchkeeper", "probe", "--targets", targets.name, "--format", "jsonl"]
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
        yield from done.stdout.splitlines()


@contextlib.contextmanager
def answering(recordings: Sequence[Path]) -> Iterator[int]:
    """Run snmpsim on a free port of 127.0.0.1. The community is the name of the recording."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        data, cache = Path(folder, "data"), Path(folder, "cache")
        data.mkdir()
        cache.mkdir()
        for file in recordings:
            shutil.copy(file, data)
        Path(folder).chmod(0o755)  # snmpsim gives up root, and must be able to read the files
        cache.chmod(0o777)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free_socket:
            free_socket.bind(("127.0.0.1", 0))
            port: int = free_socket.getsockname()[1]
        command = [
            str(installed() / "bin" / "snmpsim-command-responder"), "--log-level=error", f"--cache-dir={cache}",
            f"--data-dir={data}", f"--agent-udpv4-endpoint=127.0.0.1:{port}",
        ]  # fmt: skip
        if os.geteuid() == 0:
            command += ["--process-user=nobody", "--process-group=nogroup"]
        simulator = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stack.callback(simulator.wait)
        stack.callback(simulator.terminate)
        wait_until_answering(port, recordings[0].stem, simulator)
        yield port


def installed() -> Path:
    """The virtual environment of snmpsim, created when it is first needed. It is separate, because its libraries differ."""
    if not (SNMPSIM_VENV / "bin" / "snmpsim-command-responder").exists():
        python = shutil.which("python3", path="/usr/bin") or sys.executable  # a Python that the user `nobody` can read
        subprocess.run([python, "-m", "venv", SNMPSIM_VENV], check=True)
        subprocess.run([SNMPSIM_VENV / "bin" / "pip", "-q", "install", *SNMPSIM], check=True)
    return SNMPSIM_VENV


def wait_until_answering(port: int, community: str, simulator: subprocess.Popen[bytes]) -> None:
    """Ask for sysUpTime until there is an answer. Raises RuntimeError if there is none."""
    name = community.encode()
    ask = bytes.fromhex("a019020101020100020100300e300c06082b06010201010300") + b"\x05\x00"
    body = b"\x02\x01\x01\x04" + bytes([len(name)]) + name + ask
    deadline = time.monotonic() + INDEXING_TIMEOUT_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1.0)
        while time.monotonic() < deadline and simulator.poll() is None:
            with contextlib.suppress(OSError):
                client.sendto(b"\x30" + bytes([len(body)]) + body, ("127.0.0.1", port))
                client.recv(65535)
                return
    raise RuntimeError("snmpsim does not answer")
