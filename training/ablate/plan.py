"""What is trained, how each training is sampled, and which of these cells a study compares.

Thresholding acts in sampling alone, so the 2 x 4 grid of the paper's Table 2 needs two trainings; of its Fig. 6 only
the sweep of lambda trains anew. A cell that several studies show is measured once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from model.bundle import ClippingSpec
from training.preset import Preset

__all__ = [
    "KINDS",
    "STUDIES",
    "Cell",
    "Kind",
    "Study",
    "Values",
    "Variant",
    "Way",
    "cells_of",
    "preset_of",
    "trainings_of",
]

Kind = Literal["none", "static", "dynamic_thresholding", "dynamic_clipping"]
KINDS: tuple[Kind, ...] = ("none", "static", "dynamic_thresholding", "dynamic_clipping")  # columns of Table 2
Study = Literal["grid", "lambda", "omega", "b", "condition", "latents", "steps"]
STUDIES: tuple[Study, ...] = ("grid", "lambda", "omega", "b", "condition", "latents", "steps")


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One denoiser that is trained; each differs from the base in one thing.

    Attributes
    ----------
    offset_noise : coefficient on eta, in training and in the sampling of this network.
    scaled_condition : trained on a condition times alpha_t, sampled without, as the public code does.
    raw_latents : on latents in the encoder's own units, not standardised.
    """

    offset_noise: float
    scaled_condition: bool = False
    raw_latents: bool = False

    @property
    def name(self) -> str:
        """Of its folder and in the results: `offset-0.1`, `offset-0.1-scaled-condition`."""
        words = [f"offset-{self.offset_noise:g}"]
        words += ["scaled-condition"] if self.scaled_condition else []
        words += ["raw-latents"] if self.raw_latents else []
        return "-".join(words)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to sample.

    Attributes
    ----------
    omega, b : of dynamic clipping, `omega` per unit of progress (the paper's .003 per step of 1000 is 3); None
        elsewhere.
    """

    kind: Kind
    steps: int
    omega: float | None = None
    b: float | None = None

    @property
    def name(self) -> str:
        """In the results: `dynamic_clipping omega 3 b 1.4, 1000 steps`."""
        bound = f" omega {self.omega:g} b {self.b:g}" if self.omega is not None and self.b is not None else ""
        return f"{self.kind}{bound}, {self.steps} steps"

    def clipping(self, base: ClippingSpec) -> ClippingSpec:
        """As the sampler takes it; bound and percentile are those of ``base``."""
        changes: dict[str, object] = {"kind": self.kind}
        if self.omega is not None and self.b is not None:
            changes |= {"omega": self.omega, "b": self.b}
        return base.model_copy(update=changes)


@dataclass(frozen=True, slots=True)
class Cell:
    """A training sampled in one way."""

    variant: Variant
    way: Way

    @property
    def name(self) -> str:
        """One for each cell, whichever studies show it."""
        return f"{self.variant.name}: {self.way.name}"


@dataclass(frozen=True, slots=True)
class Values:
    """What the studies try.

    Attributes
    ----------
    offset_noise, omega, b, steps : of the base, at which everything else stays while one is varied.
    lambdas, omegas, bs, numbers_of_steps : of the sweeps; the base is one of each.
    """

    offset_noise: float
    omega: float
    b: float
    steps: int
    lambdas: tuple[float, ...]
    omegas: tuple[float, ...]
    bs: tuple[float, ...]
    numbers_of_steps: tuple[int, ...]

    @classmethod
    def of(cls, preset: Preset, *, quick: bool = False) -> "Values":
        """About the numbers of a preset; with ``quick`` two or three of each."""
        base = preset.diffusion.offset_noise, preset.clipping.omega, preset.clipping.b, preset.diffusion.sampling_steps
        offset_noise, omega, b, steps = base
        if quick:
            return cls(*base, _with(offset_noise, 0), _with(omega, 0), _with(b, 0.5), tuple(sorted({1, 2, steps})))
        return cls(
            *base,
            _with(offset_noise, 0, 0.05, 0.2, 0.5),
            _with(omega, 0, 1, 2, 4, 6, 12),
            _with(b, 0.5, 1, 2, 3, 4),
            tuple(sorted({1, 2, 4, 10, 20, 50, 100, 250, 1000, steps})),
        )

    @property
    def base(self) -> Variant:
        """The method as it is: offset noise, clean condition, standardised latents."""
        return Variant(self.offset_noise)

    def way(self, kind: Kind = "dynamic_clipping", **changes: float) -> Way:
        """The base's way with another thresholding, or with other numbers."""
        plain = Way(kind, self.steps)
        if kind == "dynamic_clipping":
            plain = replace(plain, omega=self.omega, b=self.b)
        return replace(plain, **changes)  # type: ignore[arg-type]


def _with(base: float, *others: float) -> tuple[float, ...]:
    return tuple(sorted({float(base), *map(float, others)}))


def cells_of(study: Study, values: Values) -> list[Cell]:
    """The cells of a study, in the order they are shown."""
    return PLANS[study](values)


def _grid(values: Values) -> list[Cell]:
    variants = Variant(0.0), values.base
    return [Cell(variant, values.way(kind)) for variant in variants for kind in KINDS]


def _lambda(values: Values) -> list[Cell]:
    return [Cell(Variant(offset), values.way()) for offset in values.lambdas]


def _omega(values: Values) -> list[Cell]:
    return [Cell(values.base, values.way(omega=omega)) for omega in values.omegas]


def _b(values: Values) -> list[Cell]:
    return [Cell(values.base, values.way(b=b)) for b in values.bs]


def _condition(values: Values) -> list[Cell]:
    variants = values.base, replace(values.base, scaled_condition=True)
    return [Cell(variant, values.way(kind)) for variant in variants for kind in KINDS]


def _latents(values: Values) -> list[Cell]:
    variants = values.base, replace(values.base, raw_latents=True)
    return [Cell(variant, values.way(kind)) for variant in variants for kind in KINDS]


def _steps(values: Values) -> list[Cell]:
    kinds: tuple[Kind, ...] = ("dynamic_clipping", "none")
    return [Cell(values.base, values.way(kind, steps=steps)) for kind in kinds for steps in values.numbers_of_steps]


PLANS: Mapping[Study, Callable[[Values], list[Cell]]] = {
    "grid": _grid,
    "lambda": _lambda,
    "omega": _omega,
    "b": _b,
    "condition": _condition,
    "latents": _latents,
    "steps": _steps,
}

ByVariant: TypeAlias = dict[Variant, list[Cell]]


def trainings_of(studies: Iterable[Study], values: Values) -> ByVariant:
    """Every training that the studies need, with its cells, each once; the base comes first."""
    cells: Sequence[Cell] = [cell for study in studies for cell in cells_of(study, values)]
    found: ByVariant = {}
    for cell in sorted(dict.fromkeys(cells), key=lambda cell: cell.variant != values.base):
        found.setdefault(cell.variant, []).append(cell)
    return found


def preset_of(preset: Preset, variant: Variant) -> Preset:
    """The preset with which a variant is trained."""
    changes = {"offset_noise": variant.offset_noise, "scaled_condition": variant.scaled_condition}
    return preset.model_copy(update={"diffusion": preset.diffusion.model_copy(update=changes)})
