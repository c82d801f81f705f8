"""The display chain: from the logarithm of the exposure to P-values, one drawn chain for both twins."""

import math
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from training.simulate.backend import NUMPY, Array, Backend, smooth

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
    logs: tuple[Array, Array], where: tuple[Array, Array], chain: Chain, on: Backend = NUMPY
) -> tuple[Array, Array]:
    """P-values in [0, 1] of both twins (size, size); every number that depends on an image comes from the radiograph.

    Parameters
    ----------
    logs : -log of the exposure of radiograph and twin, (size, size) each.
    where : body and lungs, (size, size) bool each: where a scanner's anatomical program measures the exposure.
    """
    where_to_look = _Landmarks(*where, on)
    pair = _bands(where_to_look.window(list(logs), 0.15, 99.5, 1.0), chain, logs[0].shape[0] / 512, on)
    if chain.equalise:
        pair = _equalise(pair, chain.equalise, on)
    cxr, soft = (_tone(p, chain, on) for p in where_to_look.window(pair, chain.lung, chain.high, chain.white))
    return _store(cxr, soft, chain, on)


@dataclass(frozen=True, slots=True, eq=False)
class _Landmarks:
    """Where to measure the exposure: (size, size) bool each."""

    body: Array
    lungs: Array
    on: Backend

    def window(self, pair: list[Array], lung: float, high: float, white: float) -> list[Array]:
        """Scale both: the darkest tenth of the lungs to ``lung``, the percentile ``high`` of the body to ``white``."""
        coarse, bodies, airy = pair[0][::4, ::4], self.body[::4, ::4], self.lungs[::4, ::4]
        seen = coarse[bodies] if int(bodies.sum()) > 16 else coarse
        dark = coarse[airy] if int(airy.sum()) > 16 else seen
        bottom, top = self.on.percentile(dark, 10), self.on.percentile(seen, high)
        scale = (white - lung) / max(top - bottom, 1e-2)
        return [(p - bottom) * scale + lung for p in pair]


def _bands(pair: list[Array], chain: Chain, zoom: float, on: Backend) -> list[Array]:
    if max(abs(g - 1) for g in chain.gains) < 0.02:
        return pair
    out = []
    for p in (on.clip(q, -0.6, 1.6) for q in pair):  # raw air and metal would ring
        fine, middle, coarse = (smooth(p, s * zoom, on) for s in (1.5, 6.0, 32.0))
        a, b, c, d = chain.gains
        out.append(d * coarse + c * (middle - coarse) + b * (fine - middle) + a * (p - fine))
    return out


def _equalise(pair: list[Array], share: float, on: Backend) -> list[Array]:
    clipped = on.clip(pair[0], -0.1, 1.1)
    sigma = 0.08 * clipped.shape[0]
    mean = smooth(clipped, sigma, on)
    spread = on.clip(smooth((clipped - mean) ** 2, sigma, on), 0, None) ** 0.5 + 0.07
    gain = (1 - share) + share * 0.16 / spread
    return [mean * (1 - 0.5 * share) + (p - mean) * gain for p in pair]


def _knees(p: Array, on: Backend) -> Array:
    """Into [0, 1] without an edge: the toe and the shoulder of a film, each an exponential."""
    toe = 0.06
    low = on.where(p < toe, toe * on.exp(on.clip(p / toe - 1, None, 0)), p)
    return on.where(low > 1 - toe, 1 - toe * on.exp(on.clip((1 - low) / toe - 1, None, 0)), low)


def _tone(p: Array, chain: Chain, on: Backend) -> Array:
    v = _knees(p, on) ** chain.gamma
    if chain.slope < 0.5:
        return v
    low, high = 1 / (1 + math.exp(chain.slope / 2)), 1 / (1 + math.exp(-chain.slope / 2))
    return (1 / (1 + on.exp(-chain.slope * (v - 0.5))) - low) / (high - low)


def _store(cxr: Array, soft: Array, chain: Chain, on: Backend) -> tuple[Array, Array]:
    """What an 8-bit file does to the radiograph; the twin gets the same error, so that it differs in bone alone."""
    stored = cxr
    if chain.levels:
        stored = on.round(stored * chain.levels) / chain.levels
    if chain.jpeg:
        buffer = BytesIO()
        grey = np.round(on.give(stored) * 255).astype(np.uint8)
        Image.fromarray(grey).save(buffer, "JPEG", quality=chain.jpeg)
        stored = on.take(np.asarray(Image.open(buffer), dtype=np.float32) / np.float32(255))
    return stored, on.clip(soft + (stored - cxr), 0, 1)
