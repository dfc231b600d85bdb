"""make mutate: makes small wrong changes (mutants) in the code, one at a time, and runs the tests that should notice.

mutmut makes the mutants and runs the tests. This program prepares a copy of the repository for each module, because
mutmut cannot follow the links in watchkeeper/, and compares the survivors with tests/mutants.yml: which modules are
mutated, which tests each is tried with, and why a mutant that survives changes nothing that a user could see.

    make mutate                              every module
    make mutate ARGS=rules/evaluate.py       one; the beginning of a path will do: ARGS=agent/

The exit status is 1 if a survivor is unexplained, or a module has too many of them. mutmut changes the bodies of
functions only: constants, fields of classes and decorated functions (properties, say) stay as they are.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mutmut import configuration
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache" / "mutate"
LIST = ROOT / "tests" / "mutants.yml"
MAX_SURVIVING_SHARE = 0.10
KILLED, SURVIVED, NO_TESTS, TIMEOUT, UNRUN = "killed", "survived", "no test runs it", "timeout", "could not be run"
STATUS = {1: KILLED, 0: SURVIVED, 5: NO_TESTS, 33: NO_TESTS, **dict.fromkeys((-24, -9, 24, 36, 152), TIMEOUT)}
"""What mutmut's exit codes mean. Every other one is a mutant that pytest could not be run with: it breaks at import."""

UNNOTICED = {SURVIVED, NO_TESTS}
WORKER = ROOT / "tests" / "mutate_worker.py"
# What the processes of the modules under "imported anew" may have imported already: packages, none of our code.
PRELOADED = (
    "hypothesis pytest sqlalchemy.dialects.sqlite alembic.command jinja2 babel fastapi psycopg apprise yaml httpx"
)

CONFIG = """
[tool.mutmut]
source_paths = ["watchkeeper"]
only_mutate = ["watchkeeper/{module}"]
also_copy = {copy}
pytest_add_cli_args = [
  "--hypothesis-seed=0", "-k", "not postgresql", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-o", "timeout=20",
]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
timeout_multiplier = 5.0
timeout_constant = 3.0
"""

IMPORTED_ANEW = """
process_isolation = "forkserver"
forkserver_warmup = "import"
preload_modules_file = "preloaded"
"""


@dataclass(frozen=True)
class Mutant:
    """One wrong change that was tried. `change` is the changed line with {old -> new} in it."""

    module: str
    function: str
    line: int
    change: str
    status: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.function}: {self.change}" + (
            f"  ({NO_TESTS})" if self.status == NO_TESTS else ""
        )


# ---- run ----


def prepare(module: str, tests: list[str], *, anew: bool) -> Path:
    """Make a copy in which watchkeeper/ has the folders and the top has the links: the other way round than here."""
    tree = WORK / module.replace("/", "-").removesuffix(".py")
    shutil.rmtree(tree, ignore_errors=True)
    folders = {link.name for link in (ROOT / "watchkeeper").iterdir() if link.is_symlink()}
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, top = ROOT / name, name.partition("/")[0]
        if source.is_file():
            target = tree / ("watchkeeper/" if top in folders else "") / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    for folder in folders:
        (tree / folder).symlink_to(f"watchkeeper/{folder}")
    copy = sorted({path.name for path in tree.iterdir()} - {"watchkeeper", "tests", "pyproject.toml"})
    with (tree / "pyproject.toml").open("a", encoding="utf-8") as out:
        out.write(CONFIG.format(module=module, copy=json.dumps(copy), tests=json.dumps(tests)))
        out.write(IMPORTED_ANEW if anew else "")
    (tree / "preloaded").write_text("\n".join(PRELOADED.split()), encoding="utf-8")
    return tree


def run(module: str, tests: list[str], *, anew: bool) -> list[Mutant]:
    """Try every mutant of a module. Raises SystemExit if the tests fail without any."""
    tree = prepare(module, tests, anew=anew)
    log = tree.with_suffix(".log")
    with log.open("w", encoding="utf-8") as out:
        command = [sys.executable, str(WORKER)]
        code = subprocess.run(command, cwd=tree, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        print(log.read_text(encoding="utf-8").replace("\r", "\n")[-4000:], file=sys.stderr)
        sys.exit(f"{module}: mutmut ended with {code}; all of its output is in {log}")
    os.chdir(tree)
    configuration.reset_config()
    return list(results(module, tree))


def results(module: str, tree: Path) -> Iterator[Mutant]:
    path = f"watchkeeper/{module}"
    codes = json.loads((tree / "mutants" / f"{path}.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
    begins = dict(functions((tree / path).read_text(encoding="utf-8")))
    for name, code in codes.items():
        status = STATUS.get(code, UNRUN)
        function, class_name = orig_function_and_class_names_from_key(name)
        place = f"{class_name}.{function}" if class_name else function
        offset, change = changed(get_diff_for_mutant(name, path=path)) if status in UNNOTICED else (0, "")
        yield Mutant(module, place, begins[place] + offset, change, status)


def functions(source: str) -> Iterator[tuple[str, int]]:
    """The functions and methods of a module and the lines where they begin."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    yield f"{node.name}.{method.name}", method.lineno


def changed(diff: str) -> tuple[int, str]:
    """How many lines below the first line of its function a mutant is, and what it changes."""
    lines = diff.splitlines()[2:]
    begins = re.match(r"@@ -(\d+)", lines[0])
    before = next(index for index, line in enumerate(lines[1:]) if line[0] in "-+")
    was, now = (
        re.findall(r"\w+|\W", " ".join(line[1:].strip() for line in lines[1:] if line[0] == sign)) for sign in "-+"
    )
    first, last = 0, 0
    while first < min(len(was), len(now)) and was[first] == now[first]:
        first += 1
    while last < min(len(was), len(now)) - first and was[-1 - last] == now[-1 - last]:
        last += 1
    old, new = ("".join(words[first : len(words) - last]) for words in (was, now))
    tail = "".join(was[len(was) - last :])
    return int(begins[1] if begins else 1) - 1 + before, f"{''.join(was[:first])}{{{old} -> {new}}}{tail}"


# ---- the reviewed list ----


class Explained:
    """The reasons in tests/mutants.yml, and which of them were used."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._not_counted = [re.compile(one["change"]) for one in raw["not counted"]]
        self._single = {
            (one["file"], one["function"], change): one["reason"]
            for one in raw["explained"]
            for change in one["changes"]
        }
        self._used: set[tuple[str, str, str]] = set()

    def counts(self, mutant: Mutant) -> bool:
        """Whether it is a wrong change at all. Those that are noticed by luck are not looked at, and count."""
        return mutant.status not in UNNOTICED or not any(one.search(mutant.change) for one in self._not_counted)

    def reason(self, mutant: Mutant) -> str:
        """Why this mutant may survive; empty if nobody has said so."""
        key = (mutant.module, mutant.function, mutant.change)
        self._used.add(key)
        return str(self._single.get(key, ""))

    def unused(self, module: str) -> list[str]:
        """Entries for a module that no survivor needed."""
        return [" ".join(key) for key in self._single if key[0] == module and key not in self._used]


def report(module: str, mutants: list[Mutant], explained: Explained, took_s: float) -> bool:
    """Print one module's figures and its unexplained survivors; tell whether it is good enough."""
    mutants = [mutant for mutant in mutants if explained.counts(mutant)]
    status = Counter(mutant.status for mutant in mutants)
    survivors = [mutant for mutant in mutants if mutant.status in UNNOTICED]
    unexplained = [mutant for mutant in survivors if not explained.reason(mutant)]
    print(
        f"{module:32} {len(mutants):5} mutants  {status[KILLED]:5} killed  {status[UNRUN]:3} broken  {status[TIMEOUT]:3} timeouts  "
        f"{len(survivors):4} survived ({len(survivors) / max(len(mutants), 1):.1%}), "
        f"{len(survivors) - len(unexplained)} of them explained  {took_s:4.0f} s"
    )
    for mutant in sorted(unexplained, key=lambda mutant: mutant.line):
        print(f"  {mutant}")
    for entry in explained.unused(module):
        print(f"  in tests/mutants.yml, but noticed or gone: {entry}")
    sys.stdout.flush()
    if not status[KILLED]:
        sys.exit(f"{module}: not one mutant was noticed by a test: something is wrong with the run itself")
    return not unexplained and len(survivors) <= MAX_SURVIVING_SHARE * len(mutants)


def main(wanted: list[str]) -> int:
    raw = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    modules = {
        module: [f"tests/{test}" for test in tests]
        for module, tests in raw["modules"].items()
        if not wanted or any(module.startswith(start) for start in wanted)
    }
    if not modules:
        print(f"no module in {LIST.relative_to(ROOT)} begins with {' or '.join(wanted)}", file=sys.stderr)
        return 2
    explained, good, began = Explained(raw), True, time.monotonic()
    for module, tests in modules.items():
        since = time.monotonic()
        mutants = run(module, tests, anew=module in raw["imported anew"])
        good &= report(module, mutants, explained, time.monotonic() - since)
    print(f"{len(modules)} modules in {(time.monotonic() - began) / 60:.0f} min")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
