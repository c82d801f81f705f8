"""Bounds on what one PDU may claim and how long it may take, which pynetdicom does not set itself.

A header is six bytes and names a length of up to 4 GiB (PS3.8 9.3); unbounded, it would be believed and read.
"""

import functools
import socket
import time

from pynetdicom.transport import AssociationSocket

__all__ = ["bound_reads"]

# An A-ASSOCIATE-RQ is not bound by the maximum length of P-DATA: 128 presentation contexts of many transfer syntaxes
# and a user identity fit in this.
LONGEST_ASSOCIATE_BYTES = 2**18
CHUNK_BYTES = 2**16


def bound_reads(association_socket: AssociationSocket, max_pdu_bytes: int, deadline_s: float) -> None:
    """Replace the reading of one connection by a bounded one.

    Parameters
    ----------
    max_pdu_bytes : the maximum length that we offer; a longer PDU breaks PS3.8 D.1 and ends the connection.
    deadline_s : a header, and a body, must arrive within this.
    """
    longest = max(max_pdu_bytes, LONGEST_ASSOCIATE_BYTES)
    read = functools.partial(_read_exactly, association_socket, longest, deadline_s)
    association_socket.recv = read  # type: ignore[method-assign]  # the one hook before the bytes are believed


def _read_exactly(owner: AssociationSocket, longest: int, deadline_s: float, count: int) -> bytearray:
    """Read ``count`` bytes, fewer when the peer closes; raises OSError when a bound is broken."""
    connection = owner.socket
    if connection is None:
        raise OSError("the connection is closed")
    if count > longest:
        _hang_up(connection)
        raise OSError("a PDU is longer than what was negotiated")
    try:
        return _read_until(connection, count, time.monotonic() + deadline_s)
    except OSError:
        _hang_up(connection)
        raise


def _read_until(connection: socket.socket, count: int, deadline: float) -> bytearray:
    received = bytearray()
    while len(received) < count:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("a PDU did not arrive in time")
        connection.settimeout(remaining_s)
        chunk = connection.recv(min(CHUNK_BYTES, count - len(received)))
        if not chunk:
            break
        received += chunk
    connection.settimeout(None)
    return received


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
