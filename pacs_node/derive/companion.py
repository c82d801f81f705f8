"""The companion: a Secondary Capture in the study of its source, checked before it leaves (PS3.3 A.8.1, C.8.6).

What it takes over is in `pacs_node.derive.inherited`, where it comes from in `pacs_node.derive.provenance`.
"""

import copy
import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, tzinfo

import numpy as np
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.charset import convert_encodings, encode_string
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from model.bundle import Bundle
from pacs_node.config import OutputSettings, StoredSyntax
from pacs_node.derive.inherited import Elements, image_description, patient_and_study
from pacs_node.derive.label import LABEL_LINES, burn_label
from pacs_node.derive.provenance import (
    MANUFACTURER,
    Recipe,
    coding_scheme,
    companion_uids,
    contributing_equipment,
    derivation_code,
    derivation_description,
    model_name,
    software_versions,
    source_reference,
)
from pacs_node.derive.shutter import visible_part
from pacs_node.derive.verbatim import element, raw_bytes, raw_elements, stamp, text
from pacs_node.derive.verify import verify_companion
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacs_node.imaging.decode import describe_pixels, stored_indices
from pacs_node.records import Inference

__all__ = [
    "IMAGE_TYPE",
    "Product",
    "Recipe",
    "companion_uids",
    "derive",
    "derive_image",
    "pixel_sha256",
    "stored_bits",
    "verify_companion",
    "zone_of",
]

log = logging.getLogger(__name__)

IMAGE_TYPE = ("DERIVED", "SECONDARY", "SOFT_TISSUE")  # the third value is ours: bone has been taken out
# Each with its encoder: GDCM, which pydicom would try first, ends the whole process on an RLE frame of odd length.
COMPRESSED = {
    StoredSyntax.RLE: (RLELossless, "pylibjpeg"),
    StoredSyntax.JPEG_LS: (JPEGLSLossless, "pyjpegls"),
    StoredSyntax.JPEG2000: (JPEG2000Lossless, "pylibjpeg"),
}


@dataclass(frozen=True, slots=True)
class Product:
    """What tells one derived image of a source from another.

    Attributes
    ----------
    kind : goes into the UIDs; empty for the companion.
    image_type : the third value of ImageType is ours.
    code : DerivationCodeSequence.
    description : DerivationDescription, ST of at most 1024 ASCII characters.
    label : lines that are burned in where the settings want a label.
    """

    kind: str
    image_type: tuple[str, str, str]
    code: CodedConcept
    description: str
    series_description: str
    series_number: int
    label: tuple[str, ...]


def derive(
    source: Dataset, inference: Inference, bundle: Bundle, settings: OutputSettings, created_at: datetime
) -> Dataset:
    """The companion of one source image, complete with file meta information and ready to be saved.

    Parameters
    ----------
    source : Dataset, the received instance; its pixel data is not needed.
    inference : Inference, at the rows and columns of the source.
    bundle : Bundle
    settings : OutputSettings
    created_at : datetime, aware; the only part of the result that is not a function of the other arguments.

    Returns
    -------
    ds : Dataset in Explicit VR Little Endian, its pixel data in the transfer syntax of the settings.

    Raises
    ------
    Rejected
        The source lacks an identifier, or the result does not pass `verify_companion`.
    """
    product = Product(
        "",
        IMAGE_TYPE,
        derivation_code(),
        derivation_description(bundle, inference),
        settings.series_description,
        settings.series_number,
        LABEL_LINES,
    )
    return derive_image(product, inference.soft_tissue, source, inference, bundle, settings, created_at)


def derive_image(  # noqa: PLR0913, PLR0917  the arguments of `derive`, and what is made
    product: Product,
    pixels: NDArray[np.uint16],
    source: Dataset,
    inference: Inference,
    bundle: Bundle,
    settings: OutputSettings,
    created_at: datetime,
) -> Dataset:
    """A Secondary Capture of these pixels in the study of the source; otherwise as `derive`.

    Parameters
    ----------
    pixels : (rows, columns) uint16 P-values at the depth of the companion, rows and columns of the source.
    """
    described = image_description(source)
    uids = _uids(source, inference, bundle, settings, product.kind)
    bits_stored, label = stored_bits(source), None
    if settings.burned_in_label:
        pixels, label = burn_label(pixels, bits_stored, product.label, visible_part(described, *pixels.shape))

    image = _secondary_capture(pixels, bits_stored, uids, settings, bundle)
    _describe_derivation(image, product, source, bundle, created_at)
    _describe_display(image, bits_stored)
    has_text = label is not None or text(source, "BurnedInAnnotation").upper() == "YES"
    image.BurnedInAnnotation = "YES" if has_text else "NO"

    ours = raw_elements(image) | _series_and_instance(source, product, settings)
    derived = stamp(image.file_meta, ours | patient_and_study(source) | described)
    verify_companion(derived, source)
    return _compressed(derived, settings.transfer_syntax)


def stored_bits(source: Dataset) -> int:
    """BitsStored of what is derived from a source: its own, 8 at least."""
    return min(16, max(8, _number(source, "BitsStored")))


def pixel_sha256(ds: Dataset) -> str:
    """SHA-256 of the decoded pixels, little endian and unpadded: the same in every transfer syntax, 64 hex digits."""
    if ds.file_meta.TransferSyntaxUID.is_compressed:
        pixels = _stored(ds).astype(np.uint8 if ds.BitsAllocated == 8 else np.uint16)
    else:
        pixels = ds.pixel_array
    return hashlib.sha256(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def _uids(
    source: Dataset, inference: Inference, bundle: Bundle, settings: OutputSettings, kind: str
) -> tuple[str, str]:
    """Series and SOP Instance UID; a source that names no series gets a series for itself."""
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"):
        if not text(source, keyword):
            raise Rejected(ReasonCode.MISSING_ATTRIBUTE, f"the source has no {keyword}")
    sop_instance_uid = text(source, "SOPInstanceUID")
    series_instance_uid = text(source, "SeriesInstanceUID") or sop_instance_uid
    recipe = Recipe.of(inference, settings, has_shutter="ShutterShape" in source)
    return companion_uids(series_instance_uid, sop_instance_uid, bundle.digest, recipe, kind)


def _secondary_capture(
    pixels: NDArray[np.uint16], bits_stored: int, uids: tuple[str, str], settings: OutputSettings, bundle: Bundle
) -> SCImage:
    """The mandatory modules around the pixels; patient, study and orientation are placeholders here."""
    if int(pixels.max()) >= 2**bits_stored:
        raise Rejected(ReasonCode.OUTPUT_INVALID, f"a pixel of the result needs more than {bits_stored} bits")
    series_uid, sop_uid = uids
    bits_allocated = 8 if bits_stored == 8 else 16
    image = SCImage(
        pixel_array=pixels.astype(np.uint8) if bits_allocated == 8 else pixels,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=bits_allocated,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        study_instance_uid=series_uid,
        series_instance_uid=series_uid,
        sop_instance_uid=sop_uid,
        series_number=1,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=model_name(bundle),
        content_qualification=settings.content_qualification,
        coding_schemes=[coding_scheme()],
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    image["PixelData"].VR = "OB" if bits_allocated == 8 else "OW"  # PS3.5 A.2
    image.BitsStored, image.HighBit = bits_stored, bits_stored - 1  # highdicom writes BitsAllocated
    image.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    image.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return image


def _describe_derivation(
    image: Dataset, product: Product, source: Dataset, bundle: Bundle, created_at: datetime
) -> None:
    """General Image, SC Equipment and SOP Common: what was made, from what, by what and when (C.12.4, C.12.1)."""
    image.ImageType = list(product.image_type)
    image.ConversionType = "WSD"
    image.SoftwareVersions = software_versions(bundle)
    image.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    image.SecondaryCaptureDeviceManufacturerModelName = model_name(bundle)
    image.SecondaryCaptureDeviceSoftwareVersions = software_versions(bundle)
    image.DerivationDescription = product.description
    image.DerivationCodeSequence = [product.code]
    image.SourceImageSequence = [source_reference(source)]
    image.ImageComments = f"Research use only. Derived by AI, {model_name(bundle)} {bundle.digest[:12]}."
    image.ContributingEquipmentSequence = contributing_equipment(source, bundle, created_at)
    made = created_at.astimezone(zone_of(source))
    for what in ("InstanceCreation", "Content"):
        setattr(image, f"{what}Date", made.strftime("%Y%m%d"))
        setattr(image, f"{what}Time", made.strftime("%H%M%S.%f"))
    image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = image.ContentDate, image.ContentTime


def _describe_display(image: Dataset, bits_stored: int) -> None:
    """P-values, shown over their whole range: LINEAR maps 0 .. 2**bits - 1 exactly (C.11.2.1.2.1)."""
    image.PresentationLUTShape = "IDENTITY"
    image.WindowCenter = 2 ** (bits_stored - 1)
    image.WindowWidth = 2**bits_stored


def _series_and_instance(source: Dataset, product: Product, settings: OutputSettings) -> Elements:
    """Attributes that depend on the source or whose text depends on its character set."""
    modality = text(source, "Modality") if settings.modality == "source" else settings.modality
    number = text(source, "InstanceNumber")
    elements: list[RawDataElement] = [
        element("Modality", (modality if _is_code_string(modality) else "OT").encode()),
        element("SeriesDescription", _in_character_set_of(source, product.series_description)),
        element("SeriesNumber", str(product.series_number).encode()),
        element("InstanceNumber", (number if number.isdecimal() and len(number) <= 9 else "1").encode()),
    ]
    return {each.tag: each for each in elements}


def _compressed(companion: Dataset, wanted: StoredSyntax) -> Dataset:
    """The same object with its pixels in a lossless compressed syntax; uncompressed where the encoder cannot do it.

    OpenJPEG, for one, refuses images of less than 64 pixels. The pixels are decoded again to be sure.
    """
    if wanted is StoredSyntax.EXPLICIT:
        return companion
    syntax, encoder = COMPRESSED[wanted]
    compressed = copy.deepcopy(companion)
    try:
        compressed.compress(syntax, encoding_plugin=encoder, generate_instance_uid=False)
        if np.array_equal(_stored(compressed), _stored(companion)):
            return compressed
        log.error("the %s encoder changed a pixel: the companion stays uncompressed", wanted)
    except Exception as error:  # noqa: BLE001  each encoder has its own errors; a larger file is better than none
        log.warning("the %s encoder failed with %s: the companion stays uncompressed", wanted, type(error).__name__)
    return companion


def _stored(ds: Dataset) -> NDArray[np.uint16]:
    """Stored values, by the decoders that the node trusts with received images: some others end the whole process."""
    return stored_indices(ds, describe_pixels(ds))


def _in_character_set_of(source: Dataset, words: str) -> bytes:
    """A configured text as the source's SpecificCharacterSet writes it; what it cannot hold becomes a question mark."""
    encodings = convert_encodings(text(source, "SpecificCharacterSet").split("\\"))
    if encodings[0] == "iso8859":  # pydicom's name for the default repertoire, which is ASCII without Latin 1 (PS3.5 E)
        words = "".join("?" if "\x7f" < letter < "\u0100" else letter for letter in words)
    try:
        return encode_string(words, encodings)  # with the escape sequences of code extensions (PS3.5 6.1.2.5)
    except (UnicodeError, LookupError):  # a word that names a codec of Python's and no character set
        return words.encode("ascii", "replace")


def _number(source: Dataset, keyword: str) -> int:
    """A US attribute; 16 where it is absent, since the pixels are uint16."""
    return int.from_bytes(raw_bytes(source, keyword) or b"\x10", "little")


def _is_code_string(word: str) -> bool:
    return 0 < len(word) <= 16 and word.isascii() and word == word.upper() and word.replace("_", "").isalnum()


def zone_of(source: Dataset) -> tzinfo | None:
    """The zone that dates and times of the copied study are in (C.12.1.1.8); None stands for that of this machine."""
    offset = source.get_item(Tag("TimezoneOffsetFromUTC"))
    if offset is None:
        return None
    try:
        return datetime.strptime(text(source, "TimezoneOffsetFromUTC"), "%z").tzinfo
    except ValueError:
        return None
