"""The history of one instance in words, from the audit trail: what came, what was made of it, where it went."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacs_node.audit import Audit, AuditEvent, EventKind
from pacs_node.derive.verbatim import text
from pacs_node.imaging.read import open_dataset

__all__ = ["History", "history", "told"]

MOST_EVENTS = 10_000
FOLDERS = ("incoming", "outbox/*", "quarantine")


@dataclass(frozen=True, slots=True)
class History:
    """Everything that is known about an instance.

    Attributes
    ----------
    uid : what was asked for, a source or something derived from one.
    sources : SOP Instance UIDs of the radiographs that it is or comes from.
    derived : SOP Instance UIDs of what was made of them.
    events : of all of these, oldest first.
    files : what the spool still holds of them, relative to the folder of the node.
    """

    uid: str
    sources: tuple[str, ...]
    derived: tuple[str, ...]
    events: tuple[AuditEvent, ...]
    files: tuple[str, ...]


def history(audit: Audit, data_dir: Path, uid: str) -> History:
    """Follow a UID to its source and from there to everything that was made of it.

    Raises
    ------
    OSError, SQLAlchemyError
        The trail or the spool cannot be read.
    """
    named = audit.events(sop=uid, limit=MOST_EVENTS)
    sources = tuple(dict.fromkeys(event.source_sop_instance_uid for event in named if event.source_sop_instance_uid))
    events = [event for source in sources for event in audit.events(sop=source, limit=MOST_EVENTS)] or named
    derived = tuple(dict.fromkeys(event.derived_sop_instance_uid for event in events if event.derived_sop_instance_uid))
    return History(uid, sources, derived, tuple(events), _files(data_dir, {uid, *sources, *derived}))


def _files(data_dir: Path, uids: set[str]) -> tuple[str, ...]:
    """Names of spooled files that hold one of these instances; a file that cannot be read is none of them."""
    found = []
    for path in sorted(path for folder in FOLDERS for path in data_dir.glob(f"{folder}/*.dcm")):
        try:
            holds = text(open_dataset(path), "SOPInstanceUID") in uids
        except Exception:  # noqa: BLE001, S112 - refused files may be anything
            continue
        if holds:
            found.append(str(path.relative_to(data_dir)))
    return tuple(found)


def told(events: Sequence[AuditEvent]) -> list[str]:
    """One sentence for each event, with its time in UTC."""
    return [f"{event.occurred_at:%Y-%m-%d %H:%M:%S} {_sentence(event)}" for event in events if event.occurred_at]


def _sentence(event: AuditEvent) -> str:
    words = SENTENCES.get(event.kind, str(event.kind)).format(
        caller=event.calling_ae_title or "an unnamed peer",
        reason=event.reason or "no reason given",
        peer=event.peer or "no destination",
        derived=event.derived_sop_instance_uid or "nothing",
        model=event.model or "an unnamed model",
        digest=(event.model_digest or "")[:12],
        attempt=event.attempt or 1,
        status="no status" if event.dicom_status is None else f"status 0x{event.dicom_status:04X}",
    )
    extras = [f"{event.steps} steps, noise seed {event.noise_seed}"] if event.noise_seed is not None else []
    extras += [f"pixels {event.pixel_sha256}"] if event.pixel_sha256 else []
    extras += [f"{event.duration_s:.2f} s"] if event.duration_s is not None else []
    extras += [event.note] if event.note else []
    return words + "".join(f"; {extra}" for extra in extras)


SENTENCES = {
    EventKind.RECEIVED: "received from {caller}",
    EventKind.REFUSED: "not taken from {caller}: {reason}",
    EventKind.STARTED: "attempt {attempt} to make a companion began, with {model} {digest}",
    EventKind.DERIVED: "made {derived} with {model} {digest}",
    EventKind.REJECTED: "refused: {reason}; it has no companion",
    EventKind.POSTPONED: "put off: {reason}; tried again by itself",
    EventKind.SEND_ATTEMPT: "attempt {attempt} to send {derived} to {peer}: {reason}, {status}",
    EventKind.DELIVERED: "{peer} has {derived}, {status}",
    EventKind.FAILED: "{peer} will not get {derived}: {reason}, {status}",
    EventKind.USER_COMMAND: "a person ran a command",
}
