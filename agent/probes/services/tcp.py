"""The TCP probe: does anything take a connection on that port?"""

from watchkeeper.agent.ports import Means
from watchkeeper.agent.probes.services.check import ServiceProbe, Visit, dial

_UNNAMED = 0


async def connect(visit: Visit) -> None:
    """See `agent.probes.services.check.Errand`."""
    (await dial(visit, _UNNAMED)).close()


def build(means: Means) -> ServiceProbe:
    """See `agent.ports.Means`."""
    return ServiceProbe(means.clock, "tcp", connect)
