"""One association with a peer as the requestor, with a bound on every wait, and the reason where there is none."""

import contextlib
import socket
import struct
from collections.abc import Iterable

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from pacs_node.config import Peer
from pacs_node.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacs_node.send.store_status import StoreKind, Verdict

__all__ = ["MAX_CONTEXTS", "ContextKey", "associate", "close"]

ContextKey = tuple[str, str]  # abstract syntax, transfer syntax
MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: odd identifiers 1 to 255
MAX_PDU_BYTES = 2**20
REJECTED_PERMANENT = 1  # PS3.8 Table 9-21
REJECTED_BY_PRESENTATION_PROVIDER = 3  # its only reasons are congestion and a local limit: both pass


def associate(
    peer: Peer, calling_ae: str, contexts: Iterable[ContextKey], timeout_s: float
) -> tuple[Association | None, Verdict | None]:
    """Open an association; each context has one transfer syntax, so that the peer answers for each.

    Parameters
    ----------
    peer : Peer
    calling_ae : our AE title
    contexts : at most `MAX_CONTEXTS`
    timeout_s : bound on connecting, on the answer to the request and on silence of the network.

    Returns
    -------
    association, verdict : one of them is None; the verdict says why there is no association.
    """
    ae = _entity(calling_ae, timeout_s)
    connected: list[evt.Event] = []

    def on_connection(event: evt.Event) -> None:
        connected.append(event)
        _bound_socket(event.assoc, timeout_s)

    try:
        association = ae.associate(
            peer.host,
            peer.port,
            contexts=[_context(abstract, transfer) for abstract, transfer in contexts],
            ae_title=peer.ae_title,
            max_pdu=MAX_PDU_BYTES,
            evt_handlers=[(evt.EVT_CONN_OPEN, on_connection)],
        )
    except (OSError, UnicodeError):  # the name of the host cannot be resolved, or is none, such as a..b
        return None, Verdict(StoreKind.RETRY, "cannot connect to the peer")
    if association.is_established:
        return association, None
    return None, _why_not(association, is_connected=bool(connected))


def _entity(calling_ae: str, timeout_s: float) -> AE:
    ae = AE(ae_title=calling_ae)
    ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    return ae


def close(association: Association) -> None:
    """Release an association that still works; end one that does not."""
    with contextlib.suppress(Exception):  # whatever a dying connection does: it is being left
        if association.is_established:
            association.release()
        else:
            association.abort()


def _context(abstract: str, transfer: str) -> PresentationContext:
    context = PresentationContext()
    context.abstract_syntax = UID(abstract)
    context.transfer_syntax = [UID(transfer)]
    return context


def _bound_socket(association: Association, timeout_s: float) -> None:
    """Bound a read or write that makes no progress, and send small PDUs at once.

    pynetdicom blocks in both without a limit: a peer that stops reading would hold our thread for ever.
    """
    wrapper = association.dul.socket
    if wrapper is None or wrapper.socket is None:
        return
    limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
    wrapper.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    wrapper.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    wrapper.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _why_not(association: Association, *, is_connected: bool) -> Verdict:
    """Tell apart who said no, from PS3.8 9.3.4."""
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        passing = answer.result != REJECTED_PERMANENT or answer.result_source == REJECTED_BY_PRESENTATION_PROVIDER
        kind = StoreKind.RETRY if passing else StoreKind.REFUSED
        return Verdict(kind, f"association rejected, {answer.result_str.lower()}: {answer.reason_str.lower()}")
    if not is_connected:
        return Verdict(StoreKind.RETRY, "cannot connect to the peer")
    if association.rejected_contexts:
        return Verdict(StoreKind.REFUSED, "the peer accepts none of the presentation contexts")
    return Verdict(StoreKind.RETRY, "no answer to the association request")
