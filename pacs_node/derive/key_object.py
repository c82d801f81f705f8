"""A Key Object Selection Document that says in the study itself why a radiograph has no companion.

Its title is a code of ours, "Not processed by AI". None of CID 7010 fits: those that reject (113001, 113037, 113038,
113039) make a PACS with IHE Image Object Change Management hide the image that is referred to, and the image is fine;
113010, Quality Issue, would blame it.
"""

from datetime import datetime

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom import Dataset
from pydicom.sr.codedict import codes

from pacs_node import __version__
from pacs_node.config import OutputSettings
from pacs_node.derive.provenance import MANUFACTURER, coding_scheme, device_uid, private_code, refusal_uids
from pacs_node.derive.study_object import finished, has_identity, stand_in
from pacs_node.derive.verbatim import text
from pacs_node.errors import ReasonCode, Rejected

__all__ = ["UNTOLD", "derive_key_object"]

SERIES_DESCRIPTION = "NOT PROCESSED (AI)"
# Nothing is written about these: there is no study that can be trusted, or nobody waits for a companion.
UNTOLD = frozenset(
    {
        ReasonCode.NOT_DICOM,
        ReasonCode.TRUNCATED,
        ReasonCode.MISSING_ATTRIBUTE,
        ReasonCode.IDENTITY_MISMATCH,
        ReasonCode.OWN_OUTPUT,
        ReasonCode.UNEXPECTED,
    }
)


def derive_key_object(
    source: Dataset, refusal: Rejected, settings: OutputSettings, created_at: datetime
) -> Dataset | None:
    """The document about one refused instance (PS3.3 A.35.4, PS3.16 TID 2010), ready to be saved.

    Parameters
    ----------
    source : the received instance; its pixel data is not needed.
    refusal : its explanation holds nothing of the data set and goes into the document as it is.

    Returns
    -------
    ds : Dataset in Explicit VR Little Endian, or None where nothing is to be told (`UNTOLD`) or the source does not
        name its class, itself, its series and its study.
    """
    if refusal.reason in UNTOLD or not has_identity(source):
        return None
    words = _ascii(
        f"Not processed by AI bone suppression: {refusal.explanation} ({refusal.reason}). Research use only."
    )
    series_uid, sop_uid = refusal_uids(text(source, "SeriesInstanceUID"), text(source, "SOPInstanceUID"), words)
    image = stand_in(source)
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(MANUFACTURER), manufacturer_name=MANUFACTURER, model_name=f"{MANUFACTURER} {__version__}"
    )
    content = KeyObjectSelection(
        document_title=private_code("NOT_PROCESSED", "Not processed by AI"),
        referenced_objects=[image],
        observer_device_context=ObserverContext(codes.DCM.Device, device),
        description=words,
    )
    document = KeyObjectSelectionDocument(
        evidence=[image],
        content=content,
        series_instance_uid=series_uid,
        series_number=min(settings.series_number + 3, 2**31 - 1),
        sop_instance_uid=sop_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    document.ManufacturerModelName = MANUFACTURER
    document.SoftwareVersions = __version__
    document.SeriesDescription = SERIES_DESCRIPTION
    document.CodingSchemeIdentificationSequence = [coding_scheme()]
    return finished(document, source, created_at)


def _ascii(words: str) -> str:
    return words.encode("ascii", "replace").decode()
