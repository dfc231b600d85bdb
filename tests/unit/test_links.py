"""Personal links: what is signed, and what is not believed."""

import base64
import stat
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.collector_room import Room
from watchkeeper.collector.access import links
from watchkeeper.collector.access.links import (
    SIGN_IN,
    TROUBLE,
    Link,
    Links,
    ends_at,
    own_secret,
    rotate,
    seal,
    spend,
    unseal,
)
from watchkeeper.collector.notify.notice import PATHS, About
from watchkeeper.collector.process import sign_in as sign_in_process
from watchkeeper.collector.process.sign_in import request_link
from watchkeeper.collector.store.schema import outbox, sign_in, trouble
from watchkeeper.model.errors import SecretError

KEY = b"k" * 32
ALPHABET = string.ascii_letters + string.digits + "-_"
a_link = st.builds(
    Link, person=st.text(min_size=1, max_size=40, alphabet=st.characters(exclude_categories=["Cs"])),
    about=st.sampled_from([TROUBLE, SIGN_IN]), id=st.integers(0, 2**53), issued_at=st.integers(0, 2**32 - 1),
)  # fmt: skip


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        room.heat()
        yield room


def links_of(room: Room) -> Links:
    assert room.runtime.links
    return room.runtime.links


# ---- the text ----


@given(a_link)
def test_a_link_is_read_as_it_was_sealed(link: Link) -> None:
    assert unseal(seal(link, KEY), lambda _: KEY) == link


@given(a_link)
def test_another_key_reads_nothing(link: Link) -> None:
    assert unseal(seal(link, KEY), lambda _: b"K" * 32) is None


@given(a_link, st.data())
def test_no_changed_bit_is_believed(link: Link, data: st.DataObject) -> None:
    text = seal(link, KEY)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    assert unseal(base64.urlsafe_b64encode(raw).decode().rstrip("="), lambda _: KEY) is None


@given(a_link, st.data())
def test_no_changed_character_is_believed(link: Link, data: st.DataObject) -> None:
    """Also where base64 would decode to the same bytes."""
    text = seal(link, KEY)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "=+/\n é"))
    assume(other != text[place])
    for changed in (text[:place] + other + text[place + 1 :], text[:place] + other + text[place:], text + other):
        assert unseal(changed, lambda _: KEY) is None


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert unseal(text, lambda _: KEY) is None


@given(a_link, a_link)
def test_a_signature_fits_one_link(one: Link, other: Link) -> None:
    """The tag of one with the content of another: another person, thing or time."""
    assume(one != other)
    tags, bodies = (
        base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in (seal(one, KEY), seal(other, KEY))
    )
    assert unseal(base64.urlsafe_b64encode(tags[:16] + bodies[16:]).decode().rstrip("="), lambda _: KEY) is None


def test_a_link_fits_into_a_short_message() -> None:
    text = seal(Link("zhang.wei", TROUBLE, 4711, 1_795_201_200), KEY)
    assert len(text) <= 48
    assert set(text) <= set(ALPHABET)


def test_everything_a_notice_can_be_about_has_a_page_and_a_link() -> None:
    assert PATHS.keys() == set(About) - {About.TEST, About.REPLY}, (
        "a test asks for nothing; a reply links to its trouble"
    )
    assert {about.value for about in PATHS} == {TROUBLE, SIGN_IN}


# ---- the key ----


def test_a_rotation_ends_the_links_of_one_person_or_of_all(room: Room) -> None:
    ours = links_of(room)

    def read() -> list[bool]:
        room.clock.advance(2)
        return [ours.read(text) is not None for text in texts]

    texts = [ours.sign(person, TROUBLE, 1, 100.0) for person in ("zhang.wei", "li.na")]
    assert read() == [True, True]
    rotate(room.store, room.clock.wall(), "zhang.wei")
    assert read() == [False, True]
    rotate(room.store, room.clock.wall())
    assert read() == [False, False]
    assert ours.read(ours.sign("li.na", TROUBLE, 1, 100.0)) == Link("li.na", TROUBLE, 1, 100)


def test_collectors_with_one_secret_read_each_others_links(room: Room) -> None:
    one, same, other = (Links(room.store, room.clock, secret * 32) for secret in "aab")
    text = one.sign("li.na", TROUBLE, 1, 100.0)
    assert same.read(text) == Link("li.na", TROUBLE, 1, 100)
    assert other.read(text) is None


def test_a_short_secret_is_refused(room: Room) -> None:
    with pytest.raises(SecretError, match="has 31 characters; give it at least 32") as refused:
        Links(room.store, room.clock, "s" * 31)
    assert "sss" not in str(refused.value)


def test_the_secret_of_a_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "links.key"
    first = own_secret(file)
    assert len(first) >= links.SECRET_LENGTH
    assert own_secret(file) == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    file.chmod(0o644)
    with pytest.raises(SecretError, match="other users can read it"):
        own_secret(file)
    with pytest.raises(SecretError, match="cannot be made: No such file or directory"):
        own_secret(tmp_path / "absent" / "links.key")


# ---- how long ----


def test_a_link_ends_a_day_after_its_incident(room: Room) -> None:
    def ends(number: int = 1) -> float | None:
        with room.store.read() as connection:
            return ends_at(connection, Link("zhang.wei", TROUBLE, number, 0))

    assert ends() is None
    with room.store.write() as connection:
        connection.execute(sa.update(trouble), {"state": "resolved", "ended_at": 500.0})
    assert ends() == 500.0 + 86_400
    assert ends(2) == 0.0


def asked(room: Room, name: str = "zhang.wei") -> bool:
    return request_link(room.runtime.notifier(), name, room.clock.wall())


def test_a_sign_in_link_works_once_for_its_person_within_an_hour(room: Room) -> None:
    assert asked(room)
    now = room.clock.wall()
    link = Link("zhang.wei", SIGN_IN, 1, int(now))
    with room.store.read() as connection:
        assert ends_at(connection, link) == now + 3600
        assert ends_at(connection, Link("li.na", SIGN_IN, 1, int(now))) == 0.0
        assert ends_at(connection, Link("zhang.wei", SIGN_IN, 2, int(now))) == 0.0
    assert not spend(room.store, Link("li.na", SIGN_IN, 1, int(now)), now)
    assert not spend(room.store, Link("zhang.wei", TROUBLE, 1, int(now)), now)
    assert not spend(room.store, link, now + 3600)
    assert spend(room.store, link, now + 3599)
    assert not spend(room.store, link, now + 3599)
    with room.store.read() as connection:
        assert ends_at(connection, link) == 0.0


def test_a_person_gets_one_link_a_minute_and_five_an_hour(room: Room) -> None:
    sent = 0
    for _ in range(12):
        sent += asked(room)
        assert not asked(room)
        room.clock.advance(61)
    assert sent == sign_in_process.EACH_AN_HOUR
    assert asked(room, "li.na"), "the limit of one person is not the limit of another"
    room.clock.advance(3600)
    assert asked(room)


def test_all_together_have_a_limit(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_process, "ALL_AN_HOUR", 2)
    assert [asked(room, name) for name in ("zhang.wei", "li.na", "sun.tao")] == [True, True, False]


@pytest.mark.parametrize("name", ["", "nobody", "zhang.wei ", "duty"])
def test_nobody_else_gets_a_link(room: Room, name: str) -> None:
    assert not asked(room, name)
    with room.store.read() as connection:
        assert not connection.execute(sa.select(sign_in)).all()


def test_a_person_may_be_called_by_the_displayed_name(room: Room) -> None:
    assert asked(room, "张伟")
    with room.store.read() as connection:
        row = connection.execute(sa.select(outbox).where(outbox.c.about == "sign-in")).one()
    assert (row.person, row.kind, row.expires_at) == ("zhang.wei", "sign-in", room.clock.wall() + 3600)
    assert row.text.splitlines()[-1] == "https://watch.example/sign-in/1", "the link itself is not in the store"
