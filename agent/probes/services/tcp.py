"""The TCP probe: whether the port accepts a connection."""

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.services.check import Attempt, ServiceProbe, dial

_NO_DEFAULT_PORT = 0


async def check_port(attempt: Attempt) -> None:
    """Implements `check.Check`."""
    (await dial(attempt, _NO_DEFAULT_PORT)).close()


def build(context: ProbeContext) -> ServiceProbe:
    """Build the probe."""
    return ServiceProbe(context.clock, "tcp", check_port)
