"""Three ways between a radiograph's latents and soft tissue, in one notation.

``x_t = alpha_t * x_0 + beta_t * condition + strength * spread_t * noise``; t runs from 0, soft tissue, to 1, the start:

=========  =========  ======  ===================  ==========  ==========================
process    alpha_t    beta_t  spread_t             strength    x_1, where sampling starts
=========  =========  ======  ===================  ==========  ==========================
diffusion  schedule   0       sigma_t              1           noise
flow       1 - t      t       t                    ``noise``   condition + strength * noise
bridge     1 - t      t       sqrt(t * (1 - t))    ``noise``   condition
=========  =========  ======  ===================  ==========  ==========================

Written in operators that NumPy arrays, torch tensors and numbers share.

References
----------
Diffusion: Ho et al. (2020). Flow: Liu et al. (2209.03003), from a noisy condition as in PMRF (2410.00418). Bridge: the
Brownian one of I2SB (2302.05872) and Latent Bridge Matching (2503.07535).
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.schedule import ScheduleName, alpha_sigma

__all__ = ["DIFFUSION", "EARLIEST", "Level", "Prediction", "Process", "ProcessName", "require_compatible"]

ProcessName = Literal["diffusion", "bridge", "flow"]
Prediction = Literal["x0", "eps", "v"]

EARLIEST = 1e-3  # no training time of a bridge or flow lies below: its v divides by t


class Level(NamedTuple):
    """One time, or one for each sample: numbers, (B,) arrays, or whatever broadcasts against latents."""

    alpha: Any
    beta: Any
    spread: Any


@dataclass(frozen=True, slots=True)
class Process:
    """A process and its numbers.

    Attributes
    ----------
    kind : which of the three.
    schedule : of the diffusion; the others have none.
    noise : of a bridge or flow, in deviations of the standardised latents; 0 is a straight line without noise.
    """

    kind: ProcessName = "diffusion"
    schedule: ScheduleName = "cosine"
    noise: float = 0.1

    @property
    def strength(self) -> float:
        """Factor on the noise."""
        return 1.0 if self.kind == "diffusion" else self.noise

    def levels(self, t: NDArray[np.float32]) -> Level:
        """Scales at the times t (B,) in [0, 1], each (B,) float32; beta is the number 0 for the diffusion.

        Raises
        ------
        ValueError
            A time lies outside [0, 1].
        """
        alpha, sigma = alpha_sigma(t, self.schedule)
        if self.kind == "diffusion":
            return Level(alpha, 0.0, sigma)
        t = np.asarray(t, np.float32)
        return Level(1 - t, t, t if self.kind == "flow" else np.sqrt(t * (1 - t)))

    def noised(self, x0: Any, condition: Any, noise: Any, level: Level) -> Any:
        """x_t of the table above; arrays of one shape."""
        x_t = level.alpha * x0 + self.strength * level.spread * noise
        return x_t if self.kind == "diffusion" else x_t + level.beta * condition

    def start(self, condition: Any, draw: Any) -> Any:
        """x_1, as an array like ``condition``; ``draw()`` gives standard noise and is asked only where it is used."""
        match self.kind:
            case "diffusion":
                return draw()
            case "flow":
                return condition + self.strength * draw()
            case "bridge":
                return condition

    def predicted_x0(self, output: Any, x_t: Any, level: Level, prediction: Prediction) -> Any:
        """Clean latents that a network output stands for: `target` solved for x_0."""
        match prediction:
            case "x0":
                return output
            case "eps":
                return (x_t - level.spread * output) / level.alpha
            case "v" if self.kind == "diffusion":
                return level.alpha * x_t - level.spread * output
            case "v":
                return x_t - level.beta * output

    def target(self, x0: Any, condition: Any, noise: Any, level: Level, prediction: Prediction) -> Any:
        """What the network is to predict.

        ``v`` is ``alpha * noise - sigma * x0`` of the diffusion (Salimans & Ho 2022, eq. 10), and ``(x_t - x_0) / t``
        of bridge and flow: how fast the path leaves soft tissue.
        """
        match prediction:
            case "x0":
                return x0
            case "eps":
                return noise
            case "v" if self.kind == "diffusion":
                return level.alpha * noise - level.spread * x0
            case "v":
                return condition - x0 + self.strength * level.spread / level.beta * noise

    def split(self, here: Level, there: Level, eta: float) -> tuple[float, float]:
        """How much of the noise at ``here`` is kept at the earlier time ``there``, and how much is drawn anew.

        Parameters
        ----------
        here, there : numbers of two times, t > s.
        eta : 0 keeps all of it (DDIM; the straight line of a flow); 1 is the posterior of the process (DDPM, Brownian
            bridge). Every value between has the same marginals.

        Returns
        -------
        Factor on ``(x_t - alpha_t x_0 - beta_t condition) / spread_t`` and factor on fresh standard noise.

        References
        ----------
        Song et al. (2021), eq. 12 and 16; for bridges Zheng et al. (2405.15885), eq. 9 and 10.
        """
        if here.spread == 0:  # a bridge at its start has no noise to keep: the first step has to draw
            return 0.0, self.strength * there.spread
        if eta == 0:
            return there.spread, 0.0
        ratio = here.alpha * there.spread / (there.alpha * here.spread)
        fresh = eta * there.spread * sqrt(max(1 - ratio**2, 0.0))
        return sqrt(max(there.spread**2 - fresh**2, 0.0)), self.strength * fresh


DIFFUSION = Process()


def require_compatible(process: ProcessName, prediction: Prediction, sampler: str, eta: float) -> None:
    """See that a sampler can run what a network predicts.

    Raises
    ------
    ValueError
        It cannot; the message says what to change.
    """
    if process != "diffusion" and prediction == "eps":
        raise ValueError(f"a {process} starts where its noise says nothing of x0: predict x0 or v")
    if process != "diffusion" and sampler == "dpmpp_2m":
        raise ValueError(f"dpmpp_2m solves a diffusion, not a {process}: take ddim or ddpm")
    if sampler == "dpmpp_2m" and eta:
        raise ValueError("dpmpp_2m draws no noise: eta has to be 0")
