"""What the readings of a study say: Table 3 and Table 4 of the BS-LDM paper, and the time that reading took.

Whatever can be scored is scored: an unfinished study on what was finished, one reader without a claim about readers,
cases without truth for their scores and times. What was left out, and what cannot be said, is said in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pacs_node.errors import ConfigError
from training.readers.criteria import Criterion, criteria
from training.readers.detection import TIME, Spec, specs
from training.readers.figures import Estimate, Sample, Undefined, found_pairs, mcnemar
from training.readers.mrmc import ArmMean, Comparison, compare_arms, mean_of_arm
from training.readers.readings import ARMS, Block, Readings, comparable, days_between, gather, single
from training.readers.records import Answer, Arm, Study

__all__ = ["SIMULATED", "Figure", "Options", "Result", "score_study"]

SIMULATED = "simulated"  # how the names of readers begin who are no persons
SEED = 0
FEW_READERS = 4
# training.readers.roe_metz, 2,000 studies of each of twelve kinds
FEW_READERS_ERR = (
    "of equal arms, 5 to 9 of 100 simulated studies had p < .05 for readers and cases, where it should be 5"
)
FEW_CASES = 20


@dataclass(frozen=True, slots=True)
class Options:
    """How to score.

    Attributes
    ----------
    readers : whose readings count; () for all.
    thresholds : operating points, confidences from 0 to 100: what is at least as confident counts.
    tolerance_percent : reach of a mark where the lesion is smaller, of the longer side of the image.
    draws : of the bootstrap that checks the intervals.
    """

    readers: tuple[str, ...] = ()
    thresholds: tuple[int, ...] = (0, 50)
    tolerance_percent: float = 1.0
    draws: int = 2000


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of Table 4.

    Attributes
    ----------
    unit : "" for a share or an area, "s" for seconds, "a case" for numbers.
    each : reader -> arm -> value with limits for that reader alone.
    changes : reader -> p value of McNemar's test between the arms; empty where it does not apply.
    means : arm -> mean over readers.
    comparison : with against without; None where there is none.
    bootstrap : 95 % limits of the difference over cases drawn again, a check of "cases".
    reason : why something is missing.
    """

    key: str
    title: str
    at: int | None
    unit: str
    each: dict[str, dict[Arm, Estimate]]
    changes: dict[str, float]
    means: dict[Arm, ArmMean]
    comparison: Comparison | None
    bootstrap: tuple[float, float] | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that a report shows."""

    readings: Readings
    options: Options
    simulated: bool
    criteria: tuple[Criterion, ...]
    blocks: tuple[Block, ...]
    figures: tuple[Figure, ...]
    times: tuple[Figure, ...]
    warnings: tuple[str, ...]


def score_study(study: Study, answers: Sequence[Answer], options: Options) -> Result:
    """Score a study as far as it goes.

    Raises
    ------
    ConfigError
        No reading is finished, or a reader is not of this study.
    """
    wanted = tuple(dict.fromkeys(options.readers or study.readers))  # a reader named twice is one reader
    strangers = [reader for reader in wanted if reader not in study.readers]
    if strangers:
        raise ConfigError(f"{', '.join(strangers)}: this study has the readers {', '.join(study.readers)}")
    readings = gather(study, answers, wanted, options.tolerance_percent)
    if not readings.finished:
        begun = "cases were begun, but none was finished" if answers else "nobody has answered yet"
        raise ConfigError(f"there is nothing to score, {begun}: pacs-node reader-study read opens the page to read on")
    blocks = _blocks(readings, truth=True)
    figures = tuple(_figure(spec, block, options) for block in blocks for spec in specs(options.thresholds))
    times = tuple(_figure(TIME, block, options) for block in _blocks(readings, truth=False))
    simulated = any(each.reader.startswith(SIMULATED) for each in readings.progress)
    warnings = _warnings(readings, blocks)
    return Result(readings, options, simulated, criteria(readings), blocks, figures, times, warnings)


def _blocks(readings: Readings, *, truth: bool) -> tuple[Block, ...]:
    """Both arms where somebody read both, else each arm for itself."""
    both = comparable(readings, truth=truth)
    if both is not None:
        return (both,)
    alone = [single(readings, arm, truth=truth) for arm in ARMS]
    return tuple(block for block in alone if block is not None)


def _figure(spec: Spec, block: Block, options: Options) -> Figure:
    head = (spec.key, spec.title, spec.at, spec.unit)
    try:
        sample = spec.sample(block)
    except Undefined as undefined:
        return Figure(*head, {}, {}, {}, None, None, str(undefined))
    readers, arms = len(block.readers), len(block.arms)
    each = {
        reader: {arm: sample.each[a * readers + r] for a, arm in enumerate(block.arms)}
        for r, reader in enumerate(block.readers)
    }
    changes = _changes(spec, block)
    if sample.covariance is None:
        return Figure(*head, each, changes, {}, None, None, sample.reason)
    values, covariance = sample.values.reshape(arms, readers), sample.covariance.reshape(arms, readers, arms, readers)
    means = {arm: mean_of_arm(values[a], covariance[a, :, a]) for a, arm in enumerate(block.arms)}
    if arms < len(ARMS):
        return Figure(*head, each, changes, means, None, None)
    checked = _check(sample, readers, options.draws)
    return Figure(*head, each, changes, means, compare_arms(values, covariance), checked)


def _check(sample: Sample, readers: int, draws: int) -> tuple[float, float] | None:
    """Percentile limits of the mean difference over cases drawn again; draws that define none are passed over."""
    drawn = sample.drawn(draws, SEED)
    differences = drawn[:, readers:].mean(axis=1) - drawn[:, :readers].mean(axis=1)
    known = differences[np.isfinite(differences)]
    if len(known) < draws / 2:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _changes(spec: Spec, block: Block) -> dict[str, float]:
    if spec.hit is None or len(block.arms) < len(ARMS):
        return {}
    without, with_companion = block.arms
    counts = {
        reader: found_pairs(block.of(without, reader), block.of(with_companion, reader), spec.hit)
        for reader in block.readers
    }
    return {reader: mcnemar(*changed) for reader, changed in counts.items()}


def _warnings(readings: Readings, blocks: Sequence[Block]) -> tuple[str, ...]:
    told = list(readings.notes)
    missing = {each.reader: each.planned - each.finished for each in readings.progress if each.finished < each.planned}
    if missing:
        counts = ", ".join(f"{count} of {reader}" for reader, count in missing.items())
        told.append(f"The study is not finished; readings that are missing: {counts}. What is finished is scored.")
    soon = [days for days in days_between(readings) if days < readings.study.washout_days]
    if soon:
        told.append(
            f"{len(soon)} cases were read again before the {readings.study.washout_days} days of washout had passed, "
            f"the soonest after {min(soon):.1f} days: a reader may have remembered them."
        )
    scored = readings.study.scored
    unknown = sum(case.truth is None for case in scored)
    if unknown:
        told.append(f"{unknown} of {len(scored)} cases have no truth: they count in scores and times only.")
    for block in blocks:
        told += [*block.left_out, *_about(block)]
    return tuple(dict.fromkeys(told))  # two arms that stand alone have some of it in common


def _about(block: Block) -> list[str]:
    told = []
    if len(block.arms) < len(ARMS):
        told.append("Nobody finished a case with truth in both arms: there is nothing to compare.")
    elif len(block.readers) == 1:
        told.append("One reader: differences hold for this reader alone, on other cases; MRMC needs two or more.")
    elif len(block.readers) < FEW_READERS:
        told.append(f"{len(block.readers)} readers are few: {FEW_READERS_ERR}.")
    if len(block.cases) < FEW_CASES:
        told.append(f"{len(block.cases)} cases are few: intervals and p values are approximate, and made for more.")
    return told
