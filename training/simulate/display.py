"""The display chain: from the logarithm of the exposure to P-values, one drawn chain for both twins."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from training.simulate.canvas import FloatArray
from training.simulate.filters import smooth

__all__ = ["Chain", "develop", "draw_chain"]


@dataclass(frozen=True, slots=True)
class Chain:
    """One manufacturer's taste.

    ``gains`` are those of the bands finer than 2, 8 and 32 px (at 512) and of the rest; ``equalise`` mixes in division
    by the local standard deviation; ``gamma`` and ``slope`` shape the tone; ``jpeg`` is a quality, 0 for none.
    """

    low: float
    high: float
    gains: tuple[float, float, float, float]
    equalise: float
    gamma: float
    slope: float
    jpeg: int
    levels: int


def draw_chain(rng: np.random.Generator) -> Chain:
    """Draw a display chain, from plain film-like to strongly processed."""
    taste = float(rng.random()) ** 1.3
    gains = (
        1 + taste * float(rng.uniform(-0.2, 1.8)),
        1 + taste * float(rng.uniform(-0.1, 1.2)),
        1 + taste * float(rng.uniform(-0.2, 0.7)),
        1 - taste * float(rng.uniform(0.0, 0.55)),
    )
    return Chain(
        low=float(rng.uniform(0.3, 4.0)),
        high=float(rng.uniform(97.0, 99.9)),
        gains=gains,
        equalise=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.15 else 0.0,
        gamma=float(np.exp(rng.normal(-0.12, 0.25))),
        slope=float(rng.uniform(1.0, 6.0)) if rng.random() < 0.6 else 0.0,
        jpeg=int(rng.integers(60, 97)) if rng.random() < 0.35 else 0,
        levels=255 if rng.random() < 0.6 else 0,
    )


def develop(log_cxr: FloatArray, log_soft: FloatArray, body: np.ndarray, chain: Chain) -> tuple[FloatArray, FloatArray]:
    """P-values in [0, 1] of both twins (size, size); every number that depends on an image comes from the radiograph.

    ``body`` (size, size) bool says where the patient is: the exposure is normalised there.
    """
    pair = [log_cxr, log_soft]
    pair = _window(pair, body, 0.2, 99.8)
    pair = _bands(pair, chain, log_cxr.shape[0] / 512)
    if chain.equalise:
        pair = _equalise(pair, chain.equalise)
    pair = [_tone(p, chain) for p in _window(pair, body, chain.low, chain.high)]
    return _store(pair[0], pair[1], chain)


def _window(pair: list[FloatArray], body: np.ndarray, low: float, high: float) -> list[FloatArray]:
    seen = pair[0][::4, ::4][body[::4, ::4]]
    if seen.size < 16:
        seen = pair[0][::4, ::4].ravel()
    bottom, top = np.percentile(seen, [low, high])
    scale = np.float32(1 / max(float(top - bottom), 1e-3))
    return [(p - np.float32(bottom)) * scale for p in pair]


def _bands(pair: list[FloatArray], chain: Chain, zoom: float) -> list[FloatArray]:
    if max(abs(g - 1) for g in chain.gains) < 0.02:
        return pair
    out = []
    for p in pair:
        p = np.clip(p, -0.6, 1.6)  # raw air and metal would ring
        fine, middle, coarse = (smooth(p, s * zoom) for s in (1.5, 6.0, 24.0))
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


def _tone(p: FloatArray, chain: Chain) -> FloatArray:
    v = np.clip(p, 0, 1) ** np.float32(chain.gamma)
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
