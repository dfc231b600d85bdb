"""The TCP probe: does anything take a connection on that port?"""

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.services.check import Attempt, ServiceProbe, dial

_UNNAMED = 0


async def connect(attempt: Attempt) -> None:
    """See `check.Check`."""
    (await dial(attempt, _UNNAMED)).close()


def build(context: ProbeContext) -> ServiceProbe:
    """See `agent.ports.ProbeContext`."""
    return ServiceProbe(context.clock, "tcp", connect)
