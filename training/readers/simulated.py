"""Readers who are no persons: answers to a study drawn from a model, so that scoring can be shown and tried.

    python -m training.readers.simulated STUDY --cases 60 --readers 4 --gain 0.5

makes a study without images in STUDY where there is none, and answers it. The names of these readers begin with
"simulated", by which every table says that no person read anything.

The model: a case has its lesions and some lookalikes, each of its own conspicuity. Every reading takes the reader's
threshold away and adds a fresh error; a companion adds ``gain`` deviations to lesions and nothing to lookalikes. What
comes out above 0 is marked, the farther above the more confidently. Readers and arms share cases and conspicuities, and
so are correlated as real ones are (Roe & Metz 1997, Acad. Radiol. 4:298-303).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.random import Generator

from pacs_node.errors import ConfigError, NodeError
from training.readers.durable import write_atomically
from training.readers.plan import case_names, crossover
from training.readers.records import (
    ANSWERS,
    PRACTICE,
    STUDY,
    Answer,
    Arm,
    Lesion,
    Mark,
    Planned,
    Scores,
    Study,
    StudyCase,
    Truth,
    open_study,
    write_study,
)
from training.readers.score import SIMULATED

__all__ = ["Skill", "answer_study", "invent_study", "main"]

SIDE = 2048
LESION_RADIUS = (15.0, 60.0)  # 2.5 to 10 mm at .17 mm a px
LOOKALIKES = 2.0  # a case, Poisson
BEGAN = datetime(2000, 1, 1, tzinfo=UTC)  # no real time: nobody was there


@dataclass(frozen=True, slots=True)
class Skill:
    """How simulated readers see; deviations are those of a reader's fresh error, which is 1.

    Attributes
    ----------
    gain : deviations that a companion adds to lesions.
    lesions, lookalikes : mean conspicuities.
    between_cases, between_readers : deviations of conspicuity, and of readers' thresholds.
    slower : reading time with a companion over that without.
    finished : share of readings that were finished.
    """

    gain: float = 0.5
    lesions: float = 0.3
    lookalikes: float = -1.6
    between_cases: float = 1.0
    between_readers: float = 0.2
    slower: float = 1.15
    finished: float = 1.0


def invent_study(cases: int, readers: int, seed: int, diseased: float = 0.5) -> Study:
    """A study of ``cases`` radiographs that do not exist, ``diseased`` of them with one to three lesions."""
    rng = np.random.default_rng([seed, 0])
    names = case_names(cases, rng)
    sick = names[: round(cases * diseased)]
    made = [_invent_case(name, rng, sick=name in sick) for name in sorted(names)]
    who = tuple(f"{SIMULATED}_{number}" for number in range(1, readers + 1))
    plan = crossover([sick, [name for name in names if name not in sick]], who, rng)
    title = f"{cases} cases without images, read by {readers} simulated readers"
    return Study(title=title, readers=who, seed=seed, cases=tuple(made), plan=tuple(plan))


def _invent_case(name: str, rng: Generator, *, sick: bool) -> StudyCase:
    lesions = [
        Lesion(x=round(x), y=round(y), radius=round(float(rng.uniform(*LESION_RADIUS)), 1), kind="nodule")
        for x, y in rng.uniform(0.2 * SIDE, 0.8 * SIDE, (int(rng.integers(1, 4)) if sick else 0, 2))
    ]
    return StudyCase(case=name, rows=SIDE, columns=SIDE, image="", companion=None, truth=Truth(lesions=tuple(lesions)))


def answer_study(study: Study, skill: Skill, seed: int) -> list[Answer]:
    """Finished answers to every reading of the plan but practice, in the order of the plan; the same for one seed."""
    rng = np.random.default_rng([seed, 1])
    spots = {case.case: _spots(case, skill, rng) for case in study.cases}
    thresholds = {reader: skill.between_readers * rng.standard_normal() for reader in study.readers}
    pace = {reader: float(np.exp(0.3 * rng.standard_normal())) for reader in study.readers}
    answers, washout = [], timedelta(days=study.washout_days + 1)
    clocks: dict[tuple[str, int], datetime] = {}
    for planned in study.plan:
        if planned.session == PRACTICE or rng.random() >= skill.finished:
            continue
        marks = _marks(spots[planned.case], thresholds[planned.reader], skill.gain * (planned.arm == "with"), rng)
        slower = skill.slower if planned.arm == "with" else 1.0
        seconds = round(30 * pace[planned.reader] * slower * float(np.exp(0.4 * rng.standard_normal())), 1)
        sitting = (planned.reader, planned.session)
        clocks[sitting] = clocks.get(sitting, BEGAN + planned.session * washout) + timedelta(seconds=seconds)
        answers.append(_answer(planned, marks, clocks[sitting], seconds, rng))
    return answers


@dataclass(frozen=True, slots=True)
class _Spot:
    x: float
    y: float
    conspicuity: float
    lesion: bool


def _spots(case: StudyCase, skill: Skill, rng: Generator) -> list[_Spot]:
    """The lesions of a case and its lookalikes, which lie where no lesion is within reach of a mark."""
    lesions = case.truth.lesions if case.truth else ()
    spread = skill.between_cases
    found = [_Spot(each.x, each.y, skill.lesions + spread * rng.standard_normal(), True) for each in lesions]
    for x, y in rng.uniform(0, 1, (rng.poisson(LOOKALIKES), 2)) * (case.columns - 1, case.rows - 1):
        away = [np.hypot(x - each.x, y - each.y) - each.radius for each in lesions]
        if min(away, default=np.inf) > 0.05 * max(case.rows, case.columns):
            found.append(_Spot(x, y, skill.lookalikes + spread * rng.standard_normal(), False))
    return found


def _marks(spots: Sequence[_Spot], threshold: float, gain: float, rng: Generator) -> list[Mark]:
    marks = []
    for spot in spots:
        seen = spot.conspicuity + gain * spot.lesion - threshold + rng.standard_normal()
        if seen > 0:
            confidence = round(100 * (1 - float(np.exp(-seen))))
            marks.append(Mark(x=round(spot.x, 1), y=round(spot.y, 1), confidence=confidence))
    return marks


def _answer(planned: Planned, marks: Sequence[Mark], clock: datetime, seconds: float, rng: Generator) -> Answer:
    highest = max((mark.confidence for mark in marks), default=int(rng.integers(0, 10)))
    return Answer(
        at=clock,
        reader=planned.reader,
        session=planned.session,
        case=planned.case,
        arm=planned.arm,
        kind="done",
        marks=tuple(marks),
        case_confidence=highest,
        scores=_scores(planned.arm, rng),
        seconds=seconds,
    )


def _scores(arm: Arm, rng: Generator) -> Scores | None:
    if arm == "without":
        return None
    drawn = rng.choice((1, 2, 3), size=3, p=(0.05, 0.3, 0.65))
    return Scores.model_validate(dict(zip(("vessels", "airways", "suppression"), drawn.tolist(), strict=True)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a study of nothing where there is none, and answer it; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        study, count = _simulate(options.study, options)
    except NodeError as error:
        sys.stderr.write(f"training.readers.simulated: {error}\n")
        return 2
    sys.stderr.write(
        f"{count} simulated readings of {len(study.cases)} cases in {options.study}; no person read them\n"
    )
    return 0


def _simulate(folder: Path, options: argparse.Namespace) -> tuple[Study, int]:
    if (folder / ANSWERS).exists():
        raise ConfigError(f"{folder / ANSWERS} is there: simulated answers go into a study that nobody has answered")
    if not (folder / STUDY).exists():
        folder.mkdir(parents=True, exist_ok=True)
        study = invent_study(options.cases, options.readers, options.seed)
        write_study(folder, study.model_copy(update={"title": f"{study.title}, {_command(options)}"}))
    study = open_study(folder)
    persons = [reader for reader in study.readers if not reader.startswith(SIMULATED)]
    if persons:
        raise ConfigError(
            f"readers {', '.join(persons)} may be persons, for whom nothing is made up: take another folder"
        )
    answers = answer_study(study, Skill(gain=options.gain, finished=options.finished), options.seed)
    write_atomically(folder / ANSWERS, "".join(f"{answer.model_dump_json()}\n" for answer in answers).encode())
    return study, len(answers)


def _command(options: argparse.Namespace) -> str:
    """What made the study and its answers, without the folder."""
    words = [f"--{name} {getattr(options, name):g}" for name in ("cases", "readers", "gain", "finished", "seed")]
    return f"by `python -m training.readers.simulated STUDY {' '.join(words)}`"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.readers.simulated", description=__doc__)
    parser.add_argument("study", type=Path, help="folder of a study; made where there is none")
    parser.add_argument("--cases", type=int, default=60, help="of a study that is made, half of them with lesions")
    parser.add_argument("--readers", type=int, default=4, help="of a study that is made")
    parser.add_argument("--gain", type=float, default=Skill().gain, help="deviations a companion adds to lesions")
    parser.add_argument("--finished", type=float, default=1.0, help="share of the readings that are finished")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
