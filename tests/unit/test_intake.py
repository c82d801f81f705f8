"""One instance is one job, however often and in whatever state it comes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pacs_node.config import ModelSettings, OutputSettings, Settings
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.intake import Intake
from pacs_node.jobs import Again, Done, Jobs, Task, open_jobs
from pacs_node.receive.received_file import file_start
from pacs_node.records import ReceivedInstance
from pacs_node.spool import Spool
from tests.peers.node import wait_until
from tests.radiographs import radiograph, saved

DIGEST = "ab" * 32


class Queue:
    """A real queue whose only stage ends, or waits for ever, as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.waits = False
        self.done: list[str] = []
        self.jobs = open_jobs(folder, {"process": self.handle})
        self.jobs.start()

    def handle(self, task: Task) -> Done | Again:
        if self.waits:
            return Again(3600)
        self.done.append(task.job)
        return Done()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(tmp_path)
    yield queue
    queue.jobs.close(5)


def intake(jobs: Jobs, spool: Spool, settings: Settings | None = None, digest: str = DIGEST) -> Intake:
    return Intake(jobs, spool, digest, settings or Settings())


def received(spool: Spool, gate: Intake, uid: str, content: bytes = b"bytes") -> ReceivedInstance:
    path = spool.write_incoming(gate.key(uid), [content])
    return ReceivedInstance("1.2", uid, "1.2.840.10008.1.2", path, 5, "SENDER", "127.0.0.1", datetime.now(UTC))


def test_an_instance_that_comes_while_its_job_waits_keeps_its_file(queue: Queue, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    queue.waits = True
    assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
    again = received(spool, gate, "1.2.3")
    assert not gate.accept(again, "1.2")
    assert again.path.exists()


def test_an_instance_that_comes_after_its_job_ended_leaves_no_file(queue: Queue, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
    wait_until(lambda: not queue.jobs.is_unfinished(gate.key("1.2.3")), "the job ended")
    again = received(spool, gate, "1.2.3")
    assert not gate.accept(again, "1.2")
    assert not again.path.exists()
    assert queue.done == [gate.key("1.2.3")]


def test_a_refused_instance_that_comes_again_gets_another_chance_and_leaves_quarantine(
    queue: Queue, tmp_path: Path
) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    job = gate.key("1.2.3")
    for run in (job, f"{job}.2", f"{job}.3"):
        assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
        wait_until(lambda: not queue.jobs.is_unfinished(job), "the job ended")
        assert queue.done[-1] == run
        spool.refuse(spool.incoming_path(run), {"reason": "not_chest"})
        assert [path.name for path in spool.refused(job)] == [f"{run}.dcm", f"{run}.json"]
    assert list(spool.incoming.iterdir()) == []


def test_an_instance_that_comes_while_its_repetition_waits_leaves_one_file_the_newest(
    queue: Queue, tmp_path: Path
) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    job = gate.key("1.2.3")
    assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
    wait_until(lambda: not queue.jobs.is_unfinished(job), "the job ended")
    spool.refuse(spool.incoming_path(job), {"reason": "truncated"})
    queue.waits = True
    assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
    newest = received(spool, gate, "1.2.3")
    newest.path.write_bytes(b"whole")
    assert not gate.accept(newest, "1.2")
    assert {path.name: path.read_bytes() for path in spool.incoming.iterdir()} == {f"{job}.2.dcm": b"whole"}


@pytest.mark.parametrize("waits", [True, False])
def test_a_copy_that_was_cut_off_does_not_replace_the_whole_one_of_a_repetition_or_in_quarantine(
    queue: Queue, tmp_path: Path, *, waits: bool
) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    job = gate.key("1.2.3")
    whole = saved(radiograph(), tmp_path / "whole.dcm").read_bytes()
    assert gate.accept(received(spool, gate, "1.2.3", whole), "1.2")
    wait_until(lambda: not queue.jobs.is_unfinished(job), "the job ended")
    spool.refuse(spool.incoming_path(job), {"reason": "not_chest"})
    if waits:
        queue.waits = True
        assert gate.accept(received(spool, gate, "1.2.3", whole), "1.2")
    cut_off = received(spool, gate, "1.2.3", whole[:-1000])
    with pytest.raises(Rejected) as caught:
        gate.accept(cut_off, "1.2")
    assert caught.value.reason is ReasonCode.TRUNCATED
    assert not cut_off.path.exists()
    kept = spool.incoming_path(f"{job}.2") if waits else spool.quarantine / f"{job}.dcm"
    assert kept.read_bytes() == whole
    saved_again = received(spool, gate, "1.2.3", whole[:-1000])  # as by a crash before the refusal
    assert gate.adopt_orphans() == 0
    assert not saved_again.path.exists()


def test_an_instance_that_comes_just_after_its_repetition_was_refused_gets_a_run_of_its_own(
    queue: Queue, tmp_path: Path
) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    job = gate.key("1.2.3")
    assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
    wait_until(lambda: not queue.jobs.is_unfinished(job), "the job ended")
    spool.refuse(spool.incoming_path(job), {"reason": "not_chest"})
    queue.waits = True  # as between the move to quarantine and the record that the job is over
    assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
    spool.refuse(spool.incoming_path(f"{job}.2"), {"reason": "not_chest"})
    newest = received(spool, gate, "1.2.3")
    assert gate.accept(newest, "1.2")
    assert [path.name for path in spool.incoming.iterdir()] == [f"{job}.3.dcm"]
    assert not gate.accept(newest, "1.2")  # it came twice at this moment, and the first of the two has taken the file


def test_an_instance_that_comes_just_after_it_was_refused_gets_a_run_of_its_own(queue: Queue, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    job = gate.key("1.2.3")
    queue.waits = True  # as between the move to quarantine and the record of it, or while the note about it waits
    assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
    spool.refuse(spool.incoming_path(job), {"reason": "not_chest"})
    assert gate.accept(received(spool, gate, "1.2.3"), "1.2")
    assert [path.name for path in spool.incoming.iterdir()] == [f"{job}.2.dcm"]
    assert spool.refused(job) == []


def test_another_model_or_recipe_is_another_job(queue: Queue, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    variants = [
        intake(queue.jobs, spool),
        intake(queue.jobs, spool, digest="cd" * 32),
        intake(queue.jobs, spool, Settings(model=ModelSettings(steps=2))),
        intake(queue.jobs, spool, Settings(model=ModelSettings(seed=1))),
        intake(queue.jobs, spool, Settings(output=OutputSettings(burned_in_label=False))),
    ]
    assert len({variant.key("1.2.3") for variant in variants}) == len(variants)
    assert intake(queue.jobs, spool).key("1.2.3") == variants[0].key("1.2.3")


def test_files_without_a_job_are_queued_at_the_start_and_strangers_are_put_aside(queue: Queue, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    source = radiograph()
    saved(source, spool.incoming_path(gate.key(source.SOPInstanceUID)))
    spool.incoming_path("letter").write_text("no DICOM")
    assert gate.adopt_orphans() == 1
    wait_until(lambda: queue.done == [gate.key(source.SOPInstanceUID)], "the orphan is processed")
    assert not spool.incoming_path("letter").exists()
    assert (spool.quarantine / "letter.dcm").read_text() == "no DICOM"


def test_the_file_of_a_job_that_waits_is_left_to_the_job_whatever_it_holds(queue: Queue, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    queue.waits = True
    waiting = received(spool, gate, "1.2.3")  # no DICOM: the job is to say so, with its reason in the audit
    assert gate.accept(waiting, "1.2")
    assert gate.adopt_orphans() == 0
    assert waiting.path.exists()
    assert list(spool.quarantine.iterdir()) == []


def test_a_file_whose_job_ends_while_files_are_adopted_is_no_stranger(queue: Queue, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    spool.incoming_path(gate.key("1.2.3")).symlink_to("gone")  # listed, and gone when it is opened
    assert gate.adopt_orphans() == 0
    assert list(spool.quarantine.iterdir()) == []


def test_a_damaged_file_does_not_stop_the_start(queue: Queue, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    gate = intake(queue.jobs, spool)
    source = radiograph()
    start = file_start((source.SOPClassUID, source.SOPInstanceUID), DeflatedExplicitVRLittleEndian, "A", "B")
    spool.write_incoming("ab" * 20, [start, b"no deflated stream"])
    assert gate.adopt_orphans() == 0
    assert (spool.quarantine / f"{'ab' * 20}.dcm").exists()
