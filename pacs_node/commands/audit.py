"""`pacs-node audit`: the audit trail, while the node serves or not."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent
from pacs_node.commands.terminal import print_json, say, stdout, table
from pacs_node.config import load_settings

__all__ = ["event_facts", "newest_events", "run"]


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
    """The newest events, oldest first; none where no node has ever run, and then nothing is created."""
    path = data_dir / AUDIT_FILE
    if not path.is_file():
        return []
    trail = Audit(path)
    try:
        return trail.events(study=study, limit=limit)
    finally:
        trail.close()


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
