"""Opens what the collector needs from outside: secrets, store, links, channels, the mailbox, the watch over itself."""

import os
import ssl
import sys
from functools import partial

from watchkeeper.channels.mail_inbox import ImapOverTls, Mailbox
from watchkeeper.channels.open import open_channel
from watchkeeper.channels.ports import Receipt
from watchkeeper.collector.access.links import Links, own_secret
from watchkeeper.collector.notify.outbox import Opener
from watchkeeper.collector.process.health.emergency import Emergency
from watchkeeper.collector.process.health.health import Health
from watchkeeper.collector.process.health.heartbeat import Heartbeat, checked
from watchkeeper.collector.process.health.self_watch import SelfWatch
from watchkeeper.collector.site.settings import SECRET_PREFIX, ConfigFile, MailRepliesConfig
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import SecretError

_IMAP_WAIT_S = 10.0
_LINK_KEY_FILE = "links.key"


def open_secrets(config_file: ConfigFile) -> Secrets:
    """The collector's secrets. Raises SecretError."""
    return Secrets(config_file.path(config_file.config.secrets) if config_file.config.secrets else None)


def open_store(config_file: ConfigFile, secrets: Secrets) -> Store:
    """Open the store that collector.yml names, and upgrade its schema. Raises StoreError, SecretError."""
    written = config_file.config.store
    if written.startswith(SECRET_PREFIX):
        store = Store(secrets.get(written.removeprefix(SECRET_PREFIX)).reveal())
    else:
        file = config_file.path(written)
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        store = Store(f"sqlite:///{file}")
    migrate(store)
    return store


def open_links(config_file: ConfigFile, secrets: Secrets, store: Store, clock: Clock) -> Links | None:
    """What signs personal links: with the secret `link_key`, or with a secret that is made once beside an SQLite store. None
    for PostgreSQL without `link_key`. Raises SecretError."""
    name = config_file.config.link_key
    if name is not None:
        return Links(store, clock, secrets.get(name).reveal())
    return Links(store, clock, own_secret(store.folder / _LINK_KEY_FILE)) if store.folder else None


def open_channels(secrets: Secrets, clock: Clock) -> Opener:
    """The function that opens the channel for an address in contacts.yml."""
    return partial(open_channel, secrets=secrets, clock=clock, console=sys.stderr)


def open_mailbox(config: MailRepliesConfig, secrets: Secrets) -> Mailbox:
    """The mailbox to which persons answer, by IMAP over TLS. Raises SecretError."""
    trust = ssl.create_default_context()
    connect = partial(ImapOverTls, config.host, config.port, ssl_context=trust, timeout=_IMAP_WAIT_S)
    return Mailbox(connect, config.user, secrets.get(config.secret), config.folder)


def open_watch(
    config_file: ConfigFile, secrets: Secrets, clock: Clock, snapshot: Snapshot, opener: Opener | None = None
) -> SelfWatch:
    """The watch of the collector over itself, which needs no store. `opener` opens the channels, in place of the real ones."""
    config, health = config_file.config, Health(clock)
    emergency = Emergency(health, clock, opener or open_channels(secrets, clock), config.own_name, lambda: snapshot)
    if config.heartbeat is None:
        return SelfWatch(health, emergency)
    name, every_s = config.heartbeat.secret, config.heartbeat.every_s
    try:
        heartbeat = Heartbeat(checked(secrets.get(name), name), every_s, health, clock)
    except (
        SecretError
    ) as error:  # no reason not to start: a heartbeat that is not sent is a fault that people are told of
        refused = Receipt(delivered=False, detail=str(error))
        heartbeat = Heartbeat("", every_s, health, clock, lambda _: refused)
    return SelfWatch(health, emergency, heartbeat)
