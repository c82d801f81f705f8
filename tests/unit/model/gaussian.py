"""Gaussian soft tissue: the best prediction, and where every process must end, are known in closed form."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from model.process import DIFFUSION, Level, Prediction, Process

__all__ = ["CONDITION", "DEVIATION", "MEAN", "Gaussian", "level_at"]

MEAN, DEVIATION, CONDITION = 0.7, 0.4, -0.3


def level_at(process: Process, t: float) -> Level:
    """Scales at one time, as numbers."""
    return Level(*(float(np.ravel(scale)[0]) for scale in process.levels(np.array([t], np.float32))))


@dataclass(frozen=True)
class Gaussian:
    """Latents N(MEAN, DEVIATION**2), all independent, beside a condition that is CONDITION everywhere.

    ``noise_power`` is the variance of the noise in the direction that is looked at: 1, or ``1 + offset**2 * pixels``
    for the mean of a channel under offset noise.
    """

    process: Process = DIFFUSION
    prediction: Prediction = "x0"
    noise_power: float = 1.0

    def moments(self, level: Level) -> tuple[float, float]:
        """Mean and variance of x_t."""
        noise = self.noise_power * (self.process.strength * level.spread) ** 2
        return level.alpha * MEAN + level.beta * CONDITION, level.alpha**2 * DEVIATION**2 + noise

    def posterior_mean(self, x_t: Any, level: Level) -> Any:
        """E[x_0 | x_t], what a network trained for ever would answer."""
        mean, variance = self.moments(level)
        gain = level.alpha * DEVIATION**2 / variance if variance else 0.0  # a bridge starts without variance
        return MEAN + gain * (x_t - mean)

    def __call__(self, x_t: Any, t: float) -> Any:
        """The exact network, in any of the three meanings."""
        level = level_at(self.process, t)
        x0 = self.posterior_mean(x_t, level)
        if self.prediction == "x0":
            return x0
        if self.process.kind != "diffusion":
            return (x_t - x0) / t
        eps = (x_t - level.alpha * x0) / level.spread
        return eps if self.prediction == "eps" else level.alpha * eps - level.spread * x0

    def carried(self, x_T: Any, first: float = 1.0, last: float = 0.0) -> Any:
        """Where the exact deterministic flow carries latents: every quantile to the same quantile."""
        (mean, variance), (there, there_variance) = (self.moments(level_at(self.process, t)) for t in (first, last))
        return there + np.sqrt(there_variance / variance) * (x_T - mean)
