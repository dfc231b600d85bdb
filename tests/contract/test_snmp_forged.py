"""An impostor at the device's address, without its keys: SNMPv3 must not accept its answers (RFC 3414, 3.2)."""

import asyncio
from typing import Any

import pytest

from watchkeeper.agent.poll import kinds
from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.message import UsmMessage, open_message, open_scoped
from watchkeeper.agent.snmpv3.remote import UNKNOWN_ENGINE
from watchkeeper.agent.snmpv3.usm import Keys, LocalEngine, build_message
from watchkeeper.agent.traps.message.engine import build_report
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.device import Category, Device, Snmp, SnmpAuth, SnmpEngine, SnmpVersion

IMPOSTOR = LocalEngine(b"\x80\x00\x7e\xd9\x05an-impostor", 5, 1000)
RESPONSE, SEQUENCE = 0xA2, 0x30


class Impostor(asyncio.DatagramProtocol):
    """Answers every request with a number, without authentication."""

    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: Any) -> None:
        message = open_message(data)
        assert isinstance(message, UsmMessage)
        if not message.engine:  # discovery needs no key (RFC 3414, 4)
            self.transport.sendto(build_report(IMPOSTOR, message, Keys(), UNKNOWN_ENGINE, 1), source)
            return
        _, pdu = open_scoped(message.body).next()
        request = pdu.integer()
        pdu.integer()
        pdu.integer()
        names, values = pdu.inside(SEQUENCE), []
        while names.more:
            values.append(ber.tlv(SEQUENCE, ber.oid(names.inside(SEQUENCE).oid()), ber.integer(4711)))
        body = ber.tlv(RESPONSE, ber.integer(request), ber.integer(0), ber.integer(0), ber.tlv(SEQUENCE, *values))
        scoped = ber.tlv(SEQUENCE, ber.octets(IMPOSTOR.engine), ber.octets(b""), body)
        self.transport.sendto(build_message(IMPOSTOR, message.msg_id, message.user, Keys(), scoped), source)


@pytest.mark.parametrize("engine", [SnmpEngine.AUTO, SnmpEngine.PYSNMP])
def test_an_unauthenticated_answer_is_not_accepted_if_the_inventory_has_auth(engine: SnmpEngine) -> None:
    async def run() -> str:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Impostor, ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        snmp = Snmp(SnmpVersion.V3, user="ops", auth=SnmpAuth.SHA, auth_secret="ops", engine=engine)
        device = Device("ups", "room", Category.UPS, "snmp", f"127.0.0.1:{port}", timeout_s=1.0, retries=0, snmp=snmp)
        probe = kinds.build(
            "snmp", ProbeContext(SystemClock(), Secrets(None, {"WATCHKEEPER_SECRET_OPS": "long-enough"}))
        )
        try:
            return str((await probe.sweep(device)).values[0])
        finally:
            await probe.close()
            transport.close()

    assert asyncio.run(run()) == "no"
