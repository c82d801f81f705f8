"""The history of an instance, asked for by its own UID or by that of what was made of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import UID

from pacs_node import cli
from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.explain import SENTENCES, history, told
from pacs_node.spool import Spool
from tests.radiographs import radiograph, saved

SOURCE, COMPANION, OTHER = "1.2.3", "2.25.7", "1.2.9"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a node that made one companion and delivered it, and refused another image."""
    monkeypatch.chdir(tmp_path)
    trail = Audit(tmp_path / "var" / AUDIT_FILE)
    of_one: dict[str, Any] = {"source_sop_instance_uid": SOURCE, "study_instance_uid": "1.2"}
    made = of_one | {"derived_sop_instance_uid": COMPANION, "model": "bsldm 2", "model_digest": "ab" * 32}
    trail.record(AuditEvent(kind=EventKind.RECEIVED, calling_ae_title="CR1", **of_one))
    trail.record(AuditEvent(kind=EventKind.DERIVED, noise_seed=5, steps=1, pixel_sha256="cd" * 32, **made))
    trail.record(AuditEvent(kind=EventKind.DELIVERED, peer="pacs", dicom_status=0, **made))
    trail.record(
        AuditEvent(kind=EventKind.REJECTED, reason="guard_refused", source_sop_instance_uid=OTHER, note="tile_ratio 9")
    )
    trail.close()
    return tmp_path / "var"


@pytest.mark.parametrize("uid", [SOURCE, COMPANION])
def test_source_and_companion_have_one_history(uid: str, node: Path) -> None:
    trail = Audit(node / AUDIT_FILE)
    found = history(trail, node, uid)
    trail.close()
    assert (found.sources, found.derived) == ((SOURCE,), (COMPANION,))
    lines = told(found.events)
    assert len(lines) == 3
    assert "received from CR1" in lines[0]
    assert f"made {COMPANION} with bsldm 2 {'ab' * 6}; 1 steps, noise seed 5; pixels {'cd' * 32}" in lines[1]
    assert f"pacs has {COMPANION}, status 0x0000" in lines[2]


def test_a_refusal_is_told_with_its_reason_and_figures(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", OTHER]) == 0
    shown = capsys.readouterr().out
    assert "refused: guard_refused; it has no companion; tile_ratio 9" in shown
    assert COMPANION not in shown


def test_what_the_spool_still_holds_is_named(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ds = radiograph(size=32)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(OTHER)
    spool = Spool(node)
    saved(ds, spool.quarantine / "ab.dcm")
    (spool.quarantine / "cd.dcm").write_bytes(b"no DICOM")
    assert cli.main(["explain", OTHER, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["files"] == ["quarantine/ab.dcm"]
    assert [event["kind"] for event in facts["events"]] == ["rejected"]


def test_an_unknown_instance_is_a_failure_that_creates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explain", "1.2.3.4"]) == 1
    assert "no such instance" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_event_of_an_instance_has_words() -> None:
    about_instances = set(EventKind) - {
        EventKind.SERVICE_STARTED,
        EventKind.SERVICE_STOPPED,
        EventKind.ASSOCIATION,
    }
    assert about_instances <= set(SENTENCES)
