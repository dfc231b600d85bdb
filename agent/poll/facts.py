"""How a device is read, for the people who look at its page: by which profile, and why."""

from watchkeeper.agent.ports import Probe, ProfileProbe
from watchkeeper.model.batch import Facts
from watchkeeper.model.plain import one_line


def facts_of(probe: Probe | None, device: str) -> Facts:
    """The facts of a device; none for a probe that has none. Without a profile its text is empty."""
    if not isinstance(probe, ProfileProbe):
        return ()
    profiles = probe.profiles_of(device)
    name = ", ".join(
        [f"{one.profile} ({one.vendor}, {one.category})" for one in profiles[:1]]
        + [one.profile for one in profiles[1:]]
    )
    return (("profile", one_line(name)), ("why", one_line(probe.why_of(device))))
