"""Logging of a whole process. Only commands use this; a module only has its logger."""

import logging
import sys
from collections.abc import Mapping
from types import MappingProxyType

from watchkeeper.model.plain import LogFormatter

_LIBRARY_LEVELS: Mapping[str, int] = MappingProxyType(
    {
        "alembic": logging.WARNING,
        "apprise": logging.WARNING,
        "apscheduler": logging.WARNING,  # it logs every run of a job
        "pymodbus": logging.CRITICAL,  # it logs every lost connection; the sweep reports it
        "urllib3": logging.INFO,  # at DEBUG it logs URLs, which may hold secrets
    }
)


def limit_library_logs() -> None:
    """Keep noise and secrets of libraries out of the log, whatever the level of our own lines.

    Apprise logs URLs with secrets in warnings too, so none of its lines reach the log; they come back in the receipt of
    a channel, without the secrets.
    """
    for name, level in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("apprise").propagate = False


def set_up_logging(line_format: str, level: int = logging.INFO) -> None:
    """Log to standard error, in lines of that format (see `logging.Formatter`)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter(line_format))
    logging.basicConfig(level=level, handlers=[handler])
    limit_library_logs()
