"""All figures of one output against one truth."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacs_node.records import FloatImage, MaskImage
from training.evaluate.cases import measured
from training.losses import WINDOW, ms_ssim
from training.metrics import (
    bsr_paper,
    bsr_strict,
    lung_mask,
    mse,
    psnr,
    rib_correlation,
    tone_fitted,
    tone_ratio,
)
from training.perceptual import SMALLEST, PerceptualDistance

__all__ = ["LPIPS_SIDE", "METRICS", "Judge", "Metric", "Reference", "Scores"]

Scores = dict[str, float]
# The network works on a grid of 512 px: what two bundles or a control differ in is there, at a quarter of the cost.
LPIPS_SIDE = 512


@dataclass(frozen=True, slots=True)
class Metric:
    """How a figure is called and read.

    Attributes
    ----------
    key : in the JSON; `_lungs` is the same counted inside the lungs only.
    title : of its column.
    digits : behind the point.
    better : which way; "between" is `ribs_left`, where the truth is the mark.
    """

    key: str
    title: str
    digits: int
    better: Literal["higher", "lower", "between"]
    factor: float = 1.0  # on the way into a table


METRICS = (
    Metric("bsr_tone", "bsr_tone", 3, "higher"),
    Metric("bsr_tone_lungs", "in the lungs", 3, "higher"),
    Metric("ribs_left", "ribs_left", 3, "between"),
    Metric("lpips", "LPIPS", 4, "lower"),
    Metric("ms_ssim", "MS-SSIM", 4, "higher"),
    Metric("psnr", "PSNR, dB", 2, "higher"),
    Metric("psnr_lungs", "in the lungs", 2, "higher"),
    Metric("psnr_fitted", "PSNR fitted, dB", 2, "higher"),
    Metric("mse", "MSE, 1e-3", 3, "lower", 1e3),
    Metric("bsr_strict", "bsr_strict", 3, "higher"),
    Metric("bsr_strict_lungs", "in the lungs", 3, "higher"),
    Metric("bsr_paper", "bsr_paper", 3, "higher"),
    Metric("bsr_paper_lungs", "in the lungs", 3, "higher"),
)


@dataclass(slots=True, eq=False)
class Reference:
    """One pair, and what all of its outputs are measured with.

    Attributes
    ----------
    cxr, truth : (rows, columns) float32 in [0, 1], at the size that is measured.
    lungs : inside of them, found in the truth; empty where none was found.
    fitted_cxr : the radiograph under the tone curve that fits the truth best: the row `best tone curve`.
    """

    cxr: FloatImage
    truth: FloatImage
    lungs: MaskImage = field(init=False)
    everywhere: MaskImage = field(init=False)
    fitted_cxr: FloatImage = field(init=False)
    features: list[Tensor] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.everywhere = np.ones(self.truth.shape, dtype=bool)
        self.lungs = lung_mask(self.truth, self.everywhere)
        self.fitted_cxr = tone_fitted(self.cxr, self.truth, self.everywhere)


class Judge:
    """Measures outputs; LPIPS is left out where its weights are not there.

    Parameters
    ----------
    perceptual : the network of LPIPS, or None.
    side : longer side that images are averaged down to for it, px: its cost grows with the square.
    """

    def __init__(self, perceptual: PerceptualDistance | None, side: int = LPIPS_SIDE) -> None:
        self.perceptual, self.side = perceptual, side

    def scores(self, reference: Reference, output: FloatImage) -> Scores:
        """Every figure of `METRICS` for an output (rows, columns) in [0, 1].

        Tone curves are fitted to the whole image, also for what is counted in the lungs only. NaN are what needs lungs
        where there are none, shares of bone where there is none, what an image is too small for, and every figure of an
        output that is not finite.
        """
        if not np.isfinite(output).all():
            keys = [metric.key for metric in METRICS if metric.key != "lpips" or self.perceptual is not None]
            return dict.fromkeys(keys, float("nan"))
        c, g, lungs = reference.cxr, reference.truth, reference.lungs
        fitted = tone_fitted(output, g, reference.everywhere)
        found = {
            "bsr_tone": tone_ratio(reference.fitted_cxr, fitted, g, reference.everywhere),
            "ribs_left": rib_correlation(reference.fitted_cxr, fitted, g, lungs),
            "ms_ssim": float(ms_ssim(_tensor(output), _tensor(g))) if min(g.shape) > WINDOW else float("nan"),
            "psnr": psnr(output, g),
            "psnr_fitted": psnr(fitted, g),
            "mse": mse(output, g),
            "bsr_strict": bsr_strict(c, output, g),
            "bsr_paper": bsr_paper(c, output, g),
            "bsr_tone_lungs": _inside(lungs, lambda: tone_ratio(reference.fitted_cxr, fitted, g, lungs)),
            "psnr_lungs": _inside(lungs, lambda: psnr(output[lungs], g[lungs])),
            "bsr_strict_lungs": _inside(lungs, lambda: bsr_strict(c[lungs], output[lungs], g[lungs])),
            "bsr_paper_lungs": _inside(lungs, lambda: bsr_paper(c[lungs], output[lungs], g[lungs])),
        }
        if self.perceptual is not None:
            found["lpips"] = self._distance(reference, output)
        return found

    @torch.no_grad()
    def _distance(self, reference: Reference, output: FloatImage) -> float:
        assert self.perceptual is not None  # noqa: S101  (asked by the caller)
        shown = measured(output, self.side)
        if min(shown.shape) < SMALLEST:
            return float("nan")
        if reference.features is None:
            reference.features = self.perceptual.features(_tensor(measured(reference.truth, self.side)))
        seen = self.perceptual.features(_tensor(shown))
        return float(self.perceptual.between(seen, reference.features))


def _tensor(image: NDArray[np.float32]) -> Tensor:
    """(rows, columns) in [0, 1] -> (1, 1, rows, columns) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image))[None, None] * 2 - 1


def _inside(lungs: MaskImage, figure: Callable[[], float]) -> float:
    return figure() if lungs.any() else float("nan")
