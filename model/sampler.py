"""The one sampler, in operators, for NumPy arrays and torch tensors alike.

Every step predicts clean latents, bounds them, and walks to the next time; samplers differ in how much noise they draw
anew, and in whether they remember the step before. All noise comes from one NumPy generator, so that a seed means the
same latents in every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from model.clipping import clip_x0
from model.process import DIFFUSION, Level, Prediction, Process
from model.schedule import timesteps

if TYPE_CHECKING:  # names only: who samples needs NumPy and nothing else
    from model.bundle import ClippingSpec, ModelSpec, SamplerName

__all__ = ["Given", "Noise", "Prediction", "Recipe", "draw_noise", "sample", "walk"]

Predict = Callable[[Any, float], Any]


class Noise:
    """A stream of noise whose every draw has an offset that is constant over each channel.

    Parameters
    ----------
    seed : non-negative integer of any size.
    offset_noise : coefficient on eta, one standard normal eta per sample and channel. The paper writes a covariance
        I + lambda * Sigma with lambda = .1; what it trained, and what this follows, is ``eps + .1 * eta``, a weight
        of .01 in the covariance.

    References
    ----------
    BS-LDM, Eq. 5.
    """

    def __init__(self, seed: int | np.random.Generator, offset_noise: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.offset_noise = offset_noise

    def draw(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """The next (B, C, h, w) float32."""
        noise = self.rng.standard_normal(tuple(shape), dtype=np.float32)
        eta = self.rng.standard_normal((shape[0], shape[1], 1, 1), dtype=np.float32)
        return noise + np.float32(self.offset_noise) * eta

    def like(self, latents: Any) -> Any:
        """The next noise of the shape of ``latents``; a tensor on its device where that is one."""
        noise = self.draw(latents.shape)
        return latents.new_tensor(noise) if hasattr(latents, "new_tensor") else noise


def draw_noise(seed: int, shape: Sequence[int], offset_noise: float) -> NDArray[np.float32]:
    """First noise of a seed, (B, C, h, w) float32: where a diffusion starts. See `Noise`."""
    return Noise(seed, offset_noise).draw(shape)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to run a network: what its output means, and the way from the start to soft tissue.

    Attributes
    ----------
    prediction : what the network output means.
    clipping : bound on the clean latents of every step.
    sampler : `ddim` (for a flow: Euler's method), `ddpm` (``ddim`` with ``eta`` 1: ancestral sampling), or `dpmpp_2m`.
    eta : share of noise drawn anew in `ddim`, 0 to 1.
    offset_noise : see `Noise`.
    """

    prediction: Prediction
    clipping: ClippingSpec
    process: Process = DIFFUSION
    sampler: SamplerName = "ddim"
    eta: float = 0.0
    offset_noise: float = 0.1

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """The recipe of a bundle."""
        process = Process(spec.process, spec.schedule, spec.path_noise)
        return cls(spec.prediction, spec.clipping, process, spec.sampler, spec.eta, spec.offset_noise)


@dataclass(frozen=True, slots=True)
class Given:
    """What a walk uses besides the network: the latents at the other end of a bridge or flow, and fresh noise."""

    condition: Any = None
    noise: Noise | None = None


def sample(predict: Predict, condition: Any, recipe: Recipe, steps: int, seed: int) -> Any:
    """Soft-tissue latents for the latents of a radiograph.

    Parameters
    ----------
    predict : (x_t, t) -> network output; the condition is the caller's to bind.
    condition : (B, C, h, w) standardised latents of the radiograph; not changed.
    steps : network evaluations, 1 to 1000.
    seed : of all noise.

    Returns
    -------
    (B, C, h, w) clean latents, of the array type of ``condition``.
    """
    noise = Noise(seed, recipe.offset_noise)
    x_T = recipe.process.start(condition, lambda: noise.like(condition))
    return walk(predict, x_T, timesteps(steps), recipe, Given(condition, noise))


def walk(predict: Predict, x_T: Any, times: NDArray[np.float32], recipe: Recipe, given: Given | None = None) -> Any:
    """Carry ``x_T`` from the first time to the last.

    Parameters
    ----------
    x_T : (B, C, h, w) latents at ``times[0]``; not changed.
    times : descending, as from `model.schedule.timesteps`; from 1 to 0 unless only a part of the way is wanted.
    given : may be left out for a diffusion that draws no noise.

    Returns
    -------
    (B, C, h, w) latents at ``times[-1]``, of the array type of ``x_T``.
    """
    levels = [Level(*map(float, row)) for row in np.broadcast(*recipe.process.levels(times))]
    last = max(len(times) - 2, 1)
    history = _History()
    x_t = x_T
    for index, (here, there) in enumerate(pairwise(levels)):
        output = predict(x_t, float(times[index]))
        x0 = recipe.process.predicted_x0(output, x_t, here, recipe.prediction)
        # one step is the first and the last at once: the wide bound holds, nothing follows that could repair a cut
        x0 = clip_x0(x0, recipe.clipping, index / last if len(levels) > 2 else 1.0)
        if recipe.sampler == "dpmpp_2m":
            x0 = history.extrapolated(x0, here, there)
        x_t = _step(x_t, x0, (here, there), recipe, given or Given())
    return x_t


def _step(x_t: Any, x0: Any, ends: tuple[Level, Level], recipe: Recipe, given: Given) -> Any:
    """One step towards ``x0``: the noise that is kept, and what is drawn anew."""
    here, there = ends
    keep, fresh = recipe.process.split(here, there, 1.0 if recipe.sampler == "ddpm" else recipe.eta)
    x_s = there.alpha * x0
    if there.beta:
        x_s = x_s + there.beta * given.condition
    if keep:
        residual = x_t - here.alpha * x0
        residual = (residual - here.beta * given.condition if here.beta else residual) / here.spread
        x_s = x_s + keep * residual
    if fresh:
        if given.noise is None:
            raise ValueError("this sampler draws noise: give it a generator")
        x_s = x_s + fresh * given.noise.like(x_t)
    return x_s


class _History:
    """Memory of DPM-Solver++(2M): where the clean latents are heading.

    References
    ----------
    Lu et al. (2211.01095), algorithm 2. Its step is that of DDIM with D in the place of the predicted clean latents.
    """

    def __init__(self) -> None:
        self.x0: Any = None
        self.width = 0.0

    def extrapolated(self, x0: Any, here: Level, there: Level) -> Any:
        """D of the step: x0 carried on by half a step in half the log-SNR; x0 itself at both ends of the way."""
        earlier, self.x0 = self.x0, x0
        if there.spread == 0:  # the last step is infinitely wide
            return x0
        earlier_width = self.width
        self.width = log(there.alpha / there.spread) - log(here.alpha / here.spread)
        if earlier is None:
            return x0
        return x0 + self.width / (2 * earlier_width) * (x0 - earlier)
