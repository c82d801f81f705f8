"""From the plan and the answers to finished readings, and to the block of them that can be compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from training.readers.matching import Matches, Place, Spot, match
from training.readers.records import PRACTICE, Answer, Arm, Planned, Scores, Study, StudyCase, latest
from training.readers.roc import NOT_MARKED

__all__ = ["ARMS", "Block", "Progress", "Reading", "Readings", "comparable", "days_between", "gather", "single"]

ARMS: tuple[Arm, Arm] = ("without", "with")  # the control first: a difference is with minus without
Triple = tuple[str, str, Arm]  # reader, case, arm


@dataclass(frozen=True, slots=True)
class Reading:
    """One finished reading.

    Attributes
    ----------
    matches : None where the truth of the case is not known.
    rating : of the case as a whole, higher is more suspicious.
    diseased : whether the case has a lesion; None where that is not known.
    """

    reader: str
    case: str
    arm: Arm
    matches: Matches | None
    rating: float
    diseased: bool | None
    scores: Scores | None
    seconds: float
    at: datetime  # when it was finished


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one reader came: readings planned and finished, and cases read in both arms."""

    reader: str
    planned: int
    finished: int
    paired: int


@dataclass(frozen=True, slots=True)
class Readings:
    """All finished readings of a study, without practice.

    Attributes
    ----------
    by_case_confidence : whether `Reading.rating` is the stated confidence in the case, or that of its highest mark.
    notes : sentences about answers that were passed over.
    """

    study: Study
    finished: dict[Triple, Reading]
    progress: tuple[Progress, ...]
    by_case_confidence: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Readers who all read the same cases in the same arms; ``left_out`` says who is not in it, and why."""

    arms: tuple[Arm, ...]
    readers: tuple[str, ...]
    cases: tuple[str, ...]
    finished: dict[Triple, Reading]
    left_out: tuple[str, ...] = ()

    def of(self, arm: Arm, reader: str) -> list[Reading]:
        """What one reader read in one arm, in the order of the cases."""
        return [self.finished[reader, case, arm] for case in self.cases]

    def rows(self) -> list[list[Reading]]:
        """The readings of every (arm, reader), arms outermost."""
        return [self.of(arm, reader) for arm in self.arms for reader in self.readers]


def gather(study: Study, answers: Iterable[Answer], readers: Sequence[str], tolerance_percent: float) -> Readings:
    """Finished readings of ``readers``; the last answer to each counts, and of a repeated reading the first session.

    Parameters
    ----------
    tolerance_percent : reach of a mark, of the longer side of the image, where a lesion's radius is smaller.
    """
    plan = {each.key: each for each in study.plan if each.session != PRACTICE and each.reader in readers}
    last = latest(answers)
    strange = [key for key in last if key[1] != PRACTICE and key not in {each.key for each in study.plan}]
    done = sorted((last[key] for key in last if key in plan and last[key].kind == "done"), key=lambda each: each.key)
    stated = all(answer.case_confidence is not None for answer in done)
    cases = {case.case: case for case in study.cases}
    finished: dict[Triple, Reading] = {}
    for answer in done:
        triple = (answer.reader, answer.case, plan[answer.key].arm)
        if triple not in finished:
            finished[triple] = _reading(answer, plan[answer.key], cases[answer.case], tolerance_percent, stated)
    progress = tuple(_progress(reader, plan.values(), finished) for reader in readers)
    notes = (f"{len(strange)} answers belong to no reading of the plan and were passed over.",) if strange else ()
    return Readings(study, finished, progress, stated, notes)


def _reading(answer: Answer, planned: Planned, case: StudyCase, tolerance_percent: float, stated: bool) -> Reading:
    marks = [Spot(mark.x, mark.y, mark.confidence) for mark in answer.marks]
    highest = max((mark.confidence for mark in marks), default=NOT_MARKED)
    rating = float(answer.case_confidence) if stated and answer.case_confidence is not None else highest
    matches, diseased = None, None
    if case.truth is not None:
        lesions = [Place(lesion.x, lesion.y, lesion.radius) for lesion in case.truth.lesions]
        matches = match(marks, lesions, tolerance_percent / 100 * max(case.rows, case.columns))
        diseased = bool(lesions)
    return Reading(
        answer.reader, answer.case, planned.arm, matches, rating, diseased, answer.scores, answer.seconds, answer.at
    )


def _progress(reader: str, plan: Iterable[Planned], finished: dict[Triple, Reading]) -> Progress:
    triples = {(each.reader, each.case, each.arm) for each in plan if each.reader == reader}
    done = {each for each in finished if each[0] == reader}
    return Progress(reader, len(triples), len(done), len(_read_in(reader, ARMS, finished)))


def _read_in(reader: str, arms: Sequence[Arm], finished: dict[Triple, Reading], *, truth: bool = False) -> set[str]:
    """Cases that a reader finished in each of the arms; with ``truth`` only those whose truth is known."""
    done = [{case for who, case, where in finished if (who, where) == (reader, arm)} for arm in arms]
    whole = set.intersection(*done)
    return {case for case in whole if not truth or finished[reader, case, arms[0]].diseased is not None}


def days_between(readings: Readings) -> list[float]:
    """Days between the two readings of each case by each reader who finished both."""
    firsts = [each for each in readings.finished.values() if each.arm == ARMS[0]]
    pairs = [(each, readings.finished.get((each.reader, each.case, ARMS[1]))) for each in firsts]
    return [abs((second.at - first.at).total_seconds()) / 86400 for first, second in pairs if second is not None]


def comparable(readings: Readings, *, truth: bool) -> Block | None:
    """The largest block that was read in both arms; None where nobody read a case in both."""
    return _block(readings, ARMS, truth=truth)


def single(readings: Readings, arm: Arm, *, truth: bool) -> Block | None:
    """The largest block that was read in one arm."""
    return _block(readings, (arm,), truth=truth)


def _block(readings: Readings, arms: tuple[Arm, ...], *, truth: bool) -> Block | None:
    """Readers with the most cases first, as many as make the most readings of cases that all of them read.

    A reader who finished next to nothing would otherwise take the others' cases away.
    """
    read = {each.reader: _read_in(each.reader, arms, readings.finished, truth=truth) for each in readings.progress}
    order = sorted((reader for reader in read if read[reader]), key=lambda reader: -len(read[reader]))
    choices = [order[: count + 1] for count in range(len(order))]
    sizes = [len(choice) * len(set.intersection(*(read[reader] for reader in choice))) for choice in choices]
    if not sizes or max(sizes) == 0:
        return None
    # of equal sizes the one with more readers: it says more about readers
    chosen = choices[max(range(len(sizes)), key=lambda index: (sizes[index], index))]
    shared = set.intersection(*(read[reader] for reader in chosen))
    names = tuple(case.case for case in readings.study.cases if case.case in shared)
    readers = tuple(each.reader for each in readings.progress if each.reader in chosen)
    return Block(arms, readers, names, readings.finished, _left_out(read, readers, shared, arms))


def _left_out(
    read: dict[str, set[str]], readers: Sequence[str], shared: set[str], arms: Sequence[Arm]
) -> tuple[str, ...]:
    where = "in both arms" if len(arms) > 1 else f"{arms[0]} companion"
    told = [
        f"{reader} finished {len(read[reader])} cases {where} and is left out: fewer readings would be in common."
        for reader in read
        if reader not in readers
    ]
    fewer = {reader: len(read[reader]) - len(shared) for reader in readers if len(read[reader]) > len(shared)}
    if fewer:
        counts = ", ".join(f"{count} of {reader}" for reader, count in fewer.items())
        told.append(f"Cases that not every reader has finished {where} are left out: {counts}.")
    return tuple(told)
