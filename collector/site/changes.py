"""What a record of a change says about it: the difference to the files before, and who made it."""

import difflib
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from watchkeeper.collector.site.files import SiteFiles

CONTEXT_LINES = 3
COMPARED_LINES = 2_000
"""A changed stretch with more lines is shown as removed and added: finding what is the same in it takes too long."""

_GIT_TIMEOUT_S = 5.0
_GIT = ("git", "--no-pager", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
"""The folder may belong to another user. Reading it starts no program that its repository names."""


def diff_of(before: SiteFiles, after: SiteFiles) -> str:
    """The changes as a unified diff, file by file; empty if the files are the same."""
    parts = []
    for name in sorted({*before.texts, *after.texts}):
        old, new = before.texts.get(name), after.texts.get(name)
        if old != new:
            names = ("/dev/null" if old is None else f"a/{name}", "/dev/null" if new is None else f"b/{name}")
            parts.append("".join(_unified((old or "").splitlines(), (new or "").splitlines(), *names)))
    return "".join(parts)


def counts_of(diff: str) -> dict[str, tuple[int, int]]:
    """How many lines of each file a diff adds and removes."""
    found: dict[str, tuple[int, int]] = {}
    name = ""
    lines = iter(diff.splitlines())
    for line in lines:
        if line.startswith("--- "):  # the head of a file, two lines
            old, new = line[4:], next(lines, "")[4:]
            name = (old if new == "/dev/null" else new)[2:]
            found[name] = (0, 0)
        elif name and line[:1] in ("+", "-"):
            added, removed = found[name]
            found[name] = (added + 1, removed) if line[0] == "+" else (added, removed + 1)
    return found


def _unified(old: Sequence[str], new: Sequence[str], old_name: str, new_name: str) -> Iterator[str]:
    """The lines of a unified diff. Only what lies between the equal beginning and the equal end is compared."""
    start = _equal(old, new)
    end = _equal(old[start:][::-1], new[start:][::-1])
    if max(len(old), len(new)) - start - end <= COMPARED_LINES:
        first = max(0, start - CONTEXT_LINES)
        last = max(0, end - CONTEXT_LINES)
        groups = difflib.unified_diff(
            old[first : len(old) - last], new[first : len(new) - last], old_name, new_name, n=CONTEXT_LINES, lineterm=""
        )
        for line in groups:
            yield (_moved(line, first) if line.startswith("@@ ") else line) + "\n"
        return
    yield f"--- {old_name}\n+++ {new_name}\n"
    removed, added = old[start : len(old) - end], new[start : len(new) - end]
    places = (
        f"{start + bool(lines)},{len(lines)}" for lines in (removed, added)
    )  # an empty stretch counts from the line before
    yield "@@ -{} +{} @@\n".format(*places)
    yield from (f"-{line}\n" for line in removed)
    yield from (f"+{line}\n" for line in added)


def _equal(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines are the same at the beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _moved(head: str, lines: int) -> str:
    """The head of a group, `@@ -3,7 +3,8 @@`, with its numbers in the whole file."""
    old, new = (part[1:] for part in head.split()[1:3])
    return "@@ -{} +{} @@".format(*(_shifted(one, lines) for one in (old, new)))


def _shifted(place: str, lines: int) -> str:
    first, comma, count = place.partition(",")
    return f"{int(first) + lines}{comma}{count}"


# ---- who ----


def author_of(folder: Path, files: SiteFiles) -> str:
    """Who made the files of a folder that is a git repository: author and commit. Empty where it is none, where git is not
    installed, and while a file is not committed."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return ""
    listed = _git(folder, "ls-tree", "-r", "-z", "HEAD", "--", *_whole(files.texts))
    committed = dict(_blob(line) for line in listed.split("\0") if line)
    if committed != {name: _object_name(text) for name, text in files.texts.items()}:
        return ""
    return _git(folder, "log", "-1", "--format=%an <%ae>, commit %h", "--", *_whole(files.texts)).strip()


def _whole(texts: Mapping[str, str]) -> list[str]:
    """Names that git takes as they are, and no patterns. A folder stands for its files, also for those that were removed."""
    return sorted({f":(literal){name.partition('/')[0]}" for name in texts})


def _blob(line: str) -> tuple[str, str]:
    """Name and object name of `100644 blob OBJECT<tab>NAME`."""
    head, _, name = line.partition("\t")
    return name, head.split()[2]


def _object_name(text: str) -> str:
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _git(folder: Path, *arguments: str) -> str:
    """The output of git; empty if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C.UTF-8",
    }
    try:
        done = subprocess.run(  # noqa: S603 -- names of files follow `--`, and no shell reads them
            [*_GIT, "-C", str(folder), *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_GIT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
