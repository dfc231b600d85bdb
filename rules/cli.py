"""`watchkeeper rules`: see, check and test rules before anything runs by them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.group()
def rules() -> None:
    """See, check and test the rules that judge readings."""


@rules.command("list")
@click.argument("files", nargs=-1, type=_FILE)
def list_rules(files: tuple[Path, ...]) -> None:
    """Show every rule in force: the shipped library, changed by FILES."""
    from watchkeeper.rules.check import load_with_shipped, table

    with _problems_shown():
        found = load_with_shipped(files)
    print("\n".join(table(found.rules)))
    for name, reason in found.off.items():
        print(f"{name} is off: {reason}")


@rules.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
def check(files: tuple[Path, ...]) -> None:
    """Read FILES over the shipped library, and show every problem, or the rules they make."""
    from watchkeeper.rules.check import load_with_shipped, table

    with _problems_shown():
        found = load_with_shipped(files)
    named = {str(file) for file in files}
    own = [rule for rule in found.rules if rule.file in named]
    print("\n".join(table(own)))
    for name, reason in found.off.items():
        print(f"{name} is off: {reason}")
    print(f"no problems; {len(found.rules)} rules in force, {len(own)} of them written or changed here")


@rules.command()
@click.argument("file", type=_FILE)
def test(file: Path) -> None:
    """Run the tests of rules in FILE."""
    from watchkeeper.rules.trial import report, run

    with _problems_shown():
        outcomes = run(file)
    for outcome in outcomes:
        print("\n".join(report(outcome)))
    failed = sum(not outcome.passed for outcome in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    if failed:
        raise SystemExit(1)


@contextlib.contextmanager
def _problems_shown() -> Iterator[None]:
    """End the command with every problem, one a line, instead of a traceback."""
    from watchkeeper.model.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        count = len(error.problems)
        click.echo(f"{error}\n{count} problem{'' if count == 1 else 's'}", err=True)
        raise SystemExit(1) from None
