"""Make a derived image once more from its source, and say whether the pixels are the same."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from model.bundle import Bundle
from pacs_node.config import Settings
from pacs_node.derive.companion import pixel_sha256
from pacs_node.derive.verbatim import text
from pacs_node.engine import Engine
from pacs_node.imaging.decode import describe_pixels, stored_indices
from pacs_node.pipeline import make_outputs

__all__ = ["Comparison", "bundle_digest_of", "compared", "made_again"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two images of the same size and depth differ.

    Attributes
    ----------
    identical : every pixel is the same.
    max_difference : largest difference, in grey levels; None where only a digest is left of the first image.
    psnr_db : of the full grey scale; None as above, or where they are identical.
    share_different : share of pixels that differ; None as above.
    """

    identical: bool
    max_difference: int | None = None
    psnr_db: float | None = None
    share_different: float | None = None


def bundle_digest_of(companion: Dataset) -> str | None:
    """The digest among the SoftwareVersions of an image of ours; None where it names none."""
    named = text(companion, "SoftwareVersions").split("\\")
    return next((value for value in named if re.fullmatch("[0-9a-f]{64}", value.strip())), None)


def made_again(source: Path, engine: Engine, bundle: Bundle, settings: Settings) -> dict[str, Dataset]:
    """Every image that these settings make of a source, by SOP Instance UID, also one that the guard would withhold.

    Raises
    ------
    Rejected
        The source has no companion.
    """
    output = settings.output.model_copy(update={"bone_image": True, "presentation_states": False})
    guard = settings.guard.model_copy(update={"withhold": False})
    update = {"output": output, "guard": guard}
    outputs, _ = make_outputs(source, engine, bundle, settings.model_copy(update=update))
    return {str(ds.SOPInstanceUID): ds for ds in outputs.values()}


def compared(first: Dataset | str, second: Dataset) -> Comparison:
    """Compare pixels.

    Parameters
    ----------
    first : an image, or the `pixel_sha256` of one.

    Raises
    ------
    Rejected
        The pixels of ``first`` cannot be read.
    """
    if isinstance(first, str):
        return Comparison(pixel_sha256(second) == first)
    before, after = _pixels(first), _pixels(second)
    if before.shape != after.shape or first.BitsStored != second.BitsStored:
        return Comparison(False)
    apart = np.abs(before - after)
    largest = int(apart.max())
    if largest == 0:
        return Comparison(True, 0, None, 0.0)
    top = 2 ** int(second.BitsStored) - 1
    psnr_db = 10 * math.log10(top**2 / float(np.mean(apart.astype(np.float64) ** 2)))
    return Comparison(False, largest, psnr_db, float(np.count_nonzero(apart) / apart.size))


def _pixels(ds: Dataset) -> NDArray[np.int64]:
    return stored_indices(ds, describe_pixels(ds)).astype(np.int64)
