"""Where a received instance becomes a job, exactly once."""

import contextlib
import hashlib
import itertools
import logging
import threading
from dataclasses import replace
from pathlib import Path

from pydicom import dcmread

from pacs_node.config import Settings
from pacs_node.errors import Rejected
from pacs_node.imaging.read import require_no_loss
from pacs_node.jobs import Jobs, Task
from pacs_node.records import ReceivedInstance
from pacs_node.spool import Spool
from pacs_node.worker import PROCESS

__all__ = ["Intake"]

LANE = "model"  # one network, one image at a time

log = logging.getLogger(__name__)


class Intake:
    """Queues received instances; the same one is one job, however often it comes, unless it was refused before."""

    def __init__(self, jobs: Jobs, spool: Spool, bundle_digest: str, settings: Settings) -> None:
        self._jobs = jobs
        self._one_at_a_time = threading.Lock()
        self._spool = spool
        recipe = f"{settings.model.steps}|{settings.model.seed}|{settings.output.model_dump_json()}"
        self._work = f"{bundle_digest}|{recipe}"

    def key(self, sop_instance_uid: str) -> str:
        """The job of an instance: 40 hexadecimal digits of its UID, the model and every setting that shows."""
        return hashlib.sha256(f"{sop_instance_uid}|{self._work}".encode()).hexdigest()[:40]

    def accept(self, instance: ReceivedInstance, study_instance_uid: str) -> bool:
        """Make the job of a durable file durable; False when there was one.

        Raises
        ------
        Retriable
            That fails.
        Rejected
            The file cannot be read, and an earlier copy that is kept can: that one stays, this one is removed.
        """
        return self._queue(self.key(instance.sop_instance_uid), instance.sop_instance_uid, study_instance_uid)

    def adopt_orphans(self) -> int:
        """Queue the files that a crash left between their rename and their job; returns how many.

        The peer never got its Success for them and will come again, which then changes nothing. Files whose job waits
        or runs are left to it.
        """
        adopted = 0
        for path in sorted(self._spool.incoming.glob("*.dcm")):
            if self._jobs.is_unfinished(f"{path.stem}:"):  # this very run, see Task.task_id
                continue
            try:
                uids = _identity(path)
            except FileNotFoundError:  # its job has ended since the folder was listed
                continue
            except OSError as error:
                log.warning("a file of an interrupted run cannot be read: %s", type(error).__name__)
                continue
            if uids is None:
                self._spool.refuse(path, {"reason": "not_dicom", "explanation": "a foreign file in incoming/"})
            else:
                with contextlib.suppress(Rejected):  # a better copy is kept, and nobody was told that this one is
                    adopted += self._queue(path.stem, *uids)
        return adopted

    def _queue(self, job: str, sop_instance_uid: str, study_instance_uid: str) -> bool:
        task = Task(
            job, PROCESS, LANE, {"sop_instance_uid": sop_instance_uid, "study_instance_uid": study_instance_uid}
        )
        with self._one_at_a_time:
            return self._jobs.enqueue(task) or self._queue_again(task)

    def _queue_again(self, task: Task) -> bool:
        """The job is known. What was refused gets another chance, because settings or peers may have been mended."""
        if not self._spool.incoming_path(task.job).exists():
            return False  # the same instance came twice at this moment, and the file serves the other one
        first = task.job.partition(".")[0]
        latest, again = self._runs(task, first)
        # a run that is about to end has given up its file already; where it is the first, the new copy has its name
        has_file = self._spool.incoming_path(latest.job).exists() and not self._spool.refused_path(latest.job).exists()
        if has_file and self._jobs.is_unfinished(first):
            if latest.job != task.job:  # the newer bytes replace those of the run that goes on
                self._require_no_loss(task.job, self._spool.incoming_path(latest.job))
                self._spool.rename_incoming(task.job, latest.job)
            return False
        refused = self._spool.refused(first)
        if not refused:
            self._spool.release(task.job)  # its job is over: nobody else would remove the new copy
            return False
        for path in refused:
            if path.suffix == ".dcm":
                self._require_no_loss(task.job, path)
        self._spool.rename_incoming(task.job, again.job)
        is_new = self._jobs.enqueue(again)
        for path in refused:  # the new copy replaces them; last, so that a crash before leaves the way open
            path.unlink(missing_ok=True)
        return is_new

    def _require_no_loss(self, job: str, older: Path) -> None:
        """Let go of a new copy that cannot be read where the older one can, and say why."""
        try:
            require_no_loss(self._spool.incoming_path(job), older)
        except Rejected:
            self._spool.release(job)
            raise

    def _runs(self, task: Task, first: str) -> tuple[Task, Task]:
        """The latest run of a job that is known, and the one that would come next."""
        repetitions = (replace(task, job=f"{first}.{number}") for number in itertools.count(2))
        runs = itertools.pairwise(itertools.chain([replace(task, job=first)], repetitions))
        return next((latest, again) for latest, again in runs if not self._jobs.knows(again))


def _identity(path: Path) -> tuple[str, str] | None:
    """SOP and Study Instance UID of a file, None where it has none; raises OSError when the disk does."""
    try:
        ds = dcmread(path, specific_tags=["SOPInstanceUID", "StudyInstanceUID"], stop_before_pixels=True)
        return str(ds.SOPInstanceUID), str(ds.StudyInstanceUID)
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - pydicom raises many types on damaged bytes
        return None
