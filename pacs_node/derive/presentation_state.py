"""Two presentation states, one for the source and one for its companion, under which both look the same.

A reader who flicks from one to the other sees bone go and nothing else: both show the same P-values, the source through
its own modality, VOI and polarity, the companion, whose pixels are P-values, through its whole range. Without them a
viewer may window the two on its own, and every grey would jump.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from highdicom import VOILUT, PresentationLUTTransformation
from highdicom.content import ModalityLUTTransformation
from highdicom.pr import GrayscaleSoftcopyPresentationState, SoftcopyVOILUTTransformation
from pydicom import Dataset
from pydicom.uid import UID

from model.bundle import Bundle
from pacs_node.config import OutputSettings
from pacs_node.derive.companion import Recipe, companion_uids
from pacs_node.derive.provenance import MANUFACTURER, model_name, software_versions
from pacs_node.derive.study_object import finished, has_identity, stand_in
from pacs_node.derive.verbatim import text
from pacs_node.records import Inference, Look

__all__ = ["presentation_states"]

SERIES_DESCRIPTION = "FLICKER (AI)"


def presentation_states(  # noqa: PLR0913, PLR0917  two images, and what was made from one to the other
    source: Dataset,
    look: Look,
    companion: Dataset,
    inference: Inference,
    bundle: Bundle,
    settings: OutputSettings,
    created_at: datetime,
) -> tuple[Dataset, ...]:
    """A Grayscale Softcopy Presentation State for the source, and one for its companion (PS3.3 A.33.1).

    Parameters
    ----------
    source : the received instance; its pixel data is not needed.
    look : of the source, as it was read; turned over where the polarity was corrected.

    Returns
    -------
    Both in one series, two after that of the companions; none for a source that names no series, which a presentation
    state has to.
    """
    if not has_identity(source):
        return ()
    inverted = look.is_inverted != inference.polarity_corrected
    bits = int(companion.BitsStored)
    recipe = Recipe.of(inference, settings, has_shutter="ShutterShape" in source)
    states = (
        (source, _Shown("SOURCE", _modality_lut(look), _voi_lut(look), inverted)),
        (companion, _Shown("SOFT TISSUE", None, _window(2 ** (bits - 1), 2**bits, "LINEAR"), is_inverted=False)),
    )
    made = []
    for number, (image, shown) in enumerate(states, start=1):
        state = _state(image, shown, bundle)
        _place(state, _uids(source, bundle, recipe, shown.label), number, settings)
        made.append(finished(state, source, created_at))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class _Shown:
    label: str  # ContentLabel, CS
    modality: ModalityLUTTransformation | None
    voi: SoftcopyVOILUTTransformation
    is_inverted: bool


def _uids(source: Dataset, bundle: Bundle, recipe: Recipe, label: str) -> tuple[str, str]:
    """Both states are in one series; each has an instance UID of its own."""
    of = (text(source, "SeriesInstanceUID"), text(source, "SOPInstanceUID"), bundle.digest, recipe)
    series_uid, _ = companion_uids(*of, kind="presentation state")
    return series_uid, companion_uids(*of, kind=f"presentation state {label}")[1]


def _state(image: Dataset, shown: _Shown, bundle: Bundle) -> GrayscaleSoftcopyPresentationState:
    """The state of one image, with placeholders for what `_place` says."""
    referenced = stand_in(image)
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[referenced],
        series_instance_uid=referenced.SeriesInstanceUID,
        series_number=1,
        sop_instance_uid=referenced.SOPInstanceUID,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=model_name(bundle),
        software_versions=software_versions(bundle)[0],
        device_serial_number=bundle.digest,
        content_label=shown.label,
        content_description=f"{shown.label.capitalize()} for flicker, research use only",
        modality_lut_transformation=shown.modality,
        voi_lut_transformations=[shown.voi],
        presentation_lut_transformation=PresentationLUTTransformation("INVERSE" if shown.is_inverted else "IDENTITY"),
    )
    state["SoftwareVersions"].value = software_versions(bundle)  # highdicom wants a tuple, which pydicom does not
    return state


def _place(state: Dataset, uids: tuple[str, str], number: int, settings: OutputSettings) -> None:
    state.SeriesInstanceUID, state.SOPInstanceUID = UID(uids[0]), UID(uids[1])
    state.file_meta.MediaStorageSOPInstanceUID = UID(uids[1])
    state.SeriesNumber, state.InstanceNumber = min(settings.series_number + 2, 2**31 - 1), number
    state.SeriesDescription = SERIES_DESCRIPTION


def _modality_lut(look: Look) -> ModalityLUTTransformation | None:
    """Absent, it is the identity in a presentation state, whatever the image says (PS3.3 C.11.1, A.33.1.3)."""
    if look.table is not None or look.rescale == (1.0, 0.0):
        return None
    slope, intercept = look.rescale
    return ModalityLUTTransformation(rescale_intercept=intercept, rescale_slope=slope, rescale_type="US")


def _voi_lut(look: Look) -> SoftcopyVOILUTTransformation:
    if look.window is not None:
        return _window(*look.window)
    entries = look.table if look.table is not None else np.zeros(1, np.uint16)
    table = VOILUT(0, entries, "Default look of the source")
    # OW: as US, 65536 entries would not fit the length field of an explicit VR (PS3.5 7.1.2)
    table.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    # the first value is signed where the pixels are (PS3.3 C.11.2.1.1), and then all three are written as signed words
    count, vr = len(entries) & 0xFFFF, "SS" if look.first_stored < 0 else "US"
    signed_count = count - 2**16 if vr == "SS" and count >= 2**15 else count
    table.add_new("LUTDescriptor", vr, [signed_count, look.first_stored, 16])
    return SoftcopyVOILUTTransformation(voi_luts=[table])


def _window(center: float, width: float, function: str) -> SoftcopyVOILUTTransformation:
    return SoftcopyVOILUTTransformation(window_center=center, window_width=width, voi_lut_function=function)
