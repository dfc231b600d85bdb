"""Which channels have a way back, and the thread that takes what comes in."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.channels.ports import Address, Via
from watchkeeper.channels.sms_inbox import usable_inbox
from watchkeeper.collector.notify.message.answer_line import WayBack
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import SecretError, StoreError
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class WaysBack:
    """The ways back that collector.yml allows."""

    secrets: Secrets
    sms: bool = False
    mail: bool = False

    def __call__(self, address: Address) -> WayBack:
        """How a person can answer what leaves by this address."""
        if self.sms and address.via is Via.SMS and usable_inbox(Path(address.spool)):
            return WayBack.SMS
        if self.mail and address.via is Via.APPRISE and self._is_mail(address):
            return WayBack.MAIL
        return WayBack.NONE

    def _is_mail(self, address: Address) -> bool:
        try:
            return self.secrets.get(address.secret).reveal().startswith(("mailto:", "mailtos:"))
        except SecretError:  # the delivery says so
            return False


class ReplyTaker:
    """A thread that calls `take` every `every_s` seconds, and `changed` after it has taken something."""

    def __init__(
        self, name: str, take: Callable[[], int], every_s: float, changed: Callable[[], None], clock: Clock
    ) -> None:
        self._take, self._every_s, self._changed = take, every_s, changed
        self.worker = Worker(name, self._turn, clock)

    def start(self) -> None:
        """Start the thread."""
        self.worker.start()

    def stop(self) -> None:
        """Stop after the present turn."""
        self.worker.stop(_STOP_S)

    def _turn(self) -> float:
        try:
            if self._take():
                self._changed()
        except StoreError as error:
            log.warning("replies wait for the store: %s", error)
        return self._every_s
