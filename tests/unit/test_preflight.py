"""A channel that cannot deliver is reported before the first fault."""

from pathlib import Path

from watchkeeper.channels.open import open_channel
from watchkeeper.channels.ports import Address, Channel, Via
from watchkeeper.collector.notify.preflight import unreachable, unusable_links
from watchkeeper.collector.site.inventory import Person, PersonAddress
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock


def test_an_unreachable_person_is_named_with_the_channel_and_the_reason(tmp_path: Path) -> None:
    secrets = Secrets(None, {"WATCHKEEPER_SECRET_KNOWN": "key", "WATCHKEEPER_SECRET_EMPTY": " "})

    def opener(address: Address) -> Channel:
        with (tmp_path / "console").open("w", encoding="utf-8") as console:
            return open_channel(address, secrets, FakeClock(), console)

    people = [
        Person(
            "ann",
            "Ann",
            (PersonAddress(Via.CONSOLE), PersonAddress(Via.WEBHOOK, url="http://127.0.0.1/", secret="known")),
        ),
        Person("bob", "Bob", (PersonAddress(Via.WEBHOOK, url="http://127.0.0.1/", secret="absent"),)),
        Person("eve", "Eve", (PersonAddress(Via.APPRISE, secret="empty"),)),
    ]
    bob, eve = unreachable(people, opener)
    assert bob.startswith("bob cannot be notified by webhook: no secret called `absent`")
    assert eve.startswith("eve cannot be notified by apprise: the secret `empty` is empty")


def test_links_that_help_nobody_are_reported() -> None:
    here = [Person("ann", "Ann", (Address(Via.CONSOLE),))]
    away = [*here, Person("bob", "Bob", (Address(Via.CONSOLE), Address(Via.APPRISE, secret="phone")))]
    assert not list(unusable_links("http://127.0.0.1:8760", here, signed=False))
    assert not list(unusable_links("https://watch.example", away, signed=True))
    (local,) = unusable_links("http://localhost:8760", away, signed=True)
    assert local.startswith("links in messages begin with http://localhost:8760, which only this machine can open")
    assert "bob" in local
    (unsigned,) = unusable_links("https://watch.example", away, signed=False)
    assert "`link_key`" in unsigned
