"""`pacs-node status` and `audit`: what they make of the events a node left."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.cli import main
from pacs_node.commands.status import last_results


def event(kind: EventKind, source: str | None = "1.2.3", peer: str | None = None, **more: object) -> AuditEvent:
    return AuditEvent(kind=kind, source_sop_instance_uid=source, peer=peer, **more)  # type: ignore[arg-type]


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose node has received two instances, delivered one and rejected the other."""
    monkeypatch.chdir(tmp_path)
    audit = Audit(tmp_path / "var" / AUDIT_FILE)
    audit.record(event(EventKind.RECEIVED, "1.2.3", "127.0.0.1", study_instance_uid="1.2"))
    audit.record(event(EventKind.RECEIVED, "1.2.4", "127.0.0.1", study_instance_uid="1.9"))
    audit.record(event(EventKind.REJECTED, "1.2.4", reason="not_chest", study_instance_uid="1.9"))
    audit.record(event(EventKind.DERIVED, "1.2.3", derived_sop_instance_uid="2.25.1", study_instance_uid="1.2"))
    audit.record(event(EventKind.DELIVERED, "1.2.3", "pacs", dicom_status=0xB000, study_instance_uid="1.2"))
    audit.close()
    return tmp_path


def test_status_shows_how_each_instance_ended(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["running"] is False
    assert told["data_dir"] == str(trail / "var")
    ends = [(result["source_sop_instance_uid"], result["state"], result["destination"]) for result in told["results"]]
    assert ends == [("1.2.4", "rejected", None), ("1.2.3", "delivered", "pacs")]
    assert [result["why"] for result in told["results"]] == ["not_chest", "0xB000"]


def test_status_for_people_has_one_line_for_each_result(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "does not run" in shown
    assert [line for line in shown.splitlines() if "1.2.4" in line and "not_chest" in line]


def test_audit_of_a_study_holds_its_events_only_oldest_first(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--study", "1.9", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [entry["kind"] for entry in told] == ["received", "rejected"]


def test_audit_shows_the_newest_events_and_dicom_statuses_as_the_standard_writes_them(
    trail: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--limit", "1"]) == 0
    shown = capsys.readouterr().out
    assert "delivered" in shown
    assert "dicom_status=0xB000" in shown
    assert "rejected" not in shown


def test_more_events_than_the_audit_can_count_are_wrong_usage(trail: Path) -> None:
    assert main(["audit", "--limit", str(10**30)]) == 2


def test_two_destinations_are_two_results() -> None:
    kinds = [(EventKind.DERIVED, None), (EventKind.DELIVERED, "pacs"), (EventKind.FAILED, "archive")]
    events = [event(kind, peer=peer, occurred_at=datetime(2026, 1, 1, tzinfo=UTC)) for kind, peer in kinds]
    assert [(result["state"], result["destination"]) for result in last_results(events)] == [
        ("delivered", "pacs"),
        ("failed", "archive"),
    ]


@pytest.mark.parametrize("command", ["status", "audit"])
def test_a_data_dir_that_cannot_be_read_is_told_with_what_to_do(
    command: str, trail: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trail / "var" / AUDIT_FILE).write_bytes(b"no database" * 1000)
    assert main([command]) == 2
    assert f"{trail / 'var'}" in capsys.readouterr().err
