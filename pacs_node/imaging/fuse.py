"""A bone layer -> soft tissue at native resolution and source depth."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from model.bundle import FusionSpec
from pacs_node.imaging.compact import without_compact
from pacs_node.imaging.edges import with_edges
from pacs_node.imaging.fit import STRIP, GridImage, Placement, native_strips
from pacs_node.imaging.guide import FINER, detailed
from pacs_node.records import FloatImage, Radiograph

__all__ = ["native_layer", "quantised", "shaped_layer", "subtract_bone", "weighed_bone", "without_glow"]

# Share of the anatomy's range over which brightening sets in. A tenth takes the glow of a black margin from .031 to
# .005 of the grey scale at its worst (mean of 29 radiographs, most of them real) and costs the real pairs next to
# nothing over dark lung: ribs_left .067 for .063, bsr_tone .407 as before. A fifth: .002, and .072.
DARK_SHARE = 0.1


def shaped_layer(layer: FloatImage, placement: Placement, fusion: FusionSpec) -> FloatImage:
    """The part of a predicted layer that the bundle trusts, on the grid.

    Bone absorbs, so it only ever adds brightness: where the whole layer is used it is cut at 0, and the companion is
    nowhere brighter than its source. A high-passed layer has its mean taken away and is left signed; cutting it would
    keep the crests of ribs, drop the troughs between them, and darken the image. Compact bumps between ribs are left
    out first (`pacs_node.imaging.compact`), where the bundle says so.

    Parameters
    ----------
    layer : (grid, grid) float32, image minus soft tissue, in the network's units.

    Returns
    -------
    (grid, grid) float32, 0 outside of the image.
    """
    inside = placement.covered()
    part = weighed_bone(layer[inside], fusion)
    if fusion.highpass_px > 0:
        # the crop is filtered, so that the letterbox does not pull the edges of the image towards 0
        part = part - gaussian_filter(part, fusion.highpass_px, mode="nearest")
    else:
        part = np.maximum(part, 0.0)
    shaped = np.zeros_like(layer, dtype=np.float32)
    shaped[inside] = part
    return shaped


def weighed_bone(part: FloatImage, fusion: FusionSpec) -> FloatImage:
    """As much of a layer as is subtracted, low frequencies included.

    Parameters
    ----------
    part : (rows, columns) float32 of the grid without its letterbox, in the network's units.
    """
    if fusion.spare_px == 0:
        return part * np.float32(fusion.strength)
    spared, ribs = without_compact(part, fusion.spare_px)
    between = fusion.strength if fusion.gap_strength is None else fusion.gap_strength
    weighed: FloatImage = spared * (np.float32(between) + np.float32(fusion.strength - between) * ribs)
    return weighed


def without_glow(bone_layer: FloatImage, pixels: FloatImage, low: float, high: float) -> FloatImage:
    """The layer with its brightening faded out towards black.

    A high-passed layer is negative beside every bone. Over lung and tissue that belongs to the contrast that is taken
    out; over collimation, air beside the patient and the gaps of printed letters it would be a glow around the bone.

    Parameters
    ----------
    bone_layer : float32 in P-value units; negative where it brightens.
    pixels : the radiograph's P-values, of the same shape.
    low, high : the robust range of the anatomy, as from `intensity_range`.

    Returns
    -------
    Array like ``bone_layer``, 0 instead of negative where ``pixels`` are at ``low`` or below.
    """
    room = np.clip((pixels - np.float32(low)) * np.float32(1 / (DARK_SHARE * (high - low))), 0.0, 1.0)
    faded: FloatImage = np.minimum(bone_layer, 0.0) * room + np.maximum(bone_layer, 0.0)
    return faded


def native_layer(layer: FloatImage, radiograph: Radiograph, grid_image: GridImage, fusion: FusionSpec) -> FloatImage:
    """What is subtracted from a radiograph for a bone layer on the grid.

    What can be done on the grid is done there; the native image is gone through once, in strips.

    Parameters
    ----------
    layer : (grid, grid) float32 in the network's units, as from the network.
    grid_image : of the same radiograph.

    Returns
    -------
    (rows, columns) float32 in P-value units; exactly 0 where the shaped layer is 0 for twenty-one cells around.
    """
    units = np.float32((grid_image.high - grid_image.low) / 2)
    placement, pixels = grid_image.placement, radiograph.pixels
    if pixels.shape != (placement.rows, placement.columns):
        raise ValueError("the layer was not made from an image of this size")
    shaped = shaped_layer(layer, placement, fusion)
    if fusion.edge_gain > 1:
        inside = placement.covered()
        shaped[inside] = with_edges(shaped[inside], grid_image.pixels[0, 0][inside], fusion.edge_gain)
    shaped *= units
    if fusion.guided and placement.scale >= FINER:
        shaped, placement = detailed(shaped, pixels, placement, grid_image.high - grid_image.low)
    bone_layer = np.empty(pixels.shape, dtype=np.float32)
    for strip, values in native_strips(shaped, placement):
        if fusion.highpass_px == 0:
            np.maximum(values, 0.0, out=bone_layer[strip])  # a spline undershoots beside edges: never add brightness
        else:
            bone_layer[strip] = without_glow(values, pixels[strip], grid_image.low, grid_image.high)
    if radiograph.padding is not None:
        bone_layer[radiograph.padding] = 0.0
    return bone_layer


def quantised(pixels: FloatImage, bits_stored: int) -> NDArray[np.uint16]:
    """P-values in [0, 1] -> integers 0 .. 2**bits_stored - 1, rounded to nearest."""
    levels = np.float32(2**bits_stored - 1)
    stored = np.empty(pixels.shape, dtype=np.uint16)
    for strip in _strips(len(pixels)):
        stored[strip] = np.rint(np.clip(pixels[strip], 0.0, 1.0) * levels)
    return stored


def _strips(rows: int) -> list[slice]:
    return [slice(first, first + STRIP) for first in range(0, rows, STRIP)]


def subtract_bone(radiograph: Radiograph, bone_layer: FloatImage) -> NDArray[np.uint16]:
    """Take the bone layer out in float, then round once.

    Parameters
    ----------
    bone_layer : (rows, columns) float32, in P-value units.

    Returns
    -------
    (rows, columns) uint16, 0 .. 2**bits_stored - 1: exactly the quantised input where the layer is 0, 0 at padding.
    """
    soft = np.empty(bone_layer.shape, dtype=np.uint16)
    for strip in _strips(len(soft)):
        soft[strip] = quantised(radiograph.pixels[strip] - bone_layer[strip], radiograph.bits_stored)
    if radiograph.padding is not None:
        soft[radiograph.padding] = 0
    return soft
