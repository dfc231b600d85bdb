"""Two collectors with a folder each: what is in force lives in the store, and both go by it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.story.pair_room import PairRoom, inventory
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.intake.turns import Answer, Waiting
from watchkeeper.collector.process.apply import apply_events
from watchkeeper.collector.site.in_force import FolderStanding
from watchkeeper.collector.store.configurations.activations import How
from watchkeeper.collector.store.peers import CollectorIdentity, enter
from watchkeeper.collector.store.schema import activation, incident
from watchkeeper.model.errors import ConfigError
from watchkeeper.model.verdict import Evidence, Level, Verdict
from watchkeeper.model.wire import decode_push, encode_event


@pytest.fixture
def room(store_url: str, tmp_path: Path) -> Iterator[PairRoom]:
    room = PairRoom(store_url, tmp_path)
    yield room
    room.close()


def fault(device: str, at: float) -> Verdict:
    evidence = Evidence("cpu.usage", 99.0, "above 85 %", "", 99.0, at)
    return Verdict(f"v-{device}", device, "server.cpu-busy", "", Level.WARNING, at, evidence)


def report(room: PairRoom, device: str) -> None:
    """An open incident about a device, by collector a."""
    with room.store.write() as connection:
        now = room.clock.wall()
        apply_events(connection, room.a.running.notifier(), [("room-1", fault(device, now))], now)


# ---- one collector: as ever ----


def test_a_single_collector_needs_no_new_step(room: PairRoom) -> None:
    room.a.start()
    room.a.write(inventory=inventory("web-1", "web-2"))
    room.turns()
    assert room.a.devices == ["web-1", "web-2"]
    room.a.stop()
    room.a.write(inventory=inventory("web-3"))  # while it is stopped
    room.a.start()
    assert room.a.devices == ["web-3"]
    assert [(one.number, one.how) for one in room.history] == [(1, How.START), (2, How.CHANGE), (3, How.START)]
    assert room.a.running.standing is FolderStanding.IN_FORCE
    assert room.a.running.notice == room.a.running.problem == ""


def test_a_single_collector_goes_back_to_an_older_folder(room: PairRoom) -> None:
    """`git checkout` of an older state, while it runs or while it is stopped, is an edit like another."""
    older = (room.a.folder / "inventory.yml").read_text()
    room.a.start()
    for stopped in (False, True):
        room.a.write(inventory=inventory("web-2"))
        room.turns()
        assert room.a.devices == ["web-2"]
        if stopped:
            room.a.stop()
        (room.a.folder / "inventory.yml").write_text(older)
        if stopped:
            room.a.start()
        room.turns()
        assert room.a.devices == ["web-1"]
    assert [one.number for one in room.history] == [1, 2, 3, 4, 5]


def test_a_start_without_a_change_writes_no_record(room: PairRoom) -> None:
    for _ in range(3):
        room.a.start()
        room.turns()
        room.a.stop()
    assert len(room.history) == 1


def test_a_folder_with_errors_at_the_start_leaves_in_force_what_was(
    room: PairRoom, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that starts again at night with a half-edited file goes on watching."""
    good = (room.a.folder / "inventory.yml").read_text()
    room.a.start().stop()
    room.a.write(inventory="agents: [\n")
    room.a.start()
    assert room.a.devices == ["web-1"]
    assert "inventory.yml" in room.a.running.problem
    assert room.a.running.standing is FolderStanding.INVALID
    assert "inventory.yml" in caplog.text
    (room.a.folder / "inventory.yml").write_text(good)
    room.turns()
    assert room.a.running.problem == ""
    assert room.a.running.standing is FolderStanding.IN_FORCE
    assert len(room.history) == 1


def test_the_first_start_with_errors_is_refused(room: PairRoom) -> None:
    room.a.write(inventory="agents: [\n")
    with pytest.raises(ConfigError, match=r"inventory\.yml"):
        room.a.start()
    assert room.history == []


# ---- two collectors ----


def test_a_change_of_either_folder_is_in_force_for_both(room: PairRoom) -> None:
    room.a.start()
    room.b.start()
    room.a.write(inventory=inventory("web-1", "web-2"))
    room.turns()
    assert room.a.devices == room.b.devices == ["web-1", "web-2"]
    assert room.a.running.snapshot.bundles["room-1"].version == room.b.running.snapshot.bundles["room-1"].version
    assert room.b.running.standing is FolderStanding.OLDER
    room.copy(room.a, room.b)
    room.turns()
    assert room.b.running.standing is FolderStanding.IN_FORCE
    room.b.write(inventory=inventory("web-3"))
    room.turns()
    assert room.a.devices == room.b.devices == ["web-3"]
    last = room.history[-1]
    assert (last.number, last.collector, last.how, last.activated_at > 0) == (3, "b", How.CHANGE, True)
    assert "-  - {device: web-2" in last.diff
    assert "+  - {device: web-3" in last.diff
    assert room.files(3).version == last.version


def test_a_collector_with_an_older_folder_follows_and_withdraws_nothing(
    room: PairRoom, caplog: pytest.LogCaptureFixture
) -> None:
    """The error that this mends: each collector withdrew the incidents of devices that only the other one had."""
    room.a.start()
    room.b.start().stop()
    room.a.write(inventory=inventory("web-1", "web-2"))
    room.turns()
    report(room, "web-2")
    room.b.start()
    for _ in range(3):
        room.turns()
        room.b.reloader.reload()
    assert room.states() == [("web-2", "open")]
    assert room.b.devices == ["web-1", "web-2"]
    assert room.b.running.notice == (
        "This collector follows configuration 2, which collector a put in force. Its own folder has the older "
        "configuration 1, and is not used. Bring the folder up to date."
    )
    assert caplog.text.count("follows configuration 2") == 1
    assert len(room.history) == 2


def test_an_older_folder_is_followed_also_when_the_other_collector_is_gone(room: PairRoom) -> None:
    room.a.start()
    room.b.start().stop()
    room.a.write(inventory=inventory("web-1", "web-2"))
    room.turns()
    room.a.stop()
    room.away(86_400)
    room.b.start()
    assert room.b.devices == ["web-1", "web-2"]
    assert room.b.running.standing is FolderStanding.OLDER


def test_an_unknown_folder_does_not_enter_beside_a_running_collector(room: PairRoom) -> None:
    room.a.start()
    room.b.write(inventory=inventory("other-1"))
    room.b.start()
    room.turns()
    assert room.a.devices == room.b.devices == ["web-1"]
    assert room.b.running.standing is FolderStanding.DIFFERS
    room.b.write(inventory=inventory("other-2"))  # still not made on what is in force
    room.turns()
    assert room.a.devices == room.b.devices == ["web-1"]


def test_an_unknown_folder_enters_where_no_collector_runs(room: PairRoom) -> None:
    room.a.start()
    room.a.stop()
    room.away()
    room.b.write(inventory=inventory("other-1"))
    room.b.start()
    assert room.b.devices == ["other-1"]
    room.a.start()
    assert room.a.devices == ["other-1"]
    assert room.a.running.standing is FolderStanding.OLDER


def test_of_two_edits_in_one_moment_the_second_is_kept_and_said(
    room: PairRoom, caplog: pytest.LogCaptureFixture
) -> None:
    room.a.start()
    room.b.start()
    room.a.write(inventory=inventory("from-a"))
    room.b.write(inventory=inventory("from-b"))
    room.turns()
    assert room.a.devices == room.b.devices == ["from-a"]
    assert room.b.running.standing is FolderStanding.DIFFERS
    assert "NOT in force" in caplog.text
    assert "from-b" in (room.b.folder / "inventory.yml").read_text()


def test_the_same_edit_on_both_folders_is_one_change(room: PairRoom) -> None:
    """A tool that lays the files out on both machines."""
    room.a.start()
    room.b.start()
    for one in (room.a, room.b):
        one.write(inventory=inventory("web-1", "web-2"))
    room.turns()
    assert len(room.history) == 2
    assert [one.running.standing for one in (room.a, room.b)] == [FolderStanding.IN_FORCE] * 2
    room.b.write(inventory=inventory("web-9"))
    room.turns()
    assert room.a.devices == ["web-9"], "the folder of b has what is in force: it may change it"


def test_files_that_arrive_one_by_one_on_both_machines_take_nothing_back(room: PairRoom) -> None:
    """Each machine gets its files in another sequence; in between their folders differ."""
    room.a.start()
    room.b.start()
    contacts = (room.a.folder / "contacts.yml").read_text() + "# new\n"
    room.a.write(inventory=inventory("web-1", "web-2"))
    room.turns()
    report(room, "web-2")
    room.b.write(contacts=contacts)
    room.turns()
    room.a.write(contacts=contacts)
    room.turns()
    room.b.edits = 0
    room.copy(room.a, room.b)
    room.turns()
    assert room.states() == [("web-2", "open")]
    assert room.a.devices == room.b.devices == ["web-1", "web-2"]
    assert room.b.running.standing is FolderStanding.IN_FORCE


def test_two_that_start_at_once_with_different_folders_have_one_configuration(
    room: PairRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.b.write(inventory=inventory("from-b"))
    load = room.b.__class__.start
    entered: list[str] = []

    def author(_folder: Path, _files: object) -> str:
        if not entered:  # between b's look and its write
            entered.append("a")
            load(room.a)
        return ""

    from watchkeeper.collector.process.configuration import reload  # noqa: PLC0415 -- its default is replaced

    reloader = reload.ConfigReloader(room.b.folder, "b", author)
    snapshot = reloader.choose(room.store, room.clock.wall())
    assert list(snapshot.devices) == ["web-1"]
    assert [one.collector for one in room.history] == ["a"]


# ---- what another collector's change must not cost ----


def test_what_an_agent_reports_waits_until_the_change_is_taken_over(room: PairRoom) -> None:
    """An agent has the bundle of a already, and pushes a fault of the new device to b, which does not know it yet."""
    room.a.start()
    room.b.start()
    room.a.write(inventory=inventory("web-1", "web-2"))
    room.clock.advance(0.5)
    for _ in range(2):
        room.a.turn()
    if room.store.embedded:  # several collectors need PostgreSQL; with SQLite no agent knows more than the only one
        assert not room.b.running.is_behind()
        return
    assert room.b.running.is_behind()
    journal = Journal(room.store, room.b.running, room.clock, lambda: None)
    now = room.clock.wall()
    item = {"seq": 1, **encode_event(fault("web-2", room.clock.boot()), room.clock.boot())}
    push = {
        "protocol": 1, "agent": "room-1", "epoch": "e", "lane": "events", "more": False, "sent_at": now, "items": [item],
    }  # fmt: skip
    answers: list[Answer] = []
    journal.turn([Waiting(decode_push(push, now), json.dumps(push).encode(), now, answers.append)])
    assert answers == [1]
    assert room.states() == []
    room.b.turn()
    journal.turn([])
    assert room.states() == [("web-2", "open")]


def test_what_is_in_force_but_cannot_be_used_is_said_and_changes_nothing(room: PairRoom) -> None:
    """Another release wrote it."""
    room.a.start()
    files = room.files(1)
    newer = type(files)({**files.texts, "inventory.yml": "future: yes\n"})
    row = {
        "number": 2, "version": newer.version, "files": newer.pack(), "activated_at": 0.0, "collector": "b", "author": "",
        "how": "change", "diff": "",
    }  # fmt: skip
    with room.store.write() as connection:
        connection.execute(sa.insert(activation), row)
    room.turns()
    assert room.a.devices == ["web-1"]
    assert room.a.running.standing is FolderStanding.UNUSABLE
    assert "cannot use configuration 2" in room.a.running.notice
    assert not room.a.running.is_behind(), "it goes on with what it has"


def test_a_store_set_back_is_decided_anew(room: PairRoom) -> None:
    room.a.start()
    room.a.write(inventory=inventory("web-1", "web-2"))
    room.turns()
    with room.store.write() as connection:
        connection.execute(sa.delete(activation).where(activation.c.number == 2))
    room.turns()
    assert room.a.devices == ["web-1", "web-2"]
    assert room.a.running.standing is FolderStanding.IN_FORCE
    assert [one.number for one in room.history][-1] == 2


# ---- the finding ----


def test_a_folder_that_is_not_in_force_becomes_an_incident_of_that_collector(room: PairRoom) -> None:
    room.a.start()
    room.b.start()
    room.a.write(inventory=inventory("web-1", "web-2"))
    room.turns()
    for _ in range(24):
        room.clock.advance(30)
        for one in (room.a, room.b):
            enter(room.store, CollectorIdentity(one.name), "1", room.clock.wall())
            one.own_rules.look()
    with room.store.read() as connection:
        (row,) = connection.execute(sa.select(incident)).all()
    assert (row.device, row.rule, row.instance, row.level, row.state) == (
        "collector", "watchkeeper.configuration", "b", "warning", "open",
    )  # fmt: skip
    room.copy(room.a, room.b)
    room.turns()
    for _ in range(24):
        room.clock.advance(30)
        room.b.own_rules.look()
    assert room.states() == [("collector", "resolved")]
