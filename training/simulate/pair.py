"""Two twins: a simulated radiograph, and the same one with soft tissue in the place of bone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulate.align import outline, walk_over
from training.simulate.anatomy import Anatomy, draw_anatomy
from training.simulate.backend import NUMPY, Backend
from training.simulate.canvas import FloatArray
from training.simulate.display import Chain, develop, draw_chain
from training.simulate.dress import dress
from training.simulate.frame import Warp, add_marker, black_borders, box_of, draw_warp, heart_beat
from training.simulate.imaging import Exposure, draw_exposure, expose

__all__ = ["SimulatedPair", "Studio", "form_pair", "simulate_pair"]


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPair:
    """One training example.

    Attributes
    ----------
    cxr : (size, size) float32, P-values in [0, 1], 0 is black.
    soft : (size, size) float32, the same with bone replaced by soft tissue: equal to ``cxr`` where there is no bone.
    lungs : (size, size) bool.
    seed : the seed of the body.
    exposure, chain : how it was taken and shown.
    """

    cxr: FloatArray
    soft: FloatArray
    lungs: NDArray[np.bool_]
    seed: int
    exposure: Exposure
    chain: Chain


def simulate_pair(seed: int, size: int = 512) -> SimulatedPair:
    """Draw a person and a radiograph of them; a function of ``seed`` and ``size`` alone."""
    anatomy = draw_anatomy(seed, size)
    return form_pair(anatomy, anatomy, np.random.default_rng([seed, 0x1A6E]), size)


@dataclass(frozen=True, slots=True)
class Studio:
    """How pairs are taken.

    Attributes
    ----------
    motion : how far the heart's edge moved between the two shots of a dual-energy unit, as a share of the side; the
        twins of a single shot, which is what training wants, do not move.
    on : what computes: NumPy, or `training.gpu.TorchBackend`.
    """

    motion: float = 0.0
    on: Backend = NUMPY


SINGLE_SHOT = Studio()


def form_pair(
    body: Anatomy, bones: Anatomy, rng: np.random.Generator, size: int = 512, studio: Studio = SINGLE_SHOT
) -> SimulatedPair:
    """One of many radiographs of a body, with its own bones or another's laid where its lungs are.

    The view, the density of the bones, the exposure and the display chain are drawn from ``rng``. ``size`` is divided
    by 64 for the speed of wide blurs; other sizes work, slower.
    """
    own, on = bones is body, studio.on
    body = dress(body, rng)
    warp = draw_warp(rng, size, lungs=box_of(body.lungs))
    soft, lungs = (on.resample(on.take(m), warp.rows, warp.columns) for m in (body.soft, body.lungs.astype(np.float32)))
    other = warp if own else _mixed_view(body, bones, warp, rng)
    patient, lungs = soft > 1.0, lungs > 0.5
    bone = on.resample(on.take(_bone(bones, rng)), other.rows, other.columns) * patient * on.take(other.inside())
    exposure, shift = draw_exposure(rng, size), studio.motion * float(rng.choice([-1, 1]))
    log_cxr, log_soft = expose(soft, bone, exposure, rng, on)
    if shift:
        beat = heart_beat(size, box_of(on.give(lungs)), shift)
        log_soft = on.resample(log_soft, beat.rows, beat.columns)
    keep, chain = on.take(black_borders(rng, size)), draw_chain(rng)
    cxr, twin = develop((log_cxr, log_soft), (patient & (keep > 0), lungs & (keep > 0)), chain, on)
    marker, shade = add_marker(rng, size), float(rng.uniform(0.8, 1.0))
    cxr, twin = (np.maximum(on.give(p * keep), marker * np.float32(shade)) for p in (cxr, twin))
    return SimulatedPair(cxr, twin, on.give(lungs & (keep > 0)), body.seed, exposure, chain)


def _bone(bones: Anatomy, rng: np.random.Generator) -> FloatArray:
    """Areal density of the bones (n, n) in g/cm2, now and then with a layer missing, or all."""
    factors = np.exp(rng.normal(0, 0.1, 3)) * np.exp(rng.normal(0.1, 0.22))
    factors *= rng.random(3) > 0.03
    if rng.random() < 0.04:
        factors[:] = 0
    return np.asarray(np.einsum("k,kij->ij", factors.astype(np.float32), bones.bones))


def _mixed_view(body: Anatomy, bones: Anatomy, warp: Warp, rng: np.random.Generator) -> Warp:
    """Where to look for another's bones: in the same outline of the lungs, a little to the side."""
    size = len(warp.rows)
    laid = walk_over(warp, outline(body.lungs), outline(bones.lungs))
    bend = draw_warp(rng, size, strength=0.5)
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    return Warp(laid.rows + 0.4 * (bend.rows - axis[:, None]), laid.columns + 0.4 * (bend.columns - axis[None, :]))
