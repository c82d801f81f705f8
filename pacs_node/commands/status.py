"""`pacs-node status`: what waits, what runs, and how the last instances ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacs_node.audit import AuditEvent, EventKind
from pacs_node.commands.audit import event_facts, newest_events, reading
from pacs_node.commands.terminal import print_json, stdout, table
from pacs_node.config import load_settings
from pacs_node.service import node_status

__all__ = ["last_results", "run"]

EVENTS_READ = 2000
RESULTS_SHOWN = 20
OUTCOMES = {
    EventKind.RECEIVED,
    EventKind.DERIVED,
    EventKind.REJECTED,
    EventKind.POSTPONED,
    EventKind.DELIVERED,
    EventKind.FAILED,
}
ABOUT_A_DESTINATION = {EventKind.DELIVERED, EventKind.FAILED}


def run(config: Path | None, *, as_json: bool) -> int:
    """Print whether the node runs, its queue and the last results; changes nothing, and the node need not run."""
    settings = load_settings(config)
    with reading(settings.node.data_dir):
        report = node_status(settings)
    results = last_results(newest_events(settings.node.data_dir, limit=EVENTS_READ))[-RESULTS_SHOWN:]
    if as_json:
        facts = {"running": report.running, "data_dir": str(settings.node.data_dir)}
        print_json({**facts, "queue": report.queue, "files": report.files, "results": results})
        return 0
    console = stdout()
    node = settings.node
    shown_facts = {"node": f"{node.ae_title}@{node.host}:{node.port} {'runs' if report.running else 'does not run'}"}
    shown_facts |= {f"queue, {label}": str(count) for label, count in sorted(report.queue.items())}
    shown_facts |= {f"files in {name}/": str(count) for name, count in report.files.items()}
    console.print(table(("what", "now"), shown_facts.items()))
    console.print()
    columns = ("at", "state", "destination", "source_sop_instance_uid", "why")
    shown: list[Sequence[object]] = [[result.get(name) for name in columns] for result in results]
    header = ("time (UTC)", "state", "destination", "source instance", "why")
    console.print(table(header, shown or [("-", "nothing yet", "", "", "")]))
    return 0


def last_results(events: Sequence[AuditEvent]) -> list[dict[str, Any]]:
    """The newest outcome of each source instance and destination, oldest first.

    Parameters
    ----------
    events : oldest first.
    """
    latest: dict[tuple[str, str | None], dict[str, Any]] = {}
    for event in events:
        source = event.source_sop_instance_uid
        if source is None or event.kind not in OUTCOMES:
            continue
        destination = event.peer if event.kind in ABOUT_A_DESTINATION else None
        latest.pop((source, None), None)  # what a destination says replaces the derivation it follows
        latest.pop((source, destination), None)
        latest[source, destination] = _result(event, destination)
    return list(latest.values())


def _result(event: AuditEvent, destination: str | None) -> dict[str, Any]:
    facts = event_facts(event)
    uids = {key: facts[key] for key in facts if key.endswith("sop_instance_uid")}
    why = " ".join(str(facts[key]) for key in ("dicom_status", "reason", "note") if key in facts)
    at = str(facts["occurred_at"]).partition(".")[0] + "Z"
    return {"at": at, "state": str(event.kind), "destination": destination, **uids, "why": why}
