"""An SNMPv3 device that holds its user's keys. A test chooses what it answers to the request inside, by the responders of
snmp_liar, and may change each message before it is sent."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.snmp_liar import Responder
from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import Undecodable
from watchkeeper.agent.snmpv3.message import CommunityMessage, UsmMessage, open_message, open_scoped
from watchkeeper.agent.snmpv3.remote import NOT_IN_WINDOW, UNKNOWN_ENGINE, WRONG_DIGEST
from watchkeeper.agent.snmpv3.usm import EngineTime, Keys, User, UsmRefused, build_message, decrypt, verify_digest
from watchkeeper.agent.traps.message.engine import build_report
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Category, Device, Snmp, SnmpAuth, SnmpEngine, SnmpPriv, SnmpVersion

ENGINE = b"\x80\x00\x7e\xd9\x05the-device"
SECRETS = Secrets(environ={"WATCHKEEPER_SECRET_AUTH": "authpass12", "WATCHKEEPER_SECRET_PRIV": "privpass12"})


def login(auth: SnmpAuth = SnmpAuth.SHA256, priv: SnmpPriv | None = SnmpPriv.AES, engine: str = "auto") -> Snmp:
    return Snmp(SnmpVersion.V3, "", "ops", auth, "auth", priv, "priv" if priv else "", SnmpEngine(engine))


def secured_device(address: str, snmp: Snmp, timeout_s: float = 10.0, **how: Any) -> Device:
    how = {"profile": "ups-mib", "retries": 0} | how
    return Device("ups", "room", Category.UPS, "snmp", address, timeout_s=timeout_s, snmp=snmp, **how)


class SecuredDevice:
    """Answers like a real device: discovery, its time, wrong digests; then what `reply` says to the PDU inside. Its
    `engine`, `boots` and `time` may be changed. Each change in `changes` gets the request, the answer's scoped PDU and
    the honest answer, and returns the datagrams to send instead."""

    def __init__(self, reply: Responder, snmp: Snmp) -> None:
        self.reply, self.snmp = reply, snmp
        self.engine, self.boots, self.time = ENGINE, 5, 1000
        self.change: Callable[[UsmMessage, bytes, bytes], Sequence[bytes]] = lambda request, scoped, whole: [whole]
        self.salts = iter(range(1, 2**31))
        self.requests: list[UsmMessage] = []

    @property
    def at(self) -> EngineTime:
        return EngineTime(self.engine, self.boots, self.time)

    @property
    def keys(self) -> Keys:
        return self.keys_at(self.engine)

    def keys_at(self, engine: bytes) -> Keys:
        snmp = self.snmp
        return User(b"ops", snmp.auth, b"authpass12", snmp.priv, b"privpass12").keys(engine)

    def __call__(self, datagram: bytes) -> list[bytes]:
        request = open_message(datagram)
        assert isinstance(request, UsmMessage)
        self.requests.append(request)
        if request.engine != self.engine:
            return [build_report(self.at, request, Keys(), UNKNOWN_ENGINE, 1)]
        try:
            verify_digest(request, self.keys)
        except UsmRefused:
            return [build_report(self.at, request, Keys(), WRONG_DIGEST, 1)]
        if request.boots != self.boots or abs(request.time - self.time) > 150:
            return [build_report(self.at, request, replace(self.keys, priv=None), NOT_IN_WINDOW, 1)]
        pdu = open_scoped(decrypt(request, self.keys)).rest()
        inside = ber.tlv(ber.SEQUENCE, ber.integer(1), ber.octets(b"c"), pdu)
        sent: list[bytes] = []
        for answer in self.reply(inside):
            scoped = self._scoped(answer)
            sent += self.change(request, scoped, self.sealed(request, scoped)) if scoped else [answer]
        return sent

    def sealed(
        self, request: UsmMessage, scoped: bytes, keys: Keys | None = None, at: EngineTime | None = None
    ) -> bytes:
        """The message around a scoped PDU."""
        keys = self.keys if keys is None else keys
        salt = next(self.salts).to_bytes(8, "big") if keys.priv else b""
        return build_message(at or self.at, request.msg_id, request.user, keys, scoped, salt=salt)

    def _scoped(self, answer: bytes) -> bytes:
        """The PDU of a v2c answer, or what may be one, as a scoped PDU."""
        try:
            message = open_message(answer)
        except Undecodable:
            return b""
        assert isinstance(message, CommunityMessage)
        return ber.tlv(ber.SEQUENCE, ber.octets(self.engine), ber.octets(b""), message.pdu().rest())
