"""Transaction ids of Modbus TCP (Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3). An answer repeats the id of its
request; some gateways put another one there."""

from typing import Any

NO_ID = b"\x00\x00"

RECEIVED_BYTES = 64 * 1024
"""What a device may send between two requests. An answer has 260 bytes at most (4.1)."""


def limit_received(protocol: Any, limit_bytes: int = RECEIVED_BYTES) -> None:
    """Close the connection of a device that sends more than that without being asked. pymodbus reads on as long as the device
    sends, also between two sweeps. `protocol` is its asyncio protocol."""
    received, receive, send = 0, protocol.data_received, protocol.send

    def data_received(data: bytes) -> None:
        nonlocal received
        received += len(data)
        if received <= limit_bytes:
            receive(data)
        elif protocol.transport is not None:
            protocol.transport.abort()

    def sending(*arguments: Any, **options: Any) -> None:
        nonlocal received
        received = 0
        send(*arguments, **options)

    protocol.data_received, protocol.low_level_send = data_received, sending


class TransactionIds:
    """Watches the packets of one connection. pymodbus drops an answer with another id, as it should: it may be a late
    answer to an earlier request. `foreign` says that there was one, `repeated` that an answer had the right id. If
    `any_id`, the answer that comes is taken for the one to the last request: that is right only as long as no request of
    this connection has timed out."""

    def __init__(self, *, any_id: bool) -> None:
        self._any_id = any_id
        self._sent = NO_ID
        self.foreign = self.repeated = False

    def trace_packet(self, sending: bool, data: bytes) -> bytes:
        """Called by pymodbus with what it sends, and with what it has received and not yet understood."""
        if sending:
            self._sent = data[:2]
        elif data.startswith(self._sent):
            self.repeated = True
        elif len(data) >= len(NO_ID) and not data.startswith(NO_ID):
            self.foreign = True
            return self._sent + data[2:] if self._any_id else data
        return data
