"""The figures as tables, and what they mean in words."""

import numpy as np

from pacs_node.bench.rows import Grid
from training.lesions.places import PLACES
from training.lesions.run import Found, Lesion
from training.lesions.shapes import NODULES
from training.lesions.summary import (
    LEAST_MM,
    TARGET,
    Spread,
    finite,
    in_place,
    of_kind,
    of_sizes,
    spread,
    strata,
    target,
)

__all__ = ["HOW_IT_IS_MADE", "HOW_TO_READ", "grids", "headline"]

STRATIFIED = {
    False: "radiographs without twins (places from the predicted layer)",
    True: "pairs (places from the true layer)",
}

HOW_IT_IS_MADE = (
    "Each radiograph gets four sets of up to five nodules, and one of a pneumothorax edge, a catheter and a "
    "consolidation, at least 25 mm apart (lines and consolidation may touch). It goes through the service's own "
    "pipeline without and with them, from the same noise.",
    "**Contrast by physics.** A nodule is a lobed ball that takes the place of lung (.26 g/cm3): solid 1.06 g/cm3, "
    "sub-solid .22 to .42 g/cm3 above lung, calcified as 2.6 g/cm3 of soft tissue. Attenuation .205 cm2/g (120 kVp "
    "behind 15 cm of water), of which scatter takes 10 to 50 %.",
    "**P-values to attenuation.** A film has no absolute scale. One smooth rising curve is assumed for each "
    "radiograph, that which brings the quantiles of the box around its lungs to those that simulated people have "
    "there: mediastinum against lung sets the contrast. Edge enhancement of the scanner is not applied to lesions, "
    "and their shadow in the noise is left out.",
    "**Millimetres** are those of the file where it has them, else both lungs together are taken to be 250 mm wide.",
    "**Behind ribs** means that bone covers 65 % of the lesion or more, **between ribs** 20 % or less. Bone is where "
    "the layer, high-passed, is above a fifth of its 95th percentile in the lungs: the true layer for pairs, the "
    "predicted layer of the untouched film for radiographs, whole, before fusion weighs it, so that two fusions of one "
    "network are measured at the same places. A rib that the network misses counts as *between* there.",
)
HOW_TO_READ = (
    "**Kept**: contrast (mean of the core less mean of a ring 1 to 5 mm outside) of the companion's change over that "
    "of the radiograph's change. 1: all of it. 5 %: the fifth percentile, the worst twentieth.",
    "**Correlation, Dice**: of the two changes over lesion and ring; of what is brighter than half of its own height.",
    "**Read**: the same contrast in the images themselves, as a reader sees it, rib or vessel included; median, in "
    "thousandths of the grey scale.",
    "**To surroundings**: the lesion's contrast over the deviation of the same measurement (core less ring) at the "
    "places within 15 mm, after over before: above 1 the lesion stands out more against ribs, vessels and noise of its "
    "own size. **Rises**: share of lesions for which that holds.",
    "**False structures**: places more than 8 mm from every lesion where its presence changed the companion by more "
    "than 2 % of the anatomy's range over 7 mm2.",
)


def headline(found: Found) -> list[str]:
    """Whether the target is met, one sentence for each kind of data."""
    said = []
    for known, name in STRATIFIED.items():
        result = target([each for each in found.lesions if each.truth_known is known])
        if result.kept is None or result.gain is None:
            continue
        met = "met" if result.kept_enough else "**not met**"
        said.append(
            f"On {name}, nodules of {LEAST_MM:g} mm and more between ribs keep {result.kept.median:.2f} of their "
            f"contrast in the median and {result.kept.low:.2f} at the 5th percentile ({result.kept.count} nodules; "
            f"target {TARGET[0]:.2f} and {TARGET[1]:.2f}: {met}). Behind ribs, contrast to the surroundings rises for "
            f"{100 * result.rises:.0f} % (median {result.gain.median:.2f} times, {result.gain.count} nodules)."
        )
    return said


def grids(found: Found) -> list[Grid]:
    """Every table; those of one kind of data together."""
    made = []
    for known, name in STRATIFIED.items():
        lesions = [each for each in found.lesions if each.truth_known is known]
        if lesions:
            made += [_by_kind(lesions, name), _by_size(lesions, name), _false(found, known, name)]
    return made


def _by_kind(lesions: list[Lesion], name: str) -> Grid:
    columns = ("lesion", "place", "n", "kept", "5 %", "correlation", "Dice", "read before", "read after")
    rows = []
    for kind, place, group in strata(lesions):
        remains = [each.remains for each in group]
        kept = spread(each.kept for each in remains)
        gains = finite(each.to_noise_gain for each in remains)
        shape = [_median([getattr(each, key) for each in remains], 2) for key in ("correlation", "dice")]
        read = [_median([1000 * getattr(each, key) for each in remains], 1) for key in ("read_in", "read_out")]
        gained = [f"{np.median(gains):.2f}", f"{100 * np.mean(np.array(gains) > 1):.0f} %"] if gains else ["", ""]
        rows.append([kind, place or "", len(group), *_kept(kept), *shape, *read, *gained])
    return Grid(f"{name}: by kind and place", (*columns, "to surroundings", "rises"), rows)


def _median(values: list[float], digits: int) -> str:
    known = finite(values)
    return f"{np.median(known):.{digits}f}" if known else ""


def _kept(found: Spread | None) -> list[str]:
    return ["", ""] if found is None else [f"{found.median:.2f}", f"{found.low:.2f}"]


def _by_size(lesions: list[Lesion], name: str) -> Grid:
    """Contrast kept: median and 5th percentile in one cell, for each kind and each place."""
    curves = [
        dict(of_sizes(lesions, lambda each: each.remains.kept, chosen))
        for chosen in (*map(in_place, PLACES[:2]), *map(of_kind, NODULES))
    ]
    sizes = sorted({size for curve in curves for size in curve})
    cells = [[_cell(curve.get(size)) for curve in curves] for size in sizes]
    rows = [[f"{size:g}", *row] for size, row in zip(sizes, cells, strict=True)]
    heads = ("mm", *PLACES[:2], *NODULES)
    return Grid(f"{name}: contrast of nodules kept, median (5th percentile; number)", heads, rows)


def _cell(found: Spread | None) -> str:
    return "" if found is None else f"{found.median:.2f} ({found.low:.2f}; {found.count})"


def _false(found: Found, known: bool, name: str) -> Grid:
    passes = [each for each in found.passes if each.truth_known is known]
    blobs, lesions = sum(each.false.blobs for each in passes), sum(each.lesions for each in passes)
    strongest = [each.false.strongest for each in passes]
    cells = [len(passes), lesions, blobs, sum(each.false.blobs > 0 for each in passes)]
    shown = [f"{100 * figure:.1f} %" for figure in (np.median(strongest), max(strongest))]
    heads = ("sets", "lesions", "false structures", "sets with one", "largest step: median", "worst")
    return Grid(f"{name}: false structures", heads, [[*cells, *shown]])
