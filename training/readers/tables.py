"""A scored study as tables of texts, which a terminal and Markdown can show."""

import math
from collections.abc import Mapping, Sequence

from pacs_node.bench.rows import Grid
from training.readers.agreement import Agreement
from training.readers.criteria import SCALE
from training.readers.figures import Estimate
from training.readers.mrmc import ArmMean, Inference
from training.readers.readings import ARMS, Block
from training.readers.records import Arm
from training.readers.score import Figure, Result

__all__ = ["summary", "tables"]

NOTHING = "-"
HEADS: Mapping[Arm, str] = {"without": "without companion", "with": "with companion"}


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
    both = next((block for block in result.blocks if len(block.arms) == len(ARMS)), None)
    if both is not None:
        heads = ("", *(HEADS[arm] for arm in ARMS), "difference", "p, readers and cases", "difference", "p, cases")
        title = f"Detection (Table 4): {_size(both)}; means over readers (95 %)"
        return [Grid(title, (*heads, "bootstrap"), [_compared(figure) for figure in result.figures])]
    made = []
    count = len(result.figures) // max(len(result.blocks), 1)
    for number, block in enumerate(result.blocks):
        arm, figures = block.arms[0], result.figures[number * count : (number + 1) * count]
        rows = [(_name(figure), _mean(figure, arm), figure.reason) for figure in figures]
        title = f"Detection {HEADS[arm]} (Table 4): {_size(block)}"
        made.append(Grid(title, ("", "mean over readers (95 %)", ""), rows))
    return made


def _size(block: Block) -> str:
    first = block.of(block.arms[0], block.readers[0])
    lesions = sum(len(reading.matches.found) for reading in first if reading.matches)
    readers = f"{len(block.readers)} reader{'s' if len(block.readers) > 1 else ''}"
    return f"{readers}, {len(block.cases)} cases, {lesions} lesions"


def _compared(figure: Figure) -> tuple[str, ...]:
    if figure.comparison is None:
        return (_name(figure), NOTHING, NOTHING, f"not given: {figure.reason}", NOTHING, NOTHING, NOTHING, NOTHING)
    both, cases = figure.comparison.holding_for("readers and cases"), figure.comparison.holding_for("cases")
    limits = (
        NOTHING if figure.bootstrap is None else f"{_signed(figure.bootstrap[0])} to {_signed(figure.bootstrap[1])}"
    )
    return (_name(figure), *(_mean(figure, arm) for arm in ARMS), *_difference(both), *_difference(cases), limits)


def _difference(found: Inference | None) -> tuple[str, str]:
    if found is None:
        return NOTHING, NOTHING
    limits = "" if math.isnan(found.low) else f" ({_signed(found.low)} to {_signed(found.high)})"
    return f"{_signed(found.difference)}{limits}", _p(found.p)


def _mean(figure: Figure, arm: Arm) -> str:
    mean = figure.means.get(arm)
    return NOTHING if mean is None else _bounded(mean, figure.unit)


def _bounded(mean: ArmMean | Estimate, unit: str) -> str:
    """Limits of a share end where shares end; a normal or t interval does not know that."""
    value = mean.mean if isinstance(mean, ArmMean) else mean.value
    low = mean.low if mean.low > 0 or math.isnan(mean.low) else 0.0
    return _with_limits(value, low, mean.high if unit else min(mean.high, 1.0), 3)


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
