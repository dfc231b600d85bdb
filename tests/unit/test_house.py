"""The rules of the house that no linter knows: lengths, no registry's host, one list of rooms."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES, FUNCTION_LINES = 400, 40

# Taken apart, so that this file is not found by itself.
HOSTS = re.compile(
    r"py[p]i\.org|python[h]osted\.org|registry\.[n]pmjs|deb\.[d]ebian\.org|proxy\.[g]olang", re.IGNORECASE
)
INDEX = re.compile(r"^\s*--?(index-url|extra-index-url|find-links|trusted-host|i\b|f\b)", re.MULTILINE)


def files(*patterns: str) -> list[Path]:
    """What is in the repository, or would be: git's own list, without what .gitignore names."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def too_long(name: str, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines >= FILE_LINES:
        yield f"{name}: {lines} lines"
    if "/migrations/versions/" in name:  # a migration is one flat list of tables
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length >= FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines"


def test_files_and_functions_are_short() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files("*.py")}
    found = [told for name, text in texts.items() for told in too_long(name, text)]
    assert not found, f"files below {FILE_LINES} lines, functions below {FUNCTION_LINES}:\n" + "\n".join(found)


def test_the_ruler_measures() -> None:
    two = "def short():\n" + "    pass\n" * 38 + "def long():\n" + "    pass\n" * 39
    assert list(too_long("x.py", two)) == ["x.py:40: long has 40 lines"]
    assert list(too_long("x.py", "\n" * 400)) == ["x.py: 400 lines"]


def test_nothing_names_a_package_registry() -> None:
    """Whoever installs brings their own index."""
    for path in files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found = HOSTS.search(text)
        assert not found, f"{path.relative_to(ROOT)} names {found[0]}"


@pytest.mark.parametrize("name", ["agent", "collector", "dev", "mutate"])
def test_every_pin_has_a_hash_and_names_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert not INDEX.search(text)
    blocks = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(blocks) > 5
    for block in blocks:
        assert re.match(r"[\w.-]+==\S+ ", block), block
        assert "--hash=sha256:" in block, block


def test_every_dependency_is_pinned_where_it_is_needed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    base = project["dependencies"]
    wanted = {
        "agent": base,
        "collector": base + extras["collector"] + extras["postgresql"],
        "dev": base + extras["collector"] + extras["postgresql"] + extras["dev"],
    }
    for name, requirements in wanted.items():
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").lower()
        pinned = set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))
        absent = {re.split(r"[\[<>=~!; ]", requirement.lower())[0] for requirement in requirements} - pinned
        assert not absent, f"requirements/compile.sh has not been run since {absent} came to {name}"


def project_tools() -> dict[str, Any]:
    tools: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return tools


ROOMS = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks", "watchkeeper"}
PACKED = ROOMS | {"configs"}


def test_every_room_is_inside_the_one_namespace() -> None:
    """A checkout finds the rooms by links in watchkeeper/; a wheel has them there as folders."""
    links = {path.name: path for path in (ROOT / "watchkeeper").iterdir() if path.is_symlink()}
    assert links.keys() == PACKED
    for name, link in links.items():
        assert str(link.readlink()) == f"../{name}", "a relative link, so that the checkout can be moved"
    build = project_tools()["hatch"]["build"]
    assert set(build["only-include"]) == PACKED | {"watchkeeper"}
    assert set(build["exclude"]) == {f"/watchkeeper/{name}" for name in PACKED}
    assert build["targets"]["wheel"]["sources"] == {name: f"watchkeeper/{name}" for name in PACKED}


def test_no_room_can_be_imported_by_its_bare_name() -> None:
    """In a checkout `import agent` works too, and would make second copies of every class."""
    lint = project_tools()["ruff"]["lint"]
    assert lint["flake8-tidy-imports"]["banned-api"].keys() == PACKED


FOLDER_FILES = 10


def test_no_folder_is_crowded() -> None:
    folders = Counter(path.parent for path in files("agent/*.py", "collector/*.py"))
    folders = Counter({folder: count for folder, count in folders.items() if folder.name != "versions"})  # one a change
    crowded = {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > FOLDER_FILES}
    assert not crowded, f"at most {FOLDER_FILES} files of Python in a folder"


SHARED_NAMES = {"T", "build"}
"""A type variable; and the function that the port of a probe asks of each kind."""


def definitions() -> Iterator[tuple[str, str, str]]:
    """(sort, name, file) of every class, constant and function at the top of a module of ours."""
    for path in files(*(f"{room}/*.py" for room in ROOMS | {"watchkeeper"})):
        if "migrations" in path.parts:
            continue
        name = str(path.relative_to(ROOT))
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield "class", node.name, name
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield "function", node.name, name
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                parts = (part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))
                yield from (("constant", part.id, name) for part in parts if part.id.isupper())


@pytest.mark.parametrize(("sort", "most"), [("class", 1), ("constant", 2), ("function", 5)])
def test_a_name_means_one_thing(sort: str, most: int) -> None:
    where: dict[str, set[str]] = {}
    for kind, name, file in definitions():
        if kind == sort and name not in SHARED_NAMES:
            where.setdefault(name, set()).add(file)
    assert len(where) > 100
    crowded = {name: sorted(found) for name, found in where.items() if len(found) > most}
    assert not crowded, f"a {sort} of one name in more than {most} modules"


def test_the_nouns_need_nothing_but_python() -> None:
    for path in files("model/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            theirs = {name.partition(".")[0] for name in names if not name.startswith("watchkeeper.model")}
            assert theirs <= sys.stdlib_module_names, path


def test_every_link_between_our_pages_leads_somewhere() -> None:
    for path in files("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.relative_to(ROOT)} links to {link}"


SKIPS = """
import pytest

@pytest.fixture
def absent():
    pytest.skip("in a fixture")

@pytest.mark.skipif(True, reason="by a mark")
def test_mark(): ...

def test_fixture(absent): ...

def test_body():
    pytest.skip("in the test")

@pytest.mark.xfail
def test_expected():
    raise AssertionError
"""


@pytest.mark.parametrize(
    ("wanted", "code", "said"), [("1", 1, "1 failed, 1 xfailed, 3 errors"), ("", 0, "4 skipped, 1 xfailed")]
)
def test_a_skip_is_a_failure_where_nothing_may_skip(wanted: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "test_skips.py").write_text(SKIPS, encoding="utf-8")
    (tmp_path / "test_whole.py").write_text("import pytest; pytest.importorskip('no_such_module')", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "--continue-on-collection-errors"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "WATCHKEEPER_NO_SKIP": wanted},
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert said in done.stdout.splitlines()[-1]
