"""Recordings answered over UDP by snmpsim, and read by `watchkeeper probe`, as an operator would."""

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

ROOT = Path(__file__).resolve().parents[2]
SNMPSIM = ("snmpsim==1.2.2", "pysmi")
VENV = ROOT / ".cache" / "snmpsim"
READY_S = 600.0  # the first start indexes every recording


def read(recordings: Sequence[Path], engine: str) -> Iterator[str]:
    """What the probe prints of each recording, a JSON line a reading."""
    with answering(recordings) as port, tempfile.NamedTemporaryFile("w", suffix=".txt") as targets:
        for file in recordings:
            targets.write(f"{file.stem} snmp://{file.stem}@127.0.0.1:{port}?engine={engine}\n")
        targets.flush()
        command = [sys.executable, "-m", "watchkeeper", "probe", "--targets", targets.name, "--format", "jsonl"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        yield from done.stdout.splitlines()


@contextlib.contextmanager
def answering(recordings: Sequence[Path]) -> Iterator[int]:
    """snmpsim on a free port of loopback; the community is the recording's name."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        data, cache = Path(folder, "data"), Path(folder, "cache")
        data.mkdir()
        cache.mkdir()
        for file in recordings:
            shutil.copy(file, data)
        Path(folder).chmod(0o755)  # snmpsim drops root and must read them
        cache.chmod(0o777)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        command = [
            installed() / "bin" / "snmpsim-command-responder", "--log-level=error", f"--cache-dir={cache}",
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
    """The virtual environment with snmpsim, made when it is first needed; its libraries are not ours."""
    if not (VENV / "bin" / "snmpsim-command-responder").exists():
        python = shutil.which("python3", path="/usr/bin") or sys.executable  # which `nobody` can read
        subprocess.run([python, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin" / "pip", "-q", "install", *SNMPSIM], check=True)
    return VENV


def wait_until_answering(port: int, community: str, simulator: subprocess.Popen[bytes]) -> None:
    """Ask for sysUpTime until anything comes back."""
    name = community.encode()
    ask = bytes.fromhex("a019020101020100020100300e300c06082b06010201010300") + b"\x05\x00"
    body = b"\x02\x01\x01\x04" + bytes([len(name)]) + name + ask
    deadline = time.monotonic() + READY_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(1.0)
        while time.monotonic() < deadline and simulator.poll() is None:
            with contextlib.suppress(OSError):
                line.sendto(b"\x30" + bytes([len(body)]) + body, ("127.0.0.1", port))
                line.recv(65535)
                return
    raise RuntimeError("snmpsim does not answer")
