"""The DICOM listener: C-ECHO and C-STORE, and Success only for what a crash cannot take away.

Order of a C-STORE: bytes -> fsync file -> rename -> fsync folder -> durable job -> audit -> 0x0000. The data set is
stored as it came; only its first elements are read, to see that it is the instance that was announced.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from sqlalchemy.exc import SQLAlchemyError

from pacs_node.audit import Audit, AuditEvent, EventKind
from pacs_node.config import NodeSettings
from pacs_node.errors import ConfigError, ReasonCode, Rejected, Retriable
from pacs_node.identity import is_plausible_uid
from pacs_node.receive.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, accepted_contexts
from pacs_node.receive.pdu_bounds import BoundedReader
from pacs_node.receive.pdu_stream import MALFORMED, DataSetSink, PDUStream, SinkCarrier, Unwanted
from pacs_node.receive.received_file import ReceivedObject, check_identity, file_start
from pacs_node.records import ReceivedInstance
from pacs_node.spool import Spool

__all__ = ["Intake", "Listener", "Status"]


class Intake(Protocol):
    """Where received instances become jobs."""

    def key(self, sop_instance_uid: str) -> str:
        """The key of the instance's job, which names its file."""
        ...

    def accept(self, instance: ReceivedInstance, study_instance_uid: str) -> bool:
        """Make the job durable; False when there was one; raises Retriable, or Rejected for a worse copy."""
        ...


CLOSING_POLL_S = 0.05
NOTE_CHARACTERS = 1000
UNASKED = {MALFORMED: "an AE title of the request, or another part of it, breaks the Standard"}
DATA_TRANSFER = "Sta6"  # PS3.8 9.2: the association is established

log = logging.getLogger(__name__)


class Status:
    """C-STORE response statuses (PS3.4 Table B.2-1, PS3.7 C)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH = 0xA900  # the data set is not the SOP Instance or not of the SOP Class that was announced
    CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class _Parties:
    """Who talks to us in one association."""

    address: str
    calling_ae_title: str
    called_ae_title: str


class Listener:
    """The acceptor; `start` binds the port, `stop` lets running associations end."""

    def __init__(self, settings: NodeSettings, spool: Spool, audit: Audit, intake: Intake) -> None:
        self._settings = settings
        self._spool = spool
        self._audit = audit
        self._intake = intake
        self._ae = AE(ae_title=settings.ae_title)
        self._ae.maximum_pdu_size = settings.max_pdu_bytes
        self._ae.maximum_associations = settings.max_associations
        self._ae.network_timeout = settings.network_timeout_s
        self._ae.dimse_timeout = settings.network_timeout_s
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.supported_contexts = accepted_contexts()

    def start(self) -> None:
        """Listen; raises ConfigError when the address cannot be bound."""
        address = (self._settings.host, self._settings.port)
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_CONN_CLOSE, self._on_disconnection),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_C_ECHO, lambda _event: Status.SUCCESS),
            (evt.EVT_C_STORE, self.on_store),
        ]
        try:
            self._ae.start_server(address, block=False, evt_handlers=handlers)
        except (OSError, UnicodeError) as error:  # the latter for a name that cannot be looked up, such as a..b
            reason = getattr(error, "strerror", None) or "no name of a host"
            raise ConfigError(
                f"cannot listen on {address[0]}:{address[1]}: {reason}; choose another node.host or node.port"
            ) from error

    def stop(self, grace_s: float) -> None:
        """Take no new association, give the running ones ``grace_s`` to end, then abort them."""
        for server in list(self._ae._servers):
            server.shutdown()
        deadline = time.monotonic() + grace_s
        while self._ae.active_associations and time.monotonic() < deadline:
            time.sleep(CLOSING_POLL_S)
        self._ae.shutdown()

    def on_store(self, event: evt.Event) -> int:
        """Answer one C-STORE request with a status; never raises."""
        parties = _parties(event)
        started = time.monotonic()
        try:
            self._store(event, parties, started)
        except Rejected as refusal:
            mismatch = refusal.reason is ReasonCode.IDENTITY_MISMATCH
            status = Status.DOES_NOT_MATCH if mismatch else Status.CANNOT_UNDERSTAND
            reason = str(refusal.reason)
        except (Retriable, SQLAlchemyError, OSError) as error:
            log.warning("a received object could not be made durable: %s", type(error).__name__)
            status, reason = Status.OUT_OF_RESOURCES, "out_of_resources"
        except Exception as error:  # noqa: BLE001 - whatever happens, the peer gets a status and the association lives
            log.critical("C-STORE failed unexpectedly: %s", type(error).__name__)
            status, reason = Status.PROCESSING_FAILURE, str(ReasonCode.UNEXPECTED)
        else:
            return Status.SUCCESS
        uid = str(getattr(event.request, "AffectedSOPInstanceUID", ""))
        self._record_refusal(parties, reason, status=status, uid=uid if is_plausible_uid(uid) else None)
        return status

    def _store(self, event: evt.Event, parties: _Parties, started: float) -> None:
        request: Any = event.request
        context = event.context
        announced = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        received = _received(request)
        try:
            with received.data_set() as data_set:
                study = check_identity(data_set, UID(context.transfer_syntax), announced)
            path = received.commit()
        finally:
            received.remove()
        instance = ReceivedInstance(
            sop_class_uid=announced[0],
            sop_instance_uid=announced[1],
            transfer_syntax_uid=str(context.transfer_syntax),
            path=path,
            size_bytes=received.size_bytes,
            calling_ae_title=parties.calling_ae_title,
            peer_address=parties.address,
            received_at=datetime.now(UTC),
        )
        is_new = self._intake.accept(instance, study)
        self._audit.record(
            AuditEvent(
                kind=EventKind.RECEIVED,
                source_sop_instance_uid=instance.sop_instance_uid,
                study_instance_uid=study,
                peer=parties.address,
                calling_ae_title=parties.calling_ae_title,
                called_ae_title=parties.called_ae_title,
                dicom_status=Status.SUCCESS,
                size_bytes=received.size_bytes,
                duration_s=time.monotonic() - started,
                note=None if is_new else "received before: the job is the same",
            )
        )

    def _on_connection(self, event: evt.Event) -> None:
        association, connection = event.assoc, event.assoc.dul.socket
        if connection is None:
            return

        def open_sink(context_id: int, command: Dataset) -> DataSetSink:
            return self._open_object(association, context_id, command)

        def refuse(reason: str) -> None:
            self._record_refusal(_parties_of(association), reason, note=UNASKED.get(reason))

        reader = BoundedReader(connection, self._settings.max_pdu_bytes, self._settings.network_timeout_s)
        machine = association.dul.state_machine
        stream = PDUStream(reader, open_sink, lambda: machine.current_state == DATA_TRANSFER, refuse)
        stream.install(connection)
        association.bind(evt.EVT_DIMSE_RECV, lambda received: stream.message_received(received.message))
        association.bind(evt.EVT_CONN_CLOSE, lambda _closed: stream.close())

    def _open_object(self, association: Any, context_id: int, command: Dataset) -> DataSetSink:
        """Where a data set goes that begins to come; what is wrong with the request is told when it is complete."""
        announced = (str(command.get("AffectedSOPClassUID", "")), str(command.get("AffectedSOPInstanceUID", "")))
        syntaxes = {c.context_id: c.transfer_syntax[0] for c in association.accepted_contexts}
        if context_id not in syntaxes or not all(map(is_plausible_uid, announced)):
            return Unwanted()
        parties = _parties_of(association)
        start = file_start(announced, syntaxes[context_id], parties.calling_ae_title, parties.called_ae_title)
        return ReceivedObject(self._spool, self._intake.key(announced[1]), start)

    def _on_disconnection(self, event: evt.Event) -> None:
        """Let go of a peer that left before it asked for an association, as a load balancer's probe does.

        pynetdicom would wait for its request until the ACSE timeout and count it as an association meanwhile.
        """
        if event.assoc.requestor.primitive is None:
            event.assoc.dul.to_user_queue.put(None)

    def _on_accepted(self, event: evt.Event) -> None:
        parties = _parties(event)
        self._audit.record(
            AuditEvent(
                kind=EventKind.ASSOCIATION,
                peer=parties.address,
                calling_ae_title=parties.calling_ae_title,
                called_ae_title=parties.called_ae_title,
            )
        )
        # PS3.8 Table 9-18: result 3 is abstract-syntax-not-supported, 4 is transfer-syntaxes-not-supported
        reasons = {3: ReasonCode.SOP_CLASS_UNSUPPORTED, 4: ReasonCode.TRANSFER_SYNTAX_UNSUPPORTED}
        taken = {context.abstract_syntax for context in event.assoc.accepted_contexts}
        for result, reason in reasons.items():
            refused = [c.abstract_syntax for c in event.assoc.rejected_contexts if c.result == result]
            names = sorted({_public_name(UID(str(uid))) for uid in refused if uid not in taken})
            if names:
                self._record_refusal(parties, str(reason), note=_presentation_note(names))

    def _on_rejected(self, event: evt.Event) -> None:
        self._record_refusal(_parties(event), "association_rejected")

    def _record_refusal(
        self,
        parties: _Parties,
        reason: str,
        *,
        status: int | None = None,
        uid: str | None = None,
        note: str | None = None,
    ) -> None:
        refusal = AuditEvent(
            kind=EventKind.REFUSED,
            source_sop_instance_uid=uid,
            peer=parties.address,
            calling_ae_title=parties.calling_ae_title or None,
            called_ae_title=parties.called_ae_title or None,
            dicom_status=status,
            reason=reason,
            note=note,
        )
        try:
            self._audit.record(refusal)
        except SQLAlchemyError as error:  # the disk may be the very reason of the refusal
            log.warning("a refusal (%s) could not be audited: %s", reason, type(error).__name__)


def _received(request: Any) -> ReceivedObject:
    """The file of a request; raises Rejected when it has none."""
    carrier = request.DataSet
    sink = carrier.sink if isinstance(carrier, SinkCarrier) else None
    if isinstance(sink, ReceivedObject) and sink.claim():
        return sink
    if not is_plausible_uid(str(request.AffectedSOPInstanceUID)):
        raise Rejected(ReasonCode.MISSING_ATTRIBUTE, "the request names no valid SOP Instance UID")
    raise Rejected(ReasonCode.NOT_DICOM, "the request came without a data set")


def _parties(event: evt.Event) -> _Parties:
    return _parties_of(event.assoc)


def _parties_of(association: Any) -> _Parties:
    requestor = association.requestor
    primitive = requestor.primitive
    called = str(primitive.called_ae_title) if primitive is not None else ""
    return _Parties(str(requestor.address or ""), str(requestor.ae_title).strip()[:16], called.strip()[:16])


def _public_name(uid: UID) -> str:
    """A name from the Standard's dictionary, so that no text of a peer reaches the audit."""
    return uid.name if uid.name != str(uid) else "an unknown SOP Class"


def _presentation_note(names: list[str]) -> str:
    """Image classes first: they are what somebody misses."""
    note = "presentation contexts not accepted: " + "; ".join(
        sorted(names, key=lambda name: ("Image" not in name, name))
    )
    return note if len(note) <= NOTE_CHARACTERS else note[: NOTE_CHARACTERS - 3] + "..."
