"""What each family of devices gives of the readings that an engineer must have: the tables in docs/known-devices.md.

docs/essentials/ has one file for each category: its essential readings, and those that a family's MIB does not offer.
A profile reads the rest. To write the tables anew: `python -m tests.essentials`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.documents.bind import load
from watchkeeper.model.device import Category
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.profiles import Profile, load_profiles

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "known-devices.md"
BEGIN, END = "<!-- essentials -->\n", "<!-- end of essentials -->\n"
READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Essentials that the `mib` of these profiles does not offer. They hold also for profiles that extend these."""

    profiles: tuple[str, ...]
    mib: str
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Essentials:
    """The essential readings of a category, each with the quantities of which one is enough, and the families whose MIB
    lacks some of them. `other` are profiles of the category that do not describe such a device."""

    category: Category
    essentials: Mapping[str, tuple[str, ...]]
    lacks: tuple[Lack, ...] = ()
    other: tuple[str, ...] = ()

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        for name, quantities in self.essentials.items():
            for quantity in set(quantities) - QUANTITIES.keys():
                yield "essentials", f"`{name}`: `{quantity}` is no quantity"
        for lack in self.lacks:
            for name in set(lack.without) - self.essentials.keys():
                yield "lacks", f"{', '.join(lack.profiles)}: `{name}` is not one of the essentials"


def load_essentials() -> tuple[Essentials, ...]:
    """The files of docs/essentials, by name. Raises ConfigError."""
    files = sorted((DOCS / "essentials").glob("*.yml"))
    return tuple(load(file.read_text(encoding="utf-8"), f"docs/essentials/{file.name}", Essentials) for file in files)


def family(essentials: Essentials, profiles: Iterable[Profile]) -> list[Profile]:
    """The profiles of the category, by maker."""
    found = (one for one in profiles if one.category is essentials.category and one.profile not in essentials.other)
    return sorted(found, key=lambda one: (one.vendor.lower(), one.profile))


def cells(essentials: Essentials, profile: Profile, by_name: Mapping[str, Profile]) -> dict[str, str | None]:
    """For each essential `read`, or the MIB that lacks it, or None: neither read nor said to be lacking."""
    quantities = {reading.quantity for reading in profile.readings}
    lacking = _lacking(essentials, profile.profile, by_name)
    return {
        name: READ if not quantities.isdisjoint(wanted) else lacking.get(name)
        for name, wanted in essentials.essentials.items()
    }


def _lacking(essentials: Essentials, name: str, by_name: Mapping[str, Profile]) -> dict[str, str]:
    """What the profile's MIB lacks, else what the MIBs of those it extends lack: essential -> MIB."""
    own = {essential: lack.mib for lack in essentials.lacks if name in lack.profiles for essential in lack.without}
    profile = by_name.get(name)
    for base in reversed(profile.extends) if profile else ():
        own = _lacking(essentials, base, by_name) | own
    return own


def mistakes(essentials: Essentials, by_name: Mapping[str, Profile]) -> Iterator[str]:
    """Sentences: cells that are neither read nor lacking, and lines of the file that are not true."""
    for profile in family(essentials, by_name.values()):
        empty = [name for name, cell in cells(essentials, profile, by_name).items() if cell is None]
        if empty:
            yield (
                f"{profile.profile} does not read: {', '.join(empty)}. Add readings to the profile; what its MIB does "
                f"not offer belongs into `lacks` of docs/essentials/{essentials.category}.yml"
            )
    for lack in essentials.lacks:
        for name in lack.profiles:
            found = by_name.get(name)
            if found is None:
                continue  # a base profile: those that extend it are checked
            read = [one for one in lack.without if cells(essentials, found, by_name)[one] == READ]
            if read:
                yield f"{name} reads {', '.join(read)}: delete it from `lacks` of docs/essentials/{essentials.category}.yml"


def table(essentials: Essentials, by_name: Mapping[str, Profile]) -> Iterator[str]:
    """The lines of one table."""
    names = list(essentials.essentials)
    yield f"| vendor | {essentials.category} profile | {' | '.join(names)} |"
    yield "|---" * (len(names) + 2) + "|"
    for profile in family(essentials, by_name.values()):
        row = cells(essentials, profile, by_name)
        shown = " | ".join(cell if (cell := row[name]) == READ else f"not in {cell}" for name in names)
        yield f"| {profile.vendor} | `{profile.profile}` | {shown} |"


def text() -> str:
    """All tables, as they stand in docs/known-devices.md."""
    by_name = {one.profile: one for one in load_profiles()}
    return "\n".join("\n".join((*table(one, by_name), "")) for one in load_essentials())


def rewrite() -> None:
    """Write the tables into docs/known-devices.md."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"(?<={BEGIN}).*?(?={END})", lambda _: text(), page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
