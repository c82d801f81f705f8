"""What the figures say, claim by claim: every word that depends on a result is chosen by that result."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from training.ablate.compare import BY_KEY, Difference, Seen
from training.ablate.plan import KINDS, Cell, Kind, Study, Variant, cells_of
from training.ablate.tables import KIND_TITLES, NOT_A_NUMBER, label

__all__ = ["Finding", "findings", "told"]

Agreement = Literal["yes", "no", "partly", "not clear"]
JUDGED = ("bsr_tone", "psnr", "lpips")  # of a comparison; the first decides
PAPER_LAMBDA, PAPER_OMEGA, PAPER_B = 0.1, 3.0, 1.4  # omega over the whole way, .003 a step of 1000
AGREEMENT: dict[str, Agreement] = {"better": "yes", "worse": "no", "no clear difference": "not clear"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim beside what was seen.

    Attributes
    ----------
    claim : of the paper, or the question that we ask.
    seen : a sentence with figures.
    agrees : whether the figures bear the claim out; None for a question.
    """

    claim: str
    seen: str
    agrees: Agreement | None = None


def findings(seen: Seen, studies: Iterable[Study]) -> list[Finding]:
    """Those of every study whose cells are there."""
    found: list[Finding] = []
    for study in studies:
        if len(seen.known(cells_of(study, seen.values))) == len(cells_of(study, seen.values)):
            found += FINDERS[study](seen)
    return found


def told(seen: Seen, first: Cell, second: Cell) -> str:
    """`bsr_tone better by 0.051 ± 0.006, PSNR worse by ...`: the first cell against the second."""
    parts = []
    for metric in JUDGED:
        difference = seen.difference(first, second, metric)
        if math.isfinite(difference.mean):
            parts.append(_difference(difference, metric))
    return ", ".join(parts) or "no figures to compare"


def _difference(difference: Difference, metric: str) -> str:
    known = BY_KEY[metric]
    unit, title = (" dB", "PSNR") if metric == "psnr" else ("", known.title)
    mean, error = difference.mean * known.factor, difference.error * known.factor
    if math.isinf(error):
        return f"{title} {mean:+.{known.digits}f}{unit} on the one pair there is"
    if difference.verdict == "no clear difference":
        return f"{title} not clearly different ({mean:+.{known.digits}f} ± {error:.{known.digits}f}{unit})"
    return f"{title} {difference.verdict} by {abs(mean):.{known.digits}f} ± {error:.{known.digits}f}{unit}"


def _state(seen: Seen, cell: Cell) -> str:
    """Two figures of a cell, or that it has none."""
    tone, psnr = (seen.summary(cell, metric).mean for metric in ("bsr_tone", "psnr"))
    lost = seen.not_finite(cell)
    if not math.isfinite(psnr):
        return NOT_A_NUMBER
    broken = f", {lost:.0%} of the samples {NOT_A_NUMBER}" if lost else ""
    return f"bsr_tone {tone:.3f}, PSNR {psnr:.1f} dB{broken}"


def _collapse(seen: Seen, cells: list[Cell]) -> Agreement:
    collapsed = [seen.collapsed(cell) for cell in cells]
    return "yes" if all(collapsed) else "partly" if any(collapsed) else "no"


def _grid(seen: Seen) -> list[Finding]:
    without, with_offset = Variant(0.0), seen.values.base
    free = [Cell(variant, seen.values.way("none")) for variant in (without, with_offset)]
    states = [
        f"{'with' if cell.variant.offset_noise else 'without'} offset noise {_state(seen, cell)} "
        f"({'collapsed' if seen.collapsed(cell) else 'not collapsed'})"
        for cell in free
    ]
    identity = seen.reference("identity", "psnr")
    made = [
        Finding(
            "Samples collapse where predicted latents are not bounded (Table 2, rows without clipping)",
            f"{'; '.join(states)}; the input itself has {identity:.1f} dB",
            _collapse(seen, free),
        )
    ]
    clipped = Cell(with_offset, seen.values.way())
    others: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "dynamic_clipping")
    for kind in others:
        other = Cell(with_offset, seen.values.way(kind))
        state = " (that one collapsed)" if seen.collapsed(other) else ""
        made.append(
            Finding(
                f"Dynamic clipping is better than thresholding {KIND_TITLES[kind]!r}, with offset noise",
                f"{told(seen, clipped, other)}{state}",
                _agreement(seen, clipped, other),
            )
        )
    made.append(
        Finding(
            "Offset noise helps, with dynamic clipping",
            told(seen, clipped, Cell(without, seen.values.way())),
            _agreement(seen, clipped, Cell(without, seen.values.way())),
        )
    )
    best = seen.best(cells_of("grid", seen.values), "bsr_tone")
    where = f"{'with' if best.variant.offset_noise else 'without'} offset noise, {KIND_TITLES[best.way.kind]}"
    if best == clipped:
        agrees: Agreement = "not clear" if _level(seen, clipped, cells_of("grid", seen.values)) else "yes"
    else:
        agrees = "no" if _agreement(seen, best, clipped) == "yes" else "not clear"
    made.append(
        Finding("Offset noise with dynamic clipping is the best of the eight", f"highest bsr_tone: {where}", agrees)
    )
    return made


def _agreement(seen: Seen, first: Cell, second: Cell) -> Agreement:
    """Whether the first is better; a cell that collapsed is worse than any that did not, whatever its outliers."""
    if seen.collapsed(second) != seen.collapsed(first):
        return "yes" if seen.collapsed(second) else "no"
    return AGREEMENT[seen.difference(first, second, "bsr_tone").verdict]


def _level(seen: Seen, best: Cell, cells: Iterable[Cell]) -> list[Cell]:
    """Those that the best of all is not clearly better than."""
    return [cell for cell in cells if cell != best and _agreement(seen, best, cell) != "yes"]


def _sweep(study: Study, claim: str, chosen: Callable[[Cell], bool]) -> Callable[[Seen], list[Finding]]:
    """The best of a sweep beside the value that the paper took."""

    def find(seen: Seen) -> list[Finding]:
        cells = cells_of(study, seen.values)
        best = seen.best(cells, "bsr_tone")
        papers = next((cell for cell in cells if chosen(cell)), None)
        line = ", ".join(f"{label(study, cell)}: {seen.summary(cell, 'bsr_tone').mean:.3f}" for cell in cells)
        if papers is None:
            return [Finding(claim, f"the paper's value is not among those tried; bsr_tone at {line}")]
        if best == papers:
            level = ", ".join(label(study, cell) for cell in _level(seen, best, cells))
            but = f", but not clearly better than {level}" if level else ""
            words = f"the best of those tried{but}; bsr_tone at {line}"
            return [Finding(claim, words, "not clear" if level else "yes")]
        words = f"best at {label(study, best)}, against the paper's: {told(seen, best, papers)}; bsr_tone at {line}"
        return [Finding(claim, words, "no" if _agreement(seen, best, papers) == "yes" else "not clear")]

    return find


def _condition(seen: Seen) -> list[Finding]:
    base = seen.values.base
    scaled = Variant(base.offset_noise, scaled_condition=True)
    pairs = [(kind, Cell(scaled, seen.values.way(kind)), Cell(base, seen.values.way(kind))) for kind in KINDS]
    told_each = [
        f"{KIND_TITLES[kind]}: {told(seen, one, two)}{' (collapsed)' if seen.collapsed(one) else ''}"
        for kind, one, two in pairs
    ]
    _, one, two = pairs[0]
    extra = seen.collapsed(one) and not seen.collapsed(two)
    why = (
        "only with the scaled condition do unbounded samples collapse"
        if extra
        else (
            f"unbounded samples {'collapse' if seen.collapsed(two) else 'do not collapse'} with the clean condition "
            f"and {'collapse' if seen.collapsed(one) else 'do not collapse'} with the scaled one"
        )
    )
    return [
        Finding(
            "What does a condition cost that is scaled in training and not in sampling (as in the public code)?",
            f"scaled against clean: {'; '.join(told_each)}",
        ),
        Finding("Is that mismatch why unbounded sampling collapses?", why),
    ]


def _latents(seen: Seen) -> list[Finding]:
    base = seen.values.base
    raw = Variant(base.offset_noise, raw_latents=True)
    deviations = ", ".join(f"{each:.2f}" for each in seen.results.document["autoencoder"]["latent_std"])
    each = [
        f"{KIND_TITLES[kind]}: {told(seen, *(Cell(variant, seen.values.way(kind)) for variant in (raw, base)))}"
        for kind in KINDS
    ]
    return [
        Finding(
            "What do latents in the encoder's own units cost, with the same bounds?",
            f"their deviations are {deviations}; own units against standardised: {'; '.join(each)}",
        )
    ]


def _steps(seen: Seen) -> list[Finding]:
    made = []
    for kind in ("dynamic_clipping", "none"):
        cells = [cell for cell in cells_of("steps", seen.values) if cell.way.kind == kind]
        line = ", ".join(f"{label('steps', cell)}: {seen.summary(cell, 'bsr_tone').mean:.3f}" for cell in cells)
        broken = [label("steps", cell) for cell in cells if seen.collapsed(cell)]
        state = f"collapsed at {', '.join(broken)} steps" if broken else "collapsed at no number of steps"
        best = seen.best(cells, "bsr_tone")
        made.append(
            Finding(
                f"How many steps, thresholding {KIND_TITLES[kind]!r}?",
                f"best at {label('steps', best)}; {state}; bsr_tone at {line}",
            )
        )
    return made


FINDERS: dict[Study, Callable[[Seen], list[Finding]]] = {
    "grid": _grid,
    "lambda": _sweep(
        "lambda", "Lambda = .1 is the best (Fig. 6)", lambda cell: cell.variant.offset_noise == PAPER_LAMBDA
    ),
    "omega": _sweep("omega", "Omega = .003 is the best (Fig. 6)", lambda cell: cell.way.omega == PAPER_OMEGA),
    "b": _sweep("b", "b = 1.4 is the best (Fig. 6)", lambda cell: cell.way.b == PAPER_B),
    "condition": _condition,
    "latents": _latents,
    "steps": _steps,
}
