"""A scored study as tables of texts, as a Markdown page, as JSON, and as a list of readings for other programs."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pacs_node.bench.markdown import as_markdown
from pacs_node.bench.rows import Grid
from training.readers.agreement import Agreement
from training.readers.criteria import SCALE
from training.readers.figures import Estimate
from training.readers.mrmc import ArmMean, Inference
from training.readers.readings import ARMS, Readings
from training.readers.records import Arm
from training.readers.score import Figure, Result

__all__ = ["NOBODY_READ", "as_json", "as_page", "readings_csv", "summary", "tables"]

NOBODY_READ = "Simulated readers: no person read anything. These figures show the form of the tables and nothing else."
RESEARCH_USE = "Research use only."
NOTHING = "-"
HEADS: Mapping[Arm, str] = {"without": "without companion", "with": "with companion"}
METHODS = (
    "**Scores**: 3 is best. AC2 (Gwet 2008, quadratic weights, missing ratings allowed) and kappa (Conger 1980, Cohen's "
    "weighted kappa for two readers; limits by jackknife over cases). Kappa falls to 0 where nearly all scores are equal, "
    "however far readers agree; AC2 does not.",
    "**Marks**: taken from the most confident down; a mark hits the nearest lesion not yet hit whose centre is nearer than "
    "its radius, or than the tolerance where that is larger. Further marks on a lesion that was hit count neither way. "
    "*At t* counts marks, or cases, of at least that confidence.",
    "**AUC of cases**: area under the empirical ROC curve of one rating a case. **wAFROC** (Chakraborty & Zhai 2016): how "
    "often a lesion, hit or missed, is rated above the highest false mark of a case without lesions; lesions of a case "
    "share one vote. It runs from 0 to 1, and a reader who never marks anything has .5.",
    "**Readers and cases**: Obuchowski & Rockette (1995) with the covariances bounded as in Hillis et al. (2005) and the "
    "degrees of freedom of Hillis (2007); it holds for other readers and other cases. **Cases**: the same with these "
    "readers fixed. Covariances by DeLong et al. (1988) for AUC and wAFROC, by jackknife over cases else.",
    "**Bootstrap**: percentiles of the difference over cases drawn again, a check of *cases*.",
    "**One reader alone**: limits of AUC and wAFROC by DeLong on the logit scale, of shares by Wilson (1927), which takes "
    "lesions of one case for independent, of the rest by jackknife; p by McNemar's exact test on the lesions or cases that "
    "changed. These p values are not corrected for their number.",
    "**Time**: geometric mean of the seconds in view; the difference is a ratio.",
)


def summary(result: Result) -> list[Grid]:
    """What a terminal shows."""
    made = [_progress(result), *_table_3(result), *_table_4(result), *_time(result)]
    return [grid for grid in made if grid.rows]


def tables(result: Result) -> list[Grid]:
    """Every table, the most important ones first."""
    return [*summary(result), *(grid for grid in _each_reader(result) if grid.rows)]


def _progress(result: Result) -> Grid:
    rows = [(each.reader, each.planned, each.finished, each.paired) for each in result.readings.progress]
    return Grid("What was read", ("reader", "readings planned", "finished", "cases in both arms"), rows)


def _table_3(result: Result) -> list[Grid]:
    made = []
    for arm in reversed(ARMS):
        found = [each for each in result.criteria if each.arm == arm]
        readers = list(dict.fromkeys(scores.reader for each in found for scores in each.each[:-1]))
        rows = []
        for each in found:
            by_reader = {scores.reader: f"{scores.mean:.2f} ({scores.median:g})" for scores in each.each}
            counts = " / ".join(map(str, each.each[-1].counts))
            cells = [by_reader.get(reader, NOTHING) for reader in (*readers, "all")]
            rows.append((each.criterion, *cells, counts, _agreement(each.ac2), _agreement(each.kappa)))
        told = " / ".join(map(str, SCALE))
        heads = ("", *readers, "all", f"readings of {told}", "AC2 (95 %)", "kappa (95 %)")
        made.append(Grid(f"Scores {HEADS[arm]} (Table 3): mean (median)", heads, rows))
    return made


def _agreement(found: Agreement | None) -> str:
    return NOTHING if found is None else _with_limits(found.value, found.low, found.high, 2)


def _table_4(result: Result) -> list[Grid]:
    arms = tuple(arm for block in result.blocks for arm in block.arms)
    if len(arms) == 0:
        return []
    block = result.blocks[0]
    lesions = sum(len(block.finished[block.readers[0], case, block.arms[0]].matches.found) for case in block.cases)  # type: ignore[union-attr]
    told = f"{len(block.readers)} readers, {len(block.cases)} cases, {lesions} lesions"
    if len(block.arms) == len(ARMS):
        rows = [_compared(figure) for figure in result.figures]
        heads = ("", *(HEADS[arm] for arm in ARMS), "difference", "p, readers and cases", "difference", "p, cases")
        return [Grid(f"Detection (Table 4): {told}; means over readers (95 %)", (*heads, "bootstrap"), rows)]
    made = []
    for number, alone in enumerate(result.blocks):
        count = len(result.figures) // len(result.blocks)
        figures = result.figures[number * count : (number + 1) * count]
        rows = [(_name(figure), _mean(figure, alone.arms[0]), figure.reason) for figure in figures]
        title = f"Detection {HEADS[alone.arms[0]]} (Table 4): {len(alone.readers)} readers, {len(alone.cases)} cases"
        made.append(Grid(title, ("", "mean over readers (95 %)", ""), rows))
    return made


def _compared(figure: Figure) -> tuple[str, ...]:
    if figure.comparison is None:
        return (_name(figure), NOTHING, NOTHING, f"not given: {figure.reason}", NOTHING, NOTHING, NOTHING, NOTHING)
    both, cases = (figure.comparison.holding_for(whom) for whom in ("readers and cases", "cases"))  # type: ignore[arg-type]
    limits = (
        NOTHING if figure.bootstrap is None else f"{_signed(figure.bootstrap[0])} to {_signed(figure.bootstrap[1])}"
    )
    return (_name(figure), *(_mean(figure, arm) for arm in ARMS), *_difference(both), *_difference(cases), limits)


def _difference(found: Inference | None) -> tuple[str, str]:
    if found is None:
        return NOTHING, NOTHING
    return f"{_signed(found.difference)} ({_signed(found.low)} to {_signed(found.high)})", _p(found.p)


def _mean(figure: Figure, arm: Arm) -> str:
    mean = figure.means.get(arm)
    return NOTHING if mean is None else _bounded(mean, figure.unit)


def _bounded(mean: ArmMean | Estimate, unit: str) -> str:
    """Limits of a share end where shares end; a normal or t interval does not know that."""
    value = mean.mean if isinstance(mean, ArmMean) else mean.value
    return _with_limits(value, max(mean.low, 0.0), mean.high if unit else min(mean.high, 1.0), 3)


def _time(result: Result) -> list[Grid]:
    rows = []
    for figure in result.times:
        for arm, mean in figure.means.items():
            rows.append((HEADS[arm], _seconds(mean.mean, mean.low, mean.high), ""))
        if figure.comparison is not None:
            for found in figure.comparison.inferences[:2]:
                ratio = _with_limits(math.exp(found.difference), math.exp(found.low), math.exp(found.high), 2)
                rows.append((f"with / without, for {found.generalises_to}", ratio, _p(found.p)))
    return [Grid("Reading time: geometric mean of seconds a case (95 %)", ("", "", "p"), rows)]


def _each_reader(result: Result) -> list[Grid]:
    rows: list[Sequence[object]] = []
    for figure in result.figures:
        for reader, values in figure.each.items():
            cells = [_one(values.get(arm), figure.unit) for arm in ARMS]
            rows.append((_name(figure), reader, *cells, _p(figure.changes[reader]) if figure.changes else NOTHING))
    detection = Grid("Reader by reader (95 %)", ("", "reader", *HEADS.values(), "p, McNemar"), rows)
    times = [
        (
            reader,
            *(
                NOTHING if arm not in values else _seconds(values[arm].value, values[arm].low, values[arm].high)
                for arm in ARMS
            ),
        )
        for figure in result.times
        for reader, values in figure.each.items()
    ]
    return [detection, Grid("Seconds a case, reader by reader (95 %)", ("reader", *HEADS.values()), times)]


def _one(found: Estimate | None, unit: str) -> str:
    return NOTHING if found is None or math.isnan(found.value) else _bounded(found, unit)


def _name(figure: Figure) -> str:
    unit = f", {figure.unit}" if figure.unit else ""
    return f"{figure.title}{unit}{'' if figure.at is None else f', at {figure.at}'}"


def _seconds(value: float, low: float, high: float) -> str:
    return _with_limits(math.exp(value), math.exp(low), math.exp(high), 1)


def _with_limits(value: float, low: float, high: float, digits: int) -> str:
    if math.isnan(value):
        return NOTHING
    limits = "" if math.isnan(low) else f" ({low:.{digits}f} to {high:.{digits}f})"
    return f"{value:.{digits}f}{limits}"


def _signed(value: float) -> str:
    told = f"{value:+.3f}"
    return "0.000" if float(told) == 0 else told


def _p(value: float) -> str:
    return NOTHING if math.isnan(value) else "< .001" if value < 0.001 else f"{value:.3f}"


def as_page(result: Result, facts: Mapping[str, str]) -> str:
    """The report as Markdown.

    Parameters
    ----------
    facts : name -> value: command, version, commit.
    """
    study = result.readings.study
    head = NOBODY_READ if result.simulated else RESEARCH_USE
    rated = "stated confidence in the case" if result.readings.by_case_confidence else "confidence of its highest mark"
    own = {
        "study": study.title,
        "cases": f"{len(study.cases)}, of which {_with_lesions(result.readings)}",
        "readers": ", ".join(each.reader for each in result.readings.progress),
        "seed of the study": str(study.seed),
        "rating of a case": rated,
        "tolerance of a mark": f"{result.options.tolerance_percent:g} % of the longer side",
    }
    table = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in {**own, **facts}.items())]
    notes = [f"- {warning}" for warning in result.warnings]
    methods = ["## How it was computed", "\n".join(f"- {each}" for each in METHODS)]
    parts = ["# Reader study", f"**{head}**", "\n".join(table), *(["\n".join(notes)] if notes else [])]
    return "\n\n".join([*parts, as_markdown(tables(result)), *methods]) + "\n"


def _with_lesions(readings: Readings) -> str:
    truths = [case.truth for case in readings.study.cases]
    diseased = sum(bool(truth.lesions) for truth in truths if truth is not None)
    lesions = sum(len(truth.lesions) for truth in truths if truth is not None)
    unknown = sum(truth is None for truth in truths)
    told = f"{diseased} with {lesions} lesions and {len(truths) - diseased - unknown} without"
    return f"{told}, {unknown} of unknown truth" if unknown else told


def as_json(result: Result, facts: Mapping[str, str]) -> dict[str, Any]:
    """The result as JSON values; null stands for what is not defined, and for infinite degrees of freedom."""
    whole = {
        "version": 1,
        **facts,
        "title": result.readings.study.title,
        "simulated": result.simulated,
        "options": asdict(result.options),
        "readings": [asdict(each) for each in result.readings.progress],
        "warnings": list(result.warnings),
        "scores": [asdict(each) for each in result.criteria],
        "detection": [asdict(each) for each in result.figures],
        "log_seconds": [asdict(each) for each in result.times],
    }
    plain = _plain(whole)
    assert isinstance(plain, dict)  # noqa: S101 (as it went in)
    return plain


def _plain(value: Any) -> Any:
    """Tuples and arrays as lists, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def readings_csv(readings: Readings) -> str:
    """One line a finished reading, for other programs; an empty cell is unknown, ratings of nothing marked are too."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    heads = ("reader", "case", "arm", "diseased", "rating", "found", "missed", "false", "repeats", "seconds")
    writer.writerow((*heads, *("vessels", "airways", "suppression")))
    for each in sorted(readings.finished.values(), key=lambda reading: (reading.reader, reading.case, reading.arm)):
        marks = each.matches
        hits = [mark for mark in marks.found if mark is not None] if marks else []
        counted = (
            (_listed(hits), len(marks.found) - len(hits), _listed(marks.false), marks.repeats) if marks else ("",) * 4
        )
        scores = each.scores
        given = (scores.vessels, scores.airways, scores.suppression) if scores else (None,) * 3
        truth = "" if each.diseased is None else int(each.diseased)
        rating = f"{each.rating:g}" if math.isfinite(each.rating) else ""
        row = (each.reader, each.case, each.arm, truth, rating, *counted, f"{each.seconds:.1f}", *given)
        writer.writerow("" if cell is None else cell for cell in row)
    return stream.getvalue()


def _listed(confidences: Sequence[float]) -> str:
    return " ".join(f"{each:g}" for each in confidences)
