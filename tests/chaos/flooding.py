"""Floods a collector until it is killed. It runs as a process of its own, so that what is measured meanwhile does not wait for it.

python -m tests.chaos.flooding KIND PORT CERTIFICATE TOKEN SEED
"""

import asyncio
import contextlib
import gzip
import itertools
import json
import random
import resource
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests

HOST, AGENT, DEVICE = "127.0.0.1", "flood", "flood-0"
READY = "the flood is at its height"
SILENT, SILENT_A_SECOND, SLOW, PUSHERS = 3_000, 600, 250, 24


def silent(port: int, *_: str) -> None:
    """Sockets that say nothing: new ones all the time, and the old ones stay open as long as the collector lets them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: list[socket.socket] = []
    for number in itertools.count():
        with contextlib.suppress(OSError):
            held.append(socket.create_connection((HOST, port), 5.0, (f"127.0.0.{1 + number % 200}", 0)))
        if len(held) > min(SILENT, hard // 2):
            held.pop(0).close()
        if number == SILENT // 2:
            print(READY, flush=True)  # noqa: T201 -- who started this process waits for it
        time.sleep(1 / SILENT_A_SECOND)


def slow(port: int, certificate: str, token: str, *_: str) -> None:
    """Clients that send a byte of a request now and then: heads of strangers, and bodies of an agent with a token."""
    asyncio.run(_all_slow(port, ssl.create_default_context(cafile=certificate), token))


async def _all_slow(port: int, trust: ssl.SSLContext, token: str) -> None:
    body = f"POST /v1/push HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\nContent-Length: 9000\r\n\r\n"
    heads = [f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ".encode(), body.encode()]
    await asyncio.gather(*(_one_slow(port, trust, heads[number % 2]) for number in range(SLOW)))


async def _one_slow(port: int, trust: ssl.SSLContext, head: bytes) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port, ssl=trust)
            writer.write(head)
            for _ in range(200):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.2)
            writer.close()
        await asyncio.sleep(0.1)


def pushes(port: int, certificate: str, token: str, seed: str) -> None:
    """An agent with a token, which pushes as fast as it can: readings, blocks, faults of ever new parts, epochs, large bodies."""
    threads = [
        threading.Thread(target=_push, args=(port, certificate, token, f"{seed}-{n}"), daemon=True)
        for n in range(PUSHERS)
    ]
    for one in threads:
        one.start()
    threads[0].join()


def _push(port: int, certificate: str, token: str, seed: str) -> None:
    chance = random.Random(seed)  # noqa: S311 -- must be repeatable
    session = requests.Session()
    session.verify, session.trust_env = certificate, False  # the environment may name other certificates
    session.headers["Authorization"] = f"Bearer {token}"
    for number in itertools.count(1):
        kind = chance.choice((_readings, _blocks, _faults, _epochs, _large))
        with contextlib.suppress(requests.RequestException):
            session.post(f"https://{HOST}:{port}/v1/push", json={**_head(), **kind(seed, number)}, timeout=30)


def _head() -> dict[str, Any]:
    return {"protocol": 1, "agent": AGENT, "epoch": "flood", "sent_at": time.time(), "lane": "readings"}


def _block(number: int, series: int = 1) -> dict[str, Any]:
    columns = [["temperature.component", f"part-{number}-{at}", "", ""] for at in range(series)]
    return {"block": number, "device": DEVICE, "probe": "snmp", "every_s": 30.0, "series": columns}


def _readings(seed: str, _: int) -> dict[str, Any]:
    seq = time.monotonic_ns()
    frames = [{"seq": seq + at, "age_s": at / 10, "block": 1, "values": [20.0]} for at in range(500)]
    return {"blocks": [_block(1)], "items": frames, "epoch": f"flood-{seed}"}


def _blocks(seed: str, number: int) -> dict[str, Any]:
    return {"blocks": [_block(number * 100 + at, 10) for at in range(50)], "epoch": f"flood-{seed}"}


def _faults(_: str, __: int) -> dict[str, Any]:
    seq = time.monotonic_ns()
    evidence = {"quantity": "device.alarm", "value": "critical"}
    events = [
        {"seq": seq + at, "kind": "verdict", "id": f"{seq}-{at}", "device": DEVICE, "rule": "device.alarm",
         "instance": f"part-{seq}-{at}", "level": "warning", "age_s": 0.0, "evidence": evidence}
        for at in range(20)
    ]  # fmt: skip
    return {"lane": "events", "items": events}


def _epochs(seed: str, number: int) -> dict[str, Any]:
    return {"epoch": f"epoch-{seed}-{number}"}


def _large(seed: str, _: int) -> dict[str, Any]:
    return {"blocks": [_block(2, 15_000)], "epoch": f"flood-{seed}"}


def bombs() -> Iterator[tuple[bytes, bool]]:
    """Bodies that are small on the wire and large in memory, or deep; and whether they are zipped."""
    yield gzip.compress(b"[" + b"[]," * 21_000_000 + b"0]"), True
    yield gzip.compress(b'{"items":[' + b"{}," * 15_000_000 + b"0]}"), True
    yield gzip.compress(b'"' + b" " * 63_000_000 + b'"'), True
    yield gzip.compress(b'{"agent":"' + "€".encode() * 15_000_000 + b'"}'), True
    yield gzip.compress(gzip.compress(b"0" * 60_000_000)), True
    yield b"[" * 7_000_000, False
    yield b"[" * 100 + b"[]," * 2_000_000, False
    yield b'{"a":' * 1_500_000, False
    yield b"[" + b",".join([b"1e400"] * 1_000_000) + b"]", False
    yield json.dumps({f"key-{n}": n for n in range(500_000)}).encode(), False


KINDS: dict[str, Callable[..., None]] = {"silent": silent, "slow": slow, "pushes": pushes}

if __name__ == "__main__":
    if sys.argv[1] != "silent":
        print(READY, flush=True)  # noqa: T201 -- as above
    KINDS[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
