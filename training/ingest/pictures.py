"""Pixels of one file, of any of the formats that pair sets come in, as grey values in [0, 1]."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom import Dataset

from pacs_node.errors import Rejected
from pacs_node.imaging.decode import MAX_PIXELS, MIN_SIDE
from pacs_node.imaging.read import read_radiograph
from pacs_node.records import FloatImage, Radiograph
from training.ingest.refusal import Refusal, Refused

__all__ = ["PICTURE_SUFFIXES", "is_dicom", "is_picture", "read_picture"]

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
JSRT_SUFFIX = ".img"
# The JSRT database: 2048 x 2048, 12 bit in big-endian 16, no header (Shiraishi 2000).
JSRT_SIDE = 2048
JSRT_TOP = 4095
COLOUR_SPREAD = 12 / 255  # between channels: JPEG's chroma of a grey picture stays below, a coloured mark does not


def is_dicom(path: Path) -> bool:
    """Whether a file has the DICOM prefix (PS3.10 7.1), whatever its name."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def is_picture(path: Path) -> bool:
    """Whether a file is one that `read_picture` would try, judged by its name, without a name by its prefix."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or not path.is_file():
        return False
    return suffix in PICTURE_SUFFIXES | DICOM_SUFFIXES | {JSRT_SUFFIX} or (len(suffix) != 4 and is_dicom(path))


def read_picture(path: Path) -> Radiograph:
    """Read a PNG, JPEG, TIFF, BMP, DICOM file or raw JSRT image.

    Returns
    -------
    Radiograph : grey values in [0, 1] of the file's whole scale; P-values for DICOM, read as the service reads them.
        A raw JSRT image, where low is dense film, is turned around; other pictures are given as they are stored.

    Raises
    ------
    Refused
        DAMAGED, NOT_GREY, TOO_SMALL, TOO_LARGE, BLANK, or the reason code of a DICOM file.
    """
    suffix = path.suffix.lower()
    if suffix == JSRT_SUFFIX:
        radiograph = _jsrt(path)
    elif suffix in PICTURE_SUFFIXES:
        radiograph = _plain(path)
    else:
        radiograph = _dicom(path)
    rows, columns = radiograph.pixels.shape
    if min(rows, columns) < MIN_SIDE:
        raise Refused(Refusal.TOO_SMALL, f"{rows} x {columns} is smaller than {MIN_SIDE} px")
    if np.ptp(radiograph.pixels) == 0:
        raise Refused(Refusal.BLANK, "all pixels have the same value")
    return radiograph


def _dicom(path: Path) -> Radiograph:
    try:
        return read_radiograph(path)
    except Rejected as error:
        raise Refused(str(error.reason), error.explanation) from None


def _jsrt(path: Path) -> Radiograph:
    raw = path.read_bytes()
    if len(raw) != 2 * JSRT_SIDE**2:
        told = f"{len(raw)} bytes, but a raw JSRT image has {2 * JSRT_SIDE**2}: copy it again"
        raise Refused(Refusal.DAMAGED, told)
    stored = np.frombuffer(raw, dtype=">u2").reshape(JSRT_SIDE, JSRT_SIDE)
    if stored.max() > JSRT_TOP:
        raise Refused(Refusal.DAMAGED, "values beyond 12 bit: not the big-endian raw image of the JSRT database")
    values = (1 - stored / JSRT_TOP).astype(np.float32)
    return Radiograph(values, None, 12, Dataset())


def _plain(path: Path) -> Radiograph:
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Refused(Refusal.TOO_LARGE, f"more than {MAX_PIXELS} pixels")
            if getattr(picture, "n_frames", 1) != 1:
                raise Refused(Refusal.DAMAGED, "the file holds several pictures: export one a file")
            picture.load()
            return _grey(picture)
    except Image.DecompressionBombError:
        raise Refused(Refusal.TOO_LARGE, f"more than {MAX_PIXELS} pixels") from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError):  # all that Pillow raises on damaged bytes
        raise Refused(Refusal.DAMAGED, "the picture cannot be decoded: copy or export it again") from None


def _grey(picture: Image.Image) -> Radiograph:
    if picture.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
        values = np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)
        # A few pixels may differ, as a compressed border does; a coloured annotation covers more.
        if np.mean(np.ptp(values, axis=2) > COLOUR_SPREAD) > 1e-3:
            raise Refused(Refusal.NOT_GREY, "the picture is in colour: export it in grey, without annotations")
        return Radiograph(np.ascontiguousarray(values.mean(axis=2)), None, 8, Dataset())
    deep: NDArray[np.float64] = np.asarray(picture, dtype=np.float64)
    if deep.ndim != 2 or not np.isfinite(deep).all():
        raise Refused(Refusal.DAMAGED, "the picture is not one plane of finite numbers")
    return Radiograph(_scaled(deep, picture.mode), None, 16, Dataset())


def _scaled(deep: NDArray[np.float64], mode: str) -> FloatImage:
    """Deep grey values over their container's range; of floating point and signed ones, over their own."""
    low, high = float(deep.min()), float(deep.max())
    if mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    return ((deep - low) / max(high - low, 1e-12)).astype(np.float32)
