"""Listens for traps: each one polls its device at once, and becomes an event if no poll can show what it reports."""

import asyncio
import logging
import socket
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from watchkeeper.agent.probes.snmp.engine import SNMP_PORT
from watchkeeper.agent.snmpv3.ber import Undecodable
from watchkeeper.agent.snmpv3.usm import TimeWindow, UsmRefused
from watchkeeper.agent.traps.events import TrapEvents
from watchkeeper.agent.traps.limits import Bursts, DropReason, TrapLimiter
from watchkeeper.agent.traps.message.engine import engine_of
from watchkeeper.agent.traps.message.peers import LEARN_EVERY_S, MAX_WAITING, WAITING_BYTES, Peer, UnknownEngine
from watchkeeper.agent.traps.message.understand import ReceivedTrap, TooManyTraps, TrapReader
from watchkeeper.agent.traps.socket import TrapSocket, bind_problem
from watchkeeper.agent.traps.table import TrapTable, events_of, shipped_traps
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import TrapSettings
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device

log = logging.getLogger(__name__)

LISTEN_RETRY_S = 30.0
RESOLVE_S = 600.0
SUMMARY_S = 3600.0


class TrapListener:
    """Receives traps on the event loop. `wake` polls a device at once; `events` holds what no poll can show."""

    def __init__(
        self, agent: str, clock: Clock, secrets: Secrets, events: TrapEvents, wake: Callable[[str], None]
    ) -> None:
        self._clock, self._events, self._wake = clock, events, wake
        self._reader = TrapReader(agent, clock, secrets)
        self._socket = TrapSocket(self._admit, self._take)
        self._table: TrapTable = shipped_traps()
        self._limiter, self._bursts = TrapLimiter(), Bursts()
        self._endpoint: TrapSettings | None = None
        self._tried_at = self._resolved_at = self._summed_at = clock.boot()
        self._peers: list[Peer] = []
        self._names: dict[str, tuple[str, ...]] = {}
        self._peers_at: dict[str, list[Peer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self._logged_counts: Counter[str] = Counter()

    # ---- every few seconds, or less often ----

    def adopt(self, endpoint: TrapSettings | None, devices: Iterable[Device]) -> None:
        """From now on, accept traps of these devices at this endpoint; None stops listening."""
        before = {peer.device.device: peer for peer in self._peers}
        self._peers = []
        for device in devices:
            held = before.get(device.device)
            if device.snmp:
                self._peers.append(held if held and held.device == device else Peer(device, device.snmp))
        self._index_peers()
        self._start_task(self._resolve_names())
        if endpoint != self._endpoint:
            self._socket.close()
            self._endpoint = endpoint
            self._listen(first=True)

    def beat(self) -> None:
        """Do the periodic work that is due. Called every few seconds."""
        now = self._clock.boot()
        if self._endpoint and not self._socket.open and now - self._tried_at >= LISTEN_RETRY_S:
            self._listen(first=False)
        if now - self._resolved_at >= RESOLVE_S:
            self._start_task(self._resolve_names())
        for reason, source, dropped in self._bursts.ended(now):
            log.info("traps: %s, %s: over; %d were dropped", source or "other senders", reason, dropped)
        if now - self._summed_at >= SUMMARY_S:
            self._summed_at = now
            self._log_counts()

    async def close(self) -> None:
        """Stop listening and free the port."""
        self._socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._log_counts()

    def _log_counts(self) -> None:
        if self.counts != self._logged_counts:
            self._logged_counts = self.counts.copy()
            counts = ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))
            log.info("traps: since the agent started: %s", counts)

    def _listen(self, *, first: bool) -> None:
        if self._endpoint is None:
            return
        self._tried_at = self._clock.boot()
        try:
            self._socket.listen(self._endpoint.host, self._endpoint.port)
        except OSError as error:
            if first:
                problem = bind_problem(error, self._endpoint.port)
                log.error("traps: cannot listen on %s: %s; tried again every 30 s", self._endpoint.listen, problem)  # noqa: TRY400 -- for the operator
        else:
            log.info("traps: listening on %s", self._endpoint.listen)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- addresses of the devices ----

    def _index_peers(self) -> None:
        peers_at: dict[str, list[Peer]] = {}
        for peer in self._peers:
            for address in self._addresses(_host(peer.device)):
                peers_at.setdefault(address, []).append(peer)
        self._peers_at = peers_at
        self._limiter.know((peer.device.device for peer in self._peers), peers_at)

    def _addresses(self, host: str) -> tuple[str, ...]:
        address = _normal_address(host)
        return (address,) if address else self._names.get(host, ())

    async def _resolve_names(self) -> None:
        """Resolve the devices' names again. A name that cannot be resolved now keeps its last addresses."""
        self._resolved_at = self._clock.boot()
        for host in {host for peer in self._peers if not _normal_address(host := _host(peer.device))}:
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
            except (OSError, UnicodeError):
                if host not in self._names:
                    log.warning("traps: the resolver does not know %s; traps of that device are dropped", host)
                continue
            self._names[host] = tuple({str(one[4][0]) for one in found})
        self._index_peers()

    # ---- for every datagram ----

    def _admit(self, source: str) -> bool:
        if self._limiter.knows(source):
            return True
        self._drop(DropReason.UNKNOWN_SOURCE, "", f"{source} is the address of no SNMP device of this agent")
        return False

    def _accepts(self, peer: Peer) -> bool:
        return self._limiter.accepts(peer.device.device, self._clock.boot())

    def _doubts(self, source: str) -> bool:
        """Whether there is still anything to do for a datagram that proves nothing."""
        if self._limiter.doubts(source, self._clock.boot()):
            return True
        self._drop(DropReason.REFUSED, source, "too many messages that prove nothing")
        return False

    def _drop(self, reason: DropReason, source: str, detail: str) -> None:
        self.counts[f"dropped ({reason})"] += 1
        if self._bursts.begins(reason, source, self._clock.boot()):
            sender = source or "other senders"
            log.warning("traps: %s, %s: %s; dropped, and counted until over", sender, reason, detail)

    def _take(self, datagram: bytes, source: str) -> bytes:
        """Process a datagram. Returns the answer, or b""."""
        peers = self._peers_at.get(source, [])
        try:
            received = self._reader.read(datagram, peers, self._accepts)
            self._accept(received)
        except TooManyTraps:
            self._drop(DropReason.FLOOD, source, "more traps than one device may send")
        except UnknownEngine:
            if self._doubts(source):
                self._learn_engine(datagram, source, peers)
        except Undecodable as error:
            self._drop(DropReason.BROKEN, source, str(error))
        except UsmRefused as error:
            self._drop(DropReason.REFUSED, source, str(error))
        except Exception as error:  # noqa: BLE001 -- a bug costs one datagram; the exception's own text may quote it
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            self._drop(DropReason.FAULT, source, f"{type(error).__name__} at\n{where}")
        else:
            return received.answer if received.peer or self._doubts(source) else b""
        return b""

    def _accept(self, received: ReceivedTrap) -> None:
        if received.peer is None or received.trap is None:
            return
        self.counts["accepted"] += 1
        device = received.peer.device.device
        for event in events_of(received.trap, self._table):
            log.info("traps: %s: %s (%s): %s", device, event.label, event.level, received.trap)
            self._events.note(device, event, self._clock.boot())
        self._wake(device)

    # ---- discovery of engines ----

    def _learn_engine(self, datagram: bytes, source: str, peers: Sequence[Peer]) -> None:
        """Ask the devices at that address for their engines, and read the datagram again when they have answered."""
        now = self._clock.boot()
        secured = [peer for peer in peers if peer.secured]
        due = [peer for peer in secured if not peer.asked and now - peer.learnt_at >= LEARN_EVERY_S]
        for peer in due:
            peer.asked = True
            self._start_task(self._ask_engine(peer, source))
        asked = next((peer for peer in secured if peer.asked), None)
        if asked is None:
            detail = "its SNMPv3 engine is not the one that answers at the device's address"
            self._drop(DropReason.REFUSED, source, detail)
        elif len(asked.waiting) < MAX_WAITING and len(datagram) <= WAITING_BYTES:
            asked.waiting.append(datagram)

    async def _ask_engine(self, peer: Peer, source: str) -> None:
        device = peer.device
        try:
            engine = await engine_of(source, device.endpoint(SNMP_PORT)[1], device.timeout_s, device.retries)
        finally:
            peer.asked, peer.learnt_at = False, self._clock.boot()
        if engine and engine != peer.engine:
            peer.engine, peer.window = engine, TimeWindow()
        waiting, peer.waiting = peer.waiting, []
        for datagram in waiting:
            self._take(datagram, source)


def _host(device: Device) -> str:
    try:
        return device.endpoint(SNMP_PORT)[0]
    except ValueError:
        return ""


def _normal_address(host: str) -> str:
    """An IP address in the kernel's form; empty for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        return ""
