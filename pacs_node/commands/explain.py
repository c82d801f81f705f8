"""`pacs-node explain UID`: the history of one instance."""

from pathlib import Path

from pacs_node.audit import AUDIT_FILE, Audit
from pacs_node.commands.audit import event_facts, reading
from pacs_node.commands.errors import ExitCode
from pacs_node.commands.terminal import print_json, say, stdout
from pacs_node.config import load_settings
from pacs_node.explain import History, history, told

__all__ = ["run"]


def run(uid: str, *, config: Path | None, as_json: bool) -> int:
    """Print what is known about a source or derived instance; exit code 1 where nothing is."""
    data_dir = load_settings(config).node.data_dir
    found = _history(data_dir, uid)
    if as_json:
        facts = {"uid": uid, "sources": found.sources, "derived": found.derived, "files": found.files}
        print_json({**facts, "events": [event_facts(event) for event in found.events]})
    elif found.events:
        console = stdout()
        role = "is a source" if uid in found.sources else f"was made of {', '.join(found.sources) or 'something'}"
        for line in (f"{uid} {role}", *told(found.events), *(f"still in the spool: {name}" for name in found.files)):
            console.print(line, markup=False)
    else:
        say("the audit trail knows no such instance; is this the --config of the node that had it?")
    return ExitCode.DONE if found.events or found.files else ExitCode.FAILED


def _history(data_dir: Path, uid: str) -> History:
    with reading(data_dir):
        if not (data_dir / AUDIT_FILE).is_file():
            return History(uid, (), (), (), ())
        trail = Audit(data_dir / AUDIT_FILE)
        try:
            return history(trail, data_dir, uid)
        finally:
            trail.close()
