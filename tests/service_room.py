"""Shared by the tests of the service probes: devices, secrets, one sweep, and small servers."""

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from watchkeeper.agent.poll import kinds
from watchkeeper.agent.ports import Probe, ProbeContext
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock, FakeClock
from watchkeeper.model.device import Category, Device
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

PASSWORD = "geheim-und-lang-7"
SECRETS = Secrets(None, {"WATCHKEEPER_SECRET_LOGIN": PASSWORD, "WATCHKEEPER_SECRET_STALE": "no-longer-right"})
USER = "wk_user_nobody_may_see"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def service(probe: str, address: str = "", *, timeout_s: float = 5.0, **own: Any) -> Device:
    return Device(f"{probe}-1", "room-1", Category.SERVICE, probe, address, timeout_s=timeout_s, **own)


def probe_of(kind: str, clock: Clock | None = None) -> Probe:
    return kinds.build(kind, ProbeContext(clock or FakeClock(), SECRETS))


async def look(device: Device, probe: Probe | None = None) -> dict[str, Value]:
    """The values of one sweep, by quantity, with `/instance` where there is one."""
    own = probe or probe_of(device.probe)
    try:
        sweep = await own.sweep(device)
    finally:
        if probe is None:
            await own.close()
    parts = ((reading.series, reading.value) for reading in sweep.readings())
    return {f"{one.quantity}/{one.instance}" if one.instance else one.quantity: value for one, value in parts}


def see(device: Device) -> dict[str, Value]:
    return asyncio.run(look(device))


def swept(probe: Probe, device: Device, rounds: int = 1) -> list[Sweep]:
    async def run() -> list[Sweep]:
        try:
            return [await probe.sweep(device) for _ in range(rounds)]
        finally:
            await probe.close()

    return asyncio.run(run())


def reason(value: Value) -> Reason:
    assert isinstance(value, Missing), value
    return value.reason


def why(seen: dict[str, Value]) -> str:
    """The reason that a person reads about a service that is down."""
    value = seen["response.time"]
    assert isinstance(value, Missing), value
    return value.detail


def down(seen: dict[str, Value]) -> str:
    """Why the service is down; the machine answers."""
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "down"), seen
    return why(seen)


@contextlib.asynccontextmanager
async def listening(talk: Talk, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Run a server that handles each connection by `talk`; yields its address."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(served, host, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:  # connections that would never end
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Reads everything and never answers."""
    while await reader.read(4096):
        pass


@contextlib.contextmanager
def silent_port() -> Any:
    """A port that never answers: its queue is full and nobody accepts, so Linux drops further connections."""
    with contextlib.ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            caller = held.enter_context(socket.socket())
            caller.settimeout(0)
            caller.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key in a file, and a server's TLS context that uses them."""

    file: Path
    context: ssl.SSLContext


def certify(folder: Path, now: float, lasts_s: float, name: str = "localhost") -> Certificate:
    """Make a self-signed certificate for `name` (localhost: also 127.0.0.1) that ends `lasts_s` after `now`."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = datetime.datetime.fromtimestamp(now + lasts_s, datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if name == "localhost":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=90)).not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / f"{name}.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ) + certificate.public_bytes(serialization.Encoding.PEM)
    )  # fmt: skip
    file.chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return Certificate(file, context)
