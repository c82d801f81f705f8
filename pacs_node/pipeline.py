"""The story in one function: read -> gate -> fit -> encode -> diffuse -> decode -> fuse -> guard -> derive.

It knows files and arrays, no network, no database and no runtime: whatever has an `Engine` can run it.
"""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset

from model.bundle import Bundle
from pacs_node.config import OutputSettings, Settings
from pacs_node.derive.bone_image import derive_bone_image
from pacs_node.derive.companion import derive
from pacs_node.derive.key_object import UNTOLD, derive_key_object
from pacs_node.derive.presentation_state import presentation_states
from pacs_node.engine import Engine
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.fit import to_grid
from pacs_node.imaging.fuse import native_layer, subtract_bone
from pacs_node.imaging.gate import check_header
from pacs_node.imaging.gate_pixels import check_pixels
from pacs_node.imaging.guard import Opinions, check_guard, guard_figures
from pacs_node.imaging.read import open_dataset, read_dataset
from pacs_node.imaging.views import mean_layer, views
from pacs_node.records import FloatImage, Inference, Radiograph
from pacs_node.timing import stage

__all__ = [
    "layer_and_opinions",
    "make_companion",
    "make_outputs",
    "make_refusal_note",
    "noise_seed",
    "predicted_bone",
    "run_network",
]


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
    return layer_and_opinions(image, engine, steps, seed)[0]


def layer_and_opinions(image: FloatImage, engine: Engine, steps: int, seed: int) -> tuple[FloatImage, Opinions]:
    """`predicted_bone`, and the layer of each view on its own, filled up by the mean where the view was moved out."""
    several, moved = views(engine.spec.views), engine.spec.downsampling // 2
    # every view starts from the same noise; the engine decides how many of them it runs at once
    shown = np.concatenate([view.shown(image, moved) for view in several])
    layers = engine.coarse_layers(shown, steps, [seed] * len(several))
    undone = [view.undone(layer[0], moved) for view, layer in zip(several, layers, strict=True)]
    coarse = mean_layer(undone)
    with stage("refine"):
        layer: FloatImage = engine.refine(image, coarse[None, None])[0, 0]
    if not np.isfinite(layer).all():
        raise Rejected(ReasonCode.OUTPUT_INVALID, "the network gave values that are not finite")
    return layer, Opinions([np.where(known > 0, view, coarse) for view, known in undone])


def run_network(
    radiograph: Radiograph, engine: Engine, steps: int, seed: int, second_seed: int | None = None
) -> Inference:
    """Suppress bone in one radiograph, at its own resolution and depth.

    Parameters
    ----------
    steps : network evaluations; 0 takes the bundle's own number.
    seed : seed of the noise itself, as from `noise_seed`.
    second_seed : another one, for the guard to compare with.
    """
    steps = steps or engine.spec.steps
    with stage("preprocess"):
        grid_image = to_grid(radiograph, engine.spec.grid)
    with stage("network"):
        layer, opinions = layer_and_opinions(grid_image.pixels, engine, steps, seed)
        if second_seed is not None:
            other = engine.coarse_layers(grid_image.pixels, steps, [second_seed])[0, 0]
            opinions = replace(opinions, second_seed=other)
    with stage("fuse"):
        bone_layer = native_layer(layer, radiograph, grid_image, engine.spec.fusion)
        soft = subtract_bone(radiograph, bone_layer)
    with stage("guard"):
        shown = soft.astype(np.float32) / np.float32(2**radiograph.bits_stored - 1)
        figures = guard_figures(radiograph, shown, grid_image, opinions, engine.spec.fusion)
    return Inference(soft, bone_layer, seed, steps, radiograph.polarity_corrected, figures)


def make_companion(
    received_path: Path, engine: Engine, bundle: Bundle, settings: Settings, *, created_at: datetime | None = None
) -> tuple[Dataset, Inference]:
    """A received file -> its companion alone, ready to be saved; otherwise as `make_outputs`."""
    alone = settings.output.model_copy(update={"bone_image": False, "presentation_states": False})
    outputs, inference = make_outputs(
        received_path, engine, bundle, settings.model_copy(update={"output": alone}), created_at=created_at
    )
    return outputs[""], inference


def make_outputs(
    received_path: Path, engine: Engine, bundle: Bundle, settings: Settings, *, created_at: datetime | None = None
) -> tuple[dict[str, Dataset], Inference]:
    """A received file -> its companion and what [output] wants beside it, ready to be saved.

    Parameters
    ----------
    created_at : aware; now when not given. Nothing but the date and time attributes depends on it.

    Returns
    -------
    outputs : the companion under ``""``; ``bone``, ``statesource`` and ``statecompanion``.
    inference : what the network did, with the figures of the guard.

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
    inference = run_network(radiograph, engine, steps, seed, seed ^ 1 if settings.guard.second_seed else None)
    check_guard(inference.guard or {}, settings.guard)
    with stage("derive"):
        return _outputs(radiograph, inference, bundle, settings.output, created_at or datetime.now(UTC)), inference


def _outputs(
    radiograph: Radiograph, inference: Inference, bundle: Bundle, settings: OutputSettings, created_at: datetime
) -> dict[str, Dataset]:
    source, companion = radiograph.ds, derive(radiograph.ds, inference, bundle, settings, created_at)
    outputs = {"": companion}
    if settings.bone_image:
        outputs["bone"] = derive_bone_image(source, inference, bundle, settings, created_at)
    if settings.presentation_states and radiograph.look is not None:
        states = presentation_states(source, radiograph.look, companion, inference, bundle, settings, created_at)
        outputs |= dict(zip(("statesource", "statecompanion"), states, strict=False))  # none without a series
    return outputs


def make_refusal_note(received_path: Path, refusal: Rejected, settings: Settings) -> Dataset | None:
    """The Key Object about a refused file, where [output] wants one and the file can be referred to."""
    if not settings.output.key_object or refusal.reason in UNTOLD:
        return None
    try:
        return derive_key_object(open_dataset(received_path), refusal, settings.output, datetime.now(UTC))
    except Rejected:
        return None  # what cannot be read cannot be referred to
