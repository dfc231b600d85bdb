"""From an address in contacts.yml to a channel that sends."""

from typing import TextIO

from watchkeeper.channels.console import ConsoleChannel
from watchkeeper.channels.ports import Address, Channel, Via
from watchkeeper.channels.webhook import WebhookChannel
from watchkeeper.documents.secrets import Secret, Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import SecretError


def open_channel(address: Address, secrets: Secrets, clock: Clock, console: TextIO, timeout_s: float = 10.0) -> Channel:
    """Make the channel of an address; `clock` dates signatures, `console` is where console messages go. Raises
    SecretError where the address's secret is absent or empty. There is nothing to close."""
    if address.via is Via.CONSOLE:
        return ConsoleChannel(console)
    secret = _secret(address.secret, secrets)
    if address.via is Via.WEBHOOK:
        return WebhookChannel(address.url, secret, clock, timeout_s)
    from watchkeeper.channels.apprise import AppriseChannel  # noqa: PLC0415 -- a large library, and no part of an agent's install

    return AppriseChannel(secret, timeout_s)


def _secret(name: str, secrets: Secrets) -> Secret:
    secret = secrets.get(name)
    if not secret.reveal().strip():
        raise SecretError(f"the secret `{name}` is empty; anybody could sign with it, and nobody be reached by it")
    return secret
