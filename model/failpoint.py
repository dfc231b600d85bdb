"""Named places where a test may kill the process: `WATCHKEEPER_KILL_AT=name` dies there at once, `name:3` the third time.

Without the variable a failpoint costs one `is None`.
"""

import os
import signal

_target = os.environ.get("WATCHKEEPER_KILL_AT")
_name, _, _count = (_target or "").partition(":")
_left = int(_count or 1)


def failpoint(name: str) -> None:
    """Die by SIGKILL if the environment asks for it here; otherwise nothing."""
    if _target is None or name != _name:
        return
    global _left  # noqa: PLW0603 -- the one counter of a process that is about to die
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
