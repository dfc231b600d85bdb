"""`watchkeeper rules`: list, check and test rules without a running agent or collector."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from watchkeeper.rules.load import RuleSet

_FILE = click.Path(path_type=Path)


@click.group()
def rules() -> None:
    """List, check and test the rules that judge readings."""


@rules.command("list")
@click.argument("files", nargs=-1, type=_FILE)
def list_rules(files: tuple[Path, ...]) -> None:
    """List every active rule: the shipped library, as changed by FILES."""
    from watchkeeper.rules.listing import load_with_shipped, table

    with _problems_shown():
        found = load_with_shipped(files)
    print("\n".join(table(found.rules)))
    _print_switched_off(found)


@rules.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
def check(files: tuple[Path, ...]) -> None:
    """Check FILES together with the shipped library. Print every problem, or else the rules that FILES add or change."""
    from watchkeeper.rules.listing import load_with_shipped, table

    with _problems_shown():
        found = load_with_shipped(files)
    names = {str(file) for file in files}
    own = [rule for rule in found.rules if rule.file in names]
    print("\n".join(table(own)))
    _print_switched_off(found)
    print(f"no problems; {len(found.rules)} active rules, {len(own)} of them added or changed by these files")


@rules.command()
@click.argument("file", type=_FILE)
def test(file: Path) -> None:
    """Run the tests of rules that are in FILE."""
    from watchkeeper.rules.rule_tests import report, run

    with _problems_shown():
        results = run(file)
    for result in results:
        print("\n".join(report(result)))
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    if failed:
        raise SystemExit(1)


def _print_switched_off(found: "RuleSet") -> None:
    for name, reason in found.off.items():
        print(f"{name} is off: {reason}")


@contextlib.contextmanager
def _problems_shown() -> Iterator[None]:
    """On ConfigError, print one problem a line and their number to standard error, and exit with status 1."""
    from watchkeeper.model.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        count = len(error.problems)
        click.echo(f"{error}\n{count} problem{'' if count == 1 else 's'}", err=True)
        raise SystemExit(1) from None
