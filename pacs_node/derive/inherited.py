"""What a companion takes over from its source: who, which study, which geometry, which history of loss.

Patient and Study attributes are copied byte for byte, whatever they hold. Everything else is taken only where it is
legal, because an illegal optional attribute can make a PACS refuse the companion and helps nobody.
"""

import logging
import math
import re
from collections.abc import Callable

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from pydicom.valuerep import format_number_as_ds

from pacs_node.derive.shutter import carried_shutter
from pacs_node.derive.verbatim import element, is_legal, raw_bytes, values, verbatim

__all__ = ["STUDY_KEYWORDS", "Elements", "image_description", "is_identity", "is_lossy", "patient_and_study"]

log = logging.getLogger(__name__)

Elements = dict[BaseTag, RawDataElement]
Accepts = Callable[[list[bytes], Elements], bool]  # (values, what is carried already) -> take it?

# Groups that belong to the patient as a whole: Patient, Patient Study and Clinical Trial modules (PS3.3 C.7.1 and
# C.7.2.2). Taking the whole group keeps retired and future attributes too.
PATIENT_GROUPS = frozenset({0x0010, 0x0012})
# General Study (C.7.2.1) and the part of Patient Study (C.7.2.2) outside those groups.
STUDY_KEYWORDS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence",
    "StudyDescription",
    "ProcedureCodeSequence",
    "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReferencedStudySequence",
    "ReferencedPatientSequence",
    "StudyInstanceUID",
    "StudyID",
    "RequestingService",
    "RequestingServiceCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
    "ReasonForVisit",
    "ReasonForVisitCodeSequence",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID",
    "ServiceEpisodeDescription",
    "IssuerOfServiceEpisodeIDSequence",
    "PatientState",
)
STUDY_TAGS = frozenset(Tag(keyword) for keyword in STUDY_KEYWORDS)
# Type 1 and 2: kept even with an illegal value, since losing them would lose the study or the patient.
REQUIRED_KEYWORDS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
)
# VRs of fixed form: a value that breaks it makes the whole object malformed for a strict reader.
STRICT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"})


def _one_of(*allowed: bytes) -> Accepts:
    return lambda found, _: len(found) == 1 and found[0] in allowed


def _one_matching(pattern: bytes) -> Accepts:
    return lambda found, _: len(found) == 1 and re.fullmatch(pattern, found[0]) is not None


def _positive_pair(found: list[bytes], _: Elements) -> bool:
    return len(found) == 2 and all(math.isfinite(float(value)) and float(value) > 0 for value in found)


def _only_with(keyword: str, accepts: Accepts) -> Accepts:
    return lambda found, copied: Tag(keyword) in copied and accepts(found, copied)


def _aspect_ratio(found: list[bytes], copied: Elements) -> bool:
    """Only where no spacing says it better, and never of square pixels (type 1C, C.7.6.3.1.7)."""
    told = any(Tag(keyword) in copied for keyword in SPACINGS)
    return not told and _positive_pair(found, copied) and float(found[0]) != float(found[1])


def _orientation(found: list[bytes], _: Elements) -> bool:
    """Row and column direction (C.7.6.1.1.1), biped or quadruped."""
    return len(found) == 2 and all(re.fullmatch(rb"[A-Z]{1,16}", value) for value in found)


# What is carried, in this order, and when; the position counts where an entry looks at those before it.
# PixelSpacing may be calibrated, ImagerPixelSpacing is at the detector, NominalScannedPixelSpacing at the scanner's
# film plane (C.8.6.2, 10.7.1): each keeps its own name, none is turned into another.
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
CARRIED: dict[str, Accepts] = {
    "PixelSpacing": _positive_pair,
    "ImagerPixelSpacing": _positive_pair,
    "NominalScannedPixelSpacing": _positive_pair,
    "PixelSpacingCalibrationType": _only_with("PixelSpacing", _one_of(b"GEOMETRY", b"FIDUCIAL")),
    "PixelSpacingCalibrationDescription": _only_with("PixelSpacingCalibrationType", _one_matching(rb".+")),
    "PixelAspectRatio": _aspect_ratio,
    "PatientOrientation": _orientation,
    "ViewPosition": _one_matching(rb".+"),
    "BodyPartExamined": _one_matching(rb".+"),
    "Laterality": _one_of(b"R", b"L"),
    "ImageLaterality": _one_of(b"R", b"L", b"U", b"B"),
    "AcquisitionDate": _one_matching(rb".+"),
    "AcquisitionTime": _one_matching(rb".+"),
    "TimezoneOffsetFromUTC": _one_matching(rb"[+-]\d{4}"),
}

CODE_SEQUENCES = ("ViewCodeSequence", "AnatomicRegionSequence")

LOSSY_METHODS: dict[str, str] = {  # transfer syntax that may have lost something -> PS3.3 C.7.6.1.1.5.1
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    JPEG2000MC: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}
ALWAYS_LOSSY = frozenset({str(JPEGBaseline8Bit), str(JPEGExtended12Bit)})  # the others can be used without loss


def patient_and_study(source: Dataset) -> Elements:
    """Every Patient, Study and Clinical Trial attribute of the source, byte for byte.

    Left out are private elements, sequences without an item (they say nothing and PS3.3 forbids them), and optional
    attributes whose value breaks a VR of fixed form, such as a PatientAge of ``58``: the object would be malformed.
    A type 2 attribute that the source lacks is added empty.
    """
    required = {Tag(keyword) for keyword in REQUIRED_KEYWORDS}
    copied: Elements = {}
    for tag in filter(is_identity, sorted(source.keys())):
        copy = _try_verbatim(source, tag)
        if copy is not None and (tag in required or _is_worth_keeping(copy)):
            copied[tag] = copy
    for tag in required:
        copied.setdefault(tag, element(tag, b""))
    return copied


def is_identity(tag: BaseTag) -> bool:
    """Whether the element belongs to the Patient, Study or Clinical Trial modules; group lengths do not."""
    return tag.element != 0 and (tag.group in PATIENT_GROUPS or tag in STUDY_TAGS)


def image_description(source: Dataset) -> Elements:
    """Character set, time zone, geometry, shutter, view, body part and lossy history, each only where it is legal.

    BodyPartExamined is CHEST where the source names none: only what passed the gate as a chest gets this far.
    """
    copied: Elements = {}
    for keyword, accepts in CARRIED.items():
        copy = _try_verbatim(source, Tag(keyword))
        if copy is not None and keyword in SPACINGS:
            copy = _within_ds(copy)
        if copy is not None and is_legal(copy) and accepts(values(copy), copied):
            copied[copy.tag] = copy
    for keyword in CODE_SEQUENCES:
        copy = _try_verbatim(source, Tag(keyword))
        if copy is not None and copy.value and all(_is_coded(item) for item in source[keyword].value):
            copied[copy.tag] = copy
    charset = _try_verbatim(source, Tag("SpecificCharacterSet"))
    if charset is not None and charset.value:  # also an illegal one: the copied names can be read no other way
        copied[charset.tag] = charset
    defaults = [("PatientOrientation", b""), ("BodyPartExamined", b"CHEST")]  # type 2C, C.7.6.1; see above
    if Tag("PixelSpacingCalibrationType") in copied:  # its description is type 1C, Table 10-10
        defaults.append(("PixelSpacingCalibrationDescription", b"Not described by the source"))
    for keyword, value in defaults:
        copied.setdefault(Tag(keyword), element(keyword, value))
    _settle_side(copied)
    return copied | carried_shutter(source) | _lossy_history(source)


def _within_ds(spacing: RawDataElement) -> RawDataElement:
    """The spacing with numbers of more than the 16 characters of a DS rounded to them.

    Modalities write them. Left out, another spacing would stand for this one, and lengths would be others than those
    that are measured in the source.
    """
    try:
        fitting = [each if len(each) <= 16 else format_number_as_ds(float(each)).encode() for each in values(spacing)]
    except ValueError:
        return spacing  # no number: it is not taken
    return element(spacing.tag, b"\\".join(fitting)) if fitting != values(spacing) else spacing


def _settle_side(copied: Elements) -> None:
    """Say the side once, where C.7.3.1.1.1 allows it: Laterality is for paired body parts without ImageLaterality.

    A chest is not paired, so the side of a chest moves to ImageLaterality, which any body part may have; LUNG, RIB and
    the like must have a Laterality, which is empty where nobody says which.
    """
    series, image = Tag("Laterality"), Tag("ImageLaterality")
    side = copied.pop(series, None)
    if image in copied:
        return
    if values(copied[Tag("BodyPartExamined")]) != [b"CHEST"]:
        copied[series] = side or element(series, b"")
    elif side is not None:
        copied[image] = element(image, side.value or b"")


def is_lossy(source: Dataset) -> bool:
    """Whether the source says, or its transfer syntax implies, that it was once compressed with loss."""
    stated = raw_bytes(source, "LossyImageCompression")
    if _transfer_syntax(source) in ALWAYS_LOSSY:
        return True  # whatever is stated
    if stated is not None and stated.strip() in {b"00", b"01"}:
        return stated.strip() == b"01"
    return _transfer_syntax(source) in LOSSY_METHODS


def _lossy_history(source: Dataset) -> Elements:
    """C.7.6.1.1.5: once lossy, always lossy; nothing is claimed where the source claims nothing."""
    if not is_lossy(source):
        stated = raw_bytes(source, "LossyImageCompression")
        said_no = stated is not None and stated.strip() == b"00"
        return {Tag("LossyImageCompression"): element("LossyImageCompression", b"00")} if said_no else {}
    history = {Tag("LossyImageCompression"): element("LossyImageCompression", b"01")}
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        copy = _try_verbatim(source, Tag(keyword))
        if copy is not None and values(copy) and is_legal(copy):
            history[copy.tag] = copy
    method = LOSSY_METHODS.get(_transfer_syntax(source))
    if method is not None and Tag("LossyImageCompressionMethod") not in history:
        history[Tag("LossyImageCompressionMethod")] = element("LossyImageCompressionMethod", method.encode())
    return history


def _transfer_syntax(source: Dataset) -> str:
    return str(getattr(getattr(source, "file_meta", None), "TransferSyntaxUID", ""))


def _try_verbatim(source: Dataset, tag: BaseTag) -> RawDataElement | None:
    """The element, or None where it is absent or so broken that not even its frame can be copied."""
    if tag not in source:
        return None
    try:
        return verbatim(source, tag)
    except Exception:  # noqa: BLE001  whatever a parser throws at garbage: the study matters more than one attribute
        log.warning("an attribute of the source cannot be parsed and is left out: %s", tag)
        return None


def _is_coded(item: Dataset) -> bool:
    """Whether the item has what makes a code (PS3.3 Table 8.8-1a)."""
    return all(raw_bytes(item, keyword) for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))


def _is_worth_keeping(copy: RawDataElement) -> bool:
    if copy.VR == "SQ":
        return bool(copy.value)
    if copy.VR in STRICT_VRS and not is_legal(copy):
        log.warning("an optional attribute of the source breaks its VR and is left out: %s", copy.tag)
        return False
    return True
