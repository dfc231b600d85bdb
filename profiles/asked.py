"""Whether a profile asks a device for a series: what it does not ask for cannot be missing."""

from collections.abc import Iterator

from watchkeeper.model.reading import Series
from watchkeeper.profiles.shape import Profile, ProfileReading


def asks_for(profile: Profile, series: Series) -> bool:
    """Whether the profile has this reading: of a table the same quantity and column, else the same quantity and instance.
    The uptime is read of every device."""
    return series.quantity == "uptime" or any(
        _gives(reading, series) for reading in _readings(profile) if reading.quantity == series.quantity
    )


def _gives(reading: ProfileReading, series: Series) -> bool:
    if reading.each is None:
        return reading.instance == series.instance
    objects = (one.ref.oid for way in reading.ways for one in (way.leaves or (way,)))
    return any(f"{oid}." in f"{series.source}." for oid in objects)


def _readings(profile: Profile) -> Iterator[ProfileReading]:
    yield from profile.readings
    for quirk in profile.quirks:
        yield from quirk.readings
