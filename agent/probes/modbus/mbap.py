"""Transaction ids of Modbus TCP (Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3). An answer repeats the id of its
request; some gateways put another one there."""

NO_ID = b"\x00\x00"


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
