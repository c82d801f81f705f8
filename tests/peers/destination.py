"""A destination that answers as it is told: the misbehaviour of a peer that no real program shows on demand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from tests.peers.orthanc import free_tcp_port

__all__ = ["Destination", "answering"]

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
Answer = Callable[[int], int]
"""Number of the request, from 1 -> status."""


class Destination:
    """What a scripted peer got: one data set for each C-STORE, refused ones included."""

    def __init__(self, answer: Answer, port: int) -> None:
        self.received: list[Dataset] = []
        self.stored: list[Dataset] = []
        self.port = port
        self._answer = answer

    def on_store(self, event: evt.Event) -> int:
        ds = event.dataset
        self.received.append(ds)
        status = self._answer(len(self.received))
        if status == 0x0000 or status >> 12 == 0xB:  # PS3.4 Table B.2-1: a warning is stored as well
            self.stored.append(ds)
        return status

    def uids(self) -> list[str]:
        return [str(ds.SOPInstanceUID) for ds in self.stored]


@contextmanager
def answering(answer: Answer = lambda _number: 0x0000, port: int | None = None) -> Iterator[Destination]:
    """A listening destination; ``answer`` decides each status."""
    destination = Destination(answer, port or free_tcp_port())
    ae = AE(ae_title="PACS")
    ae.add_supported_context(SECONDARY_CAPTURE, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    ae.start_server(
        ("127.0.0.1", destination.port), block=False, evt_handlers=[(evt.EVT_C_STORE, destination.on_store)]
    )
    try:
        yield destination
    finally:
        ae.shutdown()
