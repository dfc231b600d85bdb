"""What is in force, where several collectors share a store: the folder of this collector, or what the store says. Pure.

Each configuration in force has a number. A collector's folder has a *base*: the number whose files it last had. A folder may
become what is in force only if its base is the number in force now: otherwise it would take back, unasked, what another
collector's folder has changed.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration in force: its number, and the version of its files. Number 0: there is none yet."""

    number: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """A collector's folder: the version of its files, the number in force that it last had (`base`; 0: none), and the number
    under which just these files were in force (`earlier`; 0: never)."""

    version: str
    base: int = 0
    earlier: int = 0


class Move(Enum):
    """What a collector does: its folder is in force already; it puts it in force; it follows the store."""

    STAY = "stay"
    ACTIVATE = "activate"
    FOLLOW = "follow"


class FolderStanding(StrEnum):
    """How a collector's folder compares with what is in force. UNUSABLE: this collector cannot use what is in force, and goes on
    with the configuration before."""

    IN_FORCE = "in-force"
    OLDER = "older"
    DIFFERS = "differs"
    INVALID = "invalid"
    UNUSABLE = "unusable"


def at_start(folder: Folder, now: InForce, *, company: bool) -> Move:
    """What a collector that starts does. With `company` (another collector runs) a start never changes what is in force. Alone it
    activates its folder, unless that is known to be older: then the change since was made on another collector's folder."""
    if not now.number:
        return Move.ACTIVATE
    if folder.version == now.version:
        return Move.STAY
    if company:
        return Move.FOLLOW
    if folder.base:
        return Move.ACTIVATE if _is_on_top(folder, now) else Move.FOLLOW
    return Move.FOLLOW if folder.earlier else Move.ACTIVATE


def at_change(folder: Folder, now: InForce) -> Move:
    """What a running collector does whose folder has changed."""
    if not now.number:
        return Move.ACTIVATE
    if folder.version == now.version:
        return Move.STAY
    return Move.ACTIVATE if _is_on_top(folder, now) else Move.FOLLOW


def _is_on_top(folder: Folder, now: InForce) -> bool:
    """Whether the folder was made on what is in force. Its base is higher where the store was set back."""
    return folder.base >= now.number


def standing(folder: Folder, now: InForce) -> FolderStanding:
    """How a valid folder compares with what is in force."""
    if folder.version == now.version:
        return FolderStanding.IN_FORCE
    return FolderStanding.OLDER if folder.earlier else FolderStanding.DIFFERS
