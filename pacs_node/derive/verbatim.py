"""Data elements copied as bytes, so that a name arrives exactly as it left the modality.

A value that is decoded and encoded again can change: a person name in the wrong character set, trailing spaces, a
value that breaks its VR. Here the bytes of the source are carried over undecoded; only sequences are opened, because
their framing depends on the transfer syntax.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_data_element
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import VR, validate_value

__all__ = ["Framing", "element", "is_legal", "raw_bytes", "raw_elements", "stamp", "text", "values", "verbatim"]

DEFAULT_CHARACTER_SET = "ISO_IR 6"  # PS3.5 6.1.2.1: what holds where SpecificCharacterSet is absent
PIXEL_DATA = Tag("PixelData")
ITEM = b"\xfe\xff\x00\xe0"  # PS3.5 7.5
_TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"})
_VRS = frozenset(str(vr) for vr in VR if len(vr) == 2)  # the others are entries of the dictionary alone
_AMBIGUOUS_VRS = {  # dictionary entry -> VR for unsigned and signed pixels (PS3.5 Annex A)
    "US or SS": ("US", "SS"),
    "US or OW": ("OW", "OW"),
    "US or SS or OW": ("OW", "OW"),
    "OB or OW": ("OW", "OW"),
}
_AS_THEY_ARE = frozenset({"OB", "OW"})  # little endian in memory, as pydicom writes them
_WORD_BYTES = {
    vr: size
    for size, group in ((2, "AT OW SS US"), (4, "FL OF OL SL UL"), (8, "FD OD OV SV UV"))
    for vr in group.split()
}


@dataclass(frozen=True, slots=True)
class Framing:
    """How elements are framed, and what an item inherits from the data set around it.

    Attributes
    ----------
    is_implicit : write nested items in Implicit VR.
    keeps_empty : keep sequences without an item inside items.
    character_sets : SpecificCharacterSet of the data set around.
    is_signed : whether its pixels are; decides "US or SS" (PS3.5 A.1).
    """

    is_implicit: bool = False
    keeps_empty: bool = False
    character_sets: str | Sequence[str] = DEFAULT_CHARACTER_SET
    is_signed: bool = False

    def within(self, ds: Dataset) -> "Framing":
        """The framing for elements of ``ds``."""
        sets = ds.get("SpecificCharacterSet") or self.character_sets
        pixels = ds.get_item("PixelRepresentation")
        is_signed = self.is_signed if pixels is None else pixels.value in (1, b"\1\0", b"\0\1")
        return replace(self, character_sets=sets, is_signed=is_signed)


def verbatim(ds: Dataset, tag: int | str, framing: Framing | None = None) -> RawDataElement:
    """One element of a data set in little endian with an explicit VR, its value byte for byte.

    Parameters
    ----------
    ds : Dataset as read; elements that somebody has decoded already are encoded again in the set's own encoding.
    tag : int or keyword
    framing : what is around ``ds``, and how items are written.

    Returns
    -------
    RawDataElement : its value is padded to an even length (PS3.5 6.2).

    Raises
    ------
    KeyError : the element is absent.
    Exception : whatever pydicom raises on a sequence or number that cannot be parsed.
    """
    tag = Tag(tag)
    found = ds.get_item(tag, keep_deferred=True)  # else pydicom decodes what is empty
    if found is None:
        raise KeyError(tag)
    framing = (framing or Framing()).within(ds)
    vr = _known_vr(found, framing.is_signed)
    if vr == "SQ":
        value = b"".join(_item(item, framing) for item in ds[tag].value)
    elif isinstance(found, RawDataElement):
        value = bytes(found.value or b"")
        value = value if found.is_little_endian else _swapped(value, _WORD_BYTES.get(vr, 1))
    else:
        value = _encoded_value(found, framing.character_sets)
    return element(tag, value, vr)


def element(tag: int | str, value: bytes, vr: str | None = None) -> RawDataElement:
    """An element with these bytes, padded to an even length; its VR is the dictionary's unless given."""
    tag = Tag(tag)
    vr = vr or dictionary_VR(tag)
    if len(value) % 2:
        value += b" " if vr in _TEXT_VRS else b"\0"
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def raw_bytes(ds: Dataset, tag: int | str) -> bytes | None:
    """The value of an element as `verbatim` would copy it; None where it is absent."""
    return bytes(verbatim(ds, tag).value or b"") if Tag(tag) in ds else None


def text(ds: Dataset, keyword: str) -> str:
    """A string element of ASCII content as text, without padding and without decoding it in place; empty if absent."""
    return (raw_bytes(ds, keyword) or b"").strip(b" \0").decode("ascii", "replace")


def values(of: RawDataElement) -> list[bytes]:
    """The single values of a string element without their padding; an empty list for an empty one."""
    raw = (of.value or b"").strip(b" \0")
    return [part.strip(b" \0") for part in raw.split(b"\\")] if raw else []


def is_legal(candidate: RawDataElement) -> bool:
    """Whether every value obeys the length and characters of its VR (PS3.5 Table 6.2-1).

    Lengths are counted in bytes, so a long value in a multi-byte character set may be called illegal. A range of dates
    or times is for queries alone, and no value of an object.
    """
    if candidate.VR in {"DA", "TM"} and b"-" in (candidate.value or b""):
        return False
    try:
        for value in values(candidate):
            validate_value(candidate.VR or "UN", value, RAISE)
    except ValueError:
        return False
    return True


def raw_elements(ds: Dataset, *, is_implicit: bool = False) -> dict[BaseTag, RawDataElement]:
    """Every element of a data set, nested items in Explicit or Implicit VR; retired group lengths are left out."""
    framing = Framing(is_implicit=is_implicit, keeps_empty=True)
    tags = [tag for tag in ds.keys() if tag.element != 0]  # noqa: SIM118  iterating the data set would decode it
    return {tag: verbatim(ds, tag, framing) for tag in tags}


def stamp(file_meta: FileMetaDataset, elements: dict[BaseTag, RawDataElement]) -> Dataset:
    """Encode the elements once and read them back: the data set that results holds exactly what will be stored.

    The transfer syntax is that of ``file_meta``, uncompressed little endian. Pixel data are bytes already and put in as
    they are: encoding and reading them back would only be more copies of the image.
    """
    head = BytesIO()
    empty = Dataset()
    empty.file_meta = file_meta
    dcmwrite(head, empty, enforce_file_format=True)
    described = [elements[tag] for tag in sorted(elements) if tag != PIXEL_DATA]
    ds = dcmread(BytesIO(head.getvalue() + _encode(described, file_meta.TransferSyntaxUID.is_implicit_VR)))
    if PIXEL_DATA in elements:
        ds[PIXEL_DATA] = elements[PIXEL_DATA]
    return ds


def _known_vr(found: DataElement | RawDataElement, is_signed: bool) -> str:
    """The VR to write: the dictionary's where the source has none that exists, hides it behind UN, or mixes up texts.

    One that does not exist would take away from every reader what follows it.
    """
    written = found.VR
    try:
        known = dictionary_VR(found.tag)
    except KeyError:
        return written if written in _VRS else "UN"
    if written not in _VRS or written == "UN" or {written, known} <= _TEXT_VRS:
        return _AMBIGUOUS_VRS[known][is_signed] if known in _AMBIGUOUS_VRS else known
    return str(written)


def _item(item: Dataset, framing: Framing) -> bytes:
    """One item with a defined length (PS3.5 7.5.1); what is private stays behind, as it does outside of items."""
    tags = [tag for tag in sorted(item.keys()) if tag.element != 0 and not tag.is_private]
    copies = [verbatim(item, tag, framing) for tag in tags]
    kept = [copy for copy in copies if framing.keeps_empty or copy.VR != "SQ" or copy.value]
    body = _encode(kept, framing.is_implicit)
    return ITEM + len(body).to_bytes(4, "little") + body


def _encode(elements: Iterable[RawDataElement], is_implicit: bool) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, is_implicit
    for each in elements:
        write_data_element(stream, each)
    return bytes(stream.getvalue())


def _encoded_value(decoded: DataElement, character_sets: str | Sequence[str]) -> bytes:
    """Value field of an element that is decoded already, as pydicom writes it."""
    if isinstance(decoded.value, bytes) and decoded.VR in _AS_THEY_ARE:
        return decoded.value
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True  # tag and length, 8 bytes, for every VR
    write_data_element(stream, decoded, [character_sets] if isinstance(character_sets, str) else list(character_sets))
    return bytes(stream.getvalue())[8:]


def _swapped(value: bytes, word_bytes: int) -> bytes:
    """Big endian words as little endian ones (PS3.5 7.3)."""
    if word_bytes == 1 or len(value) % word_bytes:
        return value
    return np.frombuffer(value, dtype=f">u{word_bytes}").astype(f"<u{word_bytes}").tobytes()
