"""What the queue's file may forget, so that it and every look into it stay small over years.

A task that came from outside keeps its row for ever (some 700 bytes): by it the same instance is recognised when it
comes again. Tasks that followed from others, attempts and what their steps came to are of no use once they are over.
"""

import sqlite3
from pathlib import Path

__all__ = ["forget_finished"]

BATCH = 500  # rows in one transaction, which takes milliseconds; receiving waits no longer than that
BUSY_TIMEOUT_S = 30.0
FINISHED = "status = 'SUCCESS' AND completed_at >= :since AND completed_at < :until"
OUTPUTS = f"""
    DELETE FROM operation_outputs WHERE rowid IN (
        SELECT operation_outputs.rowid FROM operation_outputs JOIN workflow_status USING (workflow_uuid)
        WHERE {FINISHED} LIMIT {BATCH})
"""  # noqa: S608 - nothing in it comes from outside
FOLLOWERS = f"""
    DELETE FROM workflow_status WHERE rowid IN (
        SELECT rowid FROM workflow_status WHERE {FINISHED} AND parent_workflow_id IS NOT NULL LIMIT {BATCH})
"""  # noqa: S608


def forget_finished(path: Path, since_ms: int, until_ms: int) -> int:
    """Delete what finished tasks left; returns the number of rows.

    Parameters
    ----------
    path : the file of the queue, which may be in use.
    since_ms, until_ms : of the end of a task, milliseconds since the epoch; since when nothing was forgotten, and a
        time that is long enough ago for a crash to have been recovered from.

    Raises
    ------
    sqlite3.Error
        The file cannot be read or written; what is left waits for the next time.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    deleted = 0
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        for statement in (OUTPUTS, FOLLOWERS):
            while True:
                with connection:
                    count = connection.execute(statement, {"since": since_ms, "until": until_ms}).rowcount
                deleted += count
                if count < BATCH:
                    break
    finally:
        connection.close()
    return deleted
