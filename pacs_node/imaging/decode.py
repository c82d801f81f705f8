"""Stored values out of PixelData, whatever encoded them; nothing is allocated before the header was believed.

The frame is decoded by pydicom's decoders, one plugin after the other in a fixed order, because each of them refuses
streams that another one reads. GDCM is not among them: damaged JPEG-LS and JPEG 2000 streams make it end the whole
process (a C++ exception that nobody catches), and it reads nothing that the others do not.

Bits outside BitsStored are dropped here and not by pydicom, which assumes that HighBit is BitsStored - 1 and leaves the
unused bits of compressed pixels alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import UID

from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.codestream import codestream_size, has_codestream, is_complete, mended

__all__ = ["MAX_PIXELS", "MIN_SIDE", "PixelDescription", "describe_pixels", "stored_indices"]

# The largest flat detectors have 0.1 mm pixels on 43 cm (18.5 Mpx), stitched spines stay below 60 Mpx; more than this
# is damage or an attack, and would need over 1 GB before the network sees a pixel.
MAX_PIXELS = 100_000_000
# Ribs are about 10 px wide in a radiograph of this size; anything smaller is an icon or a screenshot.
MIN_SIDE = 256

# The order is a part of the result for lossy streams, so it is fixed; the first that decodes wins. Where two read the
# same lossless streams the faster one is first: CharLS before libjpeg, compiled RLE before pydicom's in Python.
_PLUGINS = ("pyjpegls", "pylibjpeg", "pydicom", "pillow")
_IMAGE_PIXEL = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """The Image Pixel attributes that a monochrome frame needs, checked against each other (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    bits_allocated: int  # 8 or 16
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.bits_allocated // 8


def _integer(ds: Dataset, keyword: str) -> int:
    value = ds.get(keyword)
    if value is None or value == "":
        raise Rejected(ReasonCode.MISSING_ATTRIBUTE, f"{keyword} is absent or empty")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Rejected(ReasonCode.PIXEL_DESCRIPTION_INVALID, f"{keyword} is not one integer") from None


def _require_single_gray_frame(ds: Dataset) -> None:
    if _integer(ds, "SamplesPerPixel") != 1:
        raise Rejected(ReasonCode.NOT_MONOCHROME, "SamplesPerPixel is not 1")
    photometric = ds.get("PhotometricInterpretation")
    if not photometric:
        raise Rejected(ReasonCode.MISSING_ATTRIBUTE, "PhotometricInterpretation is absent or empty")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Rejected(ReasonCode.NOT_MONOCHROME, "PhotometricInterpretation is neither MONOCHROME1 nor MONOCHROME2")
    if ds.get("NumberOfFrames") not in (None, "") and _integer(ds, "NumberOfFrames") != 1:
        raise Rejected(ReasonCode.MULTI_FRAME, "NumberOfFrames is not 1")


def _require_sane_size(rows: int, columns: int) -> None:
    if rows < 1 or columns < 1:
        raise Rejected(ReasonCode.PIXEL_DESCRIPTION_INVALID, "Rows or Columns is not positive")
    if rows * columns > MAX_PIXELS:
        raise Rejected(ReasonCode.TOO_LARGE, f"{rows} x {columns} is more than {MAX_PIXELS} pixels")
    if min(rows, columns) < MIN_SIDE:
        raise Rejected(ReasonCode.TOO_SMALL, f"{rows} x {columns} is smaller than {MIN_SIDE} pixels")


def describe_pixels(ds: Dataset) -> PixelDescription:
    """Check what the header says about the pixels.

    Raises
    ------
    Rejected
        NO_PIXEL_DATA, MISSING_ATTRIBUTE, NOT_MONOCHROME, MULTI_FRAME, TOO_LARGE, TOO_SMALL, or
        PIXEL_DESCRIPTION_INVALID when the attributes contradict each other.
    """
    if not ds.get("PixelData"):
        raise Rejected(ReasonCode.NO_PIXEL_DATA, "PixelData is absent or empty")
    _require_single_gray_frame(ds)
    rows, columns = _integer(ds, "Rows"), _integer(ds, "Columns")
    _require_sane_size(rows, columns)
    allocated, stored = _integer(ds, "BitsAllocated"), _integer(ds, "BitsStored")
    high_bit, representation = _integer(ds, "HighBit"), _integer(ds, "PixelRepresentation")
    if allocated not in (8, 16):
        raise Rejected(ReasonCode.PIXEL_DESCRIPTION_INVALID, f"BitsAllocated is {allocated}, not 8 or 16")
    # HighBit is BitsStored - 1 today; older objects keep the values in the upper bits of the word
    if not (1 <= stored <= allocated and stored - 1 <= high_bit < allocated and representation in (0, 1)):
        raise Rejected(
            ReasonCode.PIXEL_DESCRIPTION_INVALID,
            f"BitsStored {stored}, HighBit {high_bit}, PixelRepresentation {representation} do not fit {allocated}",
        )
    return PixelDescription(rows, columns, allocated, stored, high_bit, representation == 1)


def _frame(ds: Dataset) -> bytes:
    try:
        return get_frame(ds.PixelData, 0, number_of_frames=1)
    except Exception:  # noqa: BLE001 - of several kinds, on fragments that overlap or end early (PS3.5 A.4)
        raise Rejected(ReasonCode.PIXEL_DATA_UNDECODABLE, "PixelData is not divided into fragments") from None


def _check_frame(frame: bytes, pixels: PixelDescription, syntax: UID) -> None:
    size = codestream_size(frame, syntax)
    if size is None:
        raise Rejected(ReasonCode.PIXEL_DATA_UNDECODABLE, "PixelData holds no codestream of its transfer syntax")
    if size not in ((pixels.rows, pixels.columns), (0, pixels.columns)):
        raise Rejected(ReasonCode.PIXEL_DESCRIPTION_INVALID, "codestream and header differ in Rows or Columns")
    if not is_complete(frame):
        raise Rejected(ReasonCode.TRUNCATED, "the codestream ends before its end-of-image marker")


def _decoder(ds: Dataset) -> Decoder:
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    if not syntax:
        raise Rejected(ReasonCode.MISSING_ATTRIBUTE, "TransferSyntaxUID is absent or empty")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not (decoder.is_native or set(_PLUGINS) & set(decoder.available_plugins)):
        raise Rejected(ReasonCode.TRANSFER_SYNTAX_UNSUPPORTED, "no installed decoder reads this transfer syntax")
    return decoder


def _decode(ds: Dataset, decoder: Decoder) -> NDArray[np.generic] | None:
    # the unused bits are ours to drop, and a native frame need not be copied for it
    options: Any = {"correct_unused_bits": False, "view_only": True}
    plugins = [""] if decoder.is_native else [name for name in _PLUGINS if name in decoder.available_plugins]
    for plugin in plugins:
        try:
            # raw: no colour conversion
            return decoder.as_array(ds, index=0, raw=True, decoding_plugin=plugin, **options)[0]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001, S112 - whatever a decoder raises; a panic in Rust is no Exception
            continue
    return None


def _decode_compressed(ds: Dataset, pixels: PixelDescription, decoder: Decoder) -> NDArray[np.generic] | None:
    if not has_codestream(decoder.UID):
        return _decode(ds, decoder)
    frame = _frame(ds)
    _check_frame(frame, pixels, decoder.UID)
    decoded = _decode(ds, decoder)
    repaired = mended(frame, decoder.UID) if decoded is None else None
    if repaired is None:
        return decoded
    again = Dataset()
    for keyword in _IMAGE_PIXEL:
        again.add(ds[keyword])
    again.file_meta = ds.file_meta
    again.PixelData = encapsulate([repaired])
    return _decode(again, decoder)


def stored_indices(ds: Dataset, pixels: PixelDescription) -> NDArray[np.uint16]:
    """Decode the one frame to its stored bits, as indices into a table of 2**BitsStored entries.

    Parameters
    ----------
    ds : a data set with PixelData and file_meta.
    pixels : from `describe_pixels`.

    Returns
    -------
    (rows, columns) uint16, 0 .. 2**bits_stored - 1, possibly read-only; for signed pixels the two's complement of the
    stored value (PS3.5 8.1.1), so that the upper half of the table stands for negative values.

    Raises
    ------
    Rejected
        TRANSFER_SYNTAX_UNSUPPORTED, TRUNCATED, PIXEL_DATA_UNDECODABLE, or PIXEL_DESCRIPTION_INVALID when the decoded
        frame or its codestream has another size.
    """
    decoder = _decoder(ds)
    if decoder.is_native and len(ds.PixelData) < pixels.frame_bytes:
        raise Rejected(ReasonCode.TRUNCATED, "PixelData is shorter than Rows x Columns")
    decoded = _decode(ds, decoder) if decoder.is_native else _decode_compressed(ds, pixels, decoder)
    if decoded is None:
        raise Rejected(ReasonCode.PIXEL_DATA_UNDECODABLE, "no installed decoder reads the pixel data")
    if decoded.shape != (pixels.rows, pixels.columns):
        raise Rejected(ReasonCode.PIXEL_DESCRIPTION_INVALID, "decoded frame and header differ in Rows or Columns")
    words = decoded.astype(np.uint16, copy=False)  # of either byte order; signed values wrap to two's complement
    shift = pixels.high_bit + 1 - pixels.bits_stored
    if shift:
        words = words >> np.uint16(shift)
    return words if pixels.bits_stored == 16 else words & np.uint16(2**pixels.bits_stored - 1)
