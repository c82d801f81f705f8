"""One network sampled in many ways on the same pairs: noise, clipping, sampler and steps are chosen by measurement.

The paper sweeps offset noise and the two numbers of dynamic clipping (BS-LDM, Fig. 6); here any key of a bundle that
needs no new training can be varied.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from export.to_bundle import merged
from model.bundle import Bundle, BundleError, ModelSpec, validate_spec
from pacs_node.engine import Engine
from pacs_node.engine.coarse import in_parts, separate_layers
from pacs_node.errors import ConfigError
from pacs_node.pipeline import noise_seed
from pacs_node.records import FloatImage
from training.evaluate.cases import Case, measured
from training.evaluate.contenders import suppressed
from training.evaluate.scores import Judge, Reference, Scores

__all__ = ["VARIABLE", "Ground", "Trial", "plan", "sweep"]

VARIABLE = ("steps", "sampler", "eta", "offset_noise", "path_noise", "clipping", "fusion", "views")


@dataclass(slots=True)
class Trial:
    """One way to sample.

    Attributes
    ----------
    changes : dotted key of the bundle -> value, as ``{"clipping.omega": 3.0}``.
    spec : of the bundle with these changes.
    scores, seconds : means over the pairs, filled by `sweep`.
    """

    changes: dict[str, Any]
    spec: ModelSpec
    scores: Scores = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Retuned:
    """An open engine under another specification; the network is the same."""

    engine: Engine
    spec: ModelSpec

    @property
    def device(self) -> str:
        return self.engine.device

    def encode(self, image: FloatImage) -> FloatImage:
        return self.engine.encode(image)

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        return self.engine.predict(x_t, t, condition)

    def decode(self, latents: FloatImage) -> FloatImage:
        return self.engine.decode(latents)

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        """With the separate networks: a fused graph samples in the bundle's own way only."""

        def layers(part: slice) -> FloatImage:
            found: FloatImage = separate_layers(self, images[part], steps, seeds[part])
            return found

        return in_parts(layers, len(images), 1)

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        return self.engine.refine(image, layer)


def plan(spec: ModelSpec, values: Mapping[str, Sequence[Any]]) -> list[Trial]:
    """Every combination of the values, checked before the work begins.

    Parameters
    ----------
    values : dotted key -> values to try.

    Raises
    ------
    ConfigError
        A key needs another training or does not exist, or a value is out of range.
    """
    for key in values:
        if key.partition(".")[0] not in VARIABLE:
            raise ConfigError(f"{key} cannot be varied without training again: take {', '.join(VARIABLE)}")
    trials = []
    for combination in product(*values.values()):
        changes = dict(zip(values, combination, strict=True))
        trials.append(Trial(changes, _changed(spec, changes)))
    return trials


def _changed(spec: ModelSpec, changes: Mapping[str, Any]) -> ModelSpec:
    facts = spec.model_dump()
    for graphs in (facts["graphs"], facts["half_graphs"]):
        graphs.pop("fused", None)  # it samples in the bundle's own way only
    for key, value in changes.items():
        group, _, inner = key.partition(".")
        facts = merged(facts, {group: {inner: value} if inner else value})
    try:
        return validate_spec(facts)
    except BundleError as error:
        raise ConfigError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Ground:
    """What every trial is measured on and with."""

    bundle: Bundle
    engine: Engine
    cases: Sequence[Case]
    judge: Judge


def sweep(ground: Ground, trials: Sequence[Trial], advance: Callable[[], None] = lambda: None) -> None:
    """Measure every trial on every pair, and fill its scores and seconds.

    Parameters
    ----------
    advance : is called ``len(cases) * len(trials)`` times.
    """
    rows: list[list[Scores]] = [[] for _ in trials]
    spent = [0.0 for _ in trials]
    for case in ground.cases:
        twins = case.load()
        reference = Reference(measured(twins.radiograph.pixels), measured(twins.truth))
        seed = noise_seed(case.name, ground.bundle.digest, 0, 0)  # equal noise in every way, so that only ways differ
        for index, trial in enumerate(trials):
            started = time.perf_counter()
            output = suppressed(twins.radiograph, _Retuned(ground.engine, trial.spec), trial.spec.steps, seed)
            spent[index] += time.perf_counter() - started
            rows[index].append(ground.judge.scores(reference, measured(output.soft)))
            advance()
    for trial, scores, seconds in zip(trials, rows, spent, strict=True):
        trial.scores = {key: _mean([row[key] for row in scores]) for key in scores[0]}
        trial.seconds = seconds / len(ground.cases)


def _mean(values: Sequence[float]) -> float:
    """Of what is known: a pair in which no lungs were found has no figure for them."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
