"""What one reader may see and do, without any network: the cases of a session one by one, and answers that are saved.

A case is known by its session and its place in it. Its name, its truth and the names of the arms stay here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field, ValidationError

from training.readers.records import (
    PRACTICE,
    Answer,
    Kind,
    Mark,
    Percent,
    Planned,
    Record,
    Scores,
    Study,
    StudyCase,
    append_answer,
    latest,
    read_answers,
)

__all__ = ["MOST_MARKS", "Reading", "Unanswerable"]

MOST_MARKS = 200  # of one case: more is a cat on the keyboard
OUTSIDE_PX = 0.5  # the border of the outermost pixels


class Unanswerable(Exception):
    """What was asked cannot be given; ``status`` says why in the words of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Submission(Record):
    """What the page sends: an answer without what the server knows better."""

    kind: Kind
    marks: Annotated[tuple[Mark, ...], Field(max_length=MOST_MARKS)]
    case_confidence: Percent | None
    scores: Scores | None
    seconds: Annotated[float, Field(ge=0, le=7 * 86400, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Reading:
    """A study as one of its readers has it."""

    folder: Path
    study: Study
    reader: str

    def overview(self) -> dict[str, Any]:
        """Title, sessions with what is done of them, and where to go on.

        Returns
        -------
        `session` and `order` are those of the first case that is not done, None when everything is; `opens` of a
        session is when its washout will be over, None where it is over or there is none.
        """
        answers = self._answers()
        sessions = [self._progress(number, answers) for number in self.study.sessions(self.reader)]
        unfinished = next((each for each in sessions if each["next"] is not None), None)
        return {
            "title": self.study.title,
            "finding": self.study.finding,
            "reader": self.reader,
            "washout_days": self.study.washout_days,
            "sessions": sessions,
            "session": unfinished["session"] if unfinished else None,
            "order": unfinished["next"] if unfinished else None,
        }

    def case(self, session: int, order: int) -> dict[str, Any]:
        """Size, number of images and former answer of one case. Raises `Unanswerable`: 404, 409 when not its turn."""
        planned = self._at(session, order)
        answer = self._answers().get(planned)
        case = self._case(planned)
        given = answer.model_dump(mode="json", include=set(Submission.model_fields)) if answer else None
        return {
            "session": session,
            "order": order,
            "of": len(self.study.planned(self.reader, session)),
            "rows": case.rows,
            "columns": case.columns,
            "images": len(self._images(planned)),
            "answer": given,
        }

    def pixels(self, session: int, order: int, number: int) -> bytes:
        """Grey levels of the radiograph (0) or, in the arm with it, the companion (1): rows of little-endian uint16."""
        images = self._images(self._at(session, order))
        if not 0 <= number < len(images):
            raise Unanswerable(404, "there is no such image")
        with Image.open(self.folder / images[number]) as picture:
            return np.asarray(picture).astype("<u2").tobytes()

    def save(self, session: int, order: int, submitted: bytes) -> str:
        """Add an answer; when it is durable, the time it was saved at (ISO 8601).

        Raises
        ------
        Unanswerable
            400 for what is no answer to this case, 404, 409 for a case whose session is over or not yet open.
        DiskFull
        """
        planned = self._at(session, order)
        if any(answer.session > session for answer in self._answers().values()):
            raise Unanswerable(409, "this session is closed: the next one has begun")
        try:
            given = Submission.model_validate_json(submitted)
        except ValidationError:
            raise Unanswerable(400, "this is no answer to a case") from None
        self._check(given, planned)
        facts: Mapping[str, Any] = {name: getattr(given, name) for name in Submission.model_fields}
        at = datetime.now(UTC)
        answer = Answer(at=at, reader=self.reader, session=session, case=planned.case, arm=planned.arm, **facts)
        append_answer(self.folder, answer)
        return at.isoformat(timespec="seconds")

    def _answers(self) -> dict[Planned, Answer]:
        """The last answer to each of this reader's readings."""
        found = latest(read_answers(self.folder))
        return {each: found[each.key] for each in self.study.plan if each.reader == self.reader and each.key in found}

    def _progress(self, session: int, answers: Mapping[Planned, Answer]) -> dict[str, Any]:
        planned = self.study.planned(self.reader, session)
        done = [each for each in planned if each in answers and answers[each].kind == "done"]
        opens = self._opens(session, answers)
        return {
            "session": session,
            "practice": session == PRACTICE,
            "cases": len(planned),
            "done": len(done),
            "begun": any(each in answers for each in planned),
            "next": next((each.order for each in planned if each not in done), None),
            "opens": opens.isoformat(timespec="seconds") if opens else None,
        }

    def _opens(self, session: int, answers: Mapping[Planned, Answer]) -> datetime | None:
        """When the washout after the last answer of the session before is over; None when it is, or practice was."""
        before = [answer.at for each, answer in answers.items() if PRACTICE < each.session < session]
        if not before:
            return None
        opens = max(before) + timedelta(days=self.study.washout_days)
        return opens if opens > datetime.now(UTC) else None

    def _at(self, session: int, order: int) -> Planned:
        """The reading at a place, if its turn has come: cases are read in their order, sessions one after another."""
        planned = self.study.planned(self.reader, session)
        if not 1 <= order <= len(planned):
            raise Unanswerable(404, "there is no such case")
        answers = self._answers()
        earlier = [each for each in self.study.plan if each.reader == self.reader and each.session < session]
        if any(each not in answers or answers[each].kind != "done" for each in earlier):
            raise Unanswerable(409, "the session before this one is not finished")
        if any(each not in answers for each in planned[: order - 1]):
            raise Unanswerable(409, "a case before this one has not been read")
        return planned[order - 1]

    def _case(self, planned: Planned) -> StudyCase:
        return self.study.case(planned.case)

    def _images(self, planned: Planned) -> list[str]:
        case = self._case(planned)
        return [case.image, case.companion] if planned.arm == "with" and case.companion else [case.image]

    def _check(self, given: Submission, planned: Planned) -> None:
        """What a reader could not have answered to this case is a mistake of the page, and not saved."""
        case, has_companion = self._case(planned), len(self._images(planned)) == 2
        for mark in given.marks:
            x_fits = -OUTSIDE_PX <= mark.x <= case.columns - 1 + OUTSIDE_PX
            if not (x_fits and -OUTSIDE_PX <= mark.y <= case.rows - 1 + OUTSIDE_PX):
                raise Unanswerable(400, "a mark lies outside of the image")
        if given.scores is not None and not has_companion:
            raise Unanswerable(400, "there is no companion to score")
        if given.kind != "done":
            return
        if given.case_confidence is None or (has_companion and not (given.scores and given.scores.complete)):
            raise Unanswerable(400, "a question of this case is not answered")
