"""Makes the channel for an address of contacts.yml."""

import os
from pathlib import Path
from typing import TextIO

from watchkeeper.channels.console import ConsoleChannel
from watchkeeper.channels.ports import Address, Channel, Via
from watchkeeper.channels.sms import SmsChannel
from watchkeeper.channels.webhook import WebhookChannel
from watchkeeper.documents.secrets import Secret, Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import ChannelError, SecretError

_TIMEOUT_S = 10.0
_SMS_TIMEOUT_S = 40.0
"""A modem needs seconds for each part, and gammu-smsd may look into its outbox only every 30 seconds (CommTimeout)."""


def open_channel(
    address: Address, secrets: Secrets, clock: Clock, console: TextIO, timeout_s: float | None = None
) -> Channel:
    """Make the channel for an address. `clock` gives the time of signatures, `console` is the stream of console
    messages. `timeout_s` limits each delivery; without it the channel's own limit counts. Raises SecretError if the
    address's secret is missing or empty, ChannelError if gammu-smsd's folders cannot be used. The channel need not be closed."""
    if address.via is Via.CONSOLE:
        return ConsoleChannel(console)
    if address.via is Via.SMS:
        spool = Path(address.spool)
        _check_spool(spool)
        return SmsChannel(address.to, spool, clock, timeout_s or _SMS_TIMEOUT_S)
    timeout_s = timeout_s or _TIMEOUT_S
    secret = _required_secret(address.secret, secrets)
    if address.via is Via.WEBHOOK:
        return WebhookChannel(address.url, secret, clock, timeout_s)
    from watchkeeper.channels.apprise import AppriseChannel  # noqa: PLC0415 -- a large library, which is not installed with an agent

    return AppriseChannel(secret, timeout_s, clock)


def _check_spool(spool: Path) -> None:
    needed = {"outbox": os.W_OK | os.X_OK, "sent": os.X_OK, "error": os.X_OK}
    for name, access in needed.items():
        if not os.access(spool / name, access):
            raise ChannelError(
                f"{spool / name} cannot be used: install gammu-smsd, and let this user write there (docs/operators.md)"
            )


def _required_secret(name: str, secrets: Secrets) -> Secret:
    secret = secrets.get(name)
    if not secret.reveal().strip():
        raise SecretError(f"the secret `{name}` is empty; the channel cannot be used without it")
    return secret
