"""What an error of the database means: that the data can never be written (StoreRefused), or that the database, its rights,
its tables or its disk are not as they should be (StoreError)."""

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from typing import TypeGuard

from sqlalchemy import exc

from watchkeeper.model.errors import StoreError, StoreFull, StoreRefused

_DISK_FULL = "53100"  # PostgreSQL, appendix A: disk_full
_OF_THE_DATA = ("22", "23", "54")
"""PostgreSQL's classes of errors that the data cause (appendix A): data exception, integrity constraint violation, program
limit exceeded. Everything else may pass: a missing table or right, a read-only database, a deadlock, a timeout."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise StoreFull, StoreRefused or StoreError in place of the errors of database and driver."""
    try:
        yield
    except exc.DBAPIError as error:
        raise _translate(error) from error
    except exc.TimeoutError as error:
        raise StoreError("all connections to the store are in use; this is tried again") from error
    except (exc.DisconnectionError, exc.PendingRollbackError, exc.ResourceClosedError) as error:
        raise StoreError("the connection to the database was lost; this is tried again") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreFull("the store's disk is full") from error
        raise


def _translate(error: exc.DBAPIError) -> StoreError:
    cause = error.orig or error
    full = (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(cause, "sqlstate", "") == _DISK_FULL
    )
    if full:
        return StoreFull(
            "the store's disk is full; free some space (nothing is lost: agents keep their data meanwhile)"
        )
    kind = StoreRefused if _is_of_the_data(error, cause) else StoreError
    return kind(f"the database reports: {str(cause).strip()}")


def _is_of_the_data(error: exc.DBAPIError, cause: BaseException) -> bool:
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in _OF_THE_DATA
    return isinstance(error, exc.DataError | exc.IntegrityError)  # SQLite, and what psycopg refuses before it sends it


def may_pass(error: Exception) -> TypeGuard[StoreError]:
    """Whether the same transaction may succeed later."""
    return isinstance(error, StoreError) and not isinstance(error, StoreRefused)


def is_refused_data(error: Exception) -> bool:
    """Whether no store could take the data. A violated constraint is one of the schema: another version changed it."""
    refused = isinstance(error, StoreRefused) and not isinstance(error.__cause__, exc.IntegrityError)
    return refused or isinstance(error, OverflowError | UnicodeError)
