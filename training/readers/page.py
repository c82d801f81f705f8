"""A scored study as a Markdown page, as JSON, and as a list of readings for other programs."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pacs_node.bench.markdown import as_markdown
from training.readers.criteria import CRITERIA
from training.readers.readings import Reading, Readings
from training.readers.score import Result
from training.readers.tables import tables

__all__ = ["METHODS", "NOBODY_READ", "as_json", "as_page", "readings_csv"]

NOBODY_READ = "Simulated readers: no person read anything. These figures show the form of the tables and nothing else."
RESEARCH_USE = "Research use only."
CURVES = (
    "Thin: each reader; thick: their mean at equal false positive fractions. A straight last piece joins the least "
    "confident call to the corner, as the areas below count it."
)
METHODS = {
    "Scores": "3 is best. AC2 (Gwet 2008, quadratic weights, missing ratings allowed) and kappa (Conger 1980, Cohen's "
    "weighted kappa for two readers; limits by jackknife over cases). Kappa falls to 0 where nearly all scores are "
    "equal, however far readers agree; AC2 does not.",
    "Marks": "taken from the most confident down; a mark hits the nearest lesion not yet hit whose centre is nearer "
    "than its radius, or than the tolerance where that is larger. Further marks on a lesion that was hit count neither "
    "way. *At t* counts marks, or cases, of at least that confidence.",
    "AUC of cases": "area under the empirical ROC curve of one rating a case.",
    "wAFROC of marks": "how often a lesion, hit or missed, is rated above the highest false mark of a case without "
    "lesions (Chakraborty & Zhai 2016); lesions of a case share one vote, and false marks in cases with lesions do not "
    "enter. It runs from 0 to 1; a reader who never marks anything has .5.",
    "Readers and cases": "Obuchowski & Rockette (1995) with the covariances bounded as in Hillis et al. (2005) and the "
    "degrees of freedom of Hillis (2007); it holds for other readers and other cases. Where it comes out narrower than "
    "*cases*, few readers differed less than chance lets them: believe the wider one.",
    "Cases": "the same with these readers fixed: it holds for other cases. Covariances by DeLong et al. (1988) for AUC "
    "and wAFROC, by jackknife over cases else.",
    "Bootstrap": "percentiles of the difference over cases drawn again, a check of *cases*.",
    "One reader alone": "limits of AUC and wAFROC by DeLong on the logit scale, of shares by Wilson (1927), taking "
    "lesions of a case for independent, of the rest by jackknife; p by McNemar's exact test on the lesions or cases "
    "that changed.",
    "Many p values": "none is corrected for their number. A study names the one that counts before it begins.",
    "Time": "geometric mean of the seconds in view; the difference is a ratio.",
}


def as_page(result: Result, facts: Mapping[str, str], picture: str | None = None) -> str:
    """The report as Markdown.

    Parameters
    ----------
    facts : name -> value: command, version, commit.
    picture : file of `training.readers.plots.curves` beside the page.
    """
    study = result.readings.study
    head = NOBODY_READ if result.simulated else RESEARCH_USE
    rated = "stated confidence in the case" if result.readings.by_case_confidence else "confidence of its highest mark"
    own = {
        "study": study.title,
        "cases": f"{len(study.scored)}, of which {_with_lesions(result.readings)}",
        "readers": ", ".join(each.reader for each in result.readings.progress),
        "seed of the study": str(study.seed),
        "rating of a case": rated,
        "tolerance of a mark": f"{result.options.tolerance_percent:g} % of the longer side",
    }
    table = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in {**own, **facts}.items())]
    notes = [f"- {warning}" for warning in result.warnings]
    methods = ["## How it was computed", "\n".join(f"- **{name}**: {told}" for name, told in METHODS.items())]
    parts = ["# Reader study", f"**{head}**", "\n".join(table), *(["\n".join(notes)] if notes else [])]
    shown = [] if picture is None else [f"![{CURVES}]({picture})", CURVES]
    return "\n\n".join([*parts, *shown, as_markdown(tables(result)), *methods]) + "\n"


def _with_lesions(readings: Readings) -> str:
    truths = [case.truth for case in readings.study.scored]
    diseased = sum(bool(truth.lesions) for truth in truths if truth is not None)
    lesions = sum(len(truth.lesions) for truth in truths if truth is not None)
    unknown = sum(truth is None for truth in truths)
    told = f"{diseased} with {lesions} lesions and {len(truths) - diseased - unknown} without"
    return f"{told}, {unknown} of unknown truth" if unknown else told


def as_json(result: Result, facts: Mapping[str, str]) -> dict[str, Any]:
    """The result as JSON values; null stands for what is not defined, and for infinite degrees of freedom."""
    whole = {
        "version": 1,
        "facts": dict(facts),
        "title": result.readings.study.title,
        "simulated": result.simulated,
        "options": asdict(result.options),
        "readings": [asdict(each) for each in result.readings.progress],
        "warnings": list(result.warnings),
        "scores": [asdict(each) for each in result.criteria],
        "detection": [asdict(each) for each in result.figures],
        "log_seconds": [asdict(each) for each in result.times],
    }
    return {key: _plain(value) for key, value in whole.items()}


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
    """One line a finished reading, for other programs; an empty cell is unknown, or a rating where nothing was marked.

    ``found`` and ``false`` list confidences: of marks that hit a lesion, and of those that did not.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    heads = ("reader", "case", "arm", "diseased", "rating", "found", "missed", "false", "repeats", "seconds")
    writer.writerow((*heads, *CRITERIA))
    for each in sorted(readings.finished.values(), key=lambda reading: (reading.reader, reading.case, reading.arm)):
        writer.writerow("" if cell is None else cell for cell in _line(each))
    return stream.getvalue()


def _line(reading: Reading) -> tuple[object, ...]:
    truth = None if reading.diseased is None else int(reading.diseased)
    rating = f"{reading.rating:g}" if math.isfinite(reading.rating) else None
    marks: tuple[object, ...] = (None,) * 4
    if reading.matches is not None:
        hits = [mark for mark in reading.matches.found if mark is not None]
        missed = len(reading.matches.found) - len(hits)
        marks = (_listed(hits), missed, _listed(reading.matches.false), reading.matches.repeats)
    scores = [getattr(reading.scores, name) if reading.scores else None for name in CRITERIA]
    return (reading.reader, reading.case, reading.arm, truth, rating, *marks, f"{reading.seconds:.1f}", *scores)


def _listed(confidences: Sequence[float]) -> str:
    return " ".join(f"{each:g}" for each in confidences)
