"""The worker turns errors into states, repeats what may be repeated, and lets no job hold another."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy.exc import SQLAlchemyError

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.config import DeliverySettings
from pacs_node.errors import ModelError, ReasonCode, Rejected, Retriable
from pacs_node.jobs import Again, Done, Task
from pacs_node.records import Inference
from pacs_node.spool import Spool
from pacs_node.worker import DELIVER, PROCESS, ModelIdentity, SendOutcome, SendResult, Worker
from tests.radiographs import radiograph

JOB = "ab" * 20
PAYLOAD = {"sop_instance_uid": "1.2.3", "study_instance_uid": "1.2"}
PROCESS_TASK = Task(JOB, PROCESS, "model", PAYLOAD)
INFERENCE = Inference(np.zeros((2, 2), np.uint16), np.zeros((2, 2), np.float32), noise_seed=2**63 + 5, steps=4)


def companion(_path: Path) -> tuple[Dataset, Inference]:
    return radiograph(size=32), INFERENCE


class Bench:
    """A worker on a real spool and a real audit trail, with one received file."""

    def __init__(self, folder: Path, **parts: Any) -> None:
        self.spool = Spool(folder)
        self.audit = Audit(folder / AUDIT_FILE)
        self.received = self.spool.write_incoming(JOB, [b"received"])
        self.sent: list[tuple[str, bytes]] = []
        self.answers: list[SendResult | Exception] = []
        self.model_errors: list[ModelError] = []
        arguments: dict[str, Any] = {
            "spool": self.spool,
            "audit": self.audit,
            "make": companion,
            "send": self.send,
            "model": ModelIdentity("test 1", "cd" * 32),
            "destinations": ("a", "b"),
            "delivery": DeliverySettings(first_retry_s=5, max_retry_s=900, give_up_after_h=1),
            "on_model_error": self.model_errors.append,
        }
        self.worker = Worker(**(arguments | parts))

    def send(self, paths: Sequence[Path], destination: str) -> list[SendResult]:
        results = []
        for path in paths:
            self.sent.append((destination, path.read_bytes()))
            answer = self.answers.pop(0) if self.answers else SendResult(SendOutcome.DELIVERED, 0x0000)
            if isinstance(answer, Exception):
                raise answer
            results.append(answer)
        return results

    def processed(self) -> tuple[Task, ...]:
        verdict = self.worker.process(PROCESS_TASK)
        assert isinstance(verdict, Done)
        return tuple(replace(task, first_tried_at=9e9) for task in verdict.then)  # queued in a far future: not expired

    def events(self, kind: EventKind) -> list[AuditEvent]:
        return [event for event in self.audit.events() if event.kind is kind]

    def quarantined(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.spool.quarantine.glob("*.json"))]


def raising(error: Exception) -> Callable[[Path], tuple[Dataset, Inference]]:
    def make(_path: Path) -> tuple[Dataset, Inference]:
        raise error

    return make


def test_a_companion_waits_for_every_destination_with_one_task_each(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tasks = bench.processed()
    assert [(task.stage, task.lane, task.job) for task in tasks] == [(DELIVER, "a", JOB), (DELIVER, "b", JOB)]
    assert bench.spool.waiting_destinations(JOB) == ["a", "b"]
    kept = dcmread(bench.spool.outbox_path(JOB, "a"))
    assert tasks[0].payload["derived_sop_instance_uid"] == kept.SOPInstanceUID
    [event] = bench.events(EventKind.DERIVED)
    assert (event.noise_seed, event.steps, event.model_digest) == (2**63 + 5, 4, "cd" * 32)
    assert (event.source_sop_instance_uid, event.study_instance_uid) == ("1.2.3", "1.2")


def test_the_received_file_stays_until_the_last_destination_is_settled(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first, second = bench.processed()
    assert bench.worker.deliver(first) == Done()
    assert bench.received.exists()
    assert bench.worker.deliver(second) == Done()
    assert not bench.received.exists()
    assert bench.spool.waiting_destinations(JOB) == []


def test_repeating_finished_work_sends_nothing_and_loses_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tasks = bench.processed()
    for task in (*tasks, *tasks):
        assert bench.worker.deliver(task) == Done()
    assert [destination for destination, _ in bench.sent] == ["a", "b"]
    assert bench.worker.process(PROCESS_TASK) == Done()


def test_a_rejection_is_quarantined_with_its_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make=raising(Rejected(ReasonCode.NOT_CHEST, "it is a hip")))
    assert bench.worker.process(PROCESS_TASK) == Done()
    [event] = bench.events(EventKind.REJECTED)
    assert (event.reason, event.note) == (ReasonCode.NOT_CHEST, "it is a hip")
    [reason] = bench.quarantined()
    assert (reason["reason"], reason["sop_instance_uid"]) == ("not_chest", "1.2.3")
    assert (bench.spool.quarantine / f"{JOB}.dcm").read_bytes() == b"received"
    assert not bench.received.exists()


def test_an_unexpected_error_is_kept_apart_and_its_text_is_told_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "DOE^JANE"
    bench = Bench(tmp_path, make=raising(ValueError(name)))
    assert bench.worker.process(PROCESS_TASK) == Done()
    [event] = bench.events(EventKind.REJECTED)
    assert event.reason == ReasonCode.UNEXPECTED
    assert "ValueError" in caplog.text
    assert name not in caplog.text + str(event) + str(bench.quarantined())


@pytest.mark.parametrize("error", [Retriable("no room"), OSError(5, "Input/output error")])
def test_trouble_with_the_disk_postpones_the_work_with_growing_waits(tmp_path: Path, error: Exception) -> None:
    bench = Bench(tmp_path, make=raising(error))
    waits = [bench.worker.process(replace(PROCESS_TASK, attempt=attempt)) for attempt in (1, 2, 3, 100, 10_000)]
    assert waits == [Again(5.0), Again(10.0), Again(20.0), Again(900.0), Again(900.0)]
    assert bench.received.exists()
    assert [event.attempt for event in bench.events(EventKind.POSTPONED)] == [1, 2, 3, 100, 10_000]


def test_a_model_error_is_told_and_the_job_stays(tmp_path: Path) -> None:
    error = ModelError("the device does not answer any more")
    bench = Bench(tmp_path, make=raising(error))
    assert isinstance(bench.worker.process(PROCESS_TASK), Again)
    assert bench.model_errors == [error]
    assert bench.received.exists()


def test_a_transient_failure_is_tried_again_and_recorded_with_its_status(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    task, _ = bench.processed()
    bench.answers = [SendResult(SendOutcome.RETRY, 0xA700, "out of resources")]
    assert bench.worker.deliver(task) == Again(5.0)
    [attempt] = bench.events(EventKind.SEND_ATTEMPT)
    assert (attempt.dicom_status, attempt.peer, attempt.attempt) == (0xA700, "a", 1)
    assert bench.spool.waiting_destinations(JOB) == ["a", "b"]


def test_a_refusal_ends_one_destination_and_keeps_its_companion(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first, second = bench.processed()
    bench.answers = [SendResult(SendOutcome.REFUSED, 0xC000, "cannot understand")]
    assert bench.worker.deliver(first) == Done()
    assert bench.worker.deliver(second) == Done()
    assert [(event.peer, event.reason) for event in bench.events(EventKind.FAILED)] == [("a", "refused_by_destination")]
    assert [event.peer for event in bench.events(EventKind.DELIVERED)] == ["b"]
    [reason] = bench.quarantined()
    assert (reason["destination"], reason["dicom_status"]) == ("a", 0xC000)
    assert dcmread(bench.spool.quarantine / f"{JOB}.a.dcm").SOPInstanceUID == radiograph(size=32).SOPInstanceUID


def test_a_destination_that_stays_away_beyond_the_limit_is_given_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    task, _ = bench.processed()
    bench.answers = [SendResult(SendOutcome.RETRY)]
    assert bench.worker.deliver(replace(task, first_tried_at=1.0)) == Done()  # first tried in 1970, the limit is 1 h
    assert [event.reason for event in bench.events(EventKind.FAILED)] == ["gave_up"]


def test_a_mistake_in_sending_is_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    task, _ = bench.processed()
    bench.answers = [ZeroDivisionError()]
    assert bench.worker.deliver(task) == Again(5.0)


def test_a_companion_is_delivered_under_the_model_that_made_it_also_after_an_upgrade(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    task, old = bench.processed()
    upgraded = replace(bench.worker, model=ModelIdentity("test 2", "ef" * 32))
    assert upgraded.deliver(task) == Done()
    [event] = bench.events(EventKind.DELIVERED)
    assert (event.model, event.model_digest) == ("test 1", "cd" * 32)
    queued_before = {key: value for key, value in old.payload.items() if not key.startswith("model")}
    assert upgraded.deliver(replace(old, payload=queued_before)) == Done()  # by a version that did not write it down


def test_a_warning_counts_as_delivered_and_keeps_its_note(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    task, _ = bench.processed()
    bench.answers = [SendResult(SendOutcome.WARNING, 0xB000, "coercion of data elements")]
    assert bench.worker.deliver(task) == Done()
    [event] = bench.events(EventKind.DELIVERED)
    assert (event.dicom_status, event.note) == (0xB000, "coercion of data elements")


def test_without_destinations_the_received_file_is_released_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, destinations=())
    assert bench.processed() == ()
    assert not bench.received.exists()


def test_a_send_whose_record_failed_is_sent_again_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    task, _ = bench.processed()

    def full(_audit: Audit, _event: AuditEvent) -> None:
        raise SQLAlchemyError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Audit, "record", full)
        with pytest.raises(SQLAlchemyError):  # the queue tries such a task again
            bench.worker.deliver(task)
    assert bench.worker.deliver(task) == Done()
    first, second = bench.sent
    assert first == second


def three_outputs(_path: Path) -> tuple[dict[str, Dataset], Inference]:
    return {"": radiograph(0, size=32), "bone": radiograph(1, size=32), "ko": radiograph(2, size=32)}, INFERENCE


def test_all_outputs_of_a_job_are_sent_together_and_each_is_recorded_under_its_uid(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make=three_outputs)
    first, second = bench.processed()
    assert sorted(path.name for path in (tmp_path / "outbox" / "a").iterdir()) == [
        f"{JOB}.bone.dcm",
        f"{JOB}.dcm",
        f"{JOB}.ko.dcm",
    ]
    assert bench.worker.deliver(first) == Done()
    uids = [str(radiograph(seed, size=32).SOPInstanceUID) for seed in range(3)]
    assert [event.derived_sop_instance_uid for event in bench.events(EventKind.DERIVED)] == uids
    assert [event.derived_sop_instance_uid for event in bench.events(EventKind.DELIVERED)] == uids
    assert bench.received.exists()  # b has nothing yet
    assert bench.worker.deliver(second) == Done()
    assert list((tmp_path / "outbox").glob("*/*")) == []
    assert not bench.received.exists()


def test_the_trail_says_where_the_polarity_of_a_source_was_corrected(tmp_path: Path) -> None:
    corrected = replace(INFERENCE, polarity_corrected=True)
    bench = Bench(tmp_path, make=lambda _path: ({"": radiograph(0, size=32)}, corrected))
    bench.processed()
    assert [event.note for event in bench.events(EventKind.DERIVED)] == [
        "the source is displayed as a negative: polarity corrected"
    ]


def test_when_one_output_has_to_wait_all_of_them_are_sent_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make=three_outputs)
    task, _ = bench.processed()
    bench.answers = [SendResult(SendOutcome.DELIVERED, 0), SendResult(SendOutcome.RETRY, 0xA700)]
    assert bench.worker.deliver(task) == Again(5.0)
    assert bench.events(EventKind.DELIVERED) == []
    assert bench.worker.deliver(task.next_attempt()) == Done()
    assert bench.sent[:3] == bench.sent[3:]
    assert len(bench.events(EventKind.DELIVERED)) == 3


def test_a_refused_output_goes_to_quarantine_and_the_others_are_delivered(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make=three_outputs)
    task, _ = bench.processed()
    bench.answers = [SendResult(SendOutcome.DELIVERED, 0), SendResult(SendOutcome.REFUSED, 0xC000)]
    assert bench.worker.deliver(task) == Done()
    assert len(bench.events(EventKind.DELIVERED)) == 2
    assert [path.name for path in bench.spool.refused(JOB)] == [f"{JOB}.a.bone.dcm", f"{JOB}.a.bone.json"]
