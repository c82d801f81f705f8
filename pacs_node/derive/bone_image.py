"""The bone image: what was taken out of a radiograph, as a second Secondary Capture beside the companion.

A layer holds small values of both signs (a high-passed one is negative beside bone), so it is stretched to be readable.
The stretch is linear and stands in DerivationDescription: the layer can be had back from the image, but for rounding.
"""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from model.bundle import Bundle
from pacs_node.config import OutputSettings
from pacs_node.derive.companion import Product, derive_image, stored_bits
from pacs_node.derive.provenance import how, private_code
from pacs_node.records import FloatImage, Inference

__all__ = ["IMAGE_TYPE", "derive_bone_image", "scale_of"]

IMAGE_TYPE = ("DERIVED", "SECONDARY", "BONE")
SERIES_DESCRIPTION = "BONE LAYER (AI)"
LABEL = ("AI BONE LAYER", "DERIVED - RESEARCH USE")
PERCENTILES = (0.1, 99.9)
FAINTEST = 0.01  # of the grey scale: a layer that is nearly nothing is not blown up to noise


def derive_bone_image(
    source: Dataset, inference: Inference, bundle: Bundle, settings: OutputSettings, created_at: datetime
) -> Dataset:
    """The bone layer of one source image as a Secondary Capture; arguments, result and errors as of `derive`.

    Its series has the number after that of the companions.
    """
    low, high = scale_of(inference.bone_layer)
    top = 2 ** stored_bits(source) - 1
    share = np.clip((inference.bone_layer - low) / (high - low), 0, 1)
    pixels: NDArray[np.uint16] = np.rint(share * top).astype(np.uint16)
    product = Product(
        kind="bone image",
        image_type=IMAGE_TYPE,
        code=private_code("BONE_LAYER", "Predicted bone as taken out of the soft tissue image"),
        description="Bone layer as subtracted from the P-values of the source. Scaled for reading: pixel value 0 is a "
        f"layer of {low:.5f}, {top} one of {high:.5f} of the full grey scale, linear between. {how(bundle, inference)}",
        series_description=SERIES_DESCRIPTION,
        series_number=min(settings.series_number + 1, 2**31 - 1),
        label=LABEL,
    )
    return derive_image(product, pixels, source, inference, bundle, settings, created_at)


def scale_of(bone_layer: FloatImage) -> tuple[float, float]:
    """The layer's values that become black and white, rounded as they are written: its robust range.

    Returns
    -------
    low, high : in P-values, at least `FAINTEST` apart; ``low`` is at most 0, so that no bone is never the brighter.
    """
    found = np.percentile(bone_layer, PERCENTILES)
    low = round(min(0.0, float(found[0])), 5)
    return low, round(max(float(found[1]), low + FAINTEST), 5)
