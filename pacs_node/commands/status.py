"""`pacs-node status`: what waits, what runs, and how the last instances ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacs_node.audit import AuditEvent, EventKind
from pacs_node.commands.audit import event_facts, newest_events
from pacs_node.commands.terminal import print_json, stdout, table
from pacs_node.config import load_settings
from pacs_node.jobs import count_jobs

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


def run(config: Path | None, *, as_json: bool) -> int:
    """Print the queue's counts and the last results, from the files of ``data_dir``: the node need not run."""
    data_dir = load_settings(config).node.data_dir
    jobs = count_jobs(data_dir)
    results = last_results(newest_events(data_dir, limit=EVENTS_READ))[-RESULTS_SHOWN:]
    if as_json:
        print_json({"data_dir": str(data_dir), "jobs": jobs, "results": results})
        return 0
    console = stdout()
    console.print(table(("queue", "tasks"), sorted(jobs.items()) or [("empty", 0)]))
    console.print()
    columns = ("at", "state", "source_sop_instance_uid", "why")
    shown = [[str(result.get(name, "")) for name in columns] for result in results]
    console.print(table(("time (UTC)", "state", "source instance", "why"), shown or [("-", "nothing yet", "", "")]))
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
        if event.peer is not None:
            latest.pop((source, None), None)  # a delivery says more than the derivation it follows
        latest.pop((source, event.peer), None)
        latest[source, event.peer] = _result(event)
    return list(latest.values())


def _result(event: AuditEvent) -> dict[str, Any]:
    facts = event_facts(event)
    result = {
        key: facts[key] for key in facts if key in ("source_sop_instance_uid", "derived_sop_instance_uid", "peer")
    }
    state = str(event.kind) + (f" ({event.peer})" if event.peer else "")
    why = " ".join(str(facts[key]) for key in ("dicom_status", "reason", "note") if key in facts)
    return {"at": facts["occurred_at"].replace("+00:00", "Z"), "state": state, **result, "why": why}
