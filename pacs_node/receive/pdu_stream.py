"""PDUs on their way to pynetdicom: the data sets of C-STORE leave them here and go to files as they come.

pynetdicom gathers a message in memory and copies each fragment several times; of an image that is most of the work. So
it gets the same PDUs (PS3.8 9.3.5) with the data set's fragments empty, and never sees what was in them. Its own
bookkeeping of messages, states and timers stays as it is: the one hook is the method that reads the socket.
"""

import io
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.transport import AssociationSocket

from pacs_node.receive.pdu_bounds import BoundedReader

__all__ = ["MALFORMED", "DataSetSink", "PDUStream", "SinkCarrier", "Unwanted"]

HEADER = struct.Struct(">BxL")  # PS3.8 9.3.1: type, reserved, length
ITEM = struct.Struct(">LBB")  # PS3.8 9.3.5.1 and E.2: length of the rest, context, message control header
ASSOCIATE_RQ, P_DATA_TF = 0x01, 0x04
PROTOCOL_VERSION = 1  # PS3.8 Table 9-11
WITH_BODY = frozenset({1, 2, 3, 5, 6, 7})
INVALID_PDU = b"\xff\0\0\0\0\0"  # a type that does not exist: the answer is A-ABORT (PS3.8 9.2, Evt19)
MALFORMED = "association_malformed"
IS_COMMAND, IS_LAST = 1, 2  # PS3.8 E.2
C_STORE_RQ, NO_DATA_SET = 0x0001, 0x0101  # PS3.7 E.1

BUFFER_BYTES = 2**18
# Commands, and the data sets of requests that we refuse anyway, are gathered in memory by pynetdicom.
LONGEST_SMALL_MESSAGE_BYTES = 2**20
# More than the largest file that is processed, which gets its reason and is kept.
LONGEST_OBJECT_BYTES = 2**29
# Asynchronous operations are not negotiated (PS3.7 D.3.3.3): a peer waits for an answer before it asks again.
MOST_UNANSWERED = 8
WAIT_FOR_MORE_S = 0.02
LONGEST_ABSENCE_S = 0.5  # pynetdicom has its own timers, and an association of its own to abort


class DataSetSink(Protocol):
    """Takes one data set in pieces; what goes wrong is its own affair until it is asked."""

    @property
    def is_claimed(self) -> bool:
        """Whether somebody looks after what was written."""
        ...

    def write(self, data: memoryview) -> None: ...

    def discard(self) -> None:
        """The connection has ended: what nobody has claimed goes."""
        ...


class Unwanted:
    """Takes a data set that will be refused."""

    is_claimed = True

    def write(self, data: memoryview) -> None:
        """Forget it."""

    def discard(self) -> None:
        """There is nothing."""


OpenSink = Callable[[int, Dataset], DataSetSink]
"""Presentation context ID, command set of a C-STORE request -> where its data set goes."""


class SinkCarrier(io.BytesIO):
    """The empty data set that pynetdicom sees; it hands on nothing but a BytesIO."""

    def __init__(self, sink: DataSetSink) -> None:
        super().__init__()
        self.sink = sink


class PDUStream:
    """Reads one connection for pynetdicom.

    Parameters
    ----------
    is_open : whether the association is established; before that, P-DATA is an error of the peer and left alone.
    on_refused : told why a request for an association will be refused before anybody is asked.
    """

    def __init__(
        self,
        reader: BoundedReader,
        open_sink: OpenSink,
        is_open: Callable[[], bool],
        on_refused: Callable[[str], object] = lambda _reason: None,
    ) -> None:
        self._reader = reader
        self._open_sink = open_sink
        self._is_open = is_open
        self._on_refused = on_refused
        self._body: bytearray | None = None  # of the PDU whose header was given to pynetdicom last
        self._has_body = False  # the same, but it is still in the socket
        self._left = 0  # bytes of the present P-DATA-TF that have not been read
        self._command = bytearray()
        self._small_bytes = 0
        self._sink: DataSetSink | None = None
        self._object_bytes = 0
        self._complete: deque[DataSetSink] = deque()
        self._unclaimed: list[DataSetSink] = []
        self._buffer = memoryview(b"")

    def install(self, association_socket: AssociationSocket) -> None:
        association_socket.recv = self.recv  # type: ignore[method-assign]  # the one hook before bytes are believed

    def recv(self, nr_bytes: int) -> bytearray:
        """What pynetdicom asks for: six bytes of a header, then as many as the header names."""
        if self._body is not None:
            body, self._body = self._body, None
            return body
        if self._has_body:
            self._has_body = False
            return self._reader.read(nr_bytes)
        try:
            return self._next_pdu()
        except _InvalidPDU:
            self._left = 0
            return bytearray(INVALID_PDU)

    def message_received(self, message: Any) -> None:
        """A message is complete (EVT_DIMSE_RECV): a C-STORE request gets its sink, in `SinkCarrier`."""
        if message.command_set.get("CommandField") == C_STORE_RQ and self._complete:
            sink = self._complete.popleft()
            self._unclaimed.append(sink)
            message.data_set = SinkCarrier(sink)

    def close(self) -> None:
        """The connection has ended: nothing of an unfinished object stays."""
        for sink in (self._sink, *self._complete, *self._unclaimed):
            if sink is not None:
                sink.discard()

    def _next_pdu(self) -> bytearray:
        """Header of the next PDU that pynetdicom has to see; PDUs that only continue a data set are read over."""
        fragments = bytearray()
        started = time.monotonic()
        while True:
            self._reader.begin_header()
            if not self._left:
                header = self._reader.read(HEADER.size)
                if len(header) < HEADER.size:
                    return header
                kind, length = HEADER.unpack(header)
                self._reader.begin_body(length)
                if kind == ASSOCIATE_RQ:
                    return self._request(header, length)
                if kind != P_DATA_TF or not self._is_open():
                    self._has_body = kind in WITH_BODY or kind == P_DATA_TF
                    return header
                self._left = length
            fragments = self._fragments()
            is_long = time.monotonic() - started > LONGEST_ABSENCE_S
            if fragments or is_long or not self._reader.has_more(WAIT_FOR_MORE_S):
                break
        self._body = fragments
        return bytearray(HEADER.pack(P_DATA_TF, len(fragments)))

    def _request(self, header: bytearray, length: int) -> bytearray:
        """Header of a request for an association; pynetdicom says nothing of one that it cannot read, or dies of it."""
        self._body = self._reader.read(length)
        reason = _refusal(header + self._body) if len(self._body) == length else None
        if reason is not None:
            self._on_refused(reason)
        if reason == MALFORMED:
            self._body = None
            raise _InvalidPDU
        return header

    def _fragments(self) -> bytearray:
        """The items of a PDU up to the end of a message, those of an object's data set emptied or left out."""
        kept = bytearray()
        while self._left:
            if self._left < ITEM.size:
                raise _InvalidPDU
            header = bytearray(ITEM.size)
            self._reader.read_into(memoryview(header))
            length, context_id, control = ITEM.unpack(header)
            count = length - 2
            if not 0 <= count <= self._left - ITEM.size:
                raise _InvalidPDU
            self._left -= ITEM.size + count
            if not control & IS_COMMAND and self._sink is not None:
                self._divert(self._sink, count)
                if control & IS_LAST:
                    kept += ITEM.pack(2, context_id, control)
            else:
                kept += header + self._gather(count)
                if control & IS_COMMAND:
                    self._command += kept[len(kept) - count :]
            if control & IS_LAST and self._message_part_ends(context_id, is_command=bool(control & IS_COMMAND)):
                break
        return kept

    def _gather(self, count: int) -> bytearray:
        self._small_bytes += count
        if self._small_bytes > LONGEST_SMALL_MESSAGE_BYTES:
            raise self._reader.refusal("a message is longer than what is taken")
        content = bytearray(count)
        self._reader.read_into(memoryview(content))
        return content

    def _divert(self, sink: DataSetSink, count: int) -> None:
        self._object_bytes += count
        if self._object_bytes > LONGEST_OBJECT_BYTES:
            raise self._reader.refusal("an object is longer than what is taken")
        if not self._buffer:
            self._buffer = memoryview(bytearray(BUFFER_BYTES))
        while count:
            piece = self._buffer[: min(count, BUFFER_BYTES)]
            self._reader.read_into(piece)
            sink.write(piece)
            count -= len(piece)

    def _message_part_ends(self, context_id: int, *, is_command: bool) -> bool:
        """The last fragment of a command or of a data set; True when that ends the message."""
        if is_command:
            command, self._command = _parsed(self._command), bytearray()
            if command.get("CommandDataSetType") != NO_DATA_SET:
                if command.get("CommandField") == C_STORE_RQ:
                    self._begin_object(context_id, command)
                return False
        elif self._sink is not None:
            self._complete.append(self._sink)
            self._sink = None
        self._small_bytes = 0
        return True

    def _begin_object(self, context_id: int, command: Dataset) -> None:
        self._unclaimed = [sink for sink in self._unclaimed if not sink.is_claimed]
        if self._sink is not None or len(self._complete) + len(self._unclaimed) >= MOST_UNANSWERED:
            raise self._reader.refusal("it asks on without waiting for answers")
        self._object_bytes = 0
        self._sink = self._open_sink(context_id, command)


class _InvalidPDU(Exception):
    """The items do not fill the PDU (PS3.8 9.3.5), or it is no request for an association (9.3.2)."""


def _refusal(pdu: bytearray) -> str | None:
    """Why a request for an association will be refused unasked: it breaks PS3.8 9.3.2, as an AE title may."""
    try:
        request = A_ASSOCIATE_RQ()
        request.decode(bytes(pdu))
        request.to_primitive()
    except Exception:  # noqa: BLE001 - pynetdicom raises many types on foreign bytes
        return MALFORMED
    return None if request.protocol_version == PROTOCOL_VERSION else "association_rejected"


def _parsed(command: bytearray) -> Dataset:
    """A command set (PS3.7 6.3.1: Implicit VR Little Endian); empty when it is none, which pynetdicom will notice."""
    try:
        ds: Dataset = read_dataset(io.BytesIO(command), is_implicit_VR=True, is_little_endian=True)
        ds.get("CommandField"), ds.get("CommandDataSetType")  # values are parsed when they are asked for
    except Exception:  # noqa: BLE001 - pydicom raises many types on foreign bytes
        return Dataset()
    return ds
