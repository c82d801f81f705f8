"""The audit trail: what happened to every instance, in SQLite, readable while the node serves.

Events are only ever added. They hold UIDs, codes, sizes and durations; no image content and nothing about the patient.
The schema is brought up to date by alembic when the file is opened (`pacs_node/migrations`).
"""

import contextlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import URL, Engine, MetaData, String, create_engine, event, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
from sqlalchemy.orm import Session as OrmSession

from pacs_node.errors import ConfigError

__all__ = ["AUDIT_FILE", "Audit", "AuditEvent", "EventKind"]

AUDIT_FILE = "audit.sqlite"
BUSY_TIMEOUT_MS = 30_000  # how long a writer waits for another process, which holds the file for milliseconds

log = logging.getLogger(__name__)


class EventKind(StrEnum):
    """What happened."""

    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"
    ASSOCIATION = "association"  # a peer was accepted
    REFUSED = "refused"  # an association, a presentation context or an object was not taken; nothing is kept
    RECEIVED = "received"  # durable, the peer was answered Success
    STARTED = "started"
    DERIVED = "derived"  # the companion is durable in outbox/
    REJECTED = "rejected"  # moved to quarantine/, see reason
    POSTPONED = "postponed"  # our own trouble (disk, model): the same work is tried again later
    SEND_ATTEMPT = "send_attempt"
    DELIVERED = "delivered"
    FAILED = "failed"  # a destination will not get this companion
    USER_COMMAND = "user_command"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One event; what does not apply is None.

    Attributes
    ----------
    occurred_at : aware UTC datetime.
    dicom_status : the status of a C-STORE response, 0 to 0xFFFF (PS3.7 C).
    reason : a stable word, one of `ReasonCode` where an instance was refused.
    duration_s : wall time of the work that the event ends.
    pixel_sha256 : of the decoded pixels of a derived image, `pacs_node.derive.companion.pixel_sha256`.
    note : a sentence of ours; never text from a data set or a peer.
    """

    kind: EventKind
    occurred_at: datetime | None = None  # None: now
    source_sop_instance_uid: str | None = None
    derived_sop_instance_uid: str | None = None
    study_instance_uid: str | None = None
    peer: str | None = None
    calling_ae_title: str | None = None
    called_ae_title: str | None = None
    dicom_status: int | None = None
    reason: str | None = None
    model: str | None = None
    model_digest: str | None = None
    noise_seed: int | None = None
    steps: int | None = None
    attempt: int | None = None
    size_bytes: int | None = None
    duration_s: float | None = None
    pixel_sha256: str | None = None
    note: str | None = None


class Base(MappedAsDataclass, DeclarativeBase):
    metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"})


class EventRow(Base):
    """Table `events`; times are ISO 8601 UTC text, so that they sort and read the same everywhere."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True, init=False)
    occurred_at: Mapped[str] = mapped_column(String(32), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    source_sop_instance_uid: Mapped[str | None] = mapped_column(String(64), index=True)
    derived_sop_instance_uid: Mapped[str | None] = mapped_column(String(64), index=True)
    study_instance_uid: Mapped[str | None] = mapped_column(String(64), index=True)
    peer: Mapped[str | None] = mapped_column(String(255))
    calling_ae_title: Mapped[str | None] = mapped_column(String(16))
    called_ae_title: Mapped[str | None] = mapped_column(String(16))
    dicom_status: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(String(64))
    model: Mapped[str | None] = mapped_column(String(128))
    model_digest: Mapped[str | None] = mapped_column(String(64))
    noise_seed: Mapped[str | None] = mapped_column(String(20))  # up to 2**64 - 1, beyond SQLite's integers
    steps: Mapped[int | None]
    attempt: Mapped[int | None]
    size_bytes: Mapped[int | None]
    duration_s: Mapped[float | None]
    pixel_sha256: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str | None] = mapped_column(String(1024))


COLUMNS = tuple(AuditEvent.__dataclass_fields__)
ADD_EVENT = insert(EventRow)


class Audit:
    """The audit trail in one SQLite file; safe for several threads and processes.

    Parameters
    ----------
    path : created, with its schema, when absent.

    Raises
    ------
    ConfigError
        The file cannot be opened, is no audit trail, or that of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._wal = path, path.with_name(f"{path.name}-wal")
        self._writing = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = _open_engine(path)
            _migrate(self._engine)
            self._remember_the_files()
        except CommandError as error:
            raise ConfigError(f"{path} is the audit trail of a newer pacs-node") from error
        except (OSError, SQLAlchemyError) as error:
            reason = getattr(error, "orig", None) or type(error).__name__
            raise ConfigError(f"{path} cannot be opened as the audit trail: {reason}") from error

    def record(self, event: AuditEvent) -> None:
        """Add an event durably; raises SQLAlchemyError when the file cannot be written.

        A file that was removed or replaced since the last event, as by a clean-up, is noticed: events go on in the one
        that is there now, or in a new one.
        """
        values = {name: getattr(event, name) for name in COLUMNS}
        values["occurred_at"] = _utc_text(event.occurred_at or datetime.now(UTC))
        values["noise_seed"] = None if event.noise_seed is None else str(event.noise_seed)
        with self._writing:  # SQLite lets writers in one by one in any case
            self._follow_the_file()
            with self._engine.begin() as connection:
                connection.execute(ADD_EVENT, values)

    def _follow_the_file(self) -> None:
        """Open the file anew when its name does not lead to it any more: what is written to it would be gone."""
        if _file_identity(self._path) == self._file:
            return
        log.warning("the file of the audit trail was removed or replaced; events go on in the one of that name")
        with contextlib.suppress(SQLAlchemyError), self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")  # its last events may be in the log only
        is_left_over = _file_identity(self._wal) == self._wal_file
        self._engine.dispose()
        if is_left_over:  # SQLite would play it into the other file
            for path in (self._wal, self._wal.with_name(f"{self._path.name}-shm")):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        try:
            _migrate(self._engine)
        except CommandError as error:
            raise SQLAlchemyError("the audit trail was replaced by that of a newer pacs-node") from error
        self._remember_the_files()

    def _remember_the_files(self) -> None:
        """Which files are ours now; a connection that stays in the pool keeps their inodes from being used again."""
        self._file, self._wal_file = _file_identity(self._path), _file_identity(self._wal)

    def events(self, *, study: str | None = None, sop: str | None = None, limit: int = 1000) -> list[AuditEvent]:
        """The latest ``limit`` events, oldest first.

        Parameters
        ----------
        study : only those of this StudyInstanceUID.
        sop : only those whose source or derived SOPInstanceUID is this one.
        """
        query = select(EventRow).order_by(EventRow.id.desc()).limit(limit)
        if study is not None:
            query = query.where(EventRow.study_instance_uid == study)
        if sop is not None:
            matches = (EventRow.source_sop_instance_uid == sop) | (EventRow.derived_sop_instance_uid == sop)
            query = query.where(matches)
        with OrmSession(self._engine) as session:
            rows: Sequence[EventRow] = session.scalars(query).all()
            return [_event(row) for row in reversed(rows)]

    def close(self) -> None:
        self._engine.dispose()


def _event(row: EventRow) -> AuditEvent:
    values: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
    values["kind"] = EventKind(row.kind)
    values["occurred_at"] = datetime.fromisoformat(row.occurred_at)
    values["noise_seed"] = None if row.noise_seed is None else int(row.noise_seed)
    return AuditEvent(**values)


def _file_identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _open_engine(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)))  # a name may hold what an address reads otherwise

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # WAL lets a reader work beside the writer; FULL makes each commit survive a power cut
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision; two processes that start together take turns."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
