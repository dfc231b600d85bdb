"""Runs the room: four devices on four sockets of loopback, until a signal."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from watchkeeper.model.clock import SystemClock
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.devices import DEVICES, SIMULATED_COMMUNITY
from watchkeeper.simulator.live import LiveRoom
from watchkeeper.simulator.snmp import V3_AUTH_PASSWORD, V3_PRIV_PASSWORD, V3_USER, SnmpResponder

SIMULATOR_HOST = "127.0.0.1"
READY = "the room answers"
_FAULT_POLL_S = 0.2  # how soon a switched fault takes effect without a request


async def run_room(directory: Path, port_base: int, pace: float, seed: int, say: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM. Device n listens on `port_base` + n, or on a free port if that is 0. Raises
    WatchkeeperError if a port is in use."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with ExitStack() as held:
        sockets = [held.enter_context(bind_udp(port_base and port_base + number)) for number in range(len(DEVICES))]
        live = held.enter_context(LiveRoom(directory, SystemClock(), pace, seed))
        for device, listening in zip(DEVICES, sockets, strict=True):
            held.callback(SnmpResponder(device, live, listening).close)
        _describe(
            directory, [f"{SIMULATOR_HOST}:{listening.getsockname()[1]}" for listening in sockets], pace, seed, say
        )
        await _report_faults(live, stop, say)
    await asyncio.sleep(0)  # lets asyncio finish closing the transports
    say("the room is closed")


async def _report_faults(live: LiveRoom, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    known: frozenset[str] = frozenset()
    while not stop.is_set():
        for fault in sorted(known ^ live.faults):
            say(f"{fault} {'on' if fault in live.faults else 'off'}")
        known = live.faults
        try:
            await asyncio.wait_for(stop.wait(), _FAULT_POLL_S)
        except TimeoutError:
            live.look()


def bind_udp(port: int) -> socket.socket:
    """Open a UDP socket on loopback; port 0 takes a free one. Raises WatchkeeperError if the port is in use."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        listening.bind((SIMULATOR_HOST, port))
    except OSError as error:
        listening.close()
        raise WatchkeeperError(
            f"{SIMULATOR_HOST}:{port}: {error.strerror}; stop what listens there, or choose another --port-base or --port"
        ) from None
    return listening


def _describe(directory: Path, addresses: Sequence[str], pace: float, seed: int, say: Callable[[str], None]) -> None:
    devices = [
        {"device": device.name, "category": device.category, "address": address, "community": SIMULATED_COMMUNITY}
        for device, address in zip(DEVICES, addresses, strict=True)
    ]
    for entry in devices:
        say(
            f"{entry['device']:<10} {entry['category']:<8} snmp v1, v2c {SIMULATED_COMMUNITY} v3 {V3_USER}  {entry['address']}"
        )
    user = {"user": V3_USER, "auth": "SHA-256", "auth_password": V3_AUTH_PASSWORD}
    user |= {"priv": "AES", "priv_password": V3_PRIV_PASSWORD}
    facts = {"pid": os.getpid(), "pace": pace, "seed": seed, "devices": devices, "v3": user}
    fresh = directory / "room.json.new"
    fresh.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, directory / "room.json")  # noqa: PTH105 -- os.replace is the atomic rename
    say(f"{READY}; pace {pace:g}, folder {directory}")
