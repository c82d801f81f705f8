"""One pair, from two files to two squares of one form: read, turn around, register, crop, stretch, measure."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pacs_node.imaging.fit import GridImage, Placement, intensity_range, letterbox, place, to_grid
from pacs_node.records import FloatImage, Radiograph
from training.ingest.pictures import read_picture
from training.ingest.polarity import NEGATIVE_BELOW, chest_score, turned
from training.ingest.refusal import Refusal, Refused
from training.ingest.register import GRID, NEGLIGIBLE, Registration, coarse_shift, grid_for, register
from training.ingest.resample import common_part, onto
from training.ingest.tone import tone_curve

__all__ = ["VERSION", "Normalised", "Polarity", "Recipe", "normalise"]

Polarity = Literal["auto", "positive", "negative"]
VERSION = 1  # of what this module computes: another one makes every pair anew
# Pairs of two people: at most .12 of the tiles and .06 of correlation; true twins: at least .77 and .66 (measured on
# eight real pairs and on their shuffled twins).
FEWEST_MATCHED = 0.3
LEAST_SIMILAR = 0.2
LARGEST_STRETCH = 1.15  # of the affine map; more is another picture, or a match that went astray
SMALLEST_PART = 0.7  # of the radiograph that the twin has to cover
SAME = 1 / 255  # a grey level of 8 bits: twins that differ nowhere by more are one picture
COARSE = 256  # px of the square on which the two polarities are compared


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to a pair.

    Attributes
    ----------
    size : rows and columns of the result, px; the longer side of the picture fills it, the rest is black.
    polarity : of the radiographs as delivered; "auto" looks. A twin is compared with its radiograph in any case.
    register : whether the twin is moved; the displacement is measured and bounded in any case.
    deform : whether a smooth warp follows the affine map.
    clahe : clip limit of a contrast-limited adaptive equalisation of both twins, 0 to 1 (.01 is mild); None for none.
    max_residual_px : a pair with more displacement left is refused; px of a square of 1024.
    """

    size: int = 1024
    polarity: Polarity = "auto"
    register: bool = True
    deform: bool = False
    clahe: float | None = None
    max_residual_px: float = 1.5

    def facts(self) -> dict[str, Any]:
        """Every option and the version, as plain values."""
        return asdict(self) | {"version": VERSION}


@dataclass(frozen=True, slots=True, eq=False)
class Normalised:
    """Two twins, (size, size) float32 in [0, 1], and the fields of `PairRecord` that were found out."""

    cxr: FloatImage
    soft: FloatImage
    facts: dict[str, Any]


def normalise(cxr_path: Path, soft_path: Path, recipe: Recipe) -> Normalised:
    """Read a pair and bring it to one form.

    Raises
    ------
    Refused
        Every reason of `read_picture`; SAME_PICTURE, NOT_TWINS, OUT_OF_REGISTER, LITTLE_OVERLAP.
    """
    facts: dict[str, Any] = {}
    try:
        cxr, soft = _read(cxr_path, "the radiograph"), _read(soft_path, "the soft-tissue picture")
        facts |= {"cxr_size": cxr.pixels.shape, "soft_size": soft.pixels.shape}
        _require_two(cxr, soft)
        cxr, soft, turns = _positives(cxr, soft, recipe.polarity)
        facts |= turns
        cxr, soft = _laid_together(cxr, soft, recipe, facts)
    except Refused as error:
        error.facts = facts
        raise
    return _finished(cxr, soft, recipe, facts)


def _laid_together(
    cxr: Radiograph, soft: Radiograph, recipe: Recipe, facts: dict[str, Any]
) -> tuple[Radiograph, Radiograph]:
    """The twin on the pixels of the radiograph, and both cut to what both show; notes what was measured."""
    grid = grid_for(max(cxr.pixels.shape))
    placements = _placed(cxr, grid), _placed(soft, grid)
    squares = [letterbox(_stretched(image), at) for image, at in zip((cxr, soft), placements, strict=True)]
    found = register(squares[0], squares[1], placements[0], search=recipe.register, deform=recipe.deform)
    facts |= _registered(found, GRID / grid)
    _require_twins(found, recipe)
    if found.shift_px <= NEGLIGIBLE and cxr.pixels.shape == soft.pixels.shape:
        return cxr, soft
    pixels, known = onto(soft, found.motion, placements)
    box = common_part(known)
    _require_overlap(box, cxr.pixels.shape)
    return _cut(cxr, box), _cut(Radiograph(pixels, None, soft.bits_stored, soft.ds), box)


def _read(path: Path, what: str) -> Radiograph:
    try:
        return read_picture(path)
    except Refused as error:
        raise Refused(error.reason, f"{what}: {error.explanation}") from None


def _placed(image: Radiograph, grid: int) -> Placement:
    rows, columns = image.pixels.shape
    return place(rows, columns, grid)


def _stretched(radiograph: Radiograph) -> FloatImage:
    """The picture on its robust range, so that a marker or a border does not set the scale."""
    valid = None if radiograph.padding is None else ~radiograph.padding
    low, high = intensity_range(radiograph.pixels, valid)
    stretched: FloatImage = np.clip((radiograph.pixels - low) / (high - low), 0, 1).astype(np.float32)
    return stretched


def _positives(cxr: Radiograph, soft: Radiograph, polarity: Polarity) -> tuple[Radiograph, Radiograph, dict[str, Any]]:
    """Both twins as positives, and what was turned around for it."""
    opposite = _are_opposite(cxr, soft)
    scores = chest_score(cxr.pixels), chest_score(soft.pixels)
    score = (scores[0] - scores[1] if opposite else scores[0] + scores[1]) / 2
    cxr_negative = score < NEGATIVE_BELOW if polarity == "auto" else polarity == "negative"
    soft_negative = cxr_negative != opposite
    facts = {"cxr_inverted": cxr_negative, "soft_inverted": soft_negative, "chest_score": round(abs(score), 3)}
    return turned(cxr) if cxr_negative else cxr, turned(soft) if soft_negative else soft, facts


def _are_opposite(cxr: Radiograph, soft: Radiograph) -> bool:
    """Whether one is the negative of the other: their structures agree best with opposite signs."""
    at = _placed(cxr, COARSE)
    first = letterbox(_stretched(cxr), at)
    second = letterbox(_stretched(soft), _placed(soft, COARSE))
    return coarse_shift(first[at.covered()], second[at.covered()])[1] < 0


def _require_two(cxr: Radiograph, soft: Radiograph) -> None:
    if cxr.pixels.shape == soft.pixels.shape and np.allclose(cxr.pixels, soft.pixels, rtol=0, atol=SAME):
        raise Refused(Refusal.SAME_PICTURE, "the twin is the radiograph itself, with its bones: bring the right one")


def _registered(found: Registration, unit: float) -> dict[str, Any]:
    affine = found.motion.matrix[:2] * [1.0, 1.0, unit]
    matrix = tuple(tuple(round(float(value), 6) for value in row) for row in affine)
    lengths = {"shift_px": found.shift_px, "residual_before_px": found.residual_before_px}
    lengths |= {"residual_px": found.residual_px, "similarity": found.similarity, "matched_share": found.matched_share}
    return {"matrix": matrix} | {key: round(value, 3) if np.isfinite(value) else None for key, value in lengths.items()}


def _require_twins(found: Registration, recipe: Recipe) -> None:
    if found.matched_share < FEWEST_MATCHED or found.similarity < LEAST_SIMILAR:
        measured = f"{found.matched_share:.0%} of the pieces match, correlation {found.similarity:.2f}"
        raise Refused(Refusal.NOT_TWINS, f"the two pictures show different things ({measured}): check the pairing")
    stretch = np.linalg.svd(found.motion.matrix[:2, :2], compute_uv=False)
    if max(stretch.max(), 1 / stretch.min()) > LARGEST_STRETCH:
        raise Refused(Refusal.OUT_OF_REGISTER, "the twin would have to be stretched by more than 15 %")
    if found.residual_px > recipe.max_residual_px:
        left = f"{found.residual_px:.2f} px of 1024 are left, more than {recipe.max_residual_px:g}"
        raise Refused(Refusal.OUT_OF_REGISTER, f"{left}: try --deform, or allow it with --max-residual")


def _cut(image: Radiograph, box: tuple[slice, slice]) -> Radiograph:
    padding = None if image.padding is None else image.padding[box]
    return Radiograph(np.ascontiguousarray(image.pixels[box]), padding, image.bits_stored, image.ds)


def _require_overlap(box: tuple[slice, slice], shape: tuple[int, ...]) -> None:
    share = float(np.prod([side.stop - side.start for side in box])) / float(np.prod(shape))
    if share < SMALLEST_PART:
        told = f"the twin covers {share:.0%} of the radiograph, less than {SMALLEST_PART:.0%}"
        raise Refused(Refusal.LITTLE_OVERLAP, told)


def _finished(cxr: Radiograph, soft: Radiograph, recipe: Recipe, facts: dict[str, Any]) -> Normalised:
    grids = [to_grid(image, recipe.size) for image in (cxr, soft)]
    part = grids[0].placement.covered()
    first, second = (_equalised(grid, part, recipe.clahe) for grid in grids)
    facts |= {"picture": cxr.pixels.shape, "tone_curve": tone_curve(second[part], first[part])}
    return Normalised(first, second, facts)


def _equalised(grid: GridImage, part: tuple[slice, slice], clip_limit: float | None) -> FloatImage:
    image: FloatImage = (grid.pixels[0, 0] + 1) / 2
    if clip_limit is not None:
        from skimage.exposure import equalize_adapthist  # noqa: PLC0415 - half a second, and only with --clahe

        image[part] = equalize_adapthist(image[part], clip_limit=clip_limit, nbins=1024)
    return image
