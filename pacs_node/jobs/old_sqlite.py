"""SQLite before 3.42 under DBOS: Python 3.12 and later may be built on it, on Debian 12 for example.

DBOS 3.4 takes `unixepoch('subsec')` for granted from Python 3.12 on. An older SQLite answers NULL to it, and the first
row of the queue then breaks a NOT NULL constraint.
"""

import sqlite3
import time
from typing import Any

from sqlalchemy import Engine, event

__all__ = ["provide_subsecond_time"]

FIRST_WITH_SUBSECONDS = (3, 42, 0)


def provide_subsecond_time() -> None:
    """Give every connection that SQLAlchemy opens from now on the function that an old SQLite lacks."""
    if sqlite3.sqlite_version_info < FIRST_WITH_SUBSECONDS and not event.contains(Engine, "connect", _add_function):
        event.listen(Engine, "connect", _add_function)


def _add_function(connection: Any, _record: object) -> None:
    connection.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: object) -> float:
    """Seconds since the epoch; DBOS asks with no other modifier than `subsec`."""
    if modifier != "subsec":
        raise ValueError("only the modifier subsec is known")
    return time.time()
