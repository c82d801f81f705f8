"""How much bone is gone, on pairs whose truth is known: ``c`` radiograph, ``b`` output, ``g`` truth, in [0, 1].

The published code lets uint8 differences wrap and forgives left-over bone; everything here is float and two-sided.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, binary_fill_holes, gaussian_filter, label
from scipy.optimize import isotonic_regression

__all__ = ["bsr_paper", "bsr_strict", "bsr_tone", "lung_mask", "mse", "psnr", "ribs_left", "tone_fitted"]

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
CURVE_POINTS = 48
SMALLEST_LUNG = 0.03  # of the picture


def mse(b: Image, g: Image) -> float:
    """Mean squared error."""
    return float(np.mean((b.astype(np.float64) - g) ** 2))


def psnr(b: Image, g: Image) -> float:
    """Peak signal-to-noise ratio in dB for a data range of 1; infinite for equal images."""
    error = mse(b, g)
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def bsr_strict(c: Image, b: Image, g: Image) -> float:
    """Bone suppression ratio that counts every error: 1 perfect, 0 for the untouched radiograph, negative if worse."""
    return 1 - mse(b, g) / mse(c, g)


def bsr_paper(c: Image, b: Image, g: Image) -> float:
    """The ratio as its authors repaired it: brightness is levelled and only output darker than the truth counts.

    Here ``1 - sum(max(0, g - b')**2) / sum((c - g)**2)`` with ``b' = b + mean(g - b)``. It forgives bone that is left,
    so it is reported beside `bsr_strict`, never alone.
    """
    levelled = b.astype(np.float64) + np.mean(g.astype(np.float64) - b)
    return float(1 - np.sum(np.maximum(0, g - levelled) ** 2) / np.sum((c.astype(np.float64) - g) ** 2))


def tone_fitted(image: Image, g: Image, mask: Mask) -> Image:
    """``image`` under the monotone curve that brings it nearest to ``g`` inside ``mask``.

    The curve is piecewise linear through means of quantile bins, made monotone by isotonic regression.
    """
    values, wanted = image[mask].astype(np.float64), g[mask].astype(np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, CURVE_POINTS + 1)))
    if len(edges) < 3:
        return np.full_like(image, wanted.mean())
    which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(which, minlength=len(edges) - 1)
    used = counts > 0
    centres = (np.bincount(which, values, len(edges) - 1)[used]) / counts[used]
    means = (np.bincount(which, wanted, len(edges) - 1)[used]) / counts[used]
    curve = isotonic_regression(means, weights=counts[used]).x
    return np.interp(image, centres, curve).astype(np.float32)


def bsr_tone(c: Image, b: Image, g: Image, mask: Mask | None = None) -> float:
    """Bone suppression beyond what a tone curve could do.

    Dual-energy images have another tone than radiographs, so both the output and the radiograph get the monotone curve
    that fits the truth best: 0 is no better than a tone curve, 1 is perfect.

    Parameters
    ----------
    mask : where to fit and count; everywhere when None.
    """
    inside = np.ones(g.shape, dtype=bool) if mask is None else mask
    left = np.sum((g - tone_fitted(b, g, inside)).astype(np.float64)[inside] ** 2)
    untouched = np.sum((g - tone_fitted(c, g, inside)).astype(np.float64)[inside] ** 2)
    return float(1 - left / max(untouched, 1e-12))


def ribs_left(c: Image, b: Image, g: Image, mask: Mask) -> float:
    """Correlation inside the lungs of the band-passed output with the band-passed true bone layer.

    The band is Gaussian 3 px minus 24 px at 1024 px. The truth itself is not at 0, because vessels look like ribs.
    """
    scale = g.shape[0] / 1024
    layer = tone_fitted(c, g, mask) - g
    output = tone_fitted(b, g, mask)
    first, second = (
        (gaussian_filter(image, 3 * scale) - gaussian_filter(image, 24 * scale))[mask] for image in (output, layer)
    )
    return float(np.corrcoef(first, second)[0, 1])


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
