"""How a device is read, for the people who look at its page: by which profile, and why."""

from watchkeeper.agent.ports import Probe, ProfileProbe
from watchkeeper.model.batch import Facts
from watchkeeper.model.plain import one_line


def facts_of(probe: Probe | None, device: str) -> Facts:
    """The facts of a device; none for a probe that has none. Without a profile its text is empty."""
    if not isinstance(probe, ProfileProbe):
        return ()
    profile = probe.profile_of(device)
    name = f"{profile.profile} ({profile.vendor}, {profile.category})" if profile else ""
    return (("profile", one_line(name)), ("why", one_line(probe.why_of(device))))
