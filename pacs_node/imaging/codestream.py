"""What a compressed frame says about itself: its size, whether it is whole, and one known defect that can be mended.

A decoder believes its codestream, not the DICOM header, and allocates what it says; libjpeg and OpenJPEG also decode a
stream that was cut off without an error and leave the rest of the image gray. So both are looked at before decoding.
"""

from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

__all__ = ["codestream_size", "has_codestream", "is_complete", "mended"]

_HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
_JPEG2000 = (*JPEG2000TransferSyntaxes, *_HTJ2K)
_JPEG = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)
_START_OF_SCAN = 0xDA
_FRAME_HEADERS = (0xF7, *(m for m in range(0xC0, 0xD0) if m not in (0xC4, 0xC8, 0xCC)))  # SOF55 is JPEG-LS
_END_OF_IMAGE = b"\xff\xd9"  # EOI of ITU-T T.81 and T.87, EOC of T.800


def has_codestream(syntax: UID) -> bool:
    """Whether frames of this transfer syntax are JPEG, JPEG-LS or JPEG 2000 streams (and not RLE segments)."""
    return syntax in _JPEG2000 or syntax in _JPEG


def _segment(frame: bytes, wanted: tuple[int, ...]) -> int | None:
    """Position of the first marker of ``wanted`` before the entropy-coded data (ITU-T T.81 B.1.1)."""
    position = 2
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in wanted:
            return position
        if marker == _START_OF_SCAN:
            return None
        # a fill byte is followed by the marker itself, anything else by its length
        position += 1 if marker == 0xFF else 2 + int.from_bytes(frame[position + 2 : position + 4])
    return None


def codestream_size(frame: bytes, syntax: UID) -> tuple[int, int] | None:
    """Rows and columns that a decoder would allocate; None where the bytes are no such stream.

    Rows are 0 where JPEG leaves them to a DNL marker after the first scan.

    References
    ----------
    ITU-T T.81 B.2.2 (JPEG), T.87 C.2.2 (JPEG-LS), T.800 A.5.1 (JPEG 2000, T.814 keeps it).
    """
    if syntax in _JPEG2000:
        start = frame.find(b"\xff\x4f\xff\x51", 0, 1024)  # some writers leave the boxes of a JP2 file before it
        if start < 0 or len(frame) < start + 24:
            return None
        width, height, left, top = (int.from_bytes(frame[start + i : start + i + 4]) for i in (8, 12, 16, 20))
        return height - top, width - left
    header = _segment(frame, _FRAME_HEADERS)
    if header is None or len(frame) < header + 9:
        return None
    return int.from_bytes(frame[header + 5 : header + 7]), int.from_bytes(frame[header + 7 : header + 9])


def is_complete(frame: bytes) -> bool:
    """Whether the stream reaches its end-of-image marker; what pads it to an even length does not count."""
    return frame.rstrip(b"\x00\xff").endswith(_END_OF_IMAGE)


def mended(frame: bytes, syntax: UID) -> bytes | None:
    """The frame with the one defect removed that is known from archives; None where it has not got it.

    Old encoders wrote the end of spectral selection of a sequential DCT scan as 0 instead of 63 (ITU-T T.81 B.2.3).
    The coefficients are all there; DCMTK warns and reads on, libjpeg refuses.
    """
    if syntax not in (JPEGBaseline8Bit, JPEGExtended12Bit):
        return None
    scan, sequential = _segment(frame, (_START_OF_SCAN,)), _segment(frame, (0xC0, 0xC1))
    if scan is None or sequential is None or len(frame) < scan + 10 or frame[scan + 4] != 1:
        return None
    selection = scan + 7  # SOS, length, one component (count, selector, tables): Ss, Se, Ah/Al follow
    if frame[selection : selection + 2] != b"\x00\x00":
        return None
    return frame[: selection + 1] + bytes([63]) + frame[selection + 2 :]
