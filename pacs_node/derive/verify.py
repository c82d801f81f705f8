"""The last look at a companion before it leaves: right patient, study and geometry, nothing mandatory missing."""

from pydicom import Dataset
from pydicom.tag import Tag

from pacs_node.derive.inherited import SPACINGS, image_description, is_identity, is_lossy
from pacs_node.derive.verbatim import raw_bytes, text
from pacs_node.errors import ReasonCode, Rejected

__all__ = ["verify_companion", "verify_identity"]

TYPE_1 = (  # mandatory with a value in the SC Image IOD (PS3.3 A.8.1.3), or promised by our conformance statement
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ConversionType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
    "ImageType",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "ContentQualification",
    "ContributingEquipmentSequence",
    "DerivationCodeSequence",
    "DerivationDescription",
    "CodingSchemeIdentificationSequence",
    "SourceImageSequence",
    "SeriesDescription",
    "WindowCenter",
    "WindowWidth",
)
TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "InstanceNumber",
    "PatientOrientation",
)
FORBIDDEN = ("FrameOfReferenceUID", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence")


def verify_companion(ds: Dataset, source: Dataset) -> None:
    """Check a companion in uncompressed or compressed form against its source.

    Raises
    ------
    Rejected
        ``OUTPUT_INVALID``; the explanation names attributes, never values.
    """
    _require(all(raw_bytes(ds, keyword) for keyword in TYPE_1), "a type 1 attribute is missing or empty")
    _require(all(keyword in ds for keyword in TYPE_2), "a type 2 attribute is missing")
    _require(not any(keyword in ds for keyword in FORBIDDEN), "an attribute of the source's pixels was copied")
    verify_identity(ds, source)
    _check_geometry(ds, source)
    _check_pixels(ds)
    if is_lossy(source):
        _require(text(ds, "LossyImageCompression") == "01", "the source's lossy compression is not declared")


def verify_identity(ds: Dataset, source: Dataset) -> None:
    """Right patient and study, and identifiers of its own; raises as `verify_companion`."""
    for tag in filter(is_identity, list(ds.keys())):
        _require(raw_bytes(ds, tag) == (raw_bytes(source, tag) or b""), f"{tag} differs from the source")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        _require(text(ds, keyword) != text(source, keyword), f"{keyword} is that of the source")
    _require(text(ds, "SOPInstanceUID") == ds.file_meta.MediaStorageSOPInstanceUID, "file meta names another instance")


def _check_geometry(ds: Dataset, source: Dataset) -> None:
    for keyword in ("Rows", "Columns"):
        _require(raw_bytes(ds, keyword) == raw_bytes(source, keyword), f"{keyword} differ from the source")
    described = image_description(source)
    for keyword in (*SPACINGS, "PatientOrientation"):
        copy = described.get(Tag(keyword))
        _require(raw_bytes(ds, keyword) == (copy.value if copy else None), f"{keyword} differs from the source")


def _check_pixels(ds: Dataset) -> None:
    _require(
        int(ds.BitsStored) == int(ds.HighBit) + 1 <= int(ds.BitsAllocated), "the pixel description contradicts itself"
    )
    if not ds.file_meta.TransferSyntaxUID.is_compressed:
        length = int(ds.Rows) * int(ds.Columns) * int(ds.BitsAllocated) // 8
        _require(len(ds.PixelData) == length + length % 2, "PixelData has the wrong length")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Rejected(ReasonCode.OUTPUT_INVALID, otherwise)
