"""Bounds on what a peer may claim and how long it may take, which pynetdicom does not set itself.

A header is six bytes and names a length of up to 4 GiB (PS3.8 9.3); unbounded, it would be believed and read.
"""

import logging
import select
import socket
import struct
import time

from pynetdicom.transport import AssociationSocket

__all__ = ["BoundedReader"]

# An A-ASSOCIATE-RQ is not bound by the maximum length of P-DATA: 128 presentation contexts of many transfer syntaxes
# and a user identity fit in this.
LONGEST_ASSOCIATE_BYTES = 2**18

log = logging.getLogger(__name__)


class BoundedReader:
    """Reads one connection within bounds; a broken bound hangs up and raises OSError.

    Parameters
    ----------
    max_pdu_bytes : the maximum length that we offer; a longer PDU breaks PS3.8 D.1.
    deadline_s : a header, and a body, must arrive within this.
    """

    def __init__(self, association_socket: AssociationSocket, max_pdu_bytes: int, deadline_s: float) -> None:
        self._socket = association_socket
        self._longest_pdu_bytes = max(max_pdu_bytes, LONGEST_ASSOCIATE_BYTES)
        self._deadline_s = deadline_s
        self._deadline = 0.0

    def begin_header(self) -> None:
        """The time for a header begins."""
        self._deadline = time.monotonic() + self._deadline_s

    def begin_body(self, claimed_bytes: int) -> None:
        """The time for a body begins, if its length may be claimed."""
        if claimed_bytes > self._longest_pdu_bytes:
            raise self.refusal("a PDU is longer than what is offered")
        self._deadline = time.monotonic() + self._deadline_s

    def refusal(self, what: str) -> OSError:
        """Hang up; returns the error to raise."""
        log.warning("a peer was disconnected: %s", what)
        self._hang_up()
        return OSError(what)

    def read(self, count: int) -> bytearray:
        """Read ``count`` bytes, fewer when the peer closes."""
        content = bytearray(count)
        return content[: self._fill(memoryview(content))] if count else content

    def read_into(self, view: memoryview) -> None:
        """Fill all of ``view``."""
        if self._fill(view) < len(view):
            raise OSError("the peer closed the connection inside of a PDU")

    def has_more(self, wait_s: float) -> bool:
        """Whether something can be read within ``wait_s``, the end of the connection included."""
        connection = self._socket.socket
        return connection is not None and bool(select.select([connection], [], [], wait_s)[0])

    def _fill(self, view: memoryview) -> int:
        connection = self._socket.socket
        if connection is None:
            raise OSError("the connection is closed")
        filled = 0
        try:
            while filled < len(view):
                # By the kernel, and for all of the bytes at once: a time-out of Python's costs two calls for each part.
                remaining_s = max(self._deadline - time.monotonic(), 1e-3)
                limit = struct.pack("@ll", int(remaining_s), int(remaining_s % 1 * 1e6))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
                count = connection.recv_into(view[filled:], 0, socket.MSG_WAITALL)
                if count == 0:
                    break
                filled += count
        except OSError:
            self._hang_up()
            raise
        return filled

    def _hang_up(self) -> None:
        connection = self._socket.socket
        try:
            if connection is not None:
                connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
