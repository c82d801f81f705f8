"""`pacs-node audit`: the audit trail, while the node serves or not."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent
from pacs_node.commands.terminal import print_json, say, stdout, table
from pacs_node.config import load_settings
from pacs_node.errors import ConfigError

__all__ = ["event_facts", "newest_events", "reading", "run"]


def run(config: Path | None, *, study: str | None, limit: int, as_json: bool) -> int:
    """Print the newest ``limit`` events, oldest first."""
    events = newest_events(load_settings(config).node.data_dir, study=study, limit=limit)
    if as_json:
        print_json([event_facts(event) for event in events])
    elif events:
        stdout().print(table(("time (UTC)", "event", "instance", "what"), [_row(event) for event in events]))
    else:
        say("no such event in the audit trail")
    return 0


def newest_events(data_dir: Path, *, study: str | None = None, limit: int) -> list[AuditEvent]:
    """The newest events, oldest first; none where no node has ever run, and then nothing is created.

    Raises
    ------
    ConfigError
        The file is not this user's to read, or damaged.
    """
    path = data_dir / AUDIT_FILE
    with reading(data_dir):
        if not path.is_file():
            return []
        trail = Audit(path)
        try:
            return trail.events(study=study, limit=limit)
        finally:
            trail.close()


@contextmanager
def reading(data_dir: Path) -> Iterator[None]:
    """What goes wrong in reading a node's files, in words that help: it often runs as another user."""
    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        told = f"queue or audit in {data_dir} cannot be read ({type(error).__name__})"
        raise ConfigError(f"{told}: run this as the user of the node, or see whether the files are whole") from error


def event_facts(event: AuditEvent) -> dict[str, Any]:
    """What is known of an event, without the columns that do not apply; the status as PS3.7 writes it, 0xA700."""
    facts = {key: value for key, value in asdict(event).items() if value is not None}
    if event.occurred_at is not None:
        facts["occurred_at"] = event.occurred_at.isoformat(timespec="milliseconds")
    if event.dicom_status is not None:
        facts["dicom_status"] = f"0x{event.dicom_status:04X}"
    if event.duration_s is not None:
        facts["duration_s"] = round(event.duration_s, 3)
    return facts


TOLD = ("peer", "calling_ae_title", "dicom_status", "reason", "attempt", "steps", "duration_s", "note")


def _row(event: AuditEvent) -> tuple[str, ...]:
    facts = event_facts(event)
    what = "  ".join(f"{key}={facts[key]}" for key in TOLD if key in facts)
    instance = event.derived_sop_instance_uid or event.source_sop_instance_uid or ""
    return (facts.get("occurred_at", "").replace("+00:00", ""), str(event.kind), instance, what)
