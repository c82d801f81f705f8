"""Whether a job is over, asked for every instance that comes again: the queue keeps millions of rows over years."""

import sqlite3
from pathlib import Path

__all__ = ["is_unfinished"]

BUSY_TIMEOUT_S = 30.0
AFTER_ALL = "\U0010ffff"
# a range of the primary key; DBOS asks with LIKE, for which SQLite reads the whole table
QUERY = """
    SELECT 1 FROM workflow_status
    WHERE workflow_uuid >= :first AND workflow_uuid < :last AND +status IN ('ENQUEUED', 'DELAYED', 'PENDING') LIMIT 1
"""


def is_unfinished(path: Path, prefix: str) -> bool:
    """Whether a task whose identity begins so waits or runs.

    Parameters
    ----------
    path : the file of the queue, which may be in use.

    Raises
    ------
    sqlite3.Error
        The file cannot be read.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    try:
        row = connection.execute(QUERY, {"first": prefix, "last": prefix + AFTER_ALL}).fetchone()
    finally:
        connection.close()
    return row is not None
