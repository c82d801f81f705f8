"""Table 1 anew, as tables of texts that Markdown, HTML and a terminal can all show."""

import math
from collections.abc import Sequence

from training.compare.result import Comparison, Row, SetResult, difference, known_metrics
from training.compare.statistics import Difference, Summary
from training.compare.systems import OURS
from training.evaluate.scores import METRICS, Metric
from training.evaluate.tables import Table

__all__ = ["cost_table", "figures_table", "paired_table", "set_tables", "summary_table"]

PUBLISHED = (
    "bsr_paper",
    "bsr_strict",
    "mse",
    "psnr",
    "ms_ssim",
    "lpips",
)  # the columns of Table 1, and how ours differ
BONE = ("bsr_tone", "bsr_tone_lungs", "ribs_left", "psnr_fitted")
SHORT = ("bsr_tone", "bsr_tone_lungs", "lpips", "psnr", "bsr_strict")
SHARES = ("bsr_tone",)
GIGA, MILLION = 1e9, 1e6
NOTHING = ""
LONGER = "trained elsewhere, not under the budget"
EQUAL_DB = 99


def set_tables(comparison: Comparison, result: SetResult) -> list[Table]:
    """Every table of one set of test pairs."""
    made = [
        figures_table(comparison, result, BONE, "Bone"),
        figures_table(comparison, result, PUBLISHED, "The figures of Table 1"),
    ]
    paired = paired_table(comparison, result)
    return made if paired is None else [*made, paired]


def figures_table(
    comparison: Comparison, result: SetResult, keys: tuple[str, ...], title: str, *, spread: bool = True
) -> Table:
    """Mean ± standard deviation over images; ours is strong, and who was not trained under the budget stands last."""
    metrics = [metric for key in keys for metric in METRICS if metric.key == key and _has(result, key)]
    heads = [head for metric in metrics for head in _heads(metric, spread=spread)]
    rows = [row for row in _ordered(comparison) if row.key in result.measured]
    cells = [(_title(row), *_cells(metrics, row, result, spread=spread), _seconds(row, result)) for row in rows]
    if "ribs_left" in keys and "truth" in result.measured:
        note = "`ribs_left` is read between the truth and the input, see below."
    else:
        note = ""
    strong = next((number for number, row in enumerate(rows) if row.key == OURS), None)
    return Table(
        f"{title}: {result.held_out.name}, mean ± deviation" if spread else title,
        ("", *heads, "CPU s an image"),
        tuple(cells),
        note,
        strong,
    )


def summary_table(comparison: Comparison, result: SetResult) -> Table:
    """Few columns, for a terminal."""
    return figures_table(comparison, result, SHORT, f"{result.held_out.name}: {result.held_out.title}", spread=False)


def paired_table(comparison: Comparison, result: SetResult) -> Table | None:
    """Each system less ours on the same images, with 95 % intervals over people; None where ours is not measured."""
    if OURS not in result.measured:
        return None
    metrics = known_metrics(result)
    rows = [row for row in _ordered(comparison) if row.key in result.measured and row.key not in (OURS, "truth")]
    found = [(row, [difference(result, row.key, metric.key) for metric in metrics]) for row in rows]
    cells = tuple(
        (_title(row), *(_gap(metric, gap) for metric, gap in zip(metrics, gaps, strict=True)))
        for row, gaps in found
        if any(gap is not None for gap in gaps)
    )
    if not cells:
        return None
    note = (
        "Mean difference and, in brackets, its 95 % interval: 10,000 bootstraps over the people of the set, wider for "
        "few of them; none for fewer than six. * marks "
        "intervals without 0. An arrow says which way is better, so a negative number under ↑ is in favour of ours."
    )
    return Table(f"Each less ours: {result.held_out.name}", ("", *(_head(metric) for metric in metrics)), cells, note)


def cost_table(comparison: Comparison, size: int) -> Table:
    """Sizes, work and training of each."""
    rows = []
    for row in _ordered(comparison):
        if row.kind == "trivial":
            continue
        steps = " + ".join(f"{count:,}" for count in row.steps.values())
        stages = f" ({', '.join(row.steps)})" if len(row.steps) > 1 else ""
        minutes = NOTHING if row.cpu_minutes is None else f"{row.cpu_minutes:.1f}"
        parameters, published = (
            NOTHING if count is None else f"{count / MILLION:,.3f}" for count in (row.parameters, row.published)
        )
        flop = NOTHING if row.flop is None else f"{row.flop / GIGA:,.1f}"
        rows.append((_title(row), row.scale, parameters, published, flop, f"{steps}{stages}", minutes))
    heads = (
        "",
        "scale, batch",
        "parameters, M",
        "published, M",
        f"GFLOP an image of {size} px",
        "training steps",
        "CPU minutes of training",
    )
    strong = next((number for number, row in enumerate(rows) if row[0] == _title_of(comparison, OURS)), None)
    return Table("Sizes and training", heads, tuple(rows), strong=strong)


def _ordered(comparison: Comparison) -> list[Row]:
    """Trivial ones first, then who had the same budget, then who had not."""
    order = {"trivial": 0, "system": 1, "loaded": 2, "ships": 3}
    rows = sorted(comparison.rows, key=lambda row: order[row.kind])
    return [*(row for row in rows if row.key != "truth"), *(row for row in rows if row.key == "truth")]


def _title_of(comparison: Comparison, key: str) -> str:
    return next((_title(row) for row in comparison.rows if row.key == key), NOTHING)


def _title(row: Row) -> str:
    return f"{row.title} ({LONGER})" if row.kind in ("loaded", "ships") else row.title


def _has(result: SetResult, key: str) -> bool:
    return any(key in scores for measured in result.measured.values() for scores in measured.scores.values())


def _head(metric: Metric) -> str:
    name = {"bsr_tone_lungs": "bsr_tone in the lungs"}.get(metric.key, metric.title)
    return f"{name} {'↑' if metric.better == 'higher' else '↓' if metric.better == 'lower' else ''}".strip()


def _cell(metric: Metric, found: Summary, *, spread: bool) -> str:
    mean, sd = found.mean * metric.factor, found.sd * metric.factor
    if not math.isfinite(mean) or (metric.key.startswith("psnr") and mean > EQUAL_DB):
        return NOTHING
    told = _signless(f"{mean:.{metric.digits}f}")
    return f"{told} ± {sd:.{metric.digits}f}" if spread and found.count > 1 else told


def _heads(metric: Metric, *, spread: bool) -> list[str]:
    """Shares are told by their median too: few images with faint bones pull their mean."""
    return [_head(metric), f"{metric.title}, median"] if spread and metric.key in SHARES else [_head(metric)]


def _cells(metrics: Sequence[Metric], row: Row, result: SetResult, *, spread: bool) -> list[str]:
    made = []
    for metric in metrics:
        found = result.of(row.key, metric.key)
        made.append(_cell(metric, found, spread=spread))
        if spread and metric.key in SHARES:
            made.append(_signless(f"{found.median:.{metric.digits}f}") if math.isfinite(found.median) else NOTHING)
    return made


def _gap(metric: Metric, gap: Difference | None) -> str:
    if gap is None:
        return NOTHING
    mean, low, high = (
        _signless(f"{value * metric.factor:+.{metric.digits}f}") for value in (gap.mean, gap.low, gap.high)
    )
    return f"{mean} ({low} to {high}){'*' if gap.certain else ''}"


def _signless(text: str) -> str:
    """A zero has no sign."""
    return text.lstrip("+-") if float(text) == 0 else text


def _seconds(row: Row, result: SetResult) -> str:
    seconds = result.seconds(row.key) if row.kind != "trivial" else None
    return NOTHING if seconds is None else f"{seconds:.3f}"
