"""The audit trail keeps every event, from several writers, readable meanwhile."""

import multiprocessing
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, Base, EventKind
from pacs_node.errors import ConfigError


def test_an_event_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    audit = Audit(tmp_path / AUDIT_FILE)
    event = AuditEvent(
        kind=EventKind.DERIVED,
        occurred_at=datetime(2026, 11, 21, 21, 0, 0, 123000, tzinfo=UTC),
        source_sop_instance_uid="1.2.3",
        derived_sop_instance_uid="2.25.4",
        study_instance_uid="1.2",
        model="bs-ldm 1",
        model_digest="ab" * 32,
        noise_seed=2**64 - 1,
        steps=4,
        duration_s=1.5,
    )
    audit.record(event)
    assert audit.events() == [event]


def test_times_are_stored_in_utc(tmp_path: Path) -> None:
    audit = Audit(tmp_path / AUDIT_FILE)
    moment = datetime(2026, 11, 21, 23, 0, tzinfo=timezone(timedelta(hours=2)))
    audit.record(AuditEvent(kind=EventKind.SERVICE_STARTED, occurred_at=moment))
    [event] = audit.events()
    assert event.occurred_at == moment
    assert event.occurred_at is not None
    assert event.occurred_at.utcoffset() == timedelta(0)


def test_events_are_found_by_study_and_by_source_or_derived_instance(tmp_path: Path) -> None:
    audit = Audit(tmp_path / AUDIT_FILE)
    for number in range(3):
        audit.record(
            AuditEvent(
                kind=EventKind.DERIVED,
                study_instance_uid=f"1.{number}",
                source_sop_instance_uid=f"1.{number}.1",
                derived_sop_instance_uid=f"2.25.{number}",
            )
        )
    assert [event.study_instance_uid for event in audit.events(study="1.1")] == ["1.1"]
    assert [event.study_instance_uid for event in audit.events(sop="1.2.1")] == ["1.2"]
    assert [event.study_instance_uid for event in audit.events(sop="2.25.0")] == ["1.0"]


def test_the_limit_keeps_the_latest_events_in_their_order(tmp_path: Path) -> None:
    audit = Audit(tmp_path / AUDIT_FILE)
    for number in range(5):
        audit.record(AuditEvent(kind=EventKind.RECEIVED, size_bytes=number))
    assert [event.size_bytes for event in audit.events(limit=2)] == [3, 4]


def test_several_processes_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / AUDIT_FILE
    writers, events_each = 3, 20
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(path, events_each)) for _ in range(writers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * writers
    assert len(Audit(path).events()) == writers * events_each


def test_the_migrations_make_the_schema_that_the_code_declares(tmp_path: Path) -> None:
    Audit(tmp_path / AUDIT_FILE).close()
    with create_engine(f"sqlite:///{tmp_path / AUDIT_FILE}").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_opening_an_existing_trail_keeps_its_events(tmp_path: Path) -> None:
    Audit(tmp_path / AUDIT_FILE).record(AuditEvent(kind=EventKind.SERVICE_STARTED))
    assert len(Audit(tmp_path / AUDIT_FILE).events()) == 1


def _write(path: Path, count: int) -> None:
    audit = Audit(path)
    for _ in range(count):
        audit.record(AuditEvent(kind=EventKind.RECEIVED))


def test_a_file_that_is_no_audit_trail_or_a_newer_one_is_a_configuration_error(tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("no database at all, but long enough to be looked into " * 20)
    with pytest.raises(ConfigError, match="not a database"):
        Audit(letter)
    newer = tmp_path / AUDIT_FILE
    Audit(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigError, match="newer"):
        Audit(newer)


@pytest.mark.parametrize("suffixes", [("",), ("", "-wal", "-shm")])
def test_a_trail_that_was_removed_while_it_is_open_is_begun_anew(tmp_path: Path, suffixes: tuple[str, ...]) -> None:
    path = tmp_path / AUDIT_FILE
    audit = Audit(path)
    audit.record(AuditEvent(kind=EventKind.RECEIVED, size_bytes=1))
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink()
    for number in (2, 3):
        audit.record(AuditEvent(kind=EventKind.RECEIVED, size_bytes=number))
    for reader in (audit, Audit(path)):
        assert [event.size_bytes for event in reader.events()] == [2, 3]


def test_a_trail_that_was_renamed_while_it_is_open_keeps_what_was_recorded_before(tmp_path: Path) -> None:
    path, archived = tmp_path / AUDIT_FILE, tmp_path / "2026.sqlite"
    audit = Audit(path)
    for number in (1, 2):
        audit.record(AuditEvent(kind=EventKind.RECEIVED, size_bytes=number))
    path.rename(archived)
    audit.record(AuditEvent(kind=EventKind.RECEIVED, size_bytes=3))
    assert [event.size_bytes for event in audit.events()] == [3]
    assert [event.size_bytes for event in Audit(archived).events()] == [1, 2]


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b"])
def test_the_trail_is_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    Audit(tmp_path / name / AUDIT_FILE).record(AuditEvent(kind=EventKind.RECEIVED))
    assert (tmp_path / name / AUDIT_FILE).is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_trail_that_was_replaced_while_it_is_open_is_gone_on_with(tmp_path: Path) -> None:
    path, saved = tmp_path / AUDIT_FILE, tmp_path / "saved" / AUDIT_FILE
    backup = Audit(saved)
    backup.record(AuditEvent(kind=EventKind.RECEIVED, size_bytes=1))
    backup.close()
    audit = Audit(path)
    audit.record(AuditEvent(kind=EventKind.RECEIVED, size_bytes=2))
    saved.replace(path)
    audit.record(AuditEvent(kind=EventKind.RECEIVED, size_bytes=3))
    assert [event.size_bytes for event in Audit(path).events()] == [1, 3]


def test_a_trail_that_was_replaced_by_one_of_a_newer_version_is_not_written(tmp_path: Path) -> None:
    path, newer = tmp_path / AUDIT_FILE, tmp_path / "newer" / AUDIT_FILE
    Audit(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    audit = Audit(path)
    newer.replace(path)
    with pytest.raises(SQLAlchemyError, match="newer"):
        audit.record(AuditEvent(kind=EventKind.RECEIVED))
