"""The files of the configuration, what is in force, and what a record of a change says."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.collector.site import changes
from watchkeeper.collector.site.changes import author_of, counts_of, diff_of
from watchkeeper.collector.site.files import SiteFiles, read_files, stats_of
from watchkeeper.collector.site.in_force import Folder, FolderStanding, InForce, Move, at_change, at_start, standing
from watchkeeper.model.errors import ConfigError

NOW = InForce(6, "new")


# ---- what is in force ----


@pytest.mark.parametrize(
    ("folder", "company", "move"),
    [
        (Folder("new"), True, Move.STAY),
        (Folder("new", 3, 6), False, Move.STAY),
        (Folder("mine"), True, Move.FOLLOW),
        (Folder("mine", 6), True, Move.FOLLOW),
        (Folder("mine"), False, Move.ACTIVATE),
        (Folder("mine", 6), False, Move.ACTIVATE),
        (Folder("mine", 6, 2), False, Move.ACTIVATE),
        (Folder("mine", 5, 5), False, Move.FOLLOW),
        (Folder("mine", 5), False, Move.FOLLOW),
        (Folder("mine", 0, 2), False, Move.FOLLOW),
        (Folder("mine", 8), False, Move.ACTIVATE),
    ],
)  # fmt: skip
def test_what_a_start_does(folder: Folder, company: bool, move: Move) -> None:
    assert at_start(folder, NOW, company=company) is move


@pytest.mark.parametrize("company", [True, False])
def test_the_first_start_activates_its_folder(company: bool) -> None:
    assert at_start(Folder("mine"), InForce(), company=company) is Move.ACTIVATE
    assert at_change(Folder("mine"), InForce()) is Move.ACTIVATE


def test_a_change_enters_only_on_top_of_what_is_in_force() -> None:
    assert at_change(Folder("new", 0), NOW) is Move.STAY
    assert at_change(Folder("mine", 6), NOW) is Move.ACTIVATE
    assert at_change(Folder("mine", 5, 5), NOW) is Move.FOLLOW
    assert at_change(Folder("mine", 0), NOW) is Move.FOLLOW


def test_how_a_folder_compares() -> None:
    assert standing(Folder("new"), NOW) is FolderStanding.IN_FORCE
    assert standing(Folder("mine", 6), NOW) is FolderStanding.DIFFERS
    assert standing(Folder("mine", 6, 2), NOW) is FolderStanding.OLDER


# ---- files ----


def test_only_the_site_s_files_are_taken(tmp_path: Path) -> None:
    """collector.yml and files of secrets may be in the same folder; they must never reach the store."""
    for name in ("inventory.yml", "rules/a.yml", "profiles/p.yml", "collector.yml", "agent.yml", "secrets.yml",
                 "collector-secrets.yml", ".hidden.yml", "rules/.#a.yml", "rules/note.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"secret: {name}")
    found = read_files(tmp_path)
    assert sorted(found.texts) == ["inventory.yml", "profiles/p.yml", "rules/a.yml"]
    assert len(stats_of(tmp_path)) == 3
    assert b"collector" not in found.pack()


def test_the_version_is_that_of_the_texts(tmp_path: Path) -> None:
    one = SiteFiles({"inventory.yml": "甲", "rules/a.yml": "b"}, "/here")
    other = SiteFiles({"rules/a.yml": "b", "inventory.yml": "甲"}, "/there")
    assert one.version == other.version == SiteFiles.unpack(one.pack()).version
    assert SiteFiles.unpack(one.pack()).texts == one.texts
    assert one.version != SiteFiles({"inventory.yml": "甲", "rules/b.yml": "b"}).version
    (tmp_path / "inventory.yml").write_text("甲", encoding="utf-8")
    assert read_files(tmp_path).version == SiteFiles({"inventory.yml": "甲"}).version


def test_a_file_that_is_missing_is_named_by_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^/etc/site/ladders\.yml:0:0: cannot be read: No such file or directory$"):
        SiteFiles({}, "/etc/site").document("ladders.yml")


# ---- the diff ----


def patched(before: SiteFiles, diff: str, folder: Path) -> dict[str, str]:
    """The files after patch(1) has applied the diff."""
    for name, text in before.texts.items():
        (folder / name).write_text(text)
    command = ["patch", "-p1", "-s", "-E"]
    subprocess.run(command, input=diff, text=True, cwd=folder, check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


LINES = st.lists(st.sampled_from(["a", "b", "c", "d: 1", "d: 2", ""]), min_size=1, max_size=30).map(
    lambda lines: "".join(f"{one}\n" for one in lines)
)


@given(LINES, LINES)
def test_the_diff_counts_what_it_shows(old: str, new: str) -> None:
    before, after = SiteFiles({"x.yml": old}), SiteFiles({"x.yml": new})
    diff = diff_of(before, after)
    assert bool(diff) == (old != new)
    if diff:
        added, removed = counts_of(diff)["x.yml"]
        assert added - removed == new.count("\n") - old.count("\n")


def test_the_diff_can_be_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("patch") is None:
        pytest.skip("needs patch (Debian: patch)")
    lines = [f"line {number}" for number in range(200)]
    changed = [*lines[:50], "new", *lines[52:120], "other", *lines[120:]]
    before = SiteFiles({"x.yml": "\n".join(lines) + "\n", "gone.yml": "a\n"})
    after = SiteFiles({"x.yml": "\n".join(changed) + "\n", "added.yml": "b\n"})
    for limit in (2_000, 10):  # also where a stretch is too long to be compared
        monkeypatch.setattr(changes, "COMPARED_LINES", limit)
        place = tmp_path / str(limit)
        place.mkdir()
        assert patched(before, diff_of(before, after), place) == after.texts
    assert counts_of(diff_of(before, after)).keys() == {"x.yml", "gone.yml", "added.yml"}


# ---- the author ----


def git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=Li Na", "-c", "user.email=li.na@site.example", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *name, *arguments], check=True, capture_output=True)


def test_the_author_is_that_of_the_commit_while_every_file_is_committed(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git (Debian: git)")
    site = tmp_path / "repository" / "site"
    (site / "rules").mkdir(parents=True)
    for name in ("inventory.yml", "rules/机房.yml"):
        (site / name).write_text(f"{name}: 1\n", encoding="utf-8")
    assert author_of(site, read_files(site)) == ""
    git(site.parent, "init", "-q")
    git(site.parent, "config", "core.fsmonitor", f"touch {tmp_path}/ran")
    git(site.parent, "add", ".")
    assert author_of(site, read_files(site)) == ""
    git(site.parent, "commit", "-q", "-m", "first")
    found = author_of(site, read_files(site))
    assert found.startswith("Li Na <li.na@site.example>, commit ")
    (tmp_path / "ran").unlink(missing_ok=True)
    (site / "inventory.yml").write_text("changed\n")
    assert author_of(site, read_files(site)) == ""
    assert not (tmp_path / "ran").exists()
