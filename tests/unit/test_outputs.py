"""What is made beside the companion, and the note about a refusal: from the received file to the outbox."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pacs_node.audit import EventKind
from pacs_node.config import GateSettings, GuardSettings, OutputSettings, Settings
from pacs_node.derive.companion import pixel_sha256
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.jobs import Done
from pacs_node.pipeline import make_companion, make_outputs, make_refusal_note
from tests.unit.imaging.engines import BoneFromDecoder, described_bundle
from tests.unit.imaging.synthetic import dataset, saved, scene
from tests.unit.test_worker import JOB, Bench, raising

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVERYTHING = OutputSettings(burned_in_label=False, bone_image=True, presentation_states=True, key_object=True)
ANY_PIXELS = GateSettings(pixels=False)  # the subject of these tests is what comes after the gate
OPEN = Settings(output=EVERYTHING, guard=GuardSettings(withhold=False), gate=ANY_PIXELS)
LATERAL = Rejected(ReasonCode.NOT_FRONTAL, "a lateral view")


@pytest.fixture
def received(tmp_path: Path) -> Path:
    stored = np.rint(4095 * scene(300, 260)).astype(np.int64)
    return saved(dataset(stored, WindowCenter="2048", WindowWidth="4096"), tmp_path / "received.dcm")


def test_what_is_wanted_is_made_and_the_companion_is_the_same_with_and_without_it(received: Path) -> None:
    bundle = described_bundle()
    outputs, inference = make_outputs(received, BoneFromDecoder(bundle, 0.2), bundle, OPEN, created_at=NOON)
    assert set(outputs) == {"", "bone", "statesource", "statecompanion"}
    assert len({ds.SOPInstanceUID for ds in outputs.values()}) == 4
    assert len({ds.StudyInstanceUID for ds in outputs.values()}) == 1
    alone, _ = make_companion(received, BoneFromDecoder(bundle, 0.2), bundle, OPEN, created_at=NOON)
    assert alone == outputs[""]
    assert inference.guard is not None
    assert "Guard: largest_change" in alone.DerivationDescription
    plain = OPEN.model_copy(update={"output": OutputSettings()})
    assert set(make_outputs(received, BoneFromDecoder(bundle), bundle, plain)[0]) == {""}


def test_a_result_beyond_a_bound_is_withheld_with_its_figures(received: Path) -> None:
    bundle = described_bundle()
    guarded = Settings(gate=ANY_PIXELS)
    with pytest.raises(Rejected) as refusal:  # a fifth of the range everywhere is no bone
        make_outputs(received, BoneFromDecoder(bundle, 0.4), bundle, guarded)
    assert refusal.value.reason is ReasonCode.GUARD_REFUSED
    assert "low_frequency_shift" in refusal.value.explanation
    assert set(make_outputs(received, BoneFromDecoder(bundle, 0.0), bundle, guarded)[0]) == {""}


def test_a_second_seed_is_compared_where_it_is_wanted(received: Path) -> None:
    bundle = described_bundle()
    engine = BoneFromDecoder(bundle, 0.0)
    settings = Settings(gate=ANY_PIXELS, guard=GuardSettings(second_seed=True))
    _, inference = make_outputs(received, engine, bundle, settings)
    assert inference.guard is not None
    assert "seeds_apart" in inference.guard
    assert not np.array_equal(engine.noises[0], engine.noises[-1])


def test_the_audit_keeps_the_figures_and_a_digest_of_the_pixels(received: Path, tmp_path: Path) -> None:
    bundle = described_bundle()
    made = make_outputs(received, BoneFromDecoder(bundle, 0.2), bundle, OPEN, created_at=NOON)
    bench = Bench(tmp_path / "node", make=lambda _path: made)
    bench.processed()
    events = {event.derived_sop_instance_uid: event for event in bench.events(EventKind.DERIVED)}
    companion = made[0][""]
    event = events[companion.SOPInstanceUID]
    assert event.pixel_sha256 == pixel_sha256(companion)
    assert event.note is not None
    assert "guard: largest_change" in event.note
    assert events[made[0]["statesource"].SOPInstanceUID].pixel_sha256 is None


def test_a_refusal_is_noted_in_the_study_of_the_refused_file(received: Path, tmp_path: Path) -> None:
    note = make_refusal_note(received, LATERAL, OPEN)
    bench = Bench(tmp_path / "node", make=raising(LATERAL), note_refusal=lambda _path, _refusal: note)
    tasks = bench.processed()
    assert [task.lane for task in tasks] == ["a", "b"]
    assert note is not None
    assert dcmread(bench.spool.outbox_path(JOB, "a", "note")).SOPInstanceUID == note.SOPInstanceUID
    again = bench.processed()  # as after a crash before the first answer was written down
    assert again == tasks
    for task in tasks:
        assert bench.worker.deliver(task) == Done()
    assert [event.derived_sop_instance_uid for event in bench.events(EventKind.DELIVERED)] == [note.SOPInstanceUID] * 2
    assert len(bench.quarantined()) == 1


def test_a_note_that_cannot_be_made_leaves_the_refusal_as_it_is(tmp_path: Path) -> None:
    def fails(_path: Path, _refusal: Rejected) -> None:
        raise RuntimeError

    bench = Bench(tmp_path, make=raising(LATERAL), note_refusal=fails)
    assert bench.processed() == ()
    assert [document["reason"] for document in bench.quarantined()] == ["not_frontal"]


def test_nothing_is_noted_unless_it_is_wanted_and_can_be_read(received: Path, tmp_path: Path) -> None:
    assert make_refusal_note(received, LATERAL, Settings()) is None
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"nothing")
    assert make_refusal_note(broken, LATERAL, OPEN) is None
