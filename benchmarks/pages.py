"""Which pages would a room of recorded devices get? Every recording is read once by the whole probe, and judged by the
shipped rules for twenty minutes at its recorded values.

Each critical page must be justified in `corpus/justified.yml` by what the device itself reports: its own alarm object, or
a reading that is truly beyond the limit. The limits of room temperature and humidity are listed apart.
"""

import argparse
import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.corpus.memory import DEFAULT_CORPUS, recordings
from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice, read_snmprec
from watchkeeper.documents.bind import ITEM_OR_LIST, load
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.model.reading import Missing
from watchkeeper.model.verdict import Level
from watchkeeper.profiles import Profiles, load_profiles
from watchkeeper.profiles.decode import Raw, raw_text
from watchkeeper.rules.judge import Judge
from watchkeeper.rules.load import RuleSet, load_rules, shipped

JUSTIFIED = Path(__file__).with_name("corpus") / "justified.yml"
ROOM_RULES = ("environment.temperature", "environment.humidity")
JUDGED_S, STEP_S = 1200, 30


@dataclass(frozen=True, slots=True)
class Page:
    """One verdict that a room of these devices would be told about. `raw` is what the device answers for `oid`."""

    recording: str
    profile: str
    rule: str
    instance: str
    label: str
    level: Level
    value: str
    oid: str
    raw: str

    def __str__(self) -> str:
        where = f"{self.instance} ({self.label})" if self.label and self.label != self.instance else self.instance
        return f"{self.recording} [{self.profile}] {self.rule} {where}: {self.value}; {self.oid} = {self.raw}"


@dataclass(frozen=True, slots=True)
class Justification:
    """Why a critical page is right. `*` in `recording` and `instance` matches any text. `shows` has each object that
    justifies it, with the value that the device answers; without `shows` the page's own object is meant."""

    recording: str
    rules: tuple[str, ...] = field(metadata=ITEM_OR_LIST)
    because: str
    instance: str = "*"
    shows: dict[str, str] = field(default_factory=dict)

    def covers(self, page: Page) -> bool:
        """Whether it is about this page."""
        return (
            fnmatchcase(page.recording, self.recording)
            and any(fnmatchcase(page.rule, one) for one in self.rules)
            and fnmatchcase(page.instance, self.instance)
        )


@dataclass(frozen=True, slots=True)
class Justifications:
    """The whole file justified.yml."""

    pages: tuple[Justification, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """The pages beside the file. `unused` are justifications of no page; `untrue` are those whose objects answer
    otherwise."""

    room: tuple[Page, ...]
    warnings: tuple[Page, ...]
    justified: tuple[Page, ...]
    unjustified: tuple[Page, ...]
    unused: tuple[Justification, ...]
    untrue: tuple[str, ...]


def read_objects(file: Path) -> dict[str, Raw]:
    """The objects of a recording, by OID."""
    return read_snmprec(file.read_text(encoding="utf-8", errors="replace").splitlines())


def pages(files: Iterable[Path]) -> Iterator[Page]:
    """The pages of each recording."""
    profiles, rules = load_profiles(), load_rules(shipped())
    for file in files:
        yield from _pages_of(file.stem, read_objects(file), profiles, rules)


def _pages_of(name: str, objects: dict[str, Raw], profiles: Profiles, rules: RuleSet) -> Iterator[Page]:
    probe = SnmpProbe(profiles, Secrets(None), FakeClock(), MemoryDevice(objects).open)
    device = Device(name, "bench", Category.SERVER, "snmp", "192.0.2.1", snmp=Snmp(community="none"))
    sweep = asyncio.run(probe.sweep(device))
    profile = next(iter(probe.profiles_of(name)), None)
    judge = Judge({})
    judge.activate(rules, [device], 0.0)
    for at in range(0, JUDGED_S + 1, STEP_S):
        judge.sweep(replace(sweep, at=float(at)), profile.category if profile else Category.NETWORK)
    source = {(series.quantity, series.instance): series.source for series in sweep.series}
    for verdict in judge.active_verdicts(JUDGED_S).verdicts:
        evidence = verdict.evidence
        oid = source.get((evidence.quantity, verdict.instance), "")
        value = f"missing: {evidence.value.detail}" if isinstance(evidence.value, Missing) else str(evidence.value)
        if verdict.level.bad:
            yield Page(
                name, profile.profile if profile else "no profile", verdict.rule, verdict.instance, evidence.label,
                verdict.level, value, oid, raw_text(objects[oid]) if oid in objects else "no object",
            )  # fmt: skip


def review(found: Iterable[Page], files: Iterable[Path], justifications: Sequence[Justification]) -> Review:
    """Compare the pages with the justifications."""
    room, warnings, justified, unjustified = [], [], [], []
    used: set[int] = set()
    for page in found:
        covering = [number for number, one in enumerate(justifications) if one.covers(page)]
        if page.level is not Level.CRITICAL:
            warnings.append(page)
        elif page.rule in ROOM_RULES:
            room.append(page)
        elif covering:
            used.update(covering)
            justified.append(page)
        else:
            unjustified.append(page)
    unused = tuple(one for number, one in enumerate(justifications) if number not in used)
    untrue = tuple(told for one in justifications for told in _untrue(one, files))
    return Review(tuple(room), tuple(warnings), tuple(justified), tuple(unjustified), unused, untrue)


def _untrue(one: Justification, files: Iterable[Path]) -> Iterator[str]:
    if not one.shows:
        return
    for file in files:
        if fnmatchcase(file.stem, one.recording):
            objects = read_objects(file)
            for oid, text in one.shows.items():
                answered = raw_text(objects[oid]) if oid in objects else "nothing"
                if answered != text:
                    yield f"{file.stem}: {oid} answers {answered}, not {text}"


def load_justifications() -> tuple[Justification, ...]:
    """The reviewed file. Raises ConfigError."""
    return load(JUSTIFIED.read_text(encoding="utf-8"), JUSTIFIED.name, Justifications).pages


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=DEFAULT_CORPUS, help="the folder with snmprec/")
    parser.add_argument("--only", default="", help="only recordings whose name contains TEXT", metavar="TEXT")
    options = parser.parse_args()
    logging.disable()  # devices that no profile fits are no subject here
    files = recordings(options.corpus, options.only)
    if not files:
        parser.error(f"no recording in {options.corpus / 'snmprec'} has `{options.only}` in its name")
    result = review(pages(files), files, load_justifications())
    _print_review(result, len(files))
    stale = bool(result.unused or result.untrue) and not options.only
    return 1 if result.unjustified or stale else 0


def _print_review(result: Review, devices: int) -> None:
    for title, found in (
        ("critical, not justified", result.unjustified),
        ("critical, justified", result.justified),
        ("critical, limits of the room's temperature and humidity", result.room),
        ("warnings", result.warnings),
    ):
        print(f"\n== {title}: {len(found)} pages of {len({page.recording for page in found})} devices")
        for page in found:
            print(f"  {page}")
    for one in result.unused:
        print(f"justified, but no such page: {one.recording} {', '.join(one.rules)} {one.instance}")
    for told in result.untrue:
        print(f"the justification is not true: {told}")
    by_rule = Counter(page.rule for page in result.warnings)
    print("\nwarnings by rule:", ", ".join(f"{rule} {count}" for rule, count in by_rule.most_common()))
    print(f"{devices} devices; unjustified critical pages: {len(result.unjustified)}")


if __name__ == "__main__":
    sys.exit(main())
