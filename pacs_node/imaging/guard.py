"""Did only bone change? Figures of every result, and the bounds beyond which it is withheld.

The guard looks at the difference between a radiograph and its companion, whatever made it, brought to a small grid, and
compares it with two things that were not made for the occasion: the radiograph itself, and the layers that the network
found in each of its views before they were averaged, refined and brought to native resolution. Bone is in the
radiograph and in every view; what a network invents, and what goes wrong after it, is not.

Strengths are shares of the radiograph's robust range (`intensity_range`), lengths are px of a grid of 512 px.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from model.bundle import FusionSpec
from pacs_node.config import GuardSettings
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.edges import with_edges
from pacs_node.imaging.fit import GridImage, letterbox, place
from pacs_node.imaging.fuse import shaped_layer, weighed_bone, without_glow
from pacs_node.records import FloatImage, Radiograph

__all__ = ["FIGURES", "Opinions", "check_guard", "guard_figures"]

GRID = 256  # figures are taken here: bone, vessels and nodules are many px wide, and it costs milliseconds
PX = GRID / 512  # px here for one px of the reference grid
TILE_PERIODS = (8, 16, 32, 64)  # model grid px: one latent, and its multiples
FEWEST_LINES = 4  # of a period that an image must hold before its mean says anything
BONE = 0.01  # a layer as strong as this nearby is bone area
SPARED = 2.0  # times what fusion takes for no bone: before and after the refiner it may judge otherwise
OPEN = 0.015  # what no view needs to explain: noise, rounding, and detail that is finer than the views

FIGURES: dict[str, str] = {  # name -> what a bound of it is beyond, in words for people
    "largest_change": "a single pixel changed by more than bone can",
    "outside_bone": "the image changed where there is no bone",
    "beyond_views": "something changed that the network's views do not show",
    "views_apart": "the network's views disagree about a change",
    "seeds_apart": "two noise seeds disagree about a change",
    "unexplained_change": "something changed where the radiograph has no edge",
    "low_frequency_shift": "the grey scale of a region changed",
    "displacement_px": "the image was moved",
    "tile_ratio": "the change follows the tiles of the network",
    "clipped_share": "too many pixels became black or white",
}


@dataclass(frozen=True, slots=True, eq=False)
class Opinions:
    """What the network said before anything was made of it.

    Attributes
    ----------
    views : (grid, grid) float32 bone layers of the single views, in the network's units, in place; one at least.
    second_seed : the layer of the first view from other noise; None where it was not asked for.
    """

    views: Sequence[FloatImage]
    second_seed: FloatImage | None = None


def check_guard(figures: Mapping[str, float], settings: GuardSettings) -> None:
    """Withhold a result that is beyond a bound.

    Raises
    ------
    Rejected
        GUARD_REFUSED; the explanation names every figure that is beyond its bound, with both.
    """
    bounds = settings.bounds()
    beyond = [name for name, value in figures.items() if not value <= bounds[name]]  # NaN is beyond
    if not beyond or not settings.withhold:
        return
    told = "; ".join(f"{FIGURES[name]} ({name} {figures[name]:.3g}, bound {bounds[name]:.3g})" for name in beyond)
    raise Rejected(ReasonCode.GUARD_REFUSED, f"the result was withheld: {told}")


def guard_figures(
    radiograph: Radiograph, soft_tissue: FloatImage, grid_image: GridImage, opinions: Opinions, fusion: FusionSpec
) -> dict[str, float]:
    """Every figure that applies, by the names of `FIGURES`; about 130 ms on one core, however large the image.

    Parameters
    ----------
    soft_tissue : (rows, columns) float32 P-values in [0, 1] of the companion, before any label.
    grid_image : of the same radiograph.
    fusion : how the bundle makes a change of a layer.
    """
    difference = radiograph.pixels - soft_tissue
    if radiograph.padding is not None:
        difference[radiograph.padding] = 0.0
    span = grid_image.high - grid_image.low
    on_grid = letterbox(difference, grid_image.placement) / np.float32(span)
    inside = _covered(grid_image)
    image = _small(np.clip((grid_image.pixels[0, 0] + 1) / 2, 0, 1))[inside]
    change = _small(on_grid)[inside]
    views = [_expected(layer, grid_image, fusion)[inside] for layer in opinions.views]
    figures = {
        "largest_change": float(np.abs(difference).max()),
        "clipped_share": _clipped_share(radiograph.pixels, soft_tissue),
        "tile_ratio": _tile_ratio(on_grid[grid_image.placement.covered()]),
        "low_frequency_shift": float(np.abs(gaussian_filter(change, 24 * PX, mode="nearest", truncate=3)).max()),
        "displacement_px": _displacement_px(image, change),
        "unexplained_change": _unexplained_change(image, change),
    }
    mean: FloatImage = np.mean(opinions.views, axis=0, dtype=np.float32)
    expected = _expected(mean, grid_image, fusion, edged=True)[inside]
    all_of_it = fusion.model_copy(update={"spare_px": 0.0})
    spared = np.abs(expected - _expected(mean, grid_image, all_of_it, edged=True)[inside]) if fusion.spare_px else None
    figures |= _against_views(change, expected, views, spared)
    if opinions.second_seed is not None:
        other = _expected(opinions.second_seed, grid_image, fusion)[inside]
        figures["seeds_apart"] = float(np.abs(_smooth(other - views[0])).max())
    return figures


def _small(image: FloatImage) -> FloatImage:
    """(grid, grid) -> (GRID, GRID), averaged."""
    return letterbox(image, place(image.shape[0], image.shape[1], GRID))


def _covered(grid_image: GridImage) -> tuple[slice, slice]:
    """The part of the small grid that the image fills, without cells that it only touches."""
    placement, cell = grid_image.placement, grid_image.placement.grid / GRID
    first = (placement.top / cell, placement.left / cell)
    last = (first[0] + placement.rows / placement.scale / cell, first[1] + placement.columns / placement.scale / cell)
    rows, columns = (slice(int(np.ceil(a - 0.01)), int(np.floor(b + 0.01))) for a, b in zip(first, last, strict=True))
    return rows, columns


def _expected(layer: FloatImage, grid_image: GridImage, fusion: FusionSpec, *, edged: bool = False) -> FloatImage:
    """What the bundle's fusion would take out for this layer, as a share of the robust range, on the small grid.

    ``edged``: with its edges as strong as the fusion makes them, which is finer than what the views are compared in.
    """
    inside = grid_image.placement.covered()
    if fusion.highpass_px == 0:
        shaped = shaped_layer(layer, grid_image.placement, fusion)
    else:
        part = weighed_bone(layer[inside], fusion)
        # as `shaped_layer`, but for the widest filter of all on fewer pixels: what it leaves is smooth
        shaped = np.zeros_like(layer)
        shaped[inside] = part - _lowpass(part, fusion.highpass_px)
    if edged and fusion.edge_gain > 1:
        shaped[inside] = with_edges(shaped[inside], grid_image.pixels[0, 0][inside], fusion.edge_gain)
    shaped *= np.float32(0.5)  # the network's range is 2
    if fusion.highpass_px > 0:
        shaped[inside] = without_glow(shaped[inside], (grid_image.pixels[0, 0][inside] + 1) / 2, 0.0, 1.0)
    return _small(shaped)


def _lowpass(image: FloatImage, sigma_px: float) -> FloatImage:
    """Gaussian of an image, taken on blocks of an eighth of its sigma."""
    block = max(1, int(sigma_px // 8))
    rows, columns = (-(-size // block) * block for size in image.shape)
    padded = np.pad(image, ((0, rows - image.shape[0]), (0, columns - image.shape[1])), mode="edge")
    blocks = padded.reshape(rows // block, block, columns // block, block).mean(axis=(1, 3))
    low = gaussian_filter(blocks, sigma_px / block, mode="nearest")
    return np.repeat(np.repeat(low, block, axis=0), block, axis=1)[: image.shape[0], : image.shape[1]]


def _smooth(image: FloatImage, px: float = 2.0) -> FloatImage:
    smoothed: FloatImage = gaussian_filter(image, px * PX, mode="nearest")
    return smoothed


def _band(image: FloatImage, finest_px: float, coarsest_px: float) -> FloatImage:
    return _smooth(image, finest_px) - _smooth(image, coarsest_px)


def _against_views(
    change: FloatImage, expected: FloatImage, views: Sequence[FloatImage], spared: FloatImage | None
) -> dict[str, float]:
    """Spread of the views, and what changed beyond what is ``expected`` of their mean.

    A change is explained up to half of the spread of the views there, a seventh of the bone around it (the refiner
    sharpens rims, and native resolution shows finer ones), twice what fusion ``spared`` there (of the refined layer it
    may spare more, or less), and `OPEN`.
    """
    mean: FloatImage = np.mean(views, axis=0, dtype=np.float32)
    apart = np.max([np.abs(_smooth(view - mean)) for view in views], axis=0)
    bone_nearby = _smooth(np.abs(mean), 5)
    unexplained = np.abs(_band(change - expected, 2, 12))
    open_to_doubt = OPEN + 0.5 * apart + 0.15 * bone_nearby
    if spared is not None:
        open_to_doubt += SPARED * _smooth(spared, 5)
    figures = {"beyond_views": float((unexplained / open_to_doubt).max())}
    outside = bone_nearby < BONE
    figures["outside_bone"] = float(np.sqrt(np.mean(change[outside] ** 2))) if outside.any() else 0.0
    if len(views) > 1:
        figures["views_apart"] = float(apart.max())
    return figures


def _unexplained_change(image: FloatImage, change: FloatImage) -> float:
    """Strongest local change whose pattern the radiograph does not have: correlation below .3 in the same band."""
    seen, changed = _band(image, 1, 5), _band(change, 1, 5)
    together, seen_energy, changed_energy = (
        _smooth(product, 5) for product in (seen * changed, seen * seen, changed * changed)
    )
    unlike = together < 0.3 * np.sqrt(seen_energy * changed_energy)
    return float(np.sqrt(np.where(unlike, np.maximum(changed_energy, 0), 0).max()))


def _displacement_px(image: FloatImage, change: FloatImage) -> float:
    """How far the radiograph would have to move to explain the change, least squares of the first order.

    References
    ----------
    Lucas & Kanade (1981), eq. 5, over the whole image.
    """
    down, right = np.gradient(_smooth(image))
    smoothed = _smooth(change)
    normal = np.array([[np.vdot(down, down), np.vdot(down, right)], [np.vdot(down, right), np.vdot(right, right)]])
    moved = np.linalg.lstsq(normal, np.array([np.vdot(down, smoothed), np.vdot(right, smoothed)]), rcond=None)[0]
    return float(np.hypot(*moved) / PX)


def _tile_ratio(change: FloatImage) -> float:
    """Steps across lines of one period and phase, against the median phase; 1 where nothing repeats."""
    largest = 1.0
    for axis in (0, 1):
        steps = np.abs(np.diff(change, axis=axis)).mean(axis=1 - axis)
        for period in TILE_PERIODS:
            whole = steps[: len(steps) // period * period].reshape(-1, period)
            if len(whole) < FEWEST_LINES:
                continue
            phases = np.median(whole, axis=0)  # a seam is at every tile; the frame of a film is at one line
            # a change that is nearly nothing has steps of rounding only
            largest = max(largest, float(phases.max() / max(float(np.median(phases)), 1e-4)))
    return largest


def _clipped_share(source: FloatImage, result: FloatImage) -> float:
    """Share of pixels that became black or white and were neither before."""
    ended = (result <= 0) | (result >= 1)
    return float(np.count_nonzero(ended & (source > 0) & (source < 1)) / source.size)
