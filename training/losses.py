"""Losses on images, beyond the plain ones of torch."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["WINDOW", "gradient_difference", "ms_ssim", "relative_energy", "shadow_energy", "weighed"]

FAINTEST = 0.03  # rms of a layer in [-1, 1] below which its errors count no more than those of this one
NEAR = 15  # px across which a shadow's height is looked for: what it changes lies in it or close to it
MARKED = 20.0  # how much more a change in the middle of a shadow counts than one elsewhere

# Wang et al. (2003): exponents of the five scales; fewer scales take the first ones, renormalised.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def _blur(x: Tensor) -> Tensor:
    """Separable Gaussian window, valid part only."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    window = window / window.sum()
    return functional.conv2d(functional.conv2d(x, window[None, None, :, None]), window[None, None, None, :])


def _similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean contrast-structure of one scale, for values in [0, 1]."""
    blurred = _blur(torch.cat([a, b, a * a, b * b, a * b]))
    mean_a, mean_b, square_a, square_b, product = blurred.chunk(5)
    variances = (square_a - mean_a**2) + (square_b - mean_b**2)
    structure = (2 * (product - mean_a * mean_b) + C2) / (variances + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return (luminance * structure).mean(dim=(1, 2, 3)), structure.mean(dim=(1, 2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity of images in [-1, 1].

    Parameters
    ----------
    a, b : (B, 1, H, W); as many of the five scales are used as leave room for the 11 px window.

    Returns
    -------
    (B,) at most 1; 1 for equal images.

    References
    ----------
    Wang, Simoncelli & Bovik (2003).
    """
    a, b = (a.float() + 1) / 2, (b.float() + 1) / 2
    scales = [level for level in range(len(SCALE_WEIGHTS)) if min(a.shape[-2:]) >> level > WINDOW]
    weights = torch.tensor(SCALE_WEIGHTS[: len(scales)])
    weights = weights / weights.sum()
    result = torch.ones(a.shape[0], device=a.device)
    for level in scales:
        whole, structure = _similarity(a, b)
        factor = whole if level == scales[-1] else structure
        result = result * factor.clamp_min(1e-4) ** weights[level]
        a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    return result


def weighed(error: Tensor, mark: Tensor | None = None, extra: float = 0.0) -> Tensor:
    """Mean of an error (B, C, H, W) in which a pixel counts ``1 + extra * mark`` times, mark (B, 1, H, W) in [0, 1]."""
    if mark is None or not extra:
        return error.mean()
    weight = (1 + extra * mark).expand_as(error)
    return (error * weight).sum() / weight.sum()


def gradient_difference(a: Tensor, b: Tensor, mark: Tensor | None = None, extra: float = 0.0) -> Tensor:
    """Mean absolute difference of the horizontal and vertical differences of (B, 1, H, W): a word for edges.

    ``mark`` and ``extra`` as of `weighed`.
    """
    error = a - b
    below, beside = (None, None) if mark is None else (mark[..., 1:, :], mark[..., 1:])
    columns, rows = error.diff(dim=-1).abs(), error.diff(dim=-2).abs()
    return weighed(columns, beside, extra) + weighed(rows, below, extra)


def relative_energy(layer: Tensor, wanted: Tensor, mark: Tensor | None = None, extra: float = 0.0) -> Tensor:
    """Energy of what is wrong with each layer over that of the true one, mean over the batch; 1 - BSR where it is fair.

    Squared, and so smooth at 0: the mean absolute error holds a network that starts as an identity there, because most
    pixels of a layer are right from the first. Relative, because a few loud radiographs would be all of a plain mean.

    Parameters
    ----------
    layer, wanted : (B, 1, H, W) in units of [-1, 1].
    mark, extra : as of `weighed`.
    """
    error = (layer - wanted).pow(2)
    if mark is not None and extra:
        weight = 1 + extra * mark
        wrong = (error * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
    else:
        wrong = error.mean(dim=(1, 2, 3))
    return (wrong / (wanted.pow(2).mean(dim=(1, 2, 3)) + FAINTEST**2)).mean()


def shadow_energy(change: Tensor, shadow: Tensor, mark: Tensor) -> Tensor:
    """Energy of what shadows changed in a layer over their own, most of it counted where they lie.

    A shadow is no bone: the layer of a radiograph with it is to be that without it, whatever the truth is. So this can
    be asked of radiographs that have no twin.

    Parameters
    ----------
    change : (B, 1, H, W) layer with shadows minus layer without.
    shadow : (B, 1, H, W) the same difference of the radiographs.
    mark : (B, 1, H, W) in [0, 1], as of `weighed`.
    """
    near = functional.max_pool2d(shadow.abs(), NEAR, stride=1, padding=NEAR // 2)
    return weighed(change.pow(2) / (near.pow(2) + FAINTEST**2), mark, MARKED)
