"""Tasks as DBOS workflows on one SQLite file; the only module that knows DBOS.

One attempt of one task is one workflow with one checkpointed step: the handler. An attempt that has to be repeated
queues its successor with a delay and ends, so a waiting task occupies neither a thread nor a place in its lane. A
handler runs at least once: a crash between its last effect and its record runs it again, so it must be idempotent.
"""

import logging
import sqlite3
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions
from dbos import error as dbos_error
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from pacs_node.errors import ConfigError, Retriable
from pacs_node.jobs.old_sqlite import provide_subsecond_time
from pacs_node.jobs.prune import forget_finished
from pacs_node.jobs.tasks import Again, Done, Handler, Task, Verdict
from pacs_node.jobs.unfinished import is_unfinished

__all__ = ["QUEUE_FILE", "Jobs", "count_jobs", "open_jobs"]

QUEUE_FILE = "queue.sqlite"
QUEUE = "tasks"  # lanes of which one task runs at a time; others have a queue for their stage
WORKFLOW = "attempt"
# Pinned: DBOS leaves the workflows of any other version alone, and an upgrade of ours must finish what it finds.
# A change of Task that an older row cannot be read with needs a new number and a migration.
APPLICATION_VERSION = "1"
EXECUTOR_ID = "node"  # one process per data_dir (the service holds a lock), the same one after every restart
POLLING_INTERVAL_S = 0.2  # how long an idle lane may take to notice a task
SWEEP_INTERVAL_S = 5.0
FORGET_AFTER_S = 24 * 3600.0  # after their end; the audit trail has the history
FORGET_INTERVAL_S = 3600.0
AFTER_A_BUG_S = 60.0  # a handler that raises in spite of its promise is tried again after this

log = logging.getLogger(__name__)


class _LeftPending(BaseException):
    """The queue's own file failed under an attempt.

    Not an Exception, so that DBOS records no outcome: the row stays pending and `Jobs` puts it back into its lane.
    """


class Jobs:
    """The running queue of this process; DBOS is a singleton, so there is one at a time. Made by `open_jobs`."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], at_once: Mapping[str, int]) -> None:
        self._path = path
        self._forgotten_until_ms = 0
        self._handlers = handlers
        self._at_once = at_once
        self._running: set[str] = set()
        self._closing = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="jobs-sweeper", daemon=True)

    def start(self) -> None:
        """Resume what a former process left, and begin to take tasks.

        Raises
        ------
        Retriable
            The queue's file cannot be written.
        """
        lanes = {QUEUE: 1} | {_queue_of(stage): count for stage, count in self._at_once.items()}
        try:
            DBOS.launch()
            for queue, count in lanes.items():
                DBOS.register_queue(
                    queue,
                    partition_concurrency=count,
                    polling_interval_sec=POLLING_INTERVAL_S,
                    on_conflict="always_update",
                )
        except SQLAlchemyError as error:
            raise Retriable(f"the queue cannot be written: {type(error).__name__}") from error
        self._sweeper.start()

    def enqueue(self, task: Task) -> bool:
        """Make a first attempt durable; False when this very task is or was in the queue already.

        Raises
        ------
        Retriable
            The queue's file cannot be written.
        """
        try:
            self._queue(task, delay_s=None, policy="reject")
        except dbos_error.DBOSWorkflowIDInUseError:
            return False
        except Exception as error:
            raise Retriable(f"the queue cannot be written: {type(error).__name__}") from error
        return True

    def knows(self, task: Task) -> bool:
        """Whether this very task is or was in the queue."""
        return DBOS.get_workflow_status(task.task_id) is not None

    def is_unfinished(self, job: str) -> bool:
        """Whether any task of a job whose key begins so still waits or runs; raises Retriable when nobody can tell."""
        try:
            return is_unfinished(self._path, job)
        except sqlite3.Error as error:
            raise Retriable(f"the queue cannot be read: {type(error).__name__}") from error

    def close(self, grace_s: int = 30) -> None:
        """Take no new task, let running handlers finish for up to ``grace_s``, keep the rest queued."""
        self._closing.set()
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=grace_s)

    def run_attempt(self, document: dict[str, Any]) -> None:
        """The workflow: one attempt, then what follows from it."""
        task = Task(**document)
        self._running.add(task.task_id)
        try:
            verdict = DBOS.run_step({"name": "handle"}, self._handle, task)
            if "again" in verdict:
                self._queue(task.next_attempt(), delay_s=float(verdict["again"]))
            for follower in verdict["then"]:
                self._queue(Task(**follower), delay_s=None)
        except Exception as error:
            if self._closing.is_set():  # its time was over before it was done
                log.info("an attempt was not finished before the end; it will be repeated")
            else:
                log.critical("the queue's file failed under an attempt (%s); it will be repeated", type(error).__name__)
            raise _LeftPending from error
        finally:
            self._running.discard(task.task_id)

    def _handle(self, task: Task) -> dict[str, Any]:
        try:
            verdict: Verdict = self._handlers[task.stage](task)
        except Exception as error:  # noqa: BLE001 - a bug must not lose the job, nor put foreign text into the log
            where = "".join(traceback.format_tb(error.__traceback__))
            log.critical("handler of stage %s raised %s, tried later\n%s", task.stage, type(error).__name__, where)
            verdict = Again(AFTER_A_BUG_S)
        if isinstance(verdict, Done):
            return {"then": [follower.as_json() for follower in verdict.then]}
        return {"again": verdict.delay_s, "then": []}

    def _queue(self, task: Task, *, delay_s: float | None, policy: Any = "return-existing") -> None:
        document = task.as_json()
        document["first_tried_at"] = task.first_tried_at or time.time()
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": _queue_of(task.stage) if task.stage in self._at_once else QUEUE,
            "workflow_id": task.task_id,
            "workflow_id_reuse_policy": policy,
            "app_version": APPLICATION_VERSION,
            "queue_partition_key": f"{task.stage}/{task.lane}",
        }
        if delay_s is not None:
            options["delay_seconds"] = delay_s
        DBOS.enqueue_workflow_with_options(options, document)

    def _sweep(self) -> None:
        """Put attempts back that are marked as running although no thread runs them.

        An attempt must be seen so twice, because its row changes a moment before and after its thread runs.
        """
        suspects: set[str] = set()
        while not self._closing.wait(SWEEP_INTERVAL_S):
            self.forget_finished(time.time() - FORGET_AFTER_S)
            try:
                rows = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
                queues = {row.workflow_id: row.queue_name or QUEUE for row in rows}
                orphans = queues.keys() - self._running
                for task_id in orphans & suspects:
                    DBOS.resume_workflow(task_id, queue_name=queues[task_id])
                suspects = orphans - suspects
            except Exception as error:  # noqa: BLE001 - a full disk now must not end the sweeping
                log.warning("the queue cannot be swept: %s", type(error).__name__)

    def forget_finished(self, until: float) -> None:
        """Let go of what tasks left that ended before ``until``, seconds since the epoch; now and then is enough."""
        until_ms = int(until * 1000)
        if until_ms - self._forgotten_until_ms < FORGET_INTERVAL_S * 1000:
            return
        try:
            forget_finished(self._path, self._forgotten_until_ms, until_ms)
            self._forgotten_until_ms = until_ms
        except sqlite3.Error as error:
            log.warning("finished tasks stay in the queue's file for now: %s", type(error).__name__)


def _queue_of(stage: str) -> str:
    return f"{QUEUE}-{stage}"


def open_jobs(data_dir: Path, handlers: Mapping[str, Handler], at_once: Mapping[str, int] | None = None) -> Jobs:
    """Prepare the queue in ``data_dir``; nothing runs before `Jobs.start`.

    Parameters
    ----------
    handlers : stage -> handler; a handler is idempotent and does not raise.
    at_once : stage -> how many tasks of one of its lanes may run at the same time; 1 where a stage is not named.

    Raises
    ------
    ConfigError
        The queue's file cannot be opened.
    """
    path = data_dir / QUEUE_FILE
    try:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # stays with the file; DBOS leaves the mode alone
        connection.close()
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be opened as the queue: {error}") from error
    jobs = Jobs(path, handlers, at_once or {})
    provide_subsecond_time()
    config: DBOSConfig = {
        "name": "pacs-node",
        "system_database_url": URL.create("sqlite", database=str(path)).render_as_string(),
        "application_version": APPLICATION_VERSION,
        "executor_id": EXECUTOR_ID,
        "log_level": "ERROR",
        "serializer": DBOSPortableJSONSerializer(),  # rows hold JSON, never pickles
        "enable_otlp": False,
    }
    DBOS(config=config)

    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)  # a function: DBOS sets attributes, methods have none
    def attempt(document: dict[str, Any]) -> None:
        jobs.run_attempt(document)

    return jobs


def count_jobs(data_dir: Path) -> dict[str, int]:
    """Tasks that wait or run, by stage and state (`process queued`, `deliver waiting`); works beside a running node.

    States: queued (due), waiting (for its next attempt), running (or interrupted, when no node runs).

    Raises
    ------
    sqlite3.Error
        The file cannot be read: what waits is not known.
    """
    path = data_dir / QUEUE_FILE
    if not path.exists():
        return {}
    names = {"ENQUEUED": "queued", "DELAYED": "waiting", "PENDING": "running"}
    query = (
        "SELECT queue_partition_key, status, COUNT(*) FROM workflow_status"
        " WHERE status IN ('ENQUEUED', 'DELAYED', 'PENDING') GROUP BY 1, 2"
    )
    counts: dict[str, int] = {}
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'workflow_status'").fetchone() is None:
            return {}  # the node never got further than creating the file
        rows = connection.execute(query).fetchall()
    finally:
        connection.close()
    for partition, status, count in rows:
        label = f"{str(partition).split('/', 1)[0]} {names[status]}"
        counts[label] = counts.get(label, 0) + int(count)
    return counts
