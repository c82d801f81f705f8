"""Six cases and two readers, small enough to score by hand; the arithmetic is in `test_score`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from training.readers.records import Answer, Arm, Kind, Lesion, Mark, Planned, Scores, Study, StudyCase, Truth

READERS = ("r1", "r2")
CASES = ("c1", "c2", "c3", "c4", "c5", "c6")
# A in c1; B and C in c2; D in c3; c4, c5 and c6 without. Images of 1000 x 1000 px: the tolerance of 1 % is 10 px.
LESIONS: Mapping[str, Sequence[tuple[float, float]]] = {
    "c1": [(100, 100)],
    "c2": [(300, 300), (700, 700)],
    "c3": [(500, 500)],
}
A, B, C, D, WRONG = (105, 95), (300, 300), (715, 700), (500, 481), (900, 900)

# reader, arm -> case -> (case confidence, marks as (place, confidence))
Told = tuple[int, tuple[tuple[tuple[float, float], int], ...]]
READ: Mapping[tuple[str, Arm], Mapping[str, Told]] = {
    ("r1", "without"): {
        "c1": (60, ((A, 60),)),
        "c2": (20, ()),
        "c3": (40, ((WRONG, 40),)),
        "c4": (10, ()),
        "c5": (30, ((WRONG, 30),)),
        "c6": (0, ()),
    },
    ("r1", "with"): {
        "c1": (90, ((A, 90),)),
        "c2": (70, ((C, 30), (B, 70))),
        "c3": (20, ()),
        "c4": (0, ()),
        "c5": (30, ((WRONG, 30),)),
        "c6": (10, ()),
    },
    ("r2", "without"): {
        "c1": (30, ()),
        "c2": (80, (((310, 300), 20), (B, 80))),  # B twice: the first mark repeats the second
        "c3": (40, ((D, 40),)),
        "c4": (0, ()),
        "c5": (50, ((WRONG, 50),)),
        "c6": (10, ()),
    },
    ("r2", "with"): {
        "c1": (70, ((A, 70),)),
        "c2": (90, ((B, 90), (C, 60))),
        "c3": (50, ((D, 50),)),
        "c4": (0, ()),
        "c5": (20, ((WRONG, 20),)),
        "c6": (10, ()),
    },
}
VESSELS: Mapping[str, Sequence[int]] = {"r1": (3, 3, 2, 3, 2, 1), "r2": (3, 3, 3, 3, 2, 2)}
SECONDS: Mapping[Arm, float] = {"without": 20.0, "with": 30.0}


def small_study(readers: Sequence[str] = READERS, cases: Sequence[str] = CASES, unknown: Sequence[str] = ()) -> Study:
    """The study; ``unknown`` cases have no truth."""
    made = [
        StudyCase(
            case=name,
            rows=1000,
            columns=1000,
            image=f"images/{name}.png",
            companion=f"images/{name}b.png",
            truth=None if name in unknown else Truth(lesions=tuple(_lesion(*place) for place in LESIONS.get(name, ()))),
        )
        for name in cases
    ]
    plan = [
        Planned(reader=reader, session=session(arm), order=order, case=case, arm=arm)
        for reader in readers
        for arm in SECONDS
        for order, case in enumerate(cases, start=1)
    ]
    return Study(title="six cases", readers=tuple(readers), seed=7, cases=tuple(made), plan=tuple(plan))


def _lesion(x: float, y: float) -> Lesion:
    return Lesion(x=x, y=y, radius=20, kind="nodule")


def session(arm: Arm) -> int:
    """Which session an arm is read in: all of one arm in one, which no real study should do."""
    return 1 if arm == "without" else 2


def answers(
    readers: Sequence[str] = READERS, cases: Sequence[str] = CASES, arms: Sequence[Arm] = tuple(SECONDS)
) -> list[Answer]:
    """Finished answers."""
    return [answer(reader, arm, case) for reader in readers for arm in arms for case in cases]


def answer(reader: str, arm: Arm, case: str, kind: Kind = "done") -> Answer:
    """One answer of the table above."""
    confidence, marks = READ[reader, arm][case]
    vessels = VESSELS[reader][CASES.index(case)]
    return Answer(
        at=datetime(2026, session(arm), 1, tzinfo=UTC),  # 31 days apart
        reader=reader,
        session=session(arm),
        case=case,
        arm=arm,
        kind=kind,
        marks=tuple(Mark(x=x, y=y, confidence=sure) for (x, y), sure in marks),
        case_confidence=confidence,
        scores=Scores.model_validate({"vessels": vessels, "airways": 3, "suppression": 2}) if arm == "with" else None,
        seconds=SECONDS[arm],
    )
