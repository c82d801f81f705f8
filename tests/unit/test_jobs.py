"""The queue keeps its tasks through crashes, and none of them waits for another one's trouble."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from dbos import DBOS

from pacs_node.errors import Retriable
from pacs_node.jobs import QUEUE_FILE, Again, Done, Handler, Jobs, Task, count_jobs, durable, open_jobs

PATIENCE_S = 60.0  # a bound for a machine under load, not an expectation


@contextmanager
def running(folder: Path, at_once: dict[str, int] | None = None, **handlers: Handler) -> Iterator[Jobs]:
    jobs = open_jobs(folder, handlers, at_once)
    jobs.start()
    try:
        yield jobs
    finally:
        jobs.close(5)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the queue did not get there"
        time.sleep(0.02)


def test_a_task_and_what_follows_from_it_run_once(tmp_path: Path) -> None:
    seen: list[str] = []

    def first(task: Task) -> Done:
        seen.append(task.stage)
        return Done((Task(task.job, "second", "a"), Task(task.job, "second", "b")))

    def second(task: Task) -> Done:
        seen.append(task.lane)
        return Done()

    with running(tmp_path, first=first, second=second) as jobs:
        assert jobs.enqueue(Task("j", "first", "x"))
        wait_until(lambda: not jobs.is_unfinished("j"))
    assert sorted(seen) == ["a", "b", "first"]
    assert count_jobs(tmp_path) == {}


def test_the_same_task_queued_twice_is_one_also_after_it_ended(tmp_path: Path) -> None:
    seen: list[str] = []

    def handle(task: Task) -> Done:
        seen.append(task.job)
        return Done()

    with running(tmp_path, stage=handle) as jobs:
        assert jobs.enqueue(Task("j", "stage", "x"))
        assert not jobs.enqueue(Task("j", "stage", "x"))
        wait_until(lambda: not jobs.is_unfinished("j"))
        assert not jobs.enqueue(Task("j", "stage", "x"))
    with running(tmp_path, stage=handle) as jobs:
        assert not jobs.enqueue(Task("j", "stage", "x"))
    assert seen == ["j"]


def test_a_task_that_waits_for_its_next_attempt_lets_the_others_pass(tmp_path: Path) -> None:
    seen: list[str] = []

    def handle(task: Task) -> Done | Again:
        if task.job == "stuck":
            return Again(delay_s=3600)
        seen.append(task.job)
        return Done()

    with running(tmp_path, stage=handle) as jobs:
        for job in ("stuck", "next", "last"):
            jobs.enqueue(Task(job, "stage", "x"))
        wait_until(lambda: sorted(seen) == ["last", "next"])  # queued in one millisecond: no order
        wait_until(lambda: count_jobs(tmp_path) == {"stage waiting": 1})


def test_a_slow_lane_does_not_hold_another_lane(tmp_path: Path) -> None:
    hold, seen = threading.Event(), []

    def handle(task: Task) -> Done:
        if task.lane == "slow":
            hold.wait(PATIENCE_S)
        seen.append(task.lane)
        return Done()

    with running(tmp_path, stage=handle) as jobs:
        jobs.enqueue(Task("j", "stage", "slow"))
        jobs.enqueue(Task("j", "stage", "fast"))
        wait_until(lambda: seen == ["fast"])
        hold.set()
        wait_until(lambda: not jobs.is_unfinished("j"))


def test_tasks_of_one_lane_never_overlap(tmp_path: Path) -> None:
    running_now, most = 0, 0
    lock = threading.Lock()

    def handle(_task: Task) -> Done:
        nonlocal running_now, most
        with lock:
            running_now += 1
            most = max(most, running_now)
        time.sleep(0.05)
        with lock:
            running_now -= 1
        return Done()

    with running(tmp_path, stage=handle) as jobs:
        for number in range(4):
            jobs.enqueue(Task(f"j{number}", "stage", "x"))
        wait_until(lambda: not any(jobs.is_unfinished(f"j{number}") for number in range(4)))
    assert most == 1


def test_the_queue_is_counted_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "100% #1, new? %20"
    folder.mkdir()
    with running(folder, stage=lambda _task: Again(3600)) as jobs:
        jobs.enqueue(Task("j", "stage", "x"))
        wait_until(lambda: count_jobs(folder) == {"stage waiting": 1})


def test_a_queue_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / QUEUE_FILE).touch()
    assert count_jobs(tmp_path) == {}
    connection = sqlite3.connect(tmp_path / QUEUE_FILE)
    connection.execute("CREATE TABLE workflow_status (other)").close()  # an error as on a disk mounted read-only
    with closing(connection), pytest.raises(sqlite3.OperationalError):
        count_jobs(tmp_path)


def test_attempts_are_counted_and_remember_when_the_first_one_was(tmp_path: Path) -> None:
    seen: list[Task] = []

    def handle(task: Task) -> Done | Again:
        seen.append(task)
        return Done() if task.attempt == 3 else Again(0.01)

    with running(tmp_path, stage=handle) as jobs:
        jobs.enqueue(Task("j", "stage", "x", {"note": "kept"}))
        wait_until(lambda: not jobs.is_unfinished("j"))
    assert [task.attempt for task in seen] == [1, 2, 3]
    assert len({task.first_tried_at for task in seen}) == 1
    assert seen[0].first_tried_at > 0
    assert seen[2].payload == {"note": "kept"}


def test_a_handler_that_raises_is_tried_again_and_its_text_stays_out_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(durable, "AFTER_A_BUG_S", 0.01)
    name = "DOE^JANE"

    def handle(task: Task) -> Done:
        if task.attempt == 1:
            raise ValueError(name)
        return Done()

    with running(tmp_path, stage=handle) as jobs:
        jobs.enqueue(Task("j", "stage", "x"))
        wait_until(lambda: not jobs.is_unfinished("j"))
    assert "ValueError" in caplog.text
    assert name not in caplog.text


def test_an_attempt_whose_record_failed_is_repeated_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "SWEEP_INTERVAL_S", 0.1)
    seen: list[str] = []
    broken = threading.Event()
    broken.set()

    def handle(task: Task) -> Done:
        seen.append(task.stage)
        return Done((Task(task.job, "end", "x"),) if task.stage == "start" else ())

    queue = Jobs._queue

    def queue_with_full_disk(self: Jobs, task: Task, *, delay_s: float | None, policy: str = "return-existing") -> None:
        if task.stage == "end" and broken.is_set():
            broken.clear()
            raise sqlite3.OperationalError("database or disk is full")
        queue(self, task, delay_s=delay_s, policy=policy)

    monkeypatch.setattr(Jobs, "_queue", queue_with_full_disk)
    with running(tmp_path, start=handle, end=handle) as jobs:
        jobs.enqueue(Task("j", "start", "x"))
        wait_until(lambda: not jobs.is_unfinished("j"))
    assert "end" in seen


def test_a_queue_that_cannot_be_written_is_retriable(tmp_path: Path) -> None:
    with running(tmp_path, stage=lambda _task: Done()) as jobs:
        with sqlite3.connect(tmp_path / QUEUE_FILE) as connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON workflow_status BEGIN SELECT RAISE(FAIL, 'full'); END"
            )
        with pytest.raises(Retriable):
            jobs.enqueue(Task("j", "stage", "x"))
        connection.close()


def test_a_queue_that_cannot_be_written_at_the_start_is_retriable(tmp_path: Path) -> None:
    with running(tmp_path, stage=lambda _task: Done()):
        pass
    with sqlite3.connect(tmp_path / QUEUE_FILE) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON queues BEGIN SELECT RAISE(FAIL, 'full'); END")
    connection.close()
    jobs = open_jobs(tmp_path, {"stage": lambda _task: Done()})
    with pytest.raises(Retriable):
        jobs.start()
    jobs.close(0)


def test_closing_finishes_what_runs_and_leaves_the_rest_queued(tmp_path: Path) -> None:
    started, seen = threading.Event(), []

    def handle(task: Task) -> Done:
        started.set()
        time.sleep(0.5)
        seen.append(task.job)
        return Done()

    jobs = open_jobs(tmp_path, {"stage": handle})
    jobs.start()
    for number in range(3):
        jobs.enqueue(Task(f"j{number}", "stage", "x"))
    started.wait(PATIENCE_S)
    jobs.close(20)
    assert len(seen) == 1
    assert count_jobs(tmp_path) == {"stage queued": 2}


def test_an_attempt_that_outlives_the_end_is_no_failure_of_the_queue_and_is_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pacs_node")
    started, released = threading.Event(), threading.Event()

    def handle(_task: Task) -> Done:
        started.set()
        released.wait(PATIENCE_S)
        return Done((Task("j", "stage", "later"),))

    jobs = open_jobs(tmp_path, {"stage": handle})
    jobs.start()
    jobs.enqueue(Task("j", "stage", "x"))
    started.wait(PATIENCE_S)
    jobs.close(0)
    released.set()
    wait_until(lambda: "not finished before the end" in caplog.text or "failed under an attempt" in caplog.text)
    assert "failed under an attempt" not in caplog.text
    assert count_jobs(tmp_path) == {"stage running": 1}


KILLED_INSIDE = """
import os, signal, sys, time
from pathlib import Path
from pacs_node.jobs import Done, Task, open_jobs

folder = Path(sys.argv[1])

def handle(task):
    with (folder / "runs").open("a") as stream:
        stream.write(task.stage + "\\n")
    if task.stage == "start" and (folder / "runs").read_text().count("start") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Done((Task(task.job, "end", "x"),) if task.stage == "start" else ())

jobs = open_jobs(folder, {"start": handle, "end": handle})
jobs.start()
jobs.enqueue(Task("j", "start", "x"))
while jobs.is_unfinished("j"):
    time.sleep(0.05)
jobs.close(5)
"""


def test_a_task_killed_inside_its_handler_is_finished_by_the_next_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_INSIDE, str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == -signal.SIGKILL
    assert count_jobs(tmp_path) == {"start running": 1}
    assert subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == 0
    assert (tmp_path / "runs").read_text().split() == ["start", "start", "end"]
    assert count_jobs(tmp_path) == {}


def test_several_tasks_of_one_lane_run_at_the_same_time_where_their_stage_may_and_no_more_than_that(
    tmp_path: Path,
) -> None:
    together = threading.Barrier(3)
    lock, now, most = threading.Lock(), [0], [0]

    def handle(_task: Task) -> Done:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait(PATIENCE_S)  # only three that run at the same time get past it
        with lock:
            now[0] -= 1
        return Done()

    with running(tmp_path, at_once={"stage": 3}, stage=handle) as jobs:
        for number in range(6):
            jobs.enqueue(Task(f"j{number}", "stage", "x"))
        wait_until(lambda: not jobs.is_unfinished("j"))
    assert most == [3]
    assert count_jobs(tmp_path) == {}


def test_a_bad_task_does_not_hold_the_others_of_its_lane(tmp_path: Path) -> None:
    release = threading.Event()
    seen: list[str] = []

    def handle(task: Task) -> Done:
        if task.job == "slow":
            release.wait(PATIENCE_S)
        seen.append(task.job)
        return Done()

    with running(tmp_path, at_once={"stage": 2}, stage=handle) as jobs:
        for job in ("slow", "b", "c", "d"):
            jobs.enqueue(Task(job, "stage", "x"))
        wait_until(lambda: len(seen) == 3)
        release.set()
        wait_until(lambda: not jobs.is_unfinished("slow"))
    assert sorted(seen[:3]) == ["b", "c", "d"]


def test_tasks_of_a_version_that_had_one_queue_for_all_stages_are_finished(tmp_path: Path) -> None:
    seen: list[str] = []

    def handle(task: Task) -> Done:
        seen.append(task.job)
        return Done()

    before = open_jobs(tmp_path, {"stage": handle})
    DBOS.launch()  # not started: nothing takes the task
    assert before.enqueue(Task("old", "stage", "x"))
    before.close(5)
    with running(tmp_path, at_once={"stage": 2}, stage=handle) as jobs:
        assert not jobs.enqueue(Task("old", "stage", "x"))
        jobs.enqueue(Task("new", "stage", "x"))
        wait_until(lambda: sorted(seen) == ["new", "old"])


def rows(folder: Path, table: str) -> int:
    with sqlite3.connect(folder / QUEUE_FILE) as connection:
        [(count,)] = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchall()  # noqa: S608
    connection.close()
    return int(count)


def test_what_finished_tasks_left_is_forgotten_and_the_tasks_are_known_for_ever(tmp_path: Path) -> None:
    seen: list[str] = []

    def first(task: Task) -> Done | Again:
        seen.append(task.job)
        return Again(0.0) if task.attempt == 1 else Done((Task(task.job, "second", "x"),))

    def second(task: Task) -> Done | Again:
        return Again(3600) if task.job == "waits" else Done()

    with running(tmp_path, first=first, second=second) as jobs:
        assert jobs.enqueue(Task("j", "first", "x"))
        assert jobs.enqueue(Task("waits", "first", "x"))
        wait_until(lambda: not jobs.is_unfinished("j:") and "deliver" not in str(count_jobs(tmp_path)))
        wait_until(lambda: count_jobs(tmp_path) == {"second waiting": 1})
        assert rows(tmp_path, "workflow_status") == 7  # two attempts and one follower each, one of them twice
        jobs.forget_finished(time.time() + 7200)
        wait_until(lambda: rows(tmp_path, "workflow_status") == 3)  # the two that came from outside, and what waits
        assert rows(tmp_path, "operation_outputs") == 0
        assert not jobs.enqueue(Task("j", "first", "x"))
        assert jobs.is_unfinished("waits")
    assert seen.count("j") == 2


def test_nothing_is_forgotten_that_ended_a_moment_ago(tmp_path: Path) -> None:
    def handle(_task: Task) -> Done:
        return Done()

    with running(tmp_path, stage=handle) as jobs:
        jobs.enqueue(Task("j", "stage", "x"))
        wait_until(lambda: not jobs.is_unfinished("j"))
        jobs.forget_finished(time.time() - 3600)
        assert rows(tmp_path, "operation_outputs") == 1
