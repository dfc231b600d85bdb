"""Named places at which a test can kill the process: `WATCHKEEPER_KILL_AT=name` kills it there the first time, `name:3`
the third time. Without the variable a failpoint costs one `is None`.
"""

import os
import signal

_target = os.environ.get("WATCHKEEPER_KILL_AT")
_name, _, _count = (_target or "").partition(":")
_left = int(_count or 1)


def failpoint(name: str) -> None:
    """Kill this process by SIGKILL if the environment asks for it here."""
    if _target is None or name != _name:
        return
    global _left  # noqa: PLW0603 -- a counter of the whole process
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
