"""The command line: quick help, errors as sentences, and starter files that never overwrite anything."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from watchkeeper import __version__, init, profiles
from watchkeeper.cli import COMMANDS, CommandLine, LazyCommand, command_line
from watchkeeper.model.errors import BrokenInstallation, ConfigError, Problem, SecretError
from watchkeeper.rules import load as rules_load

ROOT = Path(__file__).resolve().parents[2]


def call(*words: str, commands: dict[str, click.Command] | None = None) -> Result:
    group = CommandLine("watchkeeper", commands=commands) if commands else command_line
    return CliRunner().invoke(group, words, catch_exceptions=False)


def raising(error: Exception) -> click.Command:
    def callback() -> None:
        raise error

    return click.Command("try", callback=callback)


@pytest.mark.parametrize("words", ["--version", "--help", "no-such-command"])
def test_the_command_line_imports_nothing_heavy(words: str) -> None:
    """A new interpreter has loaded, besides the standard library, only click and two of our packages."""
    show = "import sys; print(*sorted({name for name in sys.modules if name.partition('.')[0] not in sys.stdlib_module_names}))"
    run = f"import atexit, sys; atexit.register(lambda: exec({show!r})); from watchkeeper.cli import main; main()"
    bare = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)
    done = subprocess.run([sys.executable, "-c", run, words], cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = set(done.stdout.splitlines()[-1].split()) - set(bare.stdout.split())
    assert {name.split(".")[0] for name in loaded} == {"click", "watchkeeper"}
    packages = {name.split(".")[1] for name in loaded if name.startswith("watchkeeper.")}
    assert packages == {"cli", "model"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded(name: str) -> None:
    done = call(name, "--help")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Usage: watchkeeper {name} ")


def test_version() -> None:
    assert call("--version").output == f"watchkeeper {__version__}\n"


def test_python_m_watchkeeper_is_the_same_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "watchkeeper", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"watchkeeper {__version__}\n"


def test_every_problem_of_a_file_is_shown_without_a_traceback() -> None:
    error = ConfigError([Problem("b.yml", 2, 1, "second"), Problem("a.yml", 1, 1, "first")])
    done = call("try", commands={"try": raising(error)})
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "a.yml:1:1: first\nb.yml:2:1: second\n")


def test_a_watchkeeper_error_is_shown_as_a_sentence() -> None:
    done = call("try", commands={"try": raising(SecretError("no secret called `x`"))})
    assert (done.exit_code, done.stderr) == (1, "no secret called `x`\n")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        call("try", commands={"try": raising(ZeroDivisionError())})


@pytest.mark.parametrize(("module", "extra"), [("fastapi.routing", "collector"), ("psycopg", "postgresql")])
def test_a_missing_extra_is_named(module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_command_for_tests.py").write_text(f"raise ModuleNotFoundError(name={module!r})", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    done = call("work", commands={"work": LazyCommand("a_command_for_tests:work", "", "collector")})
    assert done.exit_code == 1
    assert f"pip install 'watchkeeper[{extra}]'" in done.stderr
    assert module.partition(".")[0] in done.stderr


def test_a_missing_module_of_watchkeeper_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError):
        call("work", commands={"work": LazyCommand("watchkeeper.rules.no_such_module:work", "", "collector")})
    with pytest.raises(ModuleNotFoundError):  # no extra has it
        call("try", commands={"try": raising(ModuleNotFoundError(name="psutil"))})


# ---- init ----


def test_init_writes_the_starter_files(tmp_path: Path) -> None:
    done = call("init", str(tmp_path / "room"))
    assert done.exit_code == 0, done.output
    written = {path.name for path in (tmp_path / "room").iterdir()}
    assert written >= {"agent.yml", "collector.yml", "inventory.yml", "contacts.yml", "ladders.yml"}
    assert written >= {"rules", "grafana", "prometheus"}
    assert "Next:" in done.output
    assert f"--config {tmp_path}/room/agent.yml" in done.output


def test_init_copies_every_starter_file_unchanged(tmp_path: Path) -> None:
    written = init.write_starter(tmp_path)
    starter = [path for path in init.STARTER.rglob("*") if path.is_file()]
    assert len(written) == len(starter) > 0
    for path in starter:
        assert (tmp_path / path.relative_to(init.STARTER)).read_bytes() == path.read_bytes()


def test_init_with_no_starter_files_fails_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without starter files is broken; writing nothing is not a success."""
    monkeypatch.setattr(init, "STARTER", tmp_path / "gone")
    done = call("init", str(tmp_path / "room"))
    assert done.exit_code == 1
    assert "install Watchkeeper again" in done.output
    assert "Next:" not in done.output
    assert not (tmp_path / "room").exists()


@pytest.mark.parametrize(("module", "name"), [(rules_load, "shipped"), (profiles, "shipped_profiles")])
def test_a_missing_library_is_an_error_and_not_an_empty_library(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "__file__", "/nowhere/__init__.py")
    with pytest.raises(BrokenInstallation, match="/nowhere/library"):
        getattr(module, name)()


def test_init_overwrites_nothing_and_lists_the_existing_files(tmp_path: Path) -> None:
    (tmp_path / "agent.yml").write_text("mine", encoding="utf-8")
    (tmp_path / "ladders.yml").symlink_to("nowhere")
    done = call("init", str(tmp_path))
    assert done.exit_code == 1
    assert f"  {tmp_path}/agent.yml\n  {tmp_path}/ladders.yml\n" in done.stderr
    assert (tmp_path / "agent.yml").read_text(encoding="utf-8") == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"agent.yml", "ladders.yml"}


def test_init_reports_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = call("init", str(tmp_path / "file" / "room"))
    assert done.exit_code == 1
    assert done.stderr == f"{tmp_path}/file/room: Not a directory\n"
