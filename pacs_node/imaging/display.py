"""The grayscale pipeline of PS3.4 N.2.1 as one table: stored value -> P-value.

A radiograph has at most 2**16 different stored values, so modality LUT, VOI LUT and polarity are worked out once for
each of them in float64, and applied by one look-up. "The look of the source" means: its first VOI LUT, else its first
window, else the range of its values, and then the polarity of `is_inverted`.

pydicom's `apply_windowing` is used. Its `apply_modality_lut` and `apply_voi` are not: they cannot take tables with
10 to 15 bits (modality), indices beyond 255 in tables of 8 bits, packed 8-bit entries, tables shorter than stated,
negative first values on unsigned input, or the fractions that a rescale leaves.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_windowing

from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.decode import PixelDescription
from pacs_node.records import Look

__all__ = ["display_table", "is_inverted", "look_of", "padding_entries", "stored_values"]

FloatTable = NDArray[np.float64]
BoolTable = NDArray[np.bool_]

_VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")  # PS3.3 C.11.2.1.3


def stored_values(pixels: PixelDescription) -> NDArray[np.int64]:
    """The stored value that each index of the table stands for: (2**bits_stored,) int64."""
    values = np.arange(2**pixels.bits_stored)
    if pixels.signed:
        values[values.size // 2 :] -= values.size
    return values


def _invalid(explanation: str) -> Rejected:
    return Rejected(ReasonCode.PIXEL_DESCRIPTION_INVALID, explanation)


def _first_number(ds: Dataset, keyword: str) -> float | None:
    """First value of a numeric element, None where it is absent, empty or no finite number."""
    value = ds.get(keyword)
    if isinstance(value, MultiValue | list):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _lut_entries(item: Dataset, count: int, bits: int, *, little_endian: bool) -> FloatTable:
    """Entries of LUTData (US or OW): words, or bytes packed two to a word where that is what the length says."""
    data = item.get("LUTData")
    if isinstance(data, bytes):
        packed = bits <= 8 and len(data) <= count + 1
        words = data if packed else data[: len(data) // 2 * 2]
        entries = np.frombuffer(words, dtype="u1" if packed else ("<u2" if little_endian else ">u2"))
    else:
        numbers = data if isinstance(data, MultiValue | list) else [] if data is None else [data]
        entries = np.array([int(number) & 0xFFFF for number in numbers], dtype=np.uint16)
    if entries.size == 0:
        raise _invalid("LUTData is absent or empty")
    return entries[:count].astype(np.float64)


def _apply_lut(values: FloatTable, item: Dataset, *, little_endian: bool) -> tuple[FloatTable, int]:
    """Look up, clamping at both ends of the table (PS3.3 C.11.1.1, C.11.2.1.1).

    A table with fewer entries than its descriptor states is used as far as it goes; its last entry then stands for the
    rest, like that of a complete table.

    Returns
    -------
    output values, and the number of bits of the output range.
    """
    descriptor = item.get("LUTDescriptor")
    if not isinstance(descriptor, MultiValue | list) or len(descriptor) != 3:
        raise _invalid("LUTDescriptor has not three values")
    count, first, bits = (int(value) for value in descriptor)
    count = (count & 0xFFFF) or 2**16  # 0 means 65536; a reader may have taken the word for a signed one
    if first >= 2**15 and values.min() < 0:
        first -= 2**16  # the word is signed when its input is, PS3.3 C.11.2.1.1
    if not 1 <= bits <= 16:
        raise _invalid("LUTDescriptor states entries of other than 1 to 16 bits")
    entries = _lut_entries(item, count, bits, little_endian=little_endian)
    # Some writers state fewer bits than the entries have: the larger range is what was meant.
    bits = max(bits, int(entries.max()).bit_length())
    index = np.clip(np.rint(values) - first, 0, entries.size - 1).astype(np.int64)
    return entries[index], bits


def _little_endian(ds: Dataset) -> bool:
    syntax = ds.file_meta.TransferSyntaxUID
    return bool(syntax.is_implicit_VR or syntax.is_little_endian)


def _modality(values: FloatTable, ds: Dataset) -> FloatTable:
    """Stored values -> manufacturer-independent values (PS3.3 C.11.1)."""
    if ds.get("ModalityLUTSequence"):
        return _apply_lut(values, ds.ModalityLUTSequence[0], little_endian=_little_endian(ds))[0]
    slope, intercept = _rescale(ds)
    return values * slope + intercept


def _rescale(ds: Dataset) -> tuple[float, float]:
    slope, intercept = _first_number(ds, "RescaleSlope"), _first_number(ds, "RescaleIntercept")
    return slope or 1.0, intercept or 0.0  # a slope of 0 says nothing: every value would be the same


def _window(ds: Dataset) -> Dataset | None:
    """The first window alone, or None where there is no usable one; VOILUTFunction is LINEAR when absent."""
    center, width = _first_number(ds, "WindowCenter"), _first_number(ds, "WindowWidth")
    function = str(ds.get("VOILUTFunction") or "LINEAR").strip().upper()
    if center is None or width is None:
        return None
    if function not in _VOI_FUNCTIONS:
        raise _invalid("VOILUTFunction is none of LINEAR, LINEAR_EXACT, SIGMOID")
    if width <= 0 or (function == "LINEAR" and width < 1):  # PS3.3 C.11.2.1.2.1 forbids it: nothing to follow
        return None
    window = Dataset()
    window.PhotometricInterpretation = "MONOCHROME2"
    window.BitsStored, window.PixelRepresentation = 1, 0  # the output range of apply_windowing is then [0, 1]
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = center, width, function
    return window


def _voi(values: FloatTable, ds: Dataset, seen: BoolTable) -> FloatTable:
    """Manufacturer-independent values -> [0, 1], the values of interest (PS3.3 C.11.2)."""
    shown = _tabled(values, ds, seen)
    if shown is None:
        shown = _windowed(values, ds, seen)
    if shown is not None:
        return shown
    low, high = values[seen].min(), values[seen].max()
    return np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(values)


def _has_voi_lut(ds: Dataset) -> bool:
    """Where both are present the Standard leaves the choice; the table is what the modality made for this image."""
    sequence = ds.get("VOILUTSequence")
    return bool(sequence and sequence[0].get("LUTData") and sequence[0].get("LUTDescriptor"))


def _tabled(values: FloatTable, ds: Dataset, seen: BoolTable) -> FloatTable | None:
    """The values through the first VOI LUT; None where it is absent, or left over from other pixels."""
    if not _has_voi_lut(ds):
        return None
    output, bits = _apply_lut(values, ds.VOILUTSequence[0], little_endian=_little_endian(ds))
    return output / float(2**bits - 1) if np.ptp(output[seen]) > 0 else None


def _windowed(values: FloatTable, ds: Dataset, seen: BoolTable) -> FloatTable | None:
    """The values through the first window; None where it is absent, or left over from other pixels."""
    window = _window(ds)
    if window is None:
        return None
    with np.errstate(over="ignore"):  # a sigmoid far outside of its window: exp overflows to the right limit
        windowed: FloatTable = apply_windowing(values, window)
    return windowed if np.ptp(windowed[seen]) > 0 else None


def is_inverted(ds: Dataset) -> bool:
    """Whether the smallest VOI output is white.

    PresentationLUTShape decides where it is present: the output of the grayscale pipeline is (IDENTITY), or is after
    inversion (INVERSE), in P-values (PS3.3 C.8.11.3, General Image module C.7.6.1). The Standard pairs IDENTITY with
    MONOCHROME2 and INVERSE with MONOCHROME1, and then both say the same; they never add up to two inversions. Of the
    contradictory pairs the shape is followed, as DCMTK, dcm4che and Weasis do: it speaks about P-values, which is
    what the companion is written in. The exception is Fuji, whose DX objects are known to carry a wrong shape
    (dcm4che issues 944 and dcm4chee-arc-light 3155): there PhotometricInterpretation is followed.

    Without a shape PhotometricInterpretation decides: the minimum of MONOCHROME1 is white after the VOI step
    (PS3.3 C.7.6.3.1.2).
    """
    by_photometric = bool(ds.PhotometricInterpretation == "MONOCHROME1")
    shape = str(ds.get("PresentationLUTShape") or "").strip().upper()
    if shape not in ("IDENTITY", "INVERSE") or str(ds.get("Manufacturer") or "").strip().upper().startswith("FUJI"):
        return by_photometric
    return shape == "INVERSE"


def padding_entries(ds: Dataset, values: NDArray[np.int64]) -> BoolTable:
    """Which table entries are padding: PixelPaddingValue, or the range up to PixelPaddingRangeLimit, both inclusive.

    Returns
    -------
    (entries,) bool.

    References
    ----------
    PS3.3 C.7.5.1.1.2 and C.7.6.3.1.5.
    """
    bounds = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        number = _first_number(ds, keyword)
        if number is not None:
            # written with the other sign by some: the same word, read as these pixels are read
            wrapped = number - 2**16 if number > values.max() and values.min() < 0 else number
            bounds.append(wrapped + 2**16 if wrapped < 0 <= values.min() else wrapped)
        elif keyword == "PixelPaddingValue":
            return np.zeros(values.shape, dtype=np.bool_)
    return (values >= min(bounds)) & (values <= max(bounds))


def display_table(ds: Dataset, pixels: PixelDescription, seen: BoolTable) -> FloatTable:
    """P-value of every stored value, at the default look of the source.

    Parameters
    ----------
    seen : (2**bits_stored,) bool, which indices occur in the image and are not padding; at least one.

    Returns
    -------
    (2**bits_stored,) float64 in [0, 1], 0 is black.

    Raises
    ------
    Rejected
        PIXEL_DESCRIPTION_INVALID: a table or window that cannot be followed.
    """
    values = _modality(stored_values(pixels).astype(np.float64), ds)
    table = _voi(values, ds, seen)
    if is_inverted(ds):  # after the VOI step, and only here
        table = 1.0 - table
    if not np.isfinite(table).all():
        raise _invalid("the grayscale transformations give values that are not finite")
    return np.clip(table, 0.0, 1.0)


def look_of(ds: Dataset, pixels: PixelDescription, seen: BoolTable, table: FloatTable) -> Look:
    """The same look as `display_table`, said so that a presentation state can repeat it.

    A window stays a window, so that a reader can go on from it; the range of the values becomes one. Where the source
    has a table, modality and VOI become one table of the stored values.

    Parameters
    ----------
    table : as from `display_table` for the same arguments.
    """
    values, inverted = stored_values(pixels), is_inverted(ds)
    if ds.get("ModalityLUTSequence") or _has_voi_lut(ds):
        order = np.argsort(values)
        shown = 1.0 - table[order] if inverted else table[order]
        entries = np.rint(shown * (2**16 - 1)).astype(np.uint16)
        return Look((1.0, 0.0), None, entries, int(values.min()), inverted)
    modality = _modality(values.astype(np.float64), ds)
    window = _window(ds)
    if window is not None and _windowed(modality, ds, seen) is not None:
        center, width, function = window.WindowCenter, window.WindowWidth, window.VOILUTFunction
        return Look(_rescale(ds), (float(center), float(width), str(function)), None, 0, inverted)
    low, high = float(modality[seen].min()), float(modality[seen].max())
    # LINEAR gives 0 at center - .5 - (width - 1) / 2 and 1 at center - .5 + (width - 1) / 2 (PS3.3 C.11.2.1.2.1)
    return Look(_rescale(ds), ((low + high + 1) / 2, high - low + 1, "LINEAR"), None, 0, inverted)
