"""Sends one message directly, without the outbox: a test page, or an emergency in which there is no store."""

import threading
from collections.abc import Callable

from watchkeeper.channels.ports import Address, Channel, Message, Receipt
from watchkeeper.collector.notify.delivery.robots import deadline_of
from watchkeeper.model.errors import WatchkeeperError


def send_directly(address: Address, message: Message, opener: Callable[[Address], Channel]) -> Receipt:
    """Send the message once, in a thread of its own: a channel that hangs is a failure after its deadline."""
    outcomes: list[Receipt] = []

    def send() -> None:
        try:
            outcomes.append(opener(address).send(message))
        except WatchkeeperError as error:  # for instance: its secret is missing
            outcomes.append(Receipt(delivered=False, detail=str(error), permanent=True))
        except Exception as error:  # noqa: BLE001 -- a bug in a channel is a failure of this channel
            outcomes.append(Receipt(delivered=False, detail=f"the channel failed: {type(error).__name__}"))

    thread = threading.Thread(target=send, name="direct delivery", daemon=True)
    thread.start()
    deadline_s = deadline_of(address)
    thread.join(deadline_s)
    return outcomes[0] if outcomes else Receipt(delivered=False, detail=f"no answer within {deadline_s:.0f} s")
