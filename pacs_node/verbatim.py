"""Data elements copied as bytes, so that a name arrives exactly as it left the modality.

A value that is decoded and encoded again can change: a person name in the wrong character set, trailing spaces, a
value that breaks its VR. Here the bytes of the source are carried over undecoded; only sequences are opened, because
their framing depends on the transfer syntax.
"""

from collections.abc import Iterable, Sequence
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_data_element
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, validate_value

__all__ = ["element", "is_legal", "raw_bytes", "raw_elements", "stamp", "text", "values", "verbatim"]

DEFAULT_CHARACTER_SET = "ISO_IR 6"  # PS3.5 6.1.2.1: what holds where SpecificCharacterSet is absent
ITEM = b"\xfe\xff\x00\xe0"  # PS3.5 7.5
_TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"})
_BYTE_ORDER_FREE_VRS = _TEXT_VRS | {"UI", "OB", "UN"}


def verbatim(ds: Dataset, tag: int | str, encodings: str | Sequence[str] | None = None) -> RawDataElement:
    """One element of a data set in Explicit VR Little Endian, its value byte for byte.

    Parameters
    ----------
    ds : Dataset as read; elements that somebody has decoded already are encoded again in the set's own encoding.
    tag : int or keyword
    encodings : the character sets of ``ds`` where it is an item that names none itself.

    Returns
    -------
    RawDataElement : its value is padded to an even length (PS3.5 6.2).

    Raises
    ------
    KeyError : the element is absent.
    Exception : whatever pydicom raises on a sequence or number that cannot be parsed.
    """
    tag = Tag(tag)
    found = ds.get_item(tag)
    if found is None:
        raise KeyError(tag)
    sets = _character_sets(ds, encodings)
    vr = _known_vr(found)
    if vr == "SQ":
        value = b"".join(_item(item, sets) for item in ds[tag].value)
    elif isinstance(found, RawDataElement) and (found.is_little_endian or vr in _BYTE_ORDER_FREE_VRS):
        value = bytes(found.value or b"")
    else:
        value = _encoded_value(ds[tag], sets)
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

    Lengths are counted in bytes, so a long value in a multi-byte character set may be called illegal.
    """
    try:
        for value in values(candidate):
            validate_value(candidate.VR or "UN", value, RAISE)
    except ValueError:
        return False
    return True


def raw_elements(ds: Dataset) -> dict[BaseTag, RawDataElement]:
    """Every element of a data set that we made, encoded in Explicit VR Little Endian."""
    tags = list(ds.keys())  # iterating the data set itself would decode its elements
    return {tag: verbatim(ds, tag) for tag in tags}


def stamp(file_meta: FileMetaDataset, elements: dict[BaseTag, RawDataElement]) -> Dataset:
    """Encode the elements once and read them back: the data set that results holds exactly what will be stored."""
    head = BytesIO()
    empty = Dataset()
    empty.file_meta = file_meta
    dcmwrite(head, empty, enforce_file_format=True)
    return dcmread(BytesIO(head.getvalue() + _encode(elements[tag] for tag in sorted(elements))))


def _known_vr(found: DataElement | RawDataElement) -> str:
    """The VR to write: the dictionary's where the source has none, hides it behind UN, or calls one text another."""
    written = found.VR
    try:
        known = dictionary_VR(found.tag)
    except KeyError:
        return written or "UN"
    if written in (None, "UN") or {written, known} <= _TEXT_VRS:
        return known if len(known) == 2 else "UN"  # "US or SS" depends on other elements
    return str(written)


def _character_sets(ds: Dataset, inherited: str | Sequence[str] | None) -> str | Sequence[str]:
    return ds.get("SpecificCharacterSet", None) or inherited or DEFAULT_CHARACTER_SET


def _item(item: Dataset, encodings: str | Sequence[str]) -> bytes:
    """One item with a defined length (PS3.5 7.5.1); sequences in it that hold nothing are left out."""
    copies = [verbatim(item, tag, encodings) for tag in sorted(item.keys())]
    body = _encode(copy for copy in copies if copy.VR != "SQ" or copy.value)
    return ITEM + len(body).to_bytes(4, "little") + body


def _encode(elements: Iterable[RawDataElement]) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    for each in elements:
        write_data_element(stream, each)
    return bytes(stream.getvalue())


def _encoded_value(decoded: DataElement, encodings: str | Sequence[str]) -> bytes:
    """Value field of an element that is decoded already, as pydicom writes it."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_data_element(stream, decoded, [encodings] if isinstance(encodings, str) else list(encodings))
    encoded = bytes(stream.getvalue())
    return encoded[12 if encoded[4:6].decode() in EXPLICIT_VR_LENGTH_32 else 8 :]
