"""Bounds on what a peer may claim and how long it may take, which pynetdicom does not set itself.

A header is six bytes and names a length of up to 4 GiB (PS3.8 9.3); unbounded, it would be believed and read.
"""

import logging
import socket
import time

from pynetdicom.transport import AssociationSocket

__all__ = ["BoundedReader"]

# An A-ASSOCIATE-RQ is not bound by the maximum length of P-DATA: 128 presentation contexts of many transfer syntaxes
# and a user identity fit in this.
LONGEST_ASSOCIATE_BYTES = 2**18
CHUNK_BYTES = 2**16
# Messages are gathered in memory. More than the largest file that is processed, which gets its reason and is kept.
LONGEST_MESSAGE_BYTES = 2**29

log = logging.getLogger(__name__)


class BoundedReader:
    """Reads one connection within bounds; a broken bound hangs up.

    Parameters
    ----------
    max_pdu_bytes : the maximum length that we offer; a longer PDU breaks PS3.8 D.1.
    deadline_s : a header, and a body, must arrive within this.
    """

    def __init__(self, association_socket: AssociationSocket, max_pdu_bytes: int, deadline_s: float) -> None:
        self._socket = association_socket
        self._longest_pdu_bytes = max(max_pdu_bytes, LONGEST_ASSOCIATE_BYTES)
        self._deadline_s = deadline_s
        self._message_bytes = 0

    def install(self) -> None:
        self._socket.recv = self.read  # type: ignore[method-assign]  # the one hook before the bytes are believed

    def message_complete(self) -> None:
        """A whole DIMSE message has come: the next one may be as long again."""
        self._message_bytes = 0

    def read(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, fewer when the peer closes; raises OSError when a bound is broken."""
        connection = self._socket.socket
        if connection is None:
            raise OSError("the connection is closed")
        self._message_bytes += nr_bytes
        if nr_bytes > self._longest_pdu_bytes or self._message_bytes > LONGEST_MESSAGE_BYTES:
            log.warning("a peer was disconnected: a PDU or a message is longer than what is taken")
            _hang_up(connection)
            raise OSError("too long")
        try:
            return _read_until(connection, nr_bytes, time.monotonic() + self._deadline_s)
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
