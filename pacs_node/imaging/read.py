"""A file or data set -> a Radiograph, or a Rejected with the reason; nothing else leaves this module."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset as read_elements
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pacs_node.errors import NodeError, ReasonCode, Rejected
from pacs_node.imaging.decode import MAX_PIXELS, describe_pixels, stored_indices
from pacs_node.imaging.display import display_table, look_of, padding_entries, stored_values
from pacs_node.records import Radiograph

__all__ = ["open_dataset", "read_dataset", "read_radiograph", "require_no_loss"]

# Two bytes for each of the pixels that are let in, and as much again for private elements.
MAX_FILE_BYTES = 4 * MAX_PIXELS
# Without these there is no study to return to and nothing to refer to.
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")
_PIXEL_DATA = 0x7FE00010
_TRAILING_PADDING = 0xFFFCFFFC
_META_START = 132  # bytes of preamble and prefix (PS3.10 7.1)
BLOCK_PIXELS = 2**18  # 2 MB of indices; smaller blocks cost more calls, larger ones the cache

Scalar = TypeVar("Scalar", bound=np.generic)


@contextmanager
def _only_rejected(reason: ReasonCode, explanation: str) -> Iterator[None]:
    """Give whatever a parser raises on hostile bytes one reason; its text may quote the data set, so it is dropped."""
    try:
        yield
    except NodeError:
        raise
    except Exception:  # noqa: BLE001 - that is the purpose
        raise Rejected(reason, explanation) from None


def open_dataset(path: Path) -> Dataset:
    """Parse a DICOM file with everything in it; pixels stay encoded.

    Raises
    ------
    Rejected
        NOT_DICOM, TRUNCATED, or TOO_LARGE (also for a deflated data set that would inflate to more than it may).
    OSError
        The file cannot be opened: a matter of this machine, not of the input.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Rejected(ReasonCode.TOO_LARGE, f"the file has more than {MAX_FILE_BYTES} bytes")
    raw = path.read_bytes()
    with _only_rejected(ReasonCode.NOT_DICOM, "the bytes cannot be parsed as a DICOM data set"):
        return _parse(raw, path)


def _parse(raw: bytes, path: Path) -> Dataset:
    if raw[128:132] != b"DICM":  # PS3.10 7.1
        raise Rejected(ReasonCode.NOT_DICOM, "the file has no DICOM preamble and prefix")
    try:
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            _require_bounded_inflation(raw, meta)
        ds = dcmread(BytesIO(raw))
    except (EOFError, InvalidDicomError):
        raise Rejected(ReasonCode.TRUNCATED, "the data set ends early") from None
    _require_complete(ds, raw)
    return ds


def _require_bounded_inflation(raw: bytes, meta: FileMetaDataset) -> None:
    """Refuse a deflate bomb before pydicom inflates it whole (PS3.5 A.5)."""
    # like pydicom, up to the first element of another group: FileMetaInformationGroupLength may be absent or wrong
    stream = BytesIO(raw)
    stream.seek(_META_START)
    is_implicit_vr = bool(meta.original_encoding[0])
    read_elements(stream, is_implicit_vr, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    inflater.decompress(raw[stream.tell() :], MAX_FILE_BYTES)
    if inflater.unconsumed_tail:
        raise Rejected(ReasonCode.TOO_LARGE, f"the deflated data set has more than {MAX_FILE_BYTES} bytes")


def _require_complete(ds: Dataset, raw: bytes) -> None:
    """Find the end that pydicom passes over in silence: a short last value, or no element at all."""
    if len(ds) == 0 and len(raw) > 0:
        raise Rejected(ReasonCode.TRUNCATED, "the data set ends early or holds no element")
    last = ds.get_item(max(ds.keys()))
    if isinstance(last, RawDataElement) and last.tag != _TRAILING_PADDING and len(last.value or b"") < last.length:
        undefined_length = last.length == 0xFFFFFFFF
        if not undefined_length:
            raise Rejected(ReasonCode.TRUNCATED, "the last element is shorter than its stated length")


def read_dataset(ds: Dataset) -> Radiograph:
    """Decode a parsed data set to P-values at its default look.

    Parameters
    ----------
    ds : with PixelData and file_meta; not changed.

    Raises
    ------
    Rejected
        Every reason of `describe_pixels`, `stored_indices` and `display_table`; MISSING_ATTRIBUTE without the UIDs that
        the companion must refer to; BLANK when no two pixels differ, or none but padding is there.
    """
    with _only_rejected(ReasonCode.PIXEL_DESCRIPTION_INVALID, "the data set has values that do not fit their elements"):
        return _radiograph(ds)


def _radiograph(ds: Dataset) -> Radiograph:
    for keyword in _IDENTITY:
        if not ds.get(keyword):
            raise Rejected(ReasonCode.MISSING_ATTRIBUTE, f"{keyword} is absent or empty")
    pixels = describe_pixels(ds)
    index = stored_indices(ds, pixels)
    values = stored_values(pixels)
    padded = padding_entries(ds, values)
    present = _occurring(index, values.size)
    seen = present & ~padded
    if not seen.any():
        raise Rejected(ReasonCode.BLANK, "every pixel is padding")
    table = display_table(ds, pixels, seen)
    if np.ptp(table[seen]) == 0.0:
        raise Rejected(ReasonCode.BLANK, "all pixels have the same grey value")
    look = look_of(ds, pixels, seen, table)
    table[padded] = 0.0
    return Radiograph(
        pixels=_looked_up(table.astype(np.float32), index),
        padding=_looked_up(padded, index) if (present & padded).any() else None,
        bits_stored=max(8, pixels.bits_stored),  # a companion of fewer bits would band
        ds=_without_pixels(ds),
        look=look,
    )


def _blocks(index: NDArray[np.uint16]) -> Iterator[slice]:
    """Parts of the flat image: NumPy turns indices into 64-bit ones, which are four times the image if done at once."""
    return (slice(start, start + BLOCK_PIXELS) for start in range(0, index.size, BLOCK_PIXELS))


def _occurring(index: NDArray[np.uint16], entries: int) -> NDArray[np.bool_]:
    """(entries,) bool: which indices are in the image."""
    found = np.zeros(entries, dtype=np.bool_)
    flat = index.reshape(-1)
    for block in _blocks(index):
        found[flat[block]] = True
    return found


def _looked_up(table: NDArray[Scalar], index: NDArray[np.uint16]) -> NDArray[Scalar]:
    """``table[index]``, block by block."""
    values = np.empty(index.shape, dtype=table.dtype)
    flat, flat_values = index.reshape(-1), values.reshape(-1)
    for block in _blocks(index):
        # every index is in the table; "clip" only spares NumPy the copy that it needs to raise an error
        np.take(table, flat[block], out=flat_values[block], mode="clip")
    return values


def _without_pixels(ds: Dataset) -> Dataset:
    """Everything but the pixels, elements undecoded where they still are; a shallow copy would share its elements."""
    # "deferred" is what pydicom calls an empty element, too: it would decode it, and fail where nobody needs it
    tags = [tag for tag in ds.keys() if tag != _PIXEL_DATA]  # noqa: SIM118 - values decode
    header = Dataset({tag: ds.get_item(tag, keep_deferred=True) for tag in tags})
    header.file_meta = ds.file_meta
    implicit_vr, little_endian = ds.original_encoding
    header.set_original_encoding(implicit_vr, little_endian, ds.original_character_set)
    return header


def read_radiograph(path: Path) -> Radiograph:
    """Open and decode one file; see `open_dataset` and `read_dataset` for what is raised."""
    return read_dataset(open_dataset(path))


def require_no_loss(newer: Path, older: Path) -> None:
    """See that a file may take the place of an older copy of the same instance, which may be absent.

    One of the same length is not looked at: what was cut off on its way has another, and decoding takes time.

    Raises
    ------
    Rejected
        Why the newer one cannot be read, where the older one can.
    OSError
        The disk fails.
    """
    try:
        if newer.stat().st_size == older.stat().st_size:
            return
        read_radiograph(newer)
    except FileNotFoundError:
        return  # nothing to lose
    except Rejected as damage:
        try:
            read_radiograph(older)
        except (Rejected, FileNotFoundError):
            return
        raise damage from None
