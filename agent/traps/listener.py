"""TrapSettings heard: from the socket to a poll of the device, and to an event where no poll can show what they tell."""

import asyncio
import logging
import socket
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from watchkeeper.agent.probes.snmp.engine import PORT
from watchkeeper.agent.traps.events import Events
from watchkeeper.agent.traps.limits import Bursts, Gate, Pass, Trouble
from watchkeeper.agent.traps.message.ber import Undecodable
from watchkeeper.agent.traps.message.engine import engine_of
from watchkeeper.agent.traps.message.peers import HELD_BACK, LEARN_EVERY_S, NotLearnt, Peer
from watchkeeper.agent.traps.message.understand import Heard, Understanding
from watchkeeper.agent.traps.message.usm import Refused, Window
from watchkeeper.agent.traps.socket import Receiver, why
from watchkeeper.agent.traps.table import Table, events_of, shipped
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import TrapSettings
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device

log = logging.getLogger("agent.traps")

RETRY_S = 30.0
RESOLVE_S = 600.0
SUMMARY_S = 3600.0


class TrapListener:
    """See the module. `wake` reads a device at once; `events` take what no poll can show. Lives on the event loop."""

    def __init__(self, agent: str, clock: Clock, secrets: Secrets, events: Events, wake: Callable[[str], None]) -> None:
        self._clock, self._events, self._wake = clock, events, wake
        self._understanding = Understanding(agent, clock, secrets)
        self._receiver = Receiver(self._admit, self._take)
        self._table: Table = shipped()
        self._gate, self._spells = Gate(), Bursts()
        self._where: TrapSettings | None = None
        self._tried_at = self._resolved_at = self._summed_at = clock.boot()
        self._peers: list[Peer] = []
        self._names: dict[str, tuple[str, ...]] = {}
        self._at: dict[str, list[Peer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self._told: Counter[str] = Counter()

    # ---- cold ----

    def adopt(self, where: TrapSettings | None, devices: Iterable[Device]) -> None:
        """Hear these devices, there (None: nowhere) from now on."""
        before = {peer.device.device: peer for peer in self._peers}
        self._peers = []
        for device in devices:
            held = before.get(device.device)
            if device.snmp:
                self._peers.append(held if held and held.device == device else Peer(device, device.snmp))
        self._place()
        self._begin(self._resolve())
        if where != self._where:
            self._receiver.close()
            self._where = where
            self._listen(first=True)

    def beat(self) -> None:
        """Look every few seconds what is due."""
        now = self._clock.boot()
        if self._where and not self._receiver.open and now - self._tried_at >= RETRY_S:
            self._listen(first=False)
        if now - self._resolved_at >= RESOLVE_S:
            self._begin(self._resolve())
        for trouble, source, dropped in self._spells.over(now):
            log.info("traps: %s, %s: over; %d were dropped", source or "strangers", trouble, dropped)
        if now - self._summed_at >= SUMMARY_S:
            self._summed_at = now
            self._sum_up()

    async def close(self) -> None:
        """Hear nothing more, and give the port back."""
        self._receiver.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._sum_up()

    def _sum_up(self) -> None:
        if self.counts != self._told:
            self._told = self.counts.copy()
            said = ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))
            log.info("traps: since the agent started: %s", said)

    def _listen(self, *, first: bool) -> None:
        if self._where is None:
            return
        self._tried_at = self._clock.boot()
        try:
            self._receiver.listen(self._where.host, self._where.port)
        except OSError as error:
            if first:
                said = why(error, self._where.port)
                log.error("traps: not heard at %s: %s. Going on without, and trying again", self._where.listen, said)  # noqa: TRY400 -- for the operator
        else:
            log.info("traps: heard at %s", self._where.listen)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- who is where ----

    def _place(self) -> None:
        at: dict[str, list[Peer]] = {}
        for peer in self._peers:
            for address in self._addresses(_host(peer.device)):
                at.setdefault(address, []).append(peer)
        self._at = at
        self._gate.know(at)

    def _addresses(self, host: str) -> tuple[str, ...]:
        literal = _literal(host)
        return (literal,) if literal else self._names.get(host, ())

    async def _resolve(self) -> None:
        """Look the names up again; one that nobody knows at the moment keeps the addresses it had."""
        self._resolved_at = self._clock.boot()
        for host in {host for peer in self._peers if not _literal(host := _host(peer.device))}:
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
            except (OSError, UnicodeError):
                if host not in self._names:
                    log.warning("traps: the resolver does not know %s; traps of that device are not heard", host)
                continue
            self._names[host] = tuple({str(one[4][0]) for one in found})
        self._place()

    # ---- hot ----

    def _admit(self, source: str) -> bool:
        now = self._clock.boot()
        found = self._gate.admit(source, now)
        if found is Pass.TAKEN:
            return True
        if found is Pass.FLOOD:
            self._drop(Trouble.FLOOD, source, "more traps than one device may send")
        else:
            self._drop(Trouble.STRANGER, "", f"{source} is the address of no SNMP device of this agent")
        return False

    def _drop(self, trouble: Trouble, source: str, said: str) -> None:
        self.counts[f"dropped ({trouble})"] += 1
        if self._spells.begins(trouble, source, self._clock.boot()):
            log.warning("traps: %s, %s: %s; dropped, and counted until over", source or "strangers", trouble, said)

    def _take(self, datagram: bytes, source: str) -> bytes:
        peers = self._at.get(source, [])
        try:
            heard = self._understanding.read(datagram, peers)
            self._heed(heard)
        except NotLearnt:
            self._learn(datagram, source, peers)
        except Undecodable as error:
            self._drop(Trouble.BROKEN, source, str(error))
        except Refused as error:
            self._drop(Trouble.REFUSED, source, str(error))
        except Exception as error:  # noqa: BLE001 -- a bug costs one datagram; the exception's own text may quote it
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            self._drop(Trouble.FAULT, source, f"{type(error).__name__} at\n{where}")
        else:
            return heard.answer
        return b""

    def _heed(self, heard: Heard) -> None:
        if heard.peer is None or heard.trap is None:
            return
        self.counts["taken"] += 1
        device = heard.peer.device.device
        for told in events_of(heard.trap, self._table):
            log.info("traps: %s: %s (%s): %s", device, told.label, told.level, heard.trap)
            self._events.note(device, told, self._clock.boot())
        self._wake(device)

    # ---- whose engine it is ----

    def _learn(self, datagram: bytes, source: str, peers: Sequence[Peer]) -> None:
        """Ask the devices there for their engines, and read the datagram again when they have answered."""
        now = self._clock.boot()
        secured = [peer for peer in peers if peer.secured]
        due = [peer for peer in secured if not peer.asked and now - peer.learnt_at >= LEARN_EVERY_S]
        for peer in due:
            peer.asked = True
            self._begin(self._ask(peer, source))
        asked = next((peer for peer in secured if peer.asked), None)
        if asked is None:
            self._drop(Trouble.REFUSED, source, "its SNMPv3 engine is not the one that answers at the device's address")
        elif len(asked.waiting) < HELD_BACK:
            asked.waiting.append(datagram)

    async def _ask(self, peer: Peer, source: str) -> None:
        device = peer.device
        try:
            engine = await engine_of(source, device.endpoint(PORT)[1], device.timeout_s, device.retries)
        finally:
            peer.asked, peer.learnt_at = False, self._clock.boot()
        if engine and engine != peer.engine:
            peer.engine, peer.window = engine, Window()
        waiting, peer.waiting = peer.waiting, []
        for datagram in waiting:
            self._take(datagram, source)


def _host(device: Device) -> str:
    try:
        return device.endpoint(PORT)[0]
    except ValueError:
        return ""


def _literal(host: str) -> str:
    """The address as the kernel writes it; empty where it is a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        return ""
