"""The story in one function: read -> gate -> fit -> encode -> diffuse -> decode -> fuse -> derive.

It knows files and arrays, no network, no database and no runtime: whatever has an `Engine` can run it.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset

from model.bundle import Bundle
from pacs_node.config import Settings
from pacs_node.derive.companion import derive
from pacs_node.engine import Engine
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.fit import to_grid
from pacs_node.imaging.fuse import native_layer, subtract_bone
from pacs_node.imaging.gate import check_header
from pacs_node.imaging.gate_pixels import check_pixels
from pacs_node.imaging.read import open_dataset, read_dataset
from pacs_node.imaging.views import mean_layer, views
from pacs_node.records import FloatImage, Inference, Radiograph
from pacs_node.timing import stage

__all__ = ["make_companion", "noise_seed", "predicted_bone", "run_network"]


def noise_seed(sop_instance_uid: str, bundle_digest: str, steps: int, seed: int) -> int:
    """Seed of the one noise generator: the same image, bundle and recipe always start from the same noise.

    Returns
    -------
    The first 8 bytes of a SHA-256 without their highest bit, so that the seed fits a database's signed integer.
    """
    recipe = json.dumps([sop_instance_uid, bundle_digest, steps, seed])
    return int.from_bytes(hashlib.sha256(recipe.encode()).digest()[:8]) & (2**63 - 1)


def predicted_bone(image: FloatImage, engine: Engine, steps: int, seed: int) -> FloatImage:
    """Bone layer on the grid: the mean over the bundle's views of the image, refined where it has a refiner.

    Parameters
    ----------
    image : (1, 1, grid, grid) float32 in [-1, 1].
    steps : network evaluations of each view.
    seed : of all noise.

    Returns
    -------
    (grid, grid) float32 in the network's units.

    Raises
    ------
    Rejected
        OUTPUT_INVALID: a value is not finite.
    """
    several, moved = views(engine.spec.views), engine.spec.downsampling // 2
    # every view starts from the same noise; the engine decides how many of them it runs at once
    shown = np.concatenate([view.shown(image, moved) for view in several])
    layers = engine.coarse_layers(shown, steps, [seed] * len(several))
    coarse = mean_layer([view.undone(layer[0], moved) for view, layer in zip(several, layers, strict=True)])
    with stage("refine"):
        layer: FloatImage = engine.refine(image, coarse[None, None])[0, 0]
    if not np.isfinite(layer).all():
        raise Rejected(ReasonCode.OUTPUT_INVALID, "the network gave values that are not finite")
    return layer


def run_network(radiograph: Radiograph, engine: Engine, steps: int, seed: int) -> Inference:
    """Suppress bone in one radiograph, at its own resolution and depth.

    Parameters
    ----------
    steps : network evaluations; 0 takes the bundle's own number.
    seed : seed of the noise itself, as from `noise_seed`.
    """
    steps = steps or engine.spec.steps
    with stage("preprocess"):
        grid_image = to_grid(radiograph, engine.spec.grid)
    with stage("network"):
        layer = predicted_bone(grid_image.pixels, engine, steps, seed)
    with stage("fuse"):
        bone_layer = native_layer(layer, radiograph, grid_image, engine.spec.fusion)
        soft = subtract_bone(radiograph, bone_layer)
        return Inference(soft, bone_layer, seed, steps, radiograph.polarity_corrected)


def make_companion(
    received_path: Path, engine: Engine, bundle: Bundle, settings: Settings, *, created_at: datetime | None = None
) -> tuple[Dataset, Inference]:
    """A received file -> its companion, ready to be saved.

    Parameters
    ----------
    created_at : aware; now when not given. Nothing but the date and time attributes depends on it.

    Raises
    ------
    Rejected
        The input will never have a companion; every reason of the steps.
    ModelError
        From the engine.
    """
    with stage("decode DICOM"):
        ds = open_dataset(received_path)
        check_header(ds, settings.gate)  # before decoding: a hip need not be decoded to be refused
        radiograph = read_dataset(ds)
    del ds  # the encoded pixels are not needed any more
    with stage("gate"):
        radiograph = check_pixels(radiograph, settings.gate)
    steps = settings.model.steps or bundle.spec.steps
    seed = noise_seed(str(radiograph.ds.SOPInstanceUID), bundle.digest, steps, settings.model.seed)
    inference = run_network(radiograph, engine, steps, seed)
    with stage("derive"):
        companion = derive(radiograph.ds, inference, bundle, settings.output, created_at or datetime.now(UTC))
    return companion, inference
