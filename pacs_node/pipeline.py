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
from model.sampler import Recipe, sample
from pacs_node.config import Settings
from pacs_node.derive.companion import derive
from pacs_node.engine import Engine
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.fit import to_grid
from pacs_node.imaging.fuse import native_layer, subtract_bone
from pacs_node.imaging.gate import check_header
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
    moved = engine.spec.downsampling // 2
    coarse = mean_layer(
        [view.undone(_layer(view.shown(image, moved), engine, steps, seed), moved) for view in views(engine.spec.views)]
    )
    with stage("refine"):
        layer: FloatImage = engine.refine(image, coarse[None, None])[0, 0]
    if not np.isfinite(layer).all():
        raise Rejected(ReasonCode.OUTPUT_INVALID, "the network gave values that are not finite")
    return layer


def _layer(image: FloatImage, engine: Engine, steps: int, seed: int) -> FloatImage:
    """What the decoder shows of the radiograph, minus what it shows of the sampled soft tissue.

    Both images have passed the decoder, so that what the autoencoder loses or adds is in both and drops out.
    """
    with stage("encode"):
        condition = engine.encode(image)

    def predict(x_t: FloatImage, t: float) -> FloatImage:
        with stage("step"):
            return engine.predict(x_t, np.full(x_t.shape[0], t, dtype=np.float32), condition)

    soft = sample(predict, condition, Recipe.of(engine.spec), steps, seed)
    # one after the other: decoding is the widest part of the network, and a batch of two would double the peak memory
    with stage("decode"):
        layer: FloatImage = engine.decode(condition)[0, 0] - engine.decode(np.asarray(soft, dtype=np.float32))[0, 0]
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
        return Inference(subtract_bone(radiograph, bone_layer), bone_layer, seed, steps)


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
    steps = settings.model.steps or bundle.spec.steps
    seed = noise_seed(str(radiograph.ds.SOPInstanceUID), bundle.digest, steps, settings.model.seed)
    inference = run_network(radiograph, engine, steps, seed)
    with stage("derive"):
        companion = derive(radiograph.ds, inference, bundle, settings.output, created_at or datetime.now(UTC))
    return companion, inference
