"""Is this a frontal chest radiograph, as far as its header says? What the header does not say passes.

A wrong word here only costs a companion; a missing one would cost many, because a third of public radiographs have no
ViewPosition and no BodyPartExamined.
"""

import re
from collections.abc import Sequence

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

__all__ = ["SUPPORTED_SOP_CLASSES", "check_header"]

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
# Thorax and lungs in SNOMED CT and its retired SRT codes, whose meanings come in every language.
_CHEST_CODES = frozenset({"51185008", "T-D3000", "43799004", "T-D3050", "39607008", "T-28000"})


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
        or any(_text(item, "Manufacturer") == ours for item in equipment)
        or any(_text(item, "CodingSchemeDesignator") == CODING_SCHEME for item in derivations)
    ):
        raise Rejected(ReasonCode.OWN_OUTPUT, "the image was made by this software")


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


def _check_view(ds: Dataset) -> None:
    view = _text(ds, "ViewPosition")
    meanings = [] if view else [_text(item, "CodeMeaning") for item in _items(ds, "ViewCodeSequence")]
    if any(_is_lateral(text) for text in (view, *meanings)):
        raise Rejected(ReasonCode.NOT_FRONTAL, "ViewPosition or ViewCodeSequence is a lateral or oblique view")


def check_header(ds: Dataset, settings: GateSettings) -> None:
    """Let a data set pass if its header does not rule out a frontal chest radiograph.

    Parameters
    ----------
    ds : with or without pixel data.
    settings : a body part passes when one of its words starts with one of ``body_parts``, in any case.

    Raises
    ------
    Rejected
        SOP_CLASS_UNSUPPORTED, OWN_OUTPUT, NOT_CHEST, NOT_FRONTAL; MISSING_ATTRIBUTE without SOPClassUID; NOT_DICOM when
        an attribute that is looked at cannot be parsed.
    """
    try:
        _check_sop_class(ds)
        _check_not_ours(ds)
        _check_body_part(ds, settings.body_parts)
        _check_view(ds)
    except Rejected:
        raise
    except Exception:  # noqa: BLE001 - pydicom converts values when they are read and may raise anything
        raise Rejected(ReasonCode.NOT_DICOM, "an attribute of the header cannot be parsed") from None
