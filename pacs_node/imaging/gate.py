"""Is this a frontal chest radiograph, as far as its header says? What the header does not say passes.

A wrong word here only costs a companion; a missing one would cost many, because a third of public radiographs have no
ViewPosition and no BodyPartExamined. What the pixels say is asked in `gate_pixels`.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from pacs_node.config import GateSettings
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.identity import CODING_SCHEME, MANUFACTURER

__all__ = ["SUPPORTED_SOP_CLASSES", "check_header", "names_frontal_chest"]

SUPPORTED_SOP_CLASSES: tuple[UID, ...] = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

# Projection radiography, and OT that Secondary Captures of it often carry (PS3.3 C.7.3.1.1.1).
_MODALITIES = frozenset({"CR", "DX", "RG", "OT"})
# PS3.3 C.8.1.2 (CR) and C.8.11.5 (DX). LLD and RLD are missing on purpose: a lateral decubitus is exposed frontally.
_NOT_FRONTAL = frozenset({"LL", "RL", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO"})
_LATERAL_WORDS = ("LAT", "OBLIQUE")
# Lateral and oblique views of a trunk (CID 4010) in SNOMED CT and SRT; as below, their meanings come in every language.
_NOT_FRONTAL_CODES = frozenset(
    code
    for scheme in (
        "399067008 399173006 399198007 399182000 399184004 399236003 399135007 399356000 399006002 399038007 "
        "399312000 399059000 399160007",
        "R-102CD R-10236 R-10232 R-102C1 R-10238 R-10234 R-10220 R-40985 R-10212 R-10210 R-10208 R-10216 R-10204",
    )
    for code in scheme.split()
)
_FRONTAL = frozenset({"PA", "AP", "LLD", "RLD"})
# Thorax and lungs in SNOMED CT and its retired SRT codes, whose meanings come in every language.
_CHEST_CODES = frozenset({"51185008", "T-D3000", "43799004", "T-D3050", "39607008", "T-28000"})
# Third and further values of ImageType, and free texts, of images from which one tissue was taken out. "Dual energy"
# alone is not among them: the plain radiograph of such a series bears these words, too.
_ONE_TISSUE = re.compile(r"SOFT[ _-]?(TISSUE|IMAGE)|BONE[ _-]?(SUPP|SUBTR|REMOV|IMAGE|ONLY)|RIB[ _-]?(SUPP|SUBTR)")
_TISSUE_VALUES = frozenset({"SOFT", "BONE", "DES_SOFT", "DES_BONE", "ES_SOFT", "ES_BONE"})
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}  # PS3.5 6.2, VR AS


def _text(ds: Dataset, keyword: str) -> str:
    """All values of an element in one line of capitals; empty where it is absent."""
    value = ds.get(keyword)
    if value is None:
        return ""
    parts = [str(value)] if isinstance(value, str) or not isinstance(value, Sequence) else [str(v) for v in value]
    return " ".join(parts).strip().upper()


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text)


def _items(ds: Dataset, keyword: str) -> list[Dataset]:
    sequence = ds.get(keyword)
    return [item for item in sequence if isinstance(item, Dataset)] if isinstance(sequence, Sequence) else []


def _check_sop_class(ds: Dataset) -> None:
    sop_class = _text(ds, "SOPClassUID")
    if not sop_class:
        raise Rejected(ReasonCode.MISSING_ATTRIBUTE, "SOPClassUID is absent or empty")
    if sop_class not in SUPPORTED_SOP_CLASSES:
        raise Rejected(ReasonCode.SOP_CLASS_UNSUPPORTED, "the SOP Class is not CR, DX or Secondary Capture")
    modality = _text(ds, "Modality")
    if modality and modality not in _MODALITIES:
        raise Rejected(ReasonCode.NOT_CHEST, "Modality is not one of projection radiography")


def _check_not_ours(ds: Dataset) -> None:
    """A companion that comes back, or anything made from one, would be suppressed twice and start a loop."""
    equipment = _items(ds, "ContributingEquipmentSequence")
    derivations = _items(ds, "DerivationCodeSequence")
    ours = MANUFACTURER.upper()
    if (
        _text(ds, "Manufacturer") == ours
        or _text(ds, "SecondaryCaptureDeviceManufacturer") == ours
        or any(_text(item, "Manufacturer") == ours for item in equipment)
        or any(_text(item, "CodingSchemeDesignator") == CODING_SCHEME for item in derivations)
    ):
        raise Rejected(ReasonCode.OWN_OUTPUT, "the image was made by this software")


def _check_not_one_tissue(ds: Dataset) -> None:
    """There is no bone left to take out of a soft-tissue image, and nothing else in a bone image."""
    kinds = {part for value in _text_values(ds, "ImageType")[2:] for part in (value, *value.split())}
    told = " ".join([*kinds, *(_text(ds, k) for k in ("SeriesDescription", "DerivationDescription"))])
    if kinds & _TISSUE_VALUES or _ONE_TISSUE.search(told):
        raise Rejected(ReasonCode.ALREADY_SUPPRESSED, "the header names a soft-tissue or bone image")


def _text_values(ds: Dataset, keyword: str) -> list[str]:
    value = ds.get(keyword)
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return [str(each).strip().upper() for each in value] if several else [_text(ds, keyword)]


def _age_years(ds: Dataset) -> float | None:
    """Age at the study, by PatientAge, else by PatientBirthDate; None where neither can be understood."""
    age = re.fullmatch(r"(\d{1,3})([YMWD])", _text(ds, "PatientAge"))
    if age:
        return int(age[1]) * _YEARS[age[2]]
    try:
        born, taken = (datetime.strptime(_text(ds, k)[:8], "%Y%m%d") for k in ("PatientBirthDate", "StudyDate"))  # noqa: DTZ007 - whole days
    except ValueError:
        return None
    return (taken - born).days / 365.25


def _check_age(ds: Dataset, min_age_years: float) -> None:
    age = _age_years(ds) if min_age_years > 0 else None
    if age is not None and 0 <= age < min_age_years:
        raise Rejected(ReasonCode.CHILD, "the patient is younger than gate.min_age_years")


def names_frontal_chest(ds: Dataset, settings: GateSettings) -> bool:
    """Whether the header names both a chest and a frontal view; False where it leaves one of them open."""
    body_part = _text(ds, "BodyPartExamined")
    regions = _items(ds, "AnatomicRegionSequence")
    chest = _names_chest(body_part, settings.body_parts) or any(
        _text(region, "CodeValue") in _CHEST_CODES for region in regions
    )
    return chest and any(word in _FRONTAL for word in _words(_text(ds, "ViewPosition")))


def _names_chest(text: str, body_parts: Sequence[str]) -> bool:
    wanted = tuple(part.strip().upper() for part in body_parts)
    return any(word.startswith(wanted) for word in _words(text))


def _check_body_part(ds: Dataset, body_parts: Sequence[str]) -> None:
    body_part = _text(ds, "BodyPartExamined")
    if body_part:
        if not _names_chest(body_part, body_parts):
            raise Rejected(ReasonCode.NOT_CHEST, "BodyPartExamined is none of gate.body_parts")
        return
    for region in _items(ds, "AnatomicRegionSequence"):
        code, meaning = _text(region, "CodeValue"), _text(region, "CodeMeaning")
        if (code or meaning) and code not in _CHEST_CODES and not _names_chest(meaning, body_parts):
            raise Rejected(ReasonCode.NOT_CHEST, "AnatomicRegionSequence names another region than the chest")


def _is_lateral(text: str) -> bool:
    words = _words(text)
    if any(word.startswith("DECUB") for word in words):
        return False
    return any(word in _NOT_FRONTAL or word.startswith(_LATERAL_WORDS) for word in words)


def _is_coded_lateral(item: Dataset) -> bool:
    meaning = _text(item, "CodeMeaning")
    return _is_lateral(meaning) or (_text(item, "CodeValue") in _NOT_FRONTAL_CODES and "DECUB" not in meaning)


def _check_view(ds: Dataset) -> None:
    view = _text(ds, "ViewPosition")
    coded = [] if view else _items(ds, "ViewCodeSequence")
    if _is_lateral(view) or any(_is_coded_lateral(item) for item in coded):
        raise Rejected(ReasonCode.NOT_FRONTAL, "ViewPosition or ViewCodeSequence is a lateral or oblique view")


def check_header(ds: Dataset, settings: GateSettings, *, one_tissue: bool = False) -> None:
    """Let a data set pass if its header does not rule out a frontal chest radiograph.

    Parameters
    ----------
    ds : with or without pixel data.
    settings : a body part passes when one of its words starts with one of ``body_parts``, in any case; a patient of
        unknown age passes.
    one_tissue : whether a soft-tissue or bone image passes too, as among the pairs of a training.

    Raises
    ------
    Rejected
        SOP_CLASS_UNSUPPORTED, OWN_OUTPUT, ALREADY_SUPPRESSED, NOT_CHEST, NOT_FRONTAL, CHILD; MISSING_ATTRIBUTE without
        SOPClassUID; NOT_DICOM when an attribute that is looked at cannot be parsed.
    """
    try:
        _check_sop_class(ds)
        _check_not_ours(ds)
        if not one_tissue:
            _check_not_one_tissue(ds)
        _check_body_part(ds, settings.body_parts)
        _check_view(ds)
        _check_age(ds, settings.min_age_years)
    except Rejected:
        raise
    except Exception:  # noqa: BLE001 - pydicom converts values when they are read and may raise anything
        raise Rejected(ReasonCode.NOT_DICOM, "an attribute of the header cannot be parsed") from None
