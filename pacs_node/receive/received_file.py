"""The bytes of a C-STORE as a file of ours: are they the instance that was announced, and what goes before them."""

import io
import threading
import zlib
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pacs_node.errors import DiskFull, ReasonCode, Rejected
from pacs_node.identity import is_plausible_uid
from pacs_node.imaging.read import require_no_loss
from pacs_node.receive.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacs_node.spool import IncomingFile, Spool

__all__ = ["ReceivedObject", "check_identity", "file_start"]

STUDY_INSTANCE_UID = Tag("StudyInstanceUID")
IDENTITY_TAGS = [Tag("SOPClassUID"), Tag("SOPInstanceUID"), STUDY_INSTANCE_UID]
DEFLATED_PREFIX_BYTES = 2**20  # enough for everything up to StudyInstanceUID, and no more than that of a zip bomb


class ReceivedObject:
    """The data set of one C-STORE, written to incoming/ as it comes; trouble is kept until somebody wants the file.

    Parameters
    ----------
    start : what goes before the data set, see `file_start`.
    """

    def __init__(self, spool: Spool, key: str, start: bytes) -> None:
        self._start_bytes = len(start)
        self.size_bytes = 0  # of the data set
        self._claim = threading.Lock()
        self._file: IncomingFile | None = None
        self._trouble: DiskFull | None = None
        try:
            self._file = spool.open_incoming(key)
            self._file.write(start)
        except DiskFull as error:
            self._fail(error)

    def write(self, data: memoryview) -> None:
        self.size_bytes += len(data)
        try:
            if self._file is not None and self._trouble is None:
                self._file.write(data)
        except DiskFull as error:
            self._fail(error)

    def data_set(self) -> BinaryIO:
        """The bytes that came, to be read; raises DiskFull when they could not be kept."""
        return self._kept().read_from(self._start_bytes)

    def commit(self) -> Path:
        """Make the file durable.

        Raises
        ------
        DiskFull
        Rejected
            It cannot be read, and an earlier copy that waits can: that one stays.
        """
        return self._kept().commit(require_no_loss)

    def claim(self) -> bool:
        """Whether the caller is the first; a lost connection then takes nothing away from it."""
        return self._claim.acquire(blocking=False)

    @property
    def is_claimed(self) -> bool:
        return self._claim.locked()

    def discard(self) -> None:
        """The connection has ended: what nobody has claimed goes."""
        if self.claim():
            self.remove()

    def remove(self) -> None:
        """Leave nothing, unless it was committed."""
        if self._file is not None:
            self._file.discard()

    def _kept(self) -> IncomingFile:
        if self._trouble is not None or self._file is None:
            raise self._trouble or DiskFull("the spool cannot be written")
        return self._file

    def _fail(self, error: DiskFull) -> None:
        self._trouble = error
        self.remove()  # at once: the rest of the message may be long, and others need the room


def check_identity(data_set: BinaryIO | None, transfer_syntax: UID, announced: tuple[str, str]) -> str:
    """Read the first elements and compare; returns StudyInstanceUID.

    Raises
    ------
    Rejected
        NOT_DICOM, MISSING_ATTRIBUTE or IDENTITY_MISMATCH.
    """
    if data_set is None:
        raise Rejected(ReasonCode.NOT_DICOM, "the request came without a data set")
    if not is_plausible_uid(announced[1]):
        raise Rejected(ReasonCode.MISSING_ATTRIBUTE, "the request names no valid SOP Instance UID")
    try:
        found = _first_elements(data_set, transfer_syntax)
        sop_class, sop_instance, study = (str(found.get(tag).value) if tag in found else "" for tag in IDENTITY_TAGS)
    except Exception as error:  # pydicom raises many types on foreign bytes
        raise Rejected(ReasonCode.NOT_DICOM, "the data set cannot be parsed") from error
    if not (sop_class and sop_instance):
        raise Rejected(ReasonCode.NOT_DICOM, "the data set has no SOP Class or SOP Instance UID")
    if (sop_class, sop_instance) != announced:
        raise Rejected(ReasonCode.IDENTITY_MISMATCH, "the data set is not the instance that the request names")
    if not is_plausible_uid(study):
        raise Rejected(ReasonCode.MISSING_ATTRIBUTE, "StudyInstanceUID is absent or not a UID")
    return study


def _first_elements(data_set: BinaryIO, transfer_syntax: UID) -> Dataset:
    stream = data_set
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # PS3.5 A.5: raw deflate, no zlib header
        stream = io.BytesIO(inflater.decompress(data_set.read(DEFLATED_PREFIX_BYTES), DEFLATED_PREFIX_BYTES))

    def is_past_identity(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return bool(tag > STUDY_INSTANCE_UID)

    ds: Dataset = read_dataset(
        stream,
        transfer_syntax.is_implicit_VR,
        transfer_syntax.is_little_endian,
        stop_when=is_past_identity,
        specific_tags=list(IDENTITY_TAGS),
    )
    return ds


def file_start(announced: tuple[str, str], transfer_syntax: str, calling_ae_title: str, called_ae_title: str) -> bytes:
    """Preamble and file meta information (PS3.10 7.1) that go before the received data set."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = map(UID, announced)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    meta.SendingApplicationEntityTitle = calling_ae_title
    meta.ReceivingApplicationEntityTitle = called_ae_title
    stream = DicomBytesIO()
    write_file_meta_info(stream, meta)
    return b"\0" * 128 + b"DICM" + stream.getvalue()
