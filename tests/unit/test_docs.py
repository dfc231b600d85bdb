"""The pages are true: folders, files, commands, options, links and words that they name exist."""

import ast
import importlib.util
import os
import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import watchkeeper
import watchkeeper.cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
}
ARCHITECTURE = PAGES["docs/architecture.md"]
FOLDERS = ("agent", "benchmarks", "channels", "collector", "configs", "docs", "documents", "model", "profiles", "requirements",
           "rules", "simulator", "systemd", "tests", "watchkeeper")  # fmt: skip
CITED = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./*-]*)`")
HISTORY = {"docs/decisions/0012-the-collector-reads-profiles.md"}  # names what its successor moved


# ---- docs/architecture.md ----


@pytest.mark.parametrize("folder", ["agent", "collector"])
def test_every_folder_is_explained(folder: str) -> None:
    found = {str(path.parent.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")}
    absent = sorted(name for name in found if f"`{name}/`" not in ARCHITECTURE)
    assert not absent, f"docs/architecture.md does not name {absent}"


def layers(container: str) -> list[set[str]]:
    """The order that import-linter checks, from the top."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(one for one in tools["contracts"] if one.get("containers") == [f"watchkeeper.{container}"])
    return [{name.strip() for name in layer.split("|")} for layer in contract["layers"]]


@pytest.mark.parametrize("folder", ["agent", "collector"])
def test_the_tables_have_the_order_that_import_linter_checks(folder: str) -> None:
    section = ARCHITECTURE.partition(f"### Inside `{folder}/`")[2].partition("\n#")[0]
    shown = [
        name.removeprefix(f"{folder}/").rstrip("/")
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    ]
    place = {name: number for number, layer in enumerate(layers(folder)) for name in layer}
    assert set(shown) == place.keys()
    assert [place[name] for name in shown] == sorted(place.values())


def imports_of(folder: str) -> set[str]:
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {name.split(".")[1] for name in names if name.startswith("watchkeeper.")}
    return found - {folder}


@pytest.mark.parametrize("folder", [name for name in FOLDERS if (ROOT / name / "__init__.py").exists()])
def test_the_table_of_folders_says_what_each_imports(folder: str) -> None:
    if folder in ("benchmarks", "watchkeeper"):  # the one is not installed, the other imports all
        return
    row = re.search(rf"^\| `{folder}/` \|.*\| ([^|]*) \|$", ARCHITECTURE, re.MULTILINE)
    assert row
    said = set() if row[1] == "the standard library only" else set(row[1].split(", "))
    assert said == imports_of(folder)


def test_every_place_where_a_process_can_be_killed_is_named() -> None:
    names = {
        name
        for folder in ("agent", "collector")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"failpoint\(\"([\w.-]+)\"", path.read_text(encoding="utf-8"))
    }
    assert len(names) > 10
    text = ARCHITECTURE + PAGES["docs/agent.md"]
    assert not sorted(name for name in names if f"`{name}`" not in text)


# ---- files, modules, links ----


def exists(name: str) -> bool:
    """Whether there is such a file or folder. The package itself may be an installed wheel, outside the clone."""
    root = Path(watchkeeper.__file__).parents[1] if name.startswith("watchkeeper/") else ROOT
    return any(root.glob(name.rstrip("/")))


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    if page in HISTORY:
        return
    absent = [name for name in CITED.findall(PAGES[page]) if not exists(name)]
    assert not absent, f"{page} names {absent}"


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_a_page_runs_exists(page: str) -> None:
    for module in re.findall(r"python -m ([\w.]+)", PAGES[page]):
        assert importlib.util.find_spec(module), f"{page}: python -m {module}"


def anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_heading_finds_it(page: str) -> None:
    for link, heading in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", PAGES[page]):
        path = (ROOT / page).parent / link if link else ROOT / page
        target = PAGES[os.path.relpath(path, ROOT)]
        headings = {anchor(text) for text in re.findall(r"^#+ (.*)$", target, re.MULTILINE)}
        assert heading in headings, f"{page} links to {link}#{heading}"


# ---- commands ----

FENCED = r"^```(\w*)\n(.*?)^```$"
RUN = re.compile(r"(?:^|(?<=[\s/(`\"]))watchkeeper (?=[a-z-])")
PROGRAM = next(value for value in vars(watchkeeper.cli).values() if isinstance(value, click.Group))
NO_COMMAND = re.compile(r"pip install|systemctl|journalctl|useradd|usermod|userdel|chown|install -|SETUSER|USER ")


def spans(text: str) -> Iterator[str]:
    """The lines of code blocks, and the code inside sentences."""
    for language, block in re.findall(FENCED, text, re.DOTALL | re.MULTILINE):
        if language in ("", "console", "sh"):
            yield from block.splitlines()
    rest = re.sub(FENCED, "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"^    (\S.*)$", rest, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", rest)


def commands(text: str) -> Iterator[list[str]]:
    """The words after `watchkeeper` of every command that a page shows."""
    for span in spans(text):
        if NO_COMMAND.search(span.partition("watchkeeper ")[0]):
            continue
        found = RUN.search(span)
        if not found:
            continue
        line = re.split(r" [|>&]| \.\.\.|\$\(", span[found.end() :])[0]
        words = shlex.shlex(line, posix=True, punctuation_chars="")
        words.whitespace_split, words.commenters = True, "#"
        yield list(words)


def check(words: list[str]) -> None:
    """The words are a command there is, with options it has. Raises AssertionError."""
    command: click.Command = PROGRAM
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        assert found, f"no command `{words[0]}`"
        command = found.make_context(words[0], [], resilient_parsing=True).command  # the real one, imported
        words = words[1:]
    known = {name for option in command.params if isinstance(option, click.Option) for name in option.opts}
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= known | {"--help", "-h", "--version"}, f"no option {used - known}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_exists(page: str) -> None:
    for words in commands(PAGES[page]):
        try:
            check(words)
        except AssertionError as error:
            raise AssertionError(f"{page}: watchkeeper {' '.join(words)}: {error}") from None


def test_the_commands_are_found_where_they_are_shown() -> None:
    shown = [words[0] for text in PAGES.values() for words in commands(text)]
    assert set(shown) == set(PROGRAM.commands)
    text = (
        "`x`\n\n    .venv/bin/watchkeeper probe host  # it\n\n```sh\nrunuser -u a -- watchkeeper up --dir b | c\n```\n"
    )
    assert list(commands(text)) == [["up", "--dir", "b"], ["probe", "host"]]


@pytest.mark.parametrize("wrong", [["prob"], ["probe", "--formats", "x"], ["rules", "show"]])
def test_a_command_that_does_not_exist_would_be_found(wrong: list[str]) -> None:
    with pytest.raises(AssertionError):
        check(wrong)


# ---- words and versions ----

WORDS = {
    "quantity", "reading", "rule", "verdict", "incident", "trouble", "ladder", "rung", "current level", "duty", "shift", "owner", "outbox",
    "notice", "channel", "receipt", "patrol", "maintenance", "runtime", "snapshot", "epoch", "lane", "spool", "journal", "sweep",
    "block", "frame",
}  # fmt: skip


def test_the_glossary_has_every_word_once_with_its_chinese() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| ([^|]+) \| ([^|]+) \|$", PAGES["docs/glossary.md"], re.MULTILINE)
    counts = Counter(word for word, _, _ in rows if word != "word")
    assert counts.keys() >= WORDS
    assert max(counts.values()) == 1
    for word, chinese, meaning in rows:
        assert re.search(r"[\u4e00-\u9fff]", chinese), word
        assert len(meaning) > 1, word


def test_the_glossary_explains_every_word_of_the_flow() -> None:
    flow = PAGES["README.md"].partition("## How the data flows")[2].partition("The agent decides")[0]
    words = {word.lower().removesuffix("s") for word in re.findall(r"[A-Za-z]+", flow)} - {
        "http",
        "person",
        "page",
        "metric",
    }
    assert len(words) > 10
    assert not [word for word in words if f"\n| {word} |" not in PAGES["docs/glossary.md"]]


@pytest.mark.parametrize("page", ["README.md", "docs/on-call.md", "docs/operators.md"])
def test_the_glossary_is_linked_where_people_begin(page: str) -> None:
    assert "glossary.md)" in PAGES[page]


def test_every_page_is_in_the_list() -> None:
    listed = set(re.findall(r"\]\(([^)#]*)\)", PAGES["README.md"]))
    listed |= {f"docs/{link}" for link in re.findall(r"\[[\w-]+\.md\]\(docs/([\w-]+\.md)\)", PAGES["README.md"])}
    pages = {name for name in PAGES if not name.startswith("docs/decisions/") and name != "README.md"}
    assert not pages - listed


def test_the_changelog_has_the_version_and_what_comes_next() -> None:
    titles = re.findall(r"^## (.*)$", PAGES["CHANGELOG.md"], re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(watchkeeper.__version__)}\] - \d{{4}}-\d\d-\d\d", titles[1])
