"""What was found, as tables of texts that Markdown, HTML and a terminal can all show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluate.cases import Case
from training.evaluate.run import Evaluation, Row
from training.evaluate.scores import METRICS, Metric

__all__ = ["Table", "mean_scores", "summary", "tables"]

MAIN = ("bsr_tone", "bsr_tone_lungs", "ribs_left", "lpips", "psnr_fitted", "psnr", "ms_ssim")
FURTHER = ("mse", "psnr_lungs", "bsr_strict", "bsr_strict_lungs", "bsr_paper", "bsr_paper_lungs")
SHORT = ("bsr_tone", "bsr_tone_lungs", "ribs_left", "lpips", "psnr_fitted")
NOTHING = ""
EQUAL_DB = 99  # two images beyond this are the same up to rounding


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a head, rows of cells, and a sentence below; ``strong`` is the index of the row that ships, or None."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    strong: int | None = None


def tables(result: Evaluation) -> list[Table]:
    """Every table of the report, the most important one first."""
    dual = [case for case in result.cases if case.dual_energy]
    made = []
    if dual:
        title = f"Mean of {len(dual)} dual-energy pairs, with the deviation between pairs"
        made.append(_scores_table(title, result, dual, MAIN, spread=True))
        made.append(_scores_table("The same pairs, further figures", result, dual, FURTHER, spread=False))
    for source in sorted({case.source for case in result.cases}):
        cases = [case for case in result.cases if case.source == source]
        if len(cases) < len(dual) or not cases[0].dual_energy:
            kind = "dual energy" if cases[0].dual_energy else "computed truth, not dual energy: in no mean above"
            made.append(_scores_table(f"{source}: {len(cases)} ({kind})", result, cases, MAIN, spread=False))
    made.append(_each_pair(result))
    made += _without_truth(result)
    return made


def summary(result: Evaluation) -> Table:
    """The first table in few columns, for a terminal."""
    dual = [case for case in result.cases if case.dual_energy]
    return _scores_table(
        f"mean of {len(dual or result.cases)} pairs", result, dual or result.cases, SHORT, spread=False
    )


def mean_scores(row: Row, cases: Iterable[Case]) -> dict[str, float]:
    """Mean of each figure over pairs, without those that have none; NaN where no pair has one."""
    names = [case.name for case in cases]
    keys = row.scores[names[0]].keys()
    return {key: _mean([row.scores[name][key] for name in names]) for key in keys}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _scores_table(
    title: str, result: Evaluation, cases: Sequence[Case], keys: tuple[str, ...], *, spread: bool
) -> Table:
    measured = result.rows[0].scores[cases[0].name]
    metrics = [metric for key in keys for metric in METRICS if metric.key == key and key in measured]
    rows = []
    for row in result.rows:
        columns = {metric.key: [row.scores[case.name][metric.key] for case in cases] for metric in metrics}
        cells = [_cell(metric, columns[metric.key], spread=spread and len(cases) > 1) for metric in metrics]
        if "ribs_left" in columns:
            cells.insert([metric.key for metric in metrics].index("ribs_left") + 1, _way(result, row, cases))
        rows.append((row.title, *cells, _seconds(row)))
    heads = [_head(metric) for metric in metrics]
    if "ribs_left" in keys:
        heads.insert([metric.key for metric in metrics].index("ribs_left") + 1, "way from truth to input")
    strong = [row.key for row in result.rows].index(result.shipped)
    return Table(title, ("", *heads, "s a pair"), tuple(rows), strong=strong)


def _head(metric: Metric) -> str:
    return f"{metric.title} {'↑' if metric.better == 'higher' else '↓' if metric.better == 'lower' else ''}".strip()


def _cell(metric: Metric, values: Sequence[float], *, spread: bool) -> str:
    mean = _mean(values) * metric.factor
    if not np.isfinite(mean) or (metric.key.startswith("psnr") and mean > EQUAL_DB):
        return NOTHING
    told = f"{mean:.{metric.digits}f}"
    told = told.removeprefix("-") if float(told) == 0 else told
    return f"{told} ± {float(np.nanstd(values)) * metric.factor:.{metric.digits}f}" if spread else told


def _way(result: Evaluation, row: Row, cases: Sequence[Case]) -> str:
    """Where the mean of `ribs_left` lies between those of truth and input; below 0, vessels were taken for ribs."""
    by_key = {each.key: mean_scores(each, cases)["ribs_left"] for each in result.rows}
    truth, untouched = by_key["truth"], by_key["identity"]
    share = (by_key[row.key] - truth) / (untouched - truth) if untouched != truth else float("nan")
    return f"{share:.2f}" if np.isfinite(share) else NOTHING


def _seconds(row: Row) -> str:
    return f"{row.seconds:.1f}" if row.kind in ("bundle", "control", "rival") else NOTHING


def _each_pair(result: Evaluation) -> Table:
    """What ships beside input, control and truth, pair by pair."""
    rows = []
    by_key = {row.key: row for row in result.rows}
    others = [key for key in ("control",) if key in by_key]
    metrics = {metric.key: metric for metric in METRICS}
    for case in result.cases:
        own = by_key[result.shipped].scores[case.name]
        cells = [_cell(metrics[key], [own[key]], spread=False) for key in ("bsr_tone", "bsr_tone_lungs")]
        cells += [_cell(metrics["bsr_tone"], [by_key[k].scores[case.name]["bsr_tone"]], spread=False) for k in others]
        compared = ("identity", *others, result.shipped, "truth")
        ribs = [_cell(metrics["ribs_left"], [by_key[k].scores[case.name]["ribs_left"]], spread=False) for k in compared]
        rows.append((case.name, *cells, *ribs))
    heads = ("bsr_tone", "in the lungs", *(f"{key}: bsr_tone" for key in others))
    ribs_heads = ("ribs_left: input", *(f"ribs_left: {key}" for key in others), "ribs_left: output", "ribs_left: truth")
    return Table("Pair by pair, what ships", ("pair", *heads, *ribs_heads), tuple(rows))


def _without_truth(result: Evaluation) -> list[Table]:
    made = []
    if result.reconstructions:
        rows = tuple(
            (
                f"{each.size} x {each.size}",
                str(len(each.psnr_db)),
                *(f"{figure:.2f}" for figure in _range(each.psnr_db)),
            )
            for each in result.reconstructions
        )
        heads = ("radiograph fitted to", "radiographs", "PSNR, dB: mean", "deviation", "worst", "best")
        made.append(Table("The autoencoder alone, on held-out radiographs", heads, rows))
    stable = [
        ("another noise seed: rms of the change over rms of the layer", f"{_seed_share(result):.3f}", NOTHING),
    ]
    for nodules in result.nodules:
        if nodules.kept:
            told = f"inserted nodules, deviation {100 * nodules.sigma:.1f} % of the longer side: contrast kept"
            stable.append((told, f"{np.mean(nodules.kept):.3f}", f"{min(nodules.kept):.3f} (of {len(nodules.kept)})"))
    made.append(Table("Without a truth", ("", "mean", "worst"), tuple(stable)))
    return made


def _range(figures: Sequence[float]) -> tuple[float, float, float, float]:
    return float(np.mean(figures)), float(np.std(figures)), min(figures), max(figures)


def _seed_share(result: Evaluation) -> float:
    return _mean([seed.spread / seed.layer if seed.layer else float("nan") for seed in result.seeds])
