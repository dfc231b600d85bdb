"""The fault switches: a file `faults` in the room's folder, with one active fault on each line."""

import fcntl
import os
from collections.abc import Set as AbstractSet
from pathlib import Path

from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.devices import FAULTS


def active_faults(directory: Path) -> frozenset[str]:
    """The faults that are on now. Unknown words are ignored; without a file there are none."""
    try:
        words = (directory / "faults").read_text(encoding="utf-8").split()
    except FileNotFoundError:
        words = []
    return frozenset(words) & FAULTS.keys()


def switch(directory: Path, fault: str, *, on: bool) -> AbstractSet[str]:
    """Switch a fault on or off, and return the faults that are on now. Safe if several processes switch at once. Raises
    WatchkeeperError if there is no such fault or folder."""
    if fault not in FAULTS:
        raise WatchkeeperError(f"no fault called `{fault}`; there are {', '.join(FAULTS)}")
    if not directory.is_dir():
        raise WatchkeeperError(
            f"{directory}: no such folder; start `watchkeeper simulate room --dir {directory}` first"
        )
    with (directory / "faults.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        now = active_faults(directory) | {fault} if on else active_faults(directory) - {fault}
        fresh = directory / "faults.new"
        fresh.write_text("".join(f"{name}\n" for name in sorted(now)), encoding="utf-8")
        os.replace(fresh, directory / "faults")  # noqa: PTH105 -- os.replace is the atomic rename
    return now
