"""What the listener takes: SOP Classes, and every transfer syntax that an installed decoder reads."""

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at run time from the Standard's registry
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
    Verification,
)

from pacs_node.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

__all__ = [
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "STORAGE_CLASSES",
    "accepted_contexts",
    "readable_transfer_syntaxes",
]


STORAGE_CLASSES: tuple[UID, ...] = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)


def readable_transfer_syntaxes() -> list[UID]:
    """Transfer syntaxes whose pixel data an installed plugin decodes, uncompressed ones first."""
    readable = []
    for uid in AllTransferSyntaxes:
        try:
            decoder = get_decoder(uid)
        except NotImplementedError:
            continue
        if decoder.is_available:
            readable.append(uid)
    return sorted(readable, key=lambda uid: (uid.is_compressed, uid))


def accepted_contexts() -> list[PresentationContext]:
    """The listener's presentation contexts (PS3.8 9.3.2)."""
    syntaxes: list[str | UID] = [*readable_transfer_syntaxes()]
    contexts = [build_context(uid, syntaxes) for uid in STORAGE_CLASSES]
    return [build_context(Verification), *contexts]
