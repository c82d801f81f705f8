"""The two stages of a job: make the companion, then give it to each destination.

Both are idempotent, because a crash may repeat them: a companion has fixed UIDs and replaces itself in the outbox, and
a destination that gets the same instance twice has it once.
"""

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset

from pacs_node.audit import Audit, AuditEvent, EventKind
from pacs_node.config import DeliverySettings
from pacs_node.errors import ModelError, ReasonCode, Rejected, Retriable
from pacs_node.jobs import Again, Done, Handler, Task, Verdict
from pacs_node.records import Inference
from pacs_node.spool import Spool

__all__ = ["DELIVER", "PROCESS", "Make", "ModelIdentity", "Send", "SendOutcome", "SendResult", "Worker"]

PROCESS, DELIVER = "process", "deliver"
Make = Callable[[Path], tuple[Dataset, Inference]]
"""Received file -> the companion, complete with file meta information, and what the network did."""

log = logging.getLogger(__name__)


class SendOutcome(StrEnum):
    """What a C-STORE came to."""

    DELIVERED = "delivered"
    WARNING = "warning"  # stored, with a note (PS3.4 Table B.2-1, Bxxx)
    RETRY = "retry"  # out of resources, no answer, no association
    REFUSED = "refused"  # the same object will be refused again


@dataclass(frozen=True, slots=True)
class SendResult:
    """One attempt; ``status`` is None when the peer gave none; ``note`` is a sentence of ours."""

    outcome: SendOutcome
    status: int | None = None
    note: str | None = None


Send = Callable[[Path, str], SendResult]
"""Sends one file to a destination by its name; never raises for what a peer does."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    name: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Handlers of the queue; the key of a job names its files in the spool.

    Attributes
    ----------
    destinations : names of the peers that get every companion.
    on_model_error : told when no image can be processed any more; the job stays queued.
    """

    spool: Spool
    audit: Audit
    make: Make
    send: Send
    model: ModelIdentity
    destinations: tuple[str, ...]
    delivery: DeliverySettings
    on_model_error: Callable[[ModelError], None]

    def handlers(self) -> dict[str, Handler]:
        return {PROCESS: self.process, DELIVER: self.deliver}

    def process(self, task: Task) -> Verdict:
        """Received file -> companion in the outbox, or quarantine."""
        if not self.spool.incoming_path(task.job).exists():
            return Done()  # refused or delivered before a crash that forgot it
        try:
            return self._process(task)
        except Rejected as refusal:
            return self._reject(task, refusal)
        except ModelError as error:
            self.on_model_error(error)
            return self._postpone(task, "model_error")
        except Retriable as error:
            log.warning("processing postponed: %s", error)
            return self._postpone(task, "out_of_resources")

    def deliver(self, task: Task) -> Verdict:
        """One attempt to give a companion to one destination."""
        path = self.spool.outbox_path(task.job, task.lane)
        if not path.exists():
            return self._settled(task)  # sent and released before a crash that forgot it
        started = time.monotonic()
        result = self._send(path, task.lane)
        self._record(
            task,
            EventKind.SEND_ATTEMPT,
            dicom_status=result.status,
            reason=str(result.outcome),
            attempt=task.attempt,
            duration_s=time.monotonic() - started,
            note=result.note,
        )
        if result.outcome in {SendOutcome.DELIVERED, SendOutcome.WARNING}:
            self._record(task, EventKind.DELIVERED, dicom_status=result.status, note=result.note)
            self.spool.release(task.job, task.lane)
            return self._settled(task)
        if result.outcome is SendOutcome.RETRY and not self._has_expired(task):
            return Again(self._backoff_s(task.attempt))
        return self._give_up(task, path, result)

    def _process(self, task: Task) -> Done:
        self._record(task, EventKind.STARTED, attempt=task.attempt)
        started = time.monotonic()
        companion, inference = self._make_or_reject(self.spool.incoming_path(task.job))

        def write(stream: BinaryIO) -> None:
            companion.save_as(stream, enforce_file_format=True)

        self.spool.write_outbox(task.job, self.destinations, write)
        uid = str(companion.SOPInstanceUID)
        self._record(
            task,
            EventKind.DERIVED,
            derived_sop_instance_uid=uid,
            noise_seed=inference.noise_seed,
            steps=inference.steps,
            duration_s=time.monotonic() - started,
            note=None if self.destinations else "no destination is configured: kept in the audit only",
        )
        if not self.destinations:
            self.spool.release(task.job)
        payload = {
            **task.payload,
            "derived_sop_instance_uid": uid,
            "model": self.model.name,  # the node may have another one when the companion leaves
            "model_digest": self.model.digest,
        }
        return Done(tuple(Task(task.job, DELIVER, name, payload) for name in self.destinations))

    def _make_or_reject(self, path: Path) -> tuple[Dataset, Inference]:
        try:
            return self.make(path)
        except (Rejected, Retriable, ModelError):
            raise
        except OSError as error:  # reading the spool failed: the disk's fault, not the image's
            raise Retriable(f"the received file cannot be read: {type(error).__name__}") from error
        except Exception as error:
            # frames only: the text of a foreign exception may quote the data set
            where = "".join(traceback.format_tb(error.__traceback__))
            log.critical("processing failed unexpectedly with %s\n%s", type(error).__name__, where)
            raise Rejected(ReasonCode.UNEXPECTED, f"processing failed with {type(error).__name__}") from error

    def _reject(self, task: Task, refusal: Rejected) -> Done:
        self._record(task, EventKind.REJECTED, reason=str(refusal.reason), note=refusal.explanation)
        path = self.spool.incoming_path(task.job)
        self.spool.refuse(path, {**task.payload, "reason": str(refusal.reason), "explanation": refusal.explanation})
        return Done()

    def _postpone(self, task: Task, reason: str) -> Again:
        self._record(task, EventKind.POSTPONED, reason=reason, attempt=task.attempt)
        return Again(self._backoff_s(task.attempt))

    def _send(self, path: Path, destination: str) -> SendResult:
        try:
            return self.send(path, destination)
        except Exception as error:  # noqa: BLE001 - a companion is not lost because of our own mistake
            where = "".join(traceback.format_tb(error.__traceback__))
            log.critical("sending failed unexpectedly with %s\n%s", type(error).__name__, where)
            return SendResult(SendOutcome.RETRY, None, f"failed unexpectedly: {type(error).__name__}")

    def _give_up(self, task: Task, path: Path, result: SendResult) -> Verdict:
        expired = result.outcome is SendOutcome.RETRY
        reason = "gave_up" if expired else "refused_by_destination"
        self._record(task, EventKind.FAILED, dicom_status=result.status, reason=reason, note=result.note)
        document: dict[str, object] = {
            **task.payload,
            "destination": task.lane,
            "reason": reason,
            "dicom_status": result.status,
        }
        self.spool.refuse(path, document, name=f"{task.job}.{task.lane}")
        return self._settled(task)

    def _settled(self, task: Task) -> Done:
        """The received file goes when no destination waits for its companion any more."""
        if not self.spool.waiting_destinations(task.job):
            self.spool.release(task.job)
        return Done()

    def _has_expired(self, task: Task) -> bool:
        return time.time() - task.first_tried_at > self.delivery.give_up_after_h * 3600

    def _backoff_s(self, attempt: int) -> float:
        doublings = min(attempt - 1, 60)  # beyond that the float would overflow, and the maximum holds anyway
        return min(self.delivery.first_retry_s * 2.0**doublings, self.delivery.max_retry_s)

    def _record(self, task: Task, kind: EventKind, **fields: Any) -> None:
        derived = task.payload.get("derived_sop_instance_uid")
        values: dict[str, Any] = {
            "source_sop_instance_uid": task.payload["sop_instance_uid"],
            "study_instance_uid": task.payload["study_instance_uid"],
            "derived_sop_instance_uid": derived,
            "peer": task.lane if task.stage == DELIVER else None,
            "model": task.payload.get("model", self.model.name),
            "model_digest": task.payload.get("model_digest", self.model.digest),
        }
        self.audit.record(AuditEvent(kind=kind, **(values | fields)))
