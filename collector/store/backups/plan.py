"""When a backup is due, when it is late, and which old ones are no longer kept. Pure; times are UTC seconds."""

import datetime
import math
from collections.abc import Sequence
from enum import StrEnum

from watchkeeper.collector.site.settings import BackupConfig, KeepBackups

_MIDNIGHT = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 -- on the site's clock, as `at` is
_AHEAD_S = 3600.0
_GRACE_S = 3600.0
_LATE_INTERVALS = 1.25


class BackupState(StrEnum):
    """Whether there is a good backup that is new enough. The states of the quantity `collector.backup`."""

    OK = "ok"
    LATE = "late"
    NONE = "none"


def usable(taken_at: float, now: float) -> bool:
    """Whether a backup can be believed to be from this time: one from the future was named while a clock was wrong."""
    return taken_at <= now + _AHEAD_S


def is_due(newest_at: float | None, now: float, config: BackupConfig, zone: datetime.tzinfo) -> bool:
    """Whether the time of day of a backup has passed since the newest good one. Without any, one is due at once."""
    return newest_at is None or _slot(now, config, zone) > _slot(newest_at, config, zone)


def _slot(at: float, config: BackupConfig, zone: datetime.tzinfo) -> int:
    """How many backups a site would have had until this moment, since 1970. An hour that is repeated or left out when the clocks
    are changed makes no further one."""
    local = datetime.datetime.fromtimestamp(at, zone).replace(tzinfo=None)
    first = datetime.datetime.combine(_MIDNIGHT, config.at)
    return math.floor((local - first).total_seconds() / config.every_s)


def state(newest_at: float | None, now: float, config: BackupConfig) -> BackupState:
    """Whether the newest good backup is new enough: a quarter of the interval and an hour are left for trying again."""
    if newest_at is None:
        return BackupState.NONE
    late = now - newest_at > config.every_s * _LATE_INTERVALS + _GRACE_S
    return BackupState.LATE if late else BackupState.OK


def expired(taken: Sequence[float], now: float, keep: KeepBackups) -> list[int]:
    """The places in `taken` (good backups, newest first) of those that are kept neither by number nor by age. The newest is never
    one of them."""
    first = max(1, keep.number)
    return [place for place, at in enumerate(taken) if place >= first and now - at > keep.age_s]
