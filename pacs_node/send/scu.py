"""C-STORE SCU: many files over one association, and for each the truth about what became of it."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association

from pacs_node.config import Peer
from pacs_node.identity import is_plausible_uid
from pacs_node.send.association import MAX_CONTEXTS, ContextKey, associate, close
from pacs_node.send.store_status import ENDED_BY_PEER, StoreKind, StoreOutcome, Verdict, judge
from pacs_node.send.transcode import Unconvertible, converted

__all__ = [
    "Instance",
    "Line",
    "StoreKind",
    "StoreOutcome",
    "batches",
    "echo",
    "find_files",
    "identify",
    "send_files",
    "store",
]

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
FALLBACKS = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)  # offered for every object besides its own syntax
SLOWEST_LINK_BYTES_PER_S = (
    500_000  # 4 Mbit/s, on top of the timeout; the wait for an answer starts before the object has left
)
MAX_BARREN_ASSOCIATIONS = 3  # in a row that died without an answer: then nobody is there, and the rest waits
# The disk's fault, or too many open files: it says nothing about the object.
UNREADABLE = Verdict(StoreKind.RETRY, "the disk does not give the file")

OnProgress = Callable[[StoreOutcome, int, int], None]  # outcome, files done, files in all


@dataclass(frozen=True, slots=True)
class Instance:
    """One file and what has to be negotiated for it."""

    path: Path
    sop_class_uid: str
    transfer_syntax_uid: str

    @property
    def contexts(self) -> list[ContextKey]:
        """What to propose, best first."""
        syntaxes = dict.fromkeys((self.transfer_syntax_uid, *map(str, FALLBACKS)))
        return [(self.sop_class_uid, syntax) for syntax in syntaxes]


@dataclass(slots=True)
class Line:
    """The association to one peer, opened when needed and never used again after it failed."""

    peer: Peer
    calling_ae: str
    timeout_s: float
    deadline: float  # of time.monotonic()
    contexts: list[ContextKey]
    association: Association | None = None
    barren: int = 0
    sent: int = 0  # over the present association
    verdict_for_all: Verdict | None = None

    def deliver(self, instance: Instance) -> StoreOutcome:
        """Send one file; opens or re-opens the association."""
        if time.monotonic() >= self.deadline:
            return _outcome(instance, Verdict(StoreKind.RETRY, "no time left"))
        if self.verdict_for_all is None:
            self._connect()
        if self.verdict_for_all is not None or self.association is None:
            return _outcome(instance, self.verdict_for_all or Verdict(StoreKind.RETRY, "no association"))
        return self._send(instance, self.association)

    def is_alive(self) -> bool:
        """Whether there is an association, as far as we have heard."""
        return self.association is not None and bool(self.association.is_established)

    def hang_up(self) -> None:
        if self.association is not None:
            close(self.association)
            self.association = None

    def _connect(self) -> None:
        if self.is_alive():
            return
        self.hang_up()
        wait_s = min(self.timeout_s, max(0.1, self.deadline - time.monotonic()))
        self.association, self.verdict_for_all = associate(self.peer, self.calling_ae, self.contexts, wait_s)
        self.sent = 0

    def _send(self, instance: Instance, association: Association) -> StoreOutcome:
        """Prepare the object for what the peer took and wait for its answer."""
        syntax = _agreed_syntax(association, instance)
        if syntax is None:
            return _outcome(instance, Verdict(StoreKind.REFUSED, "the peer accepts no presentation context for it"))
        try:
            ds = _load(instance.path, syntax)
        except Unconvertible:
            return _outcome(instance, Verdict(StoreKind.REFUSED, "it cannot be decoded to what the peer accepts"))
        except OSError:
            return _outcome(instance, UNREADABLE)
        except Exception as error:  # noqa: BLE001  one damaged file must not stop the others
            log.warning("a file to be sent cannot be read: %s", type(error).__name__)
            return _outcome(instance, Verdict(StoreKind.REFUSED, "the file cannot be read"))
        wait_s = self.timeout_s + instance.path.stat().st_size / SLOWEST_LINK_BYTES_PER_S
        association.dimse_timeout = min(wait_s, max(0.1, self.deadline - time.monotonic()))
        self.sent += 1
        return self._answer(instance, association, ds)

    def _answer(self, instance: Instance, association: Association, ds: Dataset) -> StoreOutcome:
        """Send and judge; an association without an answer is dead, whatever it says about itself."""
        started = time.monotonic()
        try:
            answer = association.send_c_store(ds, msg_id=self.sent % 65535 + 1)
        except (RuntimeError, OSError):  # it ended between two files
            answer = Dataset()
        except (AttributeError, ValueError):  # no SOP Instance UID, or it cannot be encoded
            return _outcome(instance, Verdict(StoreKind.REFUSED, "the object cannot be encoded"))
        if "Status" in answer:
            self.barren = 0
            return _outcome(instance, judge(int(answer.Status)), int(answer.Status))
        self.hang_up()
        self.barren += 1
        timed_out = time.monotonic() - started >= float(association.dimse_timeout or 0)
        verdict = Verdict(StoreKind.RETRY, "no answer in time") if timed_out else ENDED_BY_PEER
        if self.barren >= MAX_BARREN_ASSOCIATIONS:
            self.verdict_for_all = verdict
        return _outcome(instance, verdict)


def store(
    paths: Iterable[Path], peer: Peer, calling_ae: str, timeout_s: float, *, deadline_s: float = float("inf")
) -> Iterator[StoreOutcome]:
    """Send files, in their order, over as few associations as possible.

    Parameters
    ----------
    paths : DICOM files of any SOP class and transfer syntax.
    peer : Peer
    calling_ae : our AE title
    timeout_s : bound on connecting and on every answer; large files get longer, at 4 Mbit/s.
    deadline_s : bound on everything; what is left then is to be tried again.

    Yields
    ------
    StoreOutcome : one for each path, in order. Nothing that a peer or a file does is raised.
    """
    deadline = time.monotonic() + deadline_s
    for contexts, batch in batches([identify(path) for path in paths]):
        line = Line(peer, calling_ae, timeout_s, deadline, contexts)
        try:
            for entry in batch:
                yield line.deliver(entry) if isinstance(entry, Instance) else entry
        finally:
            line.hang_up()


def send_files(
    paths: Sequence[Path],
    peer: Peer,
    calling_ae: str,
    on_progress: OnProgress | None = None,
    timeout_s: float = 60.0,
) -> list[StoreOutcome]:
    """Send files and whole folders; a file that is no DICOM is reported like any other and stops nothing."""
    files = find_files(paths)
    outcomes: list[StoreOutcome] = []
    for outcome in store(files, peer, calling_ae, timeout_s):
        outcomes.append(outcome)
        if on_progress is not None:
            on_progress(outcome, len(outcomes), len(files))
    return outcomes


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and all files below the folders, sorted; without hidden ones and DICOMDIR (PS3.10 8.6)."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        for below in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in below.relative_to(path).parts)
            if below.is_file() and not hidden and below.name != "DICOMDIR":
                found[below] = None
    return list(found)


def echo(peer: Peer, calling_ae: str, timeout_s: float) -> Verdict:
    """C-ECHO (PS3.7 9.1.5): `DELIVERED` when the peer answers with success."""
    association, verdict = associate(peer, calling_ae, [(VERIFICATION, str(syntax)) for syntax in FALLBACKS], timeout_s)
    if association is None:
        return verdict or Verdict(StoreKind.RETRY, "no association")
    try:
        answer = association.send_c_echo()
    except (RuntimeError, OSError, ValueError):
        answer = Dataset()
    finally:
        close(association)
    return judge(int(answer.Status)) if "Status" in answer else Verdict(StoreKind.RETRY, "no answer in time")


def identify(path: Path) -> Instance | StoreOutcome:
    """What a file is, from its file meta information and SOP Class UID."""
    refused = Verdict(StoreKind.REFUSED, "not a DICOM file")
    try:
        ds = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        sop_class_uid = str(ds.SOPClassUID)
        transfer_syntax_uid = str(ds.file_meta.TransferSyntaxUID)
        # one that is none could not be encoded, and the request for the association of all files would fail with it
        if all(map(is_plausible_uid, (sop_class_uid, transfer_syntax_uid, str(ds.SOPInstanceUID)))):
            return Instance(path, sop_class_uid, transfer_syntax_uid)
        refused = Verdict(StoreKind.REFUSED, "SOP class, SOP instance or transfer syntax is not named by a UID")
    except InvalidDicomError:
        pass
    except AttributeError:
        refused = Verdict(StoreKind.REFUSED, "SOP class, SOP instance or transfer syntax is not named in the file")
    except FileNotFoundError:
        refused = Verdict(StoreKind.REFUSED, "the file cannot be read")
    except OSError:
        refused = UNREADABLE
    except Exception as error:  # noqa: BLE001  whatever a parser throws at garbage
        log.warning("a file to be sent cannot be parsed: %s", type(error).__name__)
        refused = Verdict(StoreKind.REFUSED, "the file cannot be read")
    return StoreOutcome(path, refused.kind, None, refused.note)


def batches(
    entries: Iterable[Instance | StoreOutcome],
) -> Iterator[tuple[list[ContextKey], list[Instance | StoreOutcome]]]:
    """Runs of entries whose contexts fit one association."""
    contexts: dict[ContextKey, None] = {}
    batch: list[Instance | StoreOutcome] = []
    for entry in entries:
        wanted = dict.fromkeys(entry.contexts) if isinstance(entry, Instance) else {}
        if len(contexts | wanted) > MAX_CONTEXTS:
            yield list(contexts), batch
            contexts, batch = {}, []
        contexts |= wanted
        batch.append(entry)
    if batch:
        yield list(contexts), batch


def _agreed_syntax(association: Association, instance: Instance) -> UID | None:
    """The best transfer syntax that the peer accepted for the SOP class."""
    accepted = {
        str(context.transfer_syntax[0])
        for context in association.accepted_contexts
        if context.abstract_syntax == instance.sop_class_uid
    }
    return next((UID(syntax) for _, syntax in instance.contexts if syntax in accepted), None)


def _load(path: Path, syntax: UID) -> Dataset:
    """The object as the peer wants it; as it is on disk where that is possible."""
    ds = dcmread(path)
    return ds if ds.file_meta.TransferSyntaxUID == syntax else converted(ds, syntax)


def _outcome(instance: Instance, verdict: Verdict, status: int | None = None) -> StoreOutcome:
    return StoreOutcome(instance.path, verdict.kind, status, verdict.note)
