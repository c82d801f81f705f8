"""Whether a job is over is told at once, however long the queue has run."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pacs_node.jobs import QUEUE_FILE, Again, Done, Task
from pacs_node.jobs.unfinished import QUERY
from tests.unit.test_jobs import running, wait_until


def test_a_job_is_found_among_many_that_are_over_without_reading_them(tmp_path: Path) -> None:
    with running(tmp_path, stage=lambda _task: Done(), other=lambda _task: Again(3600)) as jobs:
        jobs.enqueue(Task("ab", "stage", "x"))
        jobs.enqueue(Task("ab.2", "other", "x"))
        jobs.enqueue(Task("ac", "stage", "x"))
        wait_until(lambda: not jobs.is_unfinished("ac"))
        wait_until(lambda: not jobs.is_unfinished("ab:"))
        assert [jobs.is_unfinished(job) for job in ("ab", "ab.2:", "a", "b", "ac")] == [True, True, True, False, False]
    with closing(sqlite3.connect(tmp_path / QUEUE_FILE)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {QUERY}", {"first": "ab", "last": "ac"}).fetchall()
    assert all("SEARCH" in detail for *_, detail in plan), plan
