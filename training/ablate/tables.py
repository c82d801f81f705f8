"""The figures of each study as tables that a terminal and a page can show."""

import math
from collections.abc import Callable, Iterable, Sequence

from pacs_node.bench.rows import Grid
from training.ablate.compare import BY_KEY, SHOWN, Seen
from training.ablate.plan import Cell, Kind, Study, Variant, cells_of

__all__ = ["KIND_TITLES", "NOT_A_NUMBER", "label", "references", "study_table", "summary", "trainings"]

KIND_TITLES: dict[Kind, str] = {
    "none": "none",
    "static": "static [-1, 1]",
    "dynamic_thresholding": "dynamic, percentile",
    "dynamic_clipping": "dynamic clipping",
}
PER_STEP = 1000  # omega of the paper is per step of 1000, ours over the whole way
NOT_A_NUMBER = "no number"
REFERENCES = {
    "identity": "identity (the input)",
    "tone": "best tone curve",
    "bound": "bound: decoded true twins",
}
HEADS = {
    "grid": "offset noise",
    "lambda": "lambda",
    "omega": "omega",
    "b": "b",
    "condition": "condition",
    "latents": "latents",
    "steps": "steps",
}


LABELS: dict[Study, Callable[[Cell], str]] = {
    "grid": lambda cell: f"yes, {cell.variant.offset_noise:g}" if cell.variant.offset_noise else "no",
    "lambda": lambda cell: f"{cell.variant.offset_noise:g}",
    "omega": lambda cell: f"{(cell.way.omega or 0.0) / PER_STEP:g}",
    "b": lambda cell: f"{cell.way.b:g}",
    "condition": lambda cell: "scaled in training" if cell.variant.scaled_condition else "as it is",
    "latents": lambda cell: "in the encoder's units" if cell.variant.raw_latents else "standardised",
    "steps": lambda cell: f"{cell.way.steps}",
}


def label(study: Study, cell: Cell) -> str:
    """What is varied in this cell, apart from its thresholding."""
    return LABELS[study](cell)


def study_table(seen: Seen, study: Study, title: str) -> Grid:
    """One row for each cell: the figures with their deviation over the test pairs, and the means of the seeds."""
    cells = seen.known(cells_of(study, seen.values))
    metrics = _measured(seen, cells)
    several = study in {"grid", "condition", "latents", "steps"}
    rows = []
    for cell in cells:
        head = [label(study, cell), *([KIND_TITLES[cell.way.kind]] if several else [])]
        figures = [_figure(seen, cell, metric) for metric in metrics]
        seeds = ", ".join(_number(mean, "bsr_tone") for mean in seen.summary(cell, "bsr_tone").by_seed)
        rows.append([*head, *figures, seeds, "collapsed" if seen.collapsed(cell) else ""])
    heads = [HEADS[study], *(["thresholding"] if several else [])]
    return Grid(title, [*heads, *(_title(metric) for metric in metrics), "bsr_tone of each seed", ""], rows)


def references(seen: Seen) -> Grid:
    """The rows that need no denoiser."""
    metrics = [metric for metric in SHOWN if metric in seen.results.document["references"]["identity"][0]]
    rows = [
        [title, *(_number(seen.reference(name, metric), metric) for metric in metrics)]
        for name, title in REFERENCES.items()
    ]
    return Grid("Without a denoiser", ["", *(_title(metric) for metric in metrics)], rows)


def trainings(seen: Seen) -> Grid:
    """Every training with its steps and its processor time."""
    document = seen.results.document
    first = document["autoencoder"]
    rows: list[list[object]] = [["autoencoder", "", first["step"], first["ending"], f"{first['cpu_seconds'] / 60:.1f}"]]
    for facts in document["trainings"].values():
        name = Variant(**facts["variant"]).name
        rows.append([name, facts["seed"], facts["step"], facts["ending"], f"{facts['cpu_seconds'] / 60:.1f}"])
    return Grid("Trainings", ["", "seed", "steps", "ended", "CPU minutes"], rows)


def summary(seen: Seen, studies: Iterable[Study]) -> list[Grid]:
    """For a terminal."""
    return [references(seen), *(study_table(seen, study, study) for study in studies)]


def _measured(seen: Seen, cells: Sequence[Cell]) -> list[str]:
    """The shown metrics; the perceptual one only where it was measured."""
    return [metric for metric in SHOWN if any(math.isfinite(seen.summary(cell, metric).mean) for cell in cells)]


def _title(metric: str) -> str:
    found = BY_KEY[metric]
    return f"{found.title} {'↑' if found.better == 'higher' else '↓'}"


def _figure(seen: Seen, cell: Cell, metric: str) -> str:
    found = seen.summary(cell, metric)
    if not math.isfinite(found.mean):
        return NOT_A_NUMBER
    spread = f" ± {_number(found.deviation, metric)}" if math.isfinite(found.deviation) else ""
    return f"{_number(found.mean, metric)}{spread}"


def _number(value: float, metric: str) -> str:
    found = BY_KEY[metric]
    return f"{value * found.factor:.{found.digits}f}" if math.isfinite(value) else NOT_A_NUMBER
