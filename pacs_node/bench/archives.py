"""What stands for the PACS in a long run: Orthanc, or where it is not installed a plain SCP and SCU of our own."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from pydicom import dcmread
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, evt

from pacs_node.bench.peers import LOOPBACK, NODE_AE, ORTHANC_AE, OrthancServer, installed, orthanc
from pacs_node.demo import free_port
from pacs_node.errors import Retriable

__all__ = ["Archive", "Returned", "archive"]

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CHANGES = 200  # of Orthanc's journal at once
STAND_IN_AE = "ARCHIVE"


@dataclass(frozen=True, slots=True)
class Returned:
    """A companion that came back.

    Attributes
    ----------
    key : of the companion in the archive.
    source_sop_instance_uid : what it says that it was made of.
    """

    key: str
    source_sop_instance_uid: str


class Archive(Protocol):
    """Keeps radiographs, sends them to the node, and gets companions."""

    what: str
    ae_title: str

    @property
    def port(self) -> int:
        """Where it takes companions."""
        ...

    def upload(self, content: bytes) -> str:
        """Keep a DICOM file; its key."""
        ...

    def forward(self, keys: Sequence[str]) -> None:
        """C-STORE them to the node over one association; raises Retriable when one is not taken."""
        ...

    def returned(self) -> list[Returned]:
        """The companions that came since the last call."""
        ...

    def forget(self, key: str) -> None:
        """Delete an instance."""
        ...

    def kept(self) -> int:
        """How many instances it holds."""
        ...


@contextmanager
def archive(folder: Path, node_port: int) -> Iterator[Archive]:
    """Orthanc where it is installed, else the stand-in; ended with the block.

    Raises
    ------
    Retriable
        Orthanc is installed and did not start.
    """
    if installed("Orthanc"):
        with StandIn(folder, node_port).listening() as stand_in:
            yield stand_in
        return
    with orthanc(folder, node_port) as server:
        yield OrthancArchive(server)


@dataclass
class OrthancArchive:
    """A real Orthanc, spoken to by REST."""

    server: OrthancServer
    what: str = "Orthanc"
    ae_title: str = ORTHANC_AE
    _sources: set[str] = field(default_factory=set)
    _since: int = 0

    @property
    def port(self) -> int:
        return self.server.port

    def upload(self, content: bytes) -> str:
        key = str(self.server.post("/instances", content)["ID"])
        self._sources.add(key)
        return key

    def forward(self, keys: Sequence[str]) -> None:
        self.server.post("/modalities/node/store", {"Resources": list(keys), "Synchronous": True})

    def returned(self) -> list[Returned]:
        found: list[Returned] = []
        while True:
            page = self.server.get(f"/changes?since={self._since}&limit={CHANGES}")
            self._since = int(page["Last"])
            new = [change["ID"] for change in page["Changes"] if change["ChangeType"] == "NewInstance"]
            found += [self._companion(key) for key in new if key not in self._sources]
            if page["Done"]:
                return found

    def _companion(self, key: str) -> Returned:
        tags: dict[str, Any] = self.server.get(f"/instances/{key}/simplified-tags")
        sources = tags.get("SourceImageSequence") or [{}]
        return Returned(key, str(sources[0].get("ReferencedSOPInstanceUID", "")))

    def forget(self, key: str) -> None:
        self.server.delete(f"/instances/{key}")
        self._sources.discard(key)

    def kept(self) -> int:
        return self.server.stored() or 0


class StandIn:
    """Files in a folder, a C-STORE SCP and an SCU: what a PACS does in this, and no more."""

    what = "a plain SCP of pynetdicom (Orthanc is not installed)"
    ae_title = STAND_IN_AE

    def __init__(self, folder: Path, node_port: int) -> None:
        self.port = free_port()
        self._folder = folder
        self._node_port = node_port
        self._uploaded = 0
        self._new: list[Returned] = []
        self._lock = threading.Lock()

    @contextmanager
    def listening(self) -> Iterator["StandIn"]:
        """Listen until the block is left."""
        ae = AE(ae_title=self.ae_title)
        ae.add_supported_context(SECONDARY_CAPTURE, AllTransferSyntaxes)
        server = ae.start_server((LOOPBACK, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        try:
            yield self
        finally:
            if server is not None:
                server.shutdown()

    def upload(self, content: bytes) -> str:
        self._uploaded += 1
        key = f"source-{self._uploaded}.dcm"
        (self._folder / key).write_bytes(content)
        return key

    def forward(self, keys: Sequence[str]) -> None:
        data_sets = [dcmread(self._folder / key) for key in keys]
        ae = AE(ae_title=self.ae_title)
        for sop_class, syntax in {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in data_sets}:
            ae.add_requested_context(sop_class, syntax)
        assoc = ae.associate(LOOPBACK, self._node_port, ae_title=NODE_AE)
        if not assoc.is_established:
            raise Retriable("the node accepted no association")
        try:
            statuses = [assoc.send_c_store(ds).get("Status") for ds in data_sets]
        finally:
            assoc.release()
        if any(status != 0x0000 for status in statuses):
            raise Retriable("the node did not take an image")

    def returned(self) -> list[Returned]:
        with self._lock:
            new, self._new = self._new, []
        return new

    def forget(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)

    def kept(self) -> int:
        return sum(1 for _ in self._folder.glob("*.dcm"))

    def _store(self, event: evt.Event) -> int:
        ds = dcmread(BytesIO(event.encoded_dataset()), stop_before_pixels=True)
        key = f"companion-{ds.SOPInstanceUID}.dcm"
        (self._folder / key).write_bytes(event.encoded_dataset())
        with self._lock:
            self._new.append(Returned(key, str(ds.SourceImageSequence[0].ReferencedSOPInstanceUID)))
        return 0x0000
