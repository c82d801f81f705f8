"""How much bone is gone, on pairs whose truth is known: ``c`` radiograph, ``b`` output, ``g`` truth, in [0, 1].

The published code lets uint8 differences wrap and forgives left-over bone; everything here is float and two-sided.
Ratios are NaN where radiograph and truth are the same: of no bone, no share is gone.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.ndimage import binary_erosion, binary_fill_holes, gaussian_filter, label
from scipy.optimize import nnls

__all__ = [
    "bsr_paper",
    "bsr_strict",
    "bsr_tone",
    "lung_mask",
    "mse",
    "psnr",
    "rib_correlation",
    "ribs_left",
    "tone_fitted",
    "tone_ratio",
]

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
LEVELS = 1024  # of the histogram that a curve is fitted to
PIECES = 16  # of the curve
SMALLEST_LUNG = 0.03  # of the picture
ROUNDING = 1e-12  # mean square of what float32 leaves of two images that are the same


def mse(b: Image, g: Image) -> float:
    """Mean squared error."""
    return float(np.mean((b.astype(np.float64) - g) ** 2))


def psnr(b: Image, g: Image) -> float:
    """Peak signal-to-noise ratio in dB for a data range of 1; infinite for equal images."""
    error = mse(b, g)
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def bsr_strict(c: Image, b: Image, g: Image) -> float:
    """Bone suppression ratio that counts every error: 1 perfect, 0 for the untouched radiograph, negative if worse."""
    untouched = mse(c, g)
    return 1 - mse(b, g) / untouched if untouched else float("nan")


def bsr_paper(c: Image, b: Image, g: Image) -> float:
    """The ratio as its authors repaired it: brightness is levelled and only output darker than the truth counts.

    Here ``1 - sum(max(0, g - b')**2) / sum((c - g)**2)`` with ``b' = b + mean(g - b)``. It forgives bone that is left,
    so it is reported beside `bsr_strict`, never alone.
    """
    levelled = b.astype(np.float64) + np.mean(g.astype(np.float64) - b)
    untouched = np.sum((c.astype(np.float64) - g) ** 2)
    return float(1 - np.sum(np.maximum(0, g - levelled) ** 2) / untouched) if untouched else float("nan")


def tone_fitted(image: Image, g: Image, mask: Mask) -> Image:
    """``image`` under the smooth monotone curve that brings it nearest to ``g`` inside ``mask``, in squared error.

    The curve is a cubic spline with knots at quantiles whose coefficients never fall (Kelly & Rice 1990), so that it
    does not fall either; a straight line is one of them, so a picture that is right stays as it is. With 8 or 32 pieces
    instead of 16, `bsr_tone` of the real pairs moves by less than .002.

    Returns
    -------
    Array like ``image``; values beyond those inside ``mask`` are held at the ends of the curve.
    """
    values = image[mask].astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return np.full_like(image, g[mask].mean())
    which = np.minimum(((values - low) * (LEVELS / (high - low))).astype(np.intp), LEVELS - 1)
    counts = np.bincount(which, minlength=LEVELS)
    used = counts > 0
    centres = np.bincount(which, values, LEVELS)[used] / counts[used]
    means = np.bincount(which, g[mask].astype(np.float64), LEVELS)[used] / counts[used]
    curve = _rising_spline(centres, means, counts[used], (low, high))
    grid = np.linspace(low, high, LEVELS + 1)
    return np.interp(image, grid, curve(grid)).astype(np.float32)


def _rising_spline(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.intp], ends: tuple[float, float]
) -> BSpline[np.float64]:
    """Weighted least squares among cubic splines on ``ends`` with rising coefficients, by non-negative increments."""
    inner = np.unique(np.interp(np.linspace(0, 1, PIECES + 1)[1:-1], np.cumsum(weights) / np.sum(weights), x))
    knots = np.r_[[ends[0]] * 4, inner[(inner > ends[0]) & (inner < ends[1])], [ends[1]] * 4]
    basis = BSpline.design_matrix(x, knots, 3).toarray()
    steps = np.cumsum(basis[:, ::-1], axis=1)[:, ::-1]  # what raising all coefficients from one on adds
    design = np.column_stack([steps[:, 0], -steps[:, 0], steps[:, 1:]])  # the first coefficient may have either sign
    root = np.sqrt(weights)
    found, _ = nnls(design * root[:, None], y * root)
    return BSpline(knots, np.cumsum(np.r_[found[0] - found[1], found[2:]]), 3)


def bsr_tone(c: Image, b: Image, g: Image, body: Mask | None = None, counted: Mask | None = None) -> float:
    """Bone suppression beyond what a tone curve could do.

    Dual-energy images have another tone than radiographs, so both the output and the radiograph get the monotone curve
    that fits the truth best: 0 is no better than a tone curve, 1 is perfect.

    Parameters
    ----------
    body : where the curves are fitted; everywhere when None.
    counted : where errors count, such as the lungs; all of ``body`` when None. The curves are those of ``body``.
    """
    inside = _everywhere(g) if body is None else body
    return tone_ratio(tone_fitted(c, g, inside), tone_fitted(b, g, inside), g, inside if counted is None else counted)


def tone_ratio(fitted_c: Image, fitted_b: Image, g: Image, counted: Mask) -> float:
    """`bsr_tone` of a radiograph and an output that are `tone_fitted` already; NaN where a tone curve does it all."""
    left, untouched = (np.sum((g - image)[counted].astype(np.float64) ** 2) for image in (fitted_b, fitted_c))
    return float(1 - left / untouched) if untouched > ROUNDING * np.count_nonzero(counted) else float("nan")


def ribs_left(c: Image, b: Image, g: Image, lungs: Mask, body: Mask | None = None) -> float:
    """Correlation inside the lungs of the band-passed output with the band-passed true bone layer.

    The curves are fitted on ``body``, everywhere when None; see `rib_correlation`.
    """
    inside = _everywhere(g) if body is None else body
    return rib_correlation(tone_fitted(c, g, inside), tone_fitted(b, g, inside), g, lungs)


def rib_correlation(fitted_c: Image, fitted_b: Image, g: Image, lungs: Mask) -> float:
    """`ribs_left` of a radiograph and an output that are `tone_fitted` already; NaN without lungs.

    The band is Gaussian 3 px minus 24 px where the longer side has 1024 px, and scales with it. The truth itself is not
    at 0, because vessels look like ribs: an output is judged by where it lies between truth and input.
    """
    if not lungs.any():
        return float("nan")
    scale = max(g.shape) / 1024
    first, second = (
        (gaussian_filter(image, 3 * scale) - gaussian_filter(image, 24 * scale))[lungs]
        for image in (fitted_b, fitted_c - g)
    )
    if min(float(first.std()), float(second.std())) < 1e-9:  # a flat image correlates with nothing
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _everywhere(image: Image) -> Mask:
    return np.ones(image.shape, dtype=bool)


def lung_mask(image: Image, body: Mask) -> Mask:
    """The two largest dark areas that touch no edge: crude, and good enough to count errors where ribs cross lung.

    Parameters
    ----------
    image : radiograph or soft-tissue image, lungs dark.
    body : where there is a picture; False in the letterbox.

    Returns
    -------
    Mask, empty where no plausible lung is found.
    """
    smooth = gaussian_filter(image, image.shape[0] / 100)
    inner = binary_erosion(body, iterations=max(2, image.shape[0] // 128))
    rim = inner & ~binary_erosion(inner)
    for share in (0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2):  # air outside the patient joins the lungs at high thresholds
        labels, count = label(inner & (smooth < np.quantile(smooth[body], share)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1) / body.sum()
        sizes[0] = 0
        sizes[np.unique(labels[rim])] = 0
        lungs = np.flatnonzero(sizes > SMALLEST_LUNG)
        if len(lungs) >= 2:
            chosen = lungs[np.argsort(-sizes[lungs])[:2]]
            return np.asarray(binary_fill_holes(np.isin(labels, chosen)), dtype=bool)
    return np.zeros_like(body)
