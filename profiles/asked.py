"""Whether a profile asks a device for a series: what it does not ask for cannot be missing. And whether a profile that
the inventory names can be used."""

import difflib
from collections.abc import Iterable, Iterator, Sequence

from watchkeeper.model.reading import Series
from watchkeeper.profiles import Profiles
from watchkeeper.profiles.condition import Speaks
from watchkeeper.profiles.shape import Profile, ProfileReading


def asks_for(profile: Profile, series: Series) -> bool:
    """Whether the profile has this reading: of a table the same quantity and column, else the same quantity and instance.
    The uptime is read of every device."""
    return series.quantity == "uptime" or any(
        _gives(reading, series) for reading in _readings(profile) if reading.quantity == series.quantity
    )


def still_asked(profiles: Sequence[Profile], series: Series, present: Iterable[Series]) -> bool:
    """Whether a device that is read by these profiles, and gives the series of `present`, is still asked for this one. What
    was only read in place of a quantity that an earlier layer gives again is not."""
    layers = [layer for one in profiles for layer in _layers(one)]
    place = _place_in(layers, series)
    if place is None:
        return series.quantity == "uptime"
    places = (_place_in(layers, one) for one in present if one.quantity == series.quantity)
    return not any(other is not None and other < place for other in places)


def _place_in(layers: Sequence[Sequence[ProfileReading]], series: Series) -> int | None:
    """The first layer that has this series."""
    return next(
        (
            place
            for place, layer in enumerate(layers)
            if any(one.quantity == series.quantity and _gives(one, series) for one in layer)
        ),
        None,
    )


def _gives(reading: ProfileReading, series: Series) -> bool:
    if reading.each is None:
        return reading.instance == series.instance
    objects = (one.ref.oid for way in reading.ways for one in (way.leaves or (way,)))
    return any(f"{oid}." in f"{series.source}." for oid in objects)


def _readings(profile: Profile) -> Iterator[ProfileReading]:
    for layer in _layers(profile):
        yield from layer


def _layers(profile: Profile) -> Iterator[tuple[ProfileReading, ...]]:
    """Its readings, those of its quirks among them, and then the hidden ones."""
    yield (*profile.readings, *(one for quirk in profile.quirks for one in quirk.readings))
    yield from profile.hidden


def misfit(profiles: Profiles, name: str, speaks: Speaks) -> str:
    """Why the profile of that name cannot be used by a probe that `speaks` this protocol; empty where it can be. With
    `auto`, SNMP recognises the device and NUT has one profile for all, but a Modbus device cannot be recognised."""
    if name == "auto":
        return f"a Modbus device cannot be recognised; {_hint(speaks)}" if speaks is Speaks.MODBUS else ""
    profile = profiles.get(name)
    if profile is None:
        near = difflib.get_close_matches(name, profiles.names(speaks), 1)
        return f"there is no profile `{name}`; " + (f"did you mean `{near[0]}`?" if near else _hint(speaks))
    if profile.speaks is not speaks:
        return f"the profile `{name}` reads by {profile.speaks}, not by {speaks}; {_hint(speaks)}"
    return ""


def _hint(speaks: Speaks) -> str:
    return f"name a profile that speaks {speaks}"
