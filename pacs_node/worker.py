"""The two stages of a job: make the companion, then give it to each destination.

Both are idempotent, because a crash may repeat them: a companion has fixed UIDs and replaces itself in the outbox, and
a destination that gets the same instance twice has it once.
"""

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread

from pacs_node.audit import Audit, AuditEvent, EventKind
from pacs_node.config import DeliverySettings
from pacs_node.derive.companion import pixel_sha256
from pacs_node.errors import ModelError, ReasonCode, Rejected, Retriable
from pacs_node.jobs import Again, Done, Handler, Task, Verdict
from pacs_node.records import Inference
from pacs_node.spool import Spool
from pacs_node.timing import stage

__all__ = ["DELIVER", "PROCESS", "Make", "ModelIdentity", "Outputs", "Send", "SendOutcome", "SendResult", "Worker"]

PROCESS, DELIVER = "process", "deliver"
DERIVED_UID = "derived_sop_instance_uid"
NOTE = "note"  # label of the Key Object about a refused file
Outputs = Mapping[str, Dataset]
"""What a job makes, complete with file meta information: the companion under `""`, others under a label in [a-z]+."""
Make = Callable[[Path], tuple[Dataset | Outputs, Inference]]
"""Received file -> the companion, or all outputs, and what the network did."""

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


Send = Callable[[Sequence[Path], str], Sequence[SendResult]]
"""Sends the files of a job to a destination by its name; a result for each; never raises for what a peer does."""


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
    note_refusal : what is sent about a refused file; None where nothing is.
    """

    spool: Spool
    audit: Audit
    make: Make
    send: Send
    model: ModelIdentity
    destinations: tuple[str, ...]
    delivery: DeliverySettings
    on_model_error: Callable[[ModelError], None]
    note_refusal: Callable[[Path, Rejected], Dataset | None] | None = None

    def handlers(self) -> dict[str, Handler]:
        return {PROCESS: self.process, DELIVER: self.deliver}

    def process(self, task: Task) -> Verdict:
        """Received file -> companion in the outbox, or quarantine."""
        if not self.spool.incoming_path(task.job).exists():
            return Done(self._notes_to_deliver(task))  # refused or delivered before a crash that forgot it
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
        """One attempt to give everything of a job to one destination: all of it, or all of it again."""
        labels = _labels(task)
        files = self.spool.outbox_files(task.job, task.lane, labels)
        if not files:
            return self._settled(task)  # sent and released before a crash that forgot it
        started = time.monotonic()
        results = dict(zip(files, self._send([*files.values()], task.lane), strict=True))
        for label, result in results.items():
            self._record_of(
                task,
                label,
                EventKind.SEND_ATTEMPT,
                dicom_status=result.status,
                reason=str(result.outcome),
                attempt=task.attempt,
                duration_s=time.monotonic() - started,
                note=result.note,
            )
        to_repeat = any(result.outcome is SendOutcome.RETRY for result in results.values())
        if to_repeat and not self._has_expired(task):
            return Again(self._backoff_s(task.attempt))
        for label, result in results.items():
            if result.outcome in {SendOutcome.DELIVERED, SendOutcome.WARNING}:
                self._record_of(task, label, EventKind.DELIVERED, dicom_status=result.status, note=result.note)
            else:
                self._give_up(task, label, files[label], result)
        self.spool.release(task.job, task.lane, labels)
        return self._settled(task)

    def _note_on(self, inference: Inference) -> str | None:
        """What the trail should say about a companion beyond its numbers."""
        notes = ["the source is displayed as a negative: polarity corrected"] * inference.polarity_corrected
        figures = ", ".join(f"{name} {value:.3g}" for name, value in (inference.guard or {}).items())
        notes += [f"guard: {figures}"] if figures else []
        notes += [] if self.destinations else ["no destination is configured: kept in the audit only"]
        return "; ".join(notes) or None

    def _process(self, task: Task) -> Done:
        self._record(task, EventKind.STARTED, attempt=task.attempt)
        started = time.monotonic()
        outputs, inference = self._make_or_reject(self.spool.incoming_path(task.job))
        for label, ds in outputs.items():
            with stage("encode DICOM"):
                self.spool.write_outbox(task.job, self.destinations, partial(_save, ds), label)
        uids = {_uid_key(label): str(ds.SOPInstanceUID) for label, ds in outputs.items()}
        duration_s = time.monotonic() - started
        for ds in outputs.values():
            self._record(
                task,
                EventKind.DERIVED,
                derived_sop_instance_uid=str(ds.SOPInstanceUID),
                pixel_sha256=pixel_sha256(ds) if "PixelData" in ds else None,
                noise_seed=inference.noise_seed,
                steps=inference.steps,
                duration_s=duration_s,
                note=self._note_on(inference),
            )
        if not self.destinations:
            self.spool.release(task.job)
        payload = {
            **task.payload,
            **uids,
            "model": self.model.name,  # the node may have another one when the companion leaves
            "model_digest": self.model.digest,
        }
        return Done(tuple(Task(task.job, DELIVER, name, payload) for name in self.destinations))

    def _make_or_reject(self, path: Path) -> tuple[Outputs, Inference]:
        try:
            made, inference = self.make(path)
        except (Rejected, Retriable, ModelError):
            raise
        except OSError as error:  # reading the spool failed: the disk's fault, not the image's
            raise Retriable(f"the received file cannot be read: {type(error).__name__}") from error
        except Exception as error:
            # frames only: the text of a foreign exception may quote the data set
            where = "".join(traceback.format_tb(error.__traceback__))
            log.critical("processing failed unexpectedly with %s\n%s", type(error).__name__, where)
            raise Rejected(ReasonCode.UNEXPECTED, f"processing failed with {type(error).__name__}") from error
        return {"": made} if isinstance(made, Dataset) else made, inference

    def _reject(self, task: Task, refusal: Rejected) -> Done:
        self._record(task, EventKind.REJECTED, reason=str(refusal.reason), note=refusal.explanation)
        path = self.spool.incoming_path(task.job)
        note = self._refusal_note(path, refusal) if self.destinations else None
        if note is not None:
            self.spool.write_outbox(task.job, self.destinations, partial(_save, note), NOTE)
        self.spool.refuse(path, {**task.payload, "reason": str(refusal.reason), "explanation": refusal.explanation})
        return Done(self._notes_to_deliver(task))

    def _refusal_note(self, path: Path, refusal: Rejected) -> Dataset | None:
        try:
            return self.note_refusal(path, refusal) if self.note_refusal else None
        except Exception as error:  # noqa: BLE001 - what was refused stays refused, with or without a note
            log.critical("the note about a refused file failed with %s", type(error).__name__)
            return None

    def _notes_to_deliver(self, task: Task) -> tuple[Task, ...]:
        """One task for each destination that has a note of this job in its outbox; also after a crash."""
        tasks = []
        for name in self.destinations:
            for path in self.spool.outbox_files(task.job, name, [NOTE]).values():
                uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
                tasks.append(Task(task.job, DELIVER, name, {**task.payload, _uid_key(NOTE): uid}))
        return tuple(tasks)

    def _postpone(self, task: Task, reason: str) -> Again:
        self._record(task, EventKind.POSTPONED, reason=reason, attempt=task.attempt)
        return Again(self._backoff_s(task.attempt))

    def _send(self, paths: Sequence[Path], destination: str) -> Sequence[SendResult]:
        try:
            return self.send(paths, destination)
        except Exception as error:  # noqa: BLE001 - a companion is not lost because of our own mistake
            where = "".join(traceback.format_tb(error.__traceback__))
            log.critical("sending failed unexpectedly with %s\n%s", type(error).__name__, where)
            note = f"failed unexpectedly: {type(error).__name__}"
            return [SendResult(SendOutcome.RETRY, None, note)] * len(paths)

    def _give_up(self, task: Task, label: str, path: Path, result: SendResult) -> None:
        expired = result.outcome is SendOutcome.RETRY
        reason = "gave_up" if expired else "refused_by_destination"
        self._record_of(task, label, EventKind.FAILED, dicom_status=result.status, reason=reason, note=result.note)
        document: dict[str, object] = {
            **task.payload,
            "destination": task.lane,
            "reason": reason,
            "dicom_status": result.status,
        }
        self.spool.refuse(path, document, name=".".join(filter(None, (task.job, task.lane, label))))

    def _settled(self, task: Task) -> Done:
        """The received file goes when no destination waits for its companion any more."""
        if not self.spool.waiting_destinations(task.job, _labels(task)):
            self.spool.release(task.job)
        return Done()

    def _has_expired(self, task: Task) -> bool:
        return time.time() - task.first_tried_at > self.delivery.give_up_after_h * 3600

    def _backoff_s(self, attempt: int) -> float:
        doublings = min(attempt - 1, 60)  # beyond that the float would overflow, and the maximum holds anyway
        return min(self.delivery.first_retry_s * 2.0**doublings, self.delivery.max_retry_s)

    def _record_of(self, task: Task, label: str, kind: EventKind, **fields: Any) -> None:
        """An event of one object of the job."""
        self._record(task, kind, derived_sop_instance_uid=task.payload.get(_uid_key(label)), **fields)

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


def _uid_key(label: str) -> str:
    """Where the payload of a task names the SOP Instance UID of an output."""
    return f"{DERIVED_UID}.{label}" if label else DERIVED_UID


def _labels(task: Task) -> list[str]:
    """The outputs of a job, from the payload of a task that delivers them; the companion first."""
    return sorted(
        key.removeprefix(DERIVED_UID).removeprefix(".") for key in task.payload if key.startswith(DERIVED_UID)
    )


def _save(ds: Dataset, stream: BinaryIO) -> None:
    ds.save_as(stream, enforce_file_format=True)
