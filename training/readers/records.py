"""The two files of a reader study: what is read (`study.json`) and what was answered (`answers.jsonl`).

A place in an image is (x, y) in px of the native image: x is the column and y the row, counted from 0 at the centre of
the top left pixel. `answers.jsonl` grows by one line for each thing that a reader does. A line is the whole state of
one case at that time, so that the last line of a (reader, session, case) is all there is to know about it.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pacs_node.errors import ConfigError
from training.readers.durable import append_line, write_atomically

__all__ = [
    "ANSWERS",
    "PRACTICE",
    "STUDY",
    "Answer",
    "Arm",
    "Key",
    "Kind",
    "Lesion",
    "Mark",
    "Planned",
    "Score",
    "Scores",
    "Study",
    "StudyCase",
    "Truth",
    "append_answer",
    "latest",
    "open_study",
    "read_answers",
    "write_study",
]

STUDY, ANSWERS = "study.json", "answers.jsonl"
PRACTICE = 0  # the session of cases to practise on; it is never scored

Arm = Literal["with", "without"]
Kind = Literal["marks", "scores", "done"]
Key = tuple[str, int, str]  # reader, session, case
Percent = Annotated[int, Field(ge=0, le=100)]
Score = Literal[1, 2, 3]
Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """What every record here is: immutable, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Lesion(Record):
    """One true lesion: centre and radius in px of the native image."""

    x: Coordinate
    y: Coordinate
    radius: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    kind: str = "lesion"


class Truth(Record):
    """What is known about a case; no lesion is knowledge, too."""

    lesions: tuple[Lesion, ...] = ()


class StudyCase(Record):
    """One radiograph of the study.

    Attributes
    ----------
    case : random name, of no meaning.
    image, companion : paths of 16-bit grey PNG in the study folder, without metadata; None where there is no companion.
    rows, columns : px of both.
    truth : None where it is not known: the case can be scored for Table 3, and for nothing that needs the truth.
    """

    case: str
    rows: Annotated[int, Field(gt=0)]
    columns: Annotated[int, Field(gt=0)]
    image: str
    companion: str | None
    truth: Truth | None = None


class Planned(Record):
    """One reading: which case is read by whom, in which session, as which from 1 on, and with its companion or not.

    Session `PRACTICE` is not scored.
    """

    reader: str
    session: Annotated[int, Field(ge=PRACTICE)]
    order: Annotated[int, Field(ge=1)]
    case: str
    arm: Arm

    @property
    def key(self) -> Key:
        """What an answer to it is found by."""
        return self.reader, self.session, self.case


class Study(Record):
    """`study.json`.

    Attributes
    ----------
    finding : what readers look for, in one word: "nodule".
    seed : of case names, arms and orders.
    bits : grey levels of the images, 2**bits.
    washout_days : that should lie between two readings of one case.
    """

    version: Literal[1] = 1
    title: str
    finding: str = "lesion"
    readers: tuple[str, ...]
    seed: int
    bits: int = 16
    washout_days: Annotated[int, Field(ge=0)] = 28
    cases: tuple[StudyCase, ...]
    plan: tuple[Planned, ...]

    def case(self, name: str) -> StudyCase:
        """The case of this name; KeyError where there is none."""
        return {case.case: case for case in self.cases}[name]

    @property
    def scored(self) -> tuple[StudyCase, ...]:
        """The cases that are not there to practise on."""
        names = {each.case for each in self.plan if each.session != PRACTICE}
        return tuple(case for case in self.cases if case.case in names)

    def planned(self, reader: str, session: int) -> list[Planned]:
        """Readings of one session in their order."""
        mine = [each for each in self.plan if (each.reader, each.session) == (reader, session)]
        return sorted(mine, key=lambda each: each.order)

    def sessions(self, reader: str) -> list[int]:
        """Numbers of the sessions that a reader has; `PRACTICE` first where there is one."""
        return sorted({each.session for each in self.plan if each.reader == reader})


class Mark(Record):
    """A place that a reader pointed at, and how sure the reader is that a lesion is there, in percent."""

    x: Coordinate
    y: Coordinate
    confidence: Percent


class Scores(Record):
    """The scores of Table 3 of the BS-LDM paper for one companion, 3 is best; None while a score is not given."""

    vessels: Score | None = None
    airways: Score | None = None
    suppression: Score | None = None

    @property
    def complete(self) -> bool:
        """Whether all three are given."""
        return None not in (self.vessels, self.airways, self.suppression)


class Answer(Record):
    """One line of `answers.jsonl`: everything that a reader has answered to one case until then.

    Attributes
    ----------
    at : when it was saved.
    kind : what the reader did last: placed or changed something (`marks`), gave a score of the companion (`scores`), or
        finished the case (`done`). A case whose last line is not `done` is not finished.
    case_confidence : how sure the reader is that the image shows a finding at all, in percent; given when done.
    scores : of the companion; None in the arm `without`, complete when done in the arm `with`.
    seconds : that the case was in view, all visits together.
    """

    at: AwareDatetime
    reader: str
    session: Annotated[int, Field(ge=PRACTICE)]
    case: str
    arm: Arm
    kind: Kind
    marks: tuple[Mark, ...] = ()
    case_confidence: Percent | None = None
    scores: Scores | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @property
    def key(self) -> Key:
        """What it answers."""
        return self.reader, self.session, self.case


def open_study(folder: Path) -> Study:
    """Read `study.json`.

    Raises
    ------
    ConfigError
        It is absent, or not what `pacs-node reader-study make` writes.
    """
    path = folder / STUDY
    try:
        study = Study.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): make a study with pacs-node reader-study make"
        ) from error
    except ValidationError as error:
        raise ConfigError(f"{path} is no study of this version ({_first(error)}): make it again") from None
    lost = {each.case for each in study.plan} - {case.case for case in study.cases}
    if lost:
        raise ConfigError(f"{path} plans case {min(lost)}, which it does not have: restore it")
    return study


def write_study(folder: Path, study: Study) -> None:
    """Write `study.json`, whole or not at all. Raises DiskFull."""
    write_atomically(folder / STUDY, (study.model_dump_json(indent=1) + "\n").encode(), mode=0o600)


def read_answers(folder: Path) -> list[Answer]:
    """Every answer in the order they were saved; none where nobody has answered yet.

    A last line without its end was being written when the machine or the server died: it was never called saved, and is
    passed over.

    Raises
    ------
    ConfigError
        Another line is damaged: nothing that this program does leaves one, so a person has to look.
    """
    path = folder / ANSWERS
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    lines = raw[: raw.rfind(b"\n") + 1].splitlines()
    return [_answer(path, number, line) for number, line in enumerate(lines, start=1)]


def _answer(path: Path, number: int, line: bytes) -> Answer:
    try:
        return Answer.model_validate_json(line)
    except ValidationError as error:
        raise ConfigError(f"{path}, line {number}, is no answer ({_first(error)}): restore or remove it") from None


def latest(answers: Iterable[Answer]) -> dict[Key, Answer]:
    """The last answer to each reading: the state that counts."""
    return {answer.key: answer for answer in answers}


def append_answer(folder: Path, answer: Answer) -> None:
    """Add one line and return when it is on the disk.

    Several processes may do this at once. What a killed writer left of a line is cut off first.

    Raises
    ------
    DiskFull
        The line could not be made durable; nothing of it stays.
    """
    line = json.dumps(answer.model_dump(mode="json"), separators=(",", ":"))
    append_line(folder / ANSWERS, line.encode())


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, without the value that is."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    return f"{place}: {found['msg']}" if place else str(found["msg"])
