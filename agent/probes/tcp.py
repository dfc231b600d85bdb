"""The TCP probe: does anything take a connection on that port?"""

from agent.ports import Means
from agent.probes.service import ServiceProbe, Visit, dial

_UNNAMED = 0


async def connect(visit: Visit) -> None:
    """See `agent.probes.service.Errand`."""
    (await dial(visit, _UNNAMED)).close()


def build(means: Means) -> ServiceProbe:
    """See `agent.ports.Means`."""
    return ServiceProbe(means.clock, "tcp", connect)
