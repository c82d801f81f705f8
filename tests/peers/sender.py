"""A modality: sends data sets with pynetdicom, or bytes that no data set has."""

from unittest import mock

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE

__all__ = ["send", "send_raw"]


def send(port: int, *sources: Dataset) -> list[int]:
    """C-STORE over one association; returns the statuses, -1 where no answer or no presentation context came."""
    ae = AE(ae_title="MODALITY")
    for sop_class, syntax in {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in sources}:
        ae.add_requested_context(sop_class, syntax)
    association = ae.associate("127.0.0.1", port)
    if not association.is_established:
        return [-1] * len(sources)
    statuses = []
    for ds in sources:
        try:
            statuses.append(int(association.send_c_store(ds).get("Status", -1)))
        except (RuntimeError, ValueError):  # the node ended the association, or took no context for the class
            statuses.append(-1)
    association.release()
    return statuses


def send_raw(port: int, content: bytes, announced: Dataset, syntax: UID | None = None) -> int:
    """C-STORE of ``content`` as it is, under the UIDs of ``announced``."""
    if syntax is not None:
        announced.file_meta.TransferSyntaxUID = syntax
    with mock.patch("pynetdicom.association.encode", return_value=content):
        return send(port, announced)[0]
