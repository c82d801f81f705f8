"""The display chain: from the logarithm of the exposure to P-values, one drawn chain for both twins."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.simulate.canvas import FloatArray
from training.simulate.filters import smooth

__all__ = ["Chain", "develop", "draw_chain"]


@dataclass(frozen=True, slots=True)
class Chain:
    """One manufacturer's taste.

    ``lung`` is the P-value at which the darkest tenth of the lungs lands before the tone curve, ``high`` the percentile
    of the body that lands at ``white``. ``gains`` are those of the bands finer than 1.5, 6 and 32 px (at 512) and of
    the rest; ``equalise`` mixes in division by the local standard deviation; ``gamma`` and ``slope``
    shape the tone; ``jpeg`` is a quality, 0 for none.
    """

    lung: float
    white: float
    high: float
    gains: tuple[float, float, float, float]
    equalise: float
    gamma: float
    slope: float
    jpeg: int
    levels: int


def draw_chain(rng: np.random.Generator) -> Chain:
    """Draw a display chain, from plain film-like to strongly processed."""
    taste = float(rng.random()) ** 0.6
    gains = (
        1 + taste * float(rng.uniform(0.4, 3.2)),
        1 + taste * float(rng.uniform(0.1, 1.2)),
        1 + taste * float(rng.uniform(-0.3, 0.3)),
        1 - taste * float(rng.uniform(0.1, 0.65)),
    )
    return Chain(
        lung=float(rng.uniform(0.1, 0.32)),
        white=float(rng.uniform(0.8, 1.02)),
        high=float(rng.uniform(97.0, 99.9)),
        gains=gains,
        equalise=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.15 else 0.0,
        gamma=float(np.exp(rng.normal(-0.32, 0.2))),
        slope=float(rng.uniform(1.0, 4.5)) if rng.random() < 0.6 else 0.0,
        jpeg=int(rng.integers(60, 97)) if rng.random() < 0.35 else 0,
        levels=255 if rng.random() < 0.6 else 0,
    )


def develop(
    log_cxr: FloatArray, log_soft: FloatArray, body: NDArray[np.bool_], lungs: NDArray[np.bool_], chain: Chain
) -> tuple[FloatArray, FloatArray]:
    """P-values in [0, 1] of both twins (size, size); every number that depends on an image comes from the radiograph.

    ``body`` and ``lungs`` (size, size) say where to measure the exposure, as the anatomical program of a scanner does.
    """
    where = _Landmarks(body, lungs)
    pair = _window([log_cxr, log_soft], where, 0.15, 99.5, 1.0)
    pair = _bands(pair, chain, log_cxr.shape[0] / 512)
    if chain.equalise:
        pair = _equalise(pair, chain.equalise)
    pair = [_tone(p, chain) for p in _window(pair, where, chain.lung, chain.high, chain.white)]
    return _store(pair[0], pair[1], chain)


@dataclass(frozen=True, slots=True)
class _Landmarks:
    """Where to measure the exposure: (size, size) bool each."""

    body: NDArray[np.bool_]
    lungs: NDArray[np.bool_]


def _window(pair: list[FloatArray], where: _Landmarks, lung: float, high: float, white: float) -> list[FloatArray]:
    """Scale both: the darkest tenth of the lungs goes to ``lung``, the percentile ``high`` of the body to ``white``."""
    coarse, bodies, airy = pair[0][::4, ::4], where.body[::4, ::4], where.lungs[::4, ::4]
    seen = coarse[bodies] if bodies.sum() > 16 else coarse.ravel()
    dark = coarse[airy] if airy.sum() > 16 else seen
    bottom, top = float(np.percentile(dark, 10)), float(np.percentile(seen, high))
    scale = (white - lung) / max(top - bottom, 1e-2)
    return [(p - np.float32(bottom)) * np.float32(scale) + np.float32(lung) for p in pair]


def _bands(pair: list[FloatArray], chain: Chain, zoom: float) -> list[FloatArray]:
    if max(abs(g - 1) for g in chain.gains) < 0.02:
        return pair
    out = []
    for p in (np.clip(q, -0.6, 1.6) for q in pair):  # raw air and metal would ring
        fine, middle, coarse = (smooth(p, s * zoom) for s in (1.5, 6.0, 32.0))
        a, b, c, d = (np.float32(g) for g in chain.gains)
        out.append(d * coarse + c * (middle - coarse) + b * (fine - middle) + a * (p - fine))
    return out


def _equalise(pair: list[FloatArray], share: float) -> list[FloatArray]:
    clipped = np.clip(pair[0], -0.1, 1.1)
    sigma = 0.08 * clipped.shape[0]
    mean = smooth(clipped, sigma)
    spread = np.sqrt(np.maximum(smooth((clipped - mean) ** 2, sigma), 0)) + np.float32(0.07)
    gain = np.float32(1 - share) + np.float32(share * 0.16) / spread
    return [mean * np.float32(1 - 0.5 * share) + (p - mean) * gain for p in pair]


def _knees(p: FloatArray) -> FloatArray:
    """Into [0, 1] without an edge: the toe and the shoulder of a film, each an exponential."""
    toe = np.float32(0.06)
    low = np.where(p < toe, toe * np.exp(np.minimum(p / toe - 1, 0)), p)
    return np.asarray(np.where(low > 1 - toe, 1 - toe * np.exp(np.minimum((1 - low) / toe - 1, 0)), low), np.float32)


def _tone(p: FloatArray, chain: Chain) -> FloatArray:
    v = _knees(p) ** np.float32(chain.gamma)
    if chain.slope < 0.5:
        return np.asarray(v, dtype=np.float32)
    half = np.float32(chain.slope / 2)
    low, high = 1 / (1 + np.exp(half)), 1 / (1 + np.exp(-half))
    return np.asarray(
        (1 / (1 + np.exp(-np.float32(chain.slope) * (v - np.float32(0.5)))) - low) / (high - low), np.float32
    )


def _store(cxr: FloatArray, soft: FloatArray, chain: Chain) -> tuple[FloatArray, FloatArray]:
    """What an 8-bit file does to the radiograph; the twin gets the same error, so that it differs in bone alone."""
    stored = cxr
    if chain.levels:
        stored = np.round(stored * chain.levels) / np.float32(chain.levels)
    if chain.jpeg:
        buffer = BytesIO()
        Image.fromarray(np.round(stored * 255).astype(np.uint8)).save(buffer, "JPEG", quality=chain.jpeg)
        stored = np.asarray(Image.open(buffer), dtype=np.float32) / np.float32(255)
    return stored.astype(np.float32), np.clip(soft + (stored - cxr), 0, 1).astype(np.float32)
