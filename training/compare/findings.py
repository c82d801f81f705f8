"""What the figures say, in sentences that are made from them: where ours leads, where it does not."""

import numpy as np

from training.compare.result import Comparison, Row, SetResult, difference, known_metrics
from training.compare.systems import OURS
from training.evaluate.scores import METRICS, Metric

__all__ = ["findings"]

UNTOUCHED = "identity"


def findings(comparison: Comparison, result: SetResult) -> list[str]:
    """Sentences about one set of test pairs; only systems trained under the budget compete."""
    rivals = [row for row in comparison.rows if row.kind == "system" and row.key in result.measured]
    told = [_against_untouched(result, rivals)] if rivals else []
    if any(row.key == OURS for row in rivals) and len(rivals) > 1:
        others = [row for row in rivals if row.key != OURS]
        known = [metric for metric in _told_metrics(result) if result.of(OURS, metric.key).count]
        told += [_place(result, others, metric) for metric in known]
    ships = next((row for row in comparison.rows if row.kind == "ships" and row.key in result.measured), None)
    if ships is not None and rivals and result.of(UNTOUCHED, "bsr_tone").count:
        told.append(_ships(result, rivals, ships))
    return told


def _told_metrics(result: SetResult) -> list[Metric]:
    """Those that the untouched input has: without lungs in any pair there is nothing to say about them."""
    return [metric for metric in known_metrics(result) if result.of(UNTOUCHED, metric.key).count]


def _against_untouched(result: SetResult, rows: list[Row]) -> str:
    """Whether each is better than returning the input."""
    worse: dict[str, list[str]] = {}
    for metric in _told_metrics(result):
        for row in rows:
            if not _better(metric, result.of(row.key, metric.key).mean, result.of(UNTOUCHED, metric.key).mean):
                worse.setdefault(row.title, []).append(f"{_name(metric)}{_better_on(result, row, metric)}")
    if not worse:
        return f"Every one of the {len(rows)} systems is better than the untouched input in every figure."
    named = "; ".join(f"{title} in {', '.join(keys)}" for title, keys in worse.items())
    rest = len(rows) - len(worse)
    return f"{rest} of {len(rows)} systems are better than the untouched input in every figure. Not better: {named}."


def _better_on(result: SetResult, row: Row, metric: Metric) -> str:
    """On how many pairs it is better all the same: ratios of pairs with little bone pull a mean far down."""
    ours, untouched = (result.measured[key].scores for key in (row.key, UNTOUCHED))
    both = [(scores[metric.key], untouched[case][metric.key]) for case, scores in ours.items() if case in untouched]
    known = [pair for pair in both if np.isfinite(pair).all()]
    if not known:
        return ""
    wins = sum(_better(metric, *pair) for pair in known)
    return f" (better on {wins} of {len(known)} pairs)"


def _place(result: SetResult, others: list[Row], metric: Metric) -> str:
    """Ours beside the best of the others in one figure."""
    best = _best(result, others, metric)
    own, theirs = result.of(OURS, metric.key).mean, result.of(best.key, metric.key).mean
    gap = difference(result, best.key, metric.key)
    figures = f"{_told(metric, own)} against {_told(metric, theirs)} of {best.title}"
    interval = (
        ""
        if gap is None
        else f", 95 % interval of ours less theirs {_told(metric, -gap.high)} to {_told(metric, -gap.low)}"
    )
    name = _name(metric)
    if gap is None or not gap.certain:
        nearly = "the two cannot be told apart" if gap is not None else "too few people for an interval"
        level = "ours is not first" if _better(metric, theirs, own) else "nobody is ahead of ours"
        first = "ours is first" if _better(metric, own, theirs) else level
        return f"**{name}**: {first} ({figures}{interval}); {nearly}."
    verdict = "ours leads" if _better(metric, own, theirs) else f"ours does not lead, {best.title} does"
    return f"**{name}**: {verdict} ({figures}{interval})."


def _ships(result: SetResult, rows: list[Row], ships: Row) -> str:
    """What ships, trained for longer on other pairs, is no competitor: it shows what more training does."""
    key = "bsr_tone"
    best = _best(result, rows, next(metric for metric in METRICS if metric.key == key))
    own, theirs = result.of(ships.key, key).mean, result.of(best.key, key).mean
    above = "above" if own > theirs else "below"
    warned = f" Its training saw real pairs ({ships.seen}), which these may be." if ships.seen else ""
    warned = "" if result.held_out.simulated else warned
    return (
        f"What ships was trained for longer and on other pairs, so it does not compete: its bsr_tone of {own:.3f} lies "
        f"{above} the best of this budget, {best.title} with {theirs:.3f}.{warned}"
    )


def _best(result: SetResult, rows: list[Row], metric: Metric) -> Row:
    """The first of those with the best mean; one without a number is behind every other."""
    best = rows[0]
    for row in rows[1:]:
        one, other = result.of(row.key, metric.key).mean, result.of(best.key, metric.key).mean
        if np.isnan(other) or _better(metric, one, other):
            best = row
    return best


def _name(metric: Metric) -> str:
    """The head of a column, without its unit."""
    return {"bsr_tone_lungs": "bsr_tone in the lungs"}.get(metric.key, metric.title.partition(",")[0])


def _better(metric: Metric, one: float, other: float) -> bool:
    return one > other if metric.better == "higher" else one < other


def _told(metric: Metric, value: float) -> str:
    return f"{value * metric.factor:.{metric.digits}f}"
