"""Why a pair is not taken: stable words for the manifest and for scripts, and one sentence for people."""

from enum import StrEnum
from typing import Any

__all__ = ["Refusal", "Refused"]


class Refusal(StrEnum):
    """Reasons of the ingest; a DICOM file that cannot be read has those of `pacs_node.errors.ReasonCode` instead."""

    MISSING_TWIN = "missing_twin"  # one half of a pair is not there
    DUPLICATE_NAME = "duplicate_name"  # two files that differ in their ending only
    DUPLICATE_CONTENT = "duplicate_content"  # the same two pictures under two names
    AMBIGUOUS = "ambiguous"  # a study holds several, and nothing tells which belong together
    DIFFERENT_PATIENTS = "different_patients"  # the two headers name two people
    DAMAGED = "damaged"
    NOT_GREY = "not_grey"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    BLANK = "blank"
    SAME_PICTURE = "same_picture"  # the twin is the radiograph, bones and all
    NOT_TWINS = "not_twins"  # the structures of the two pictures do not match anywhere
    OUT_OF_REGISTER = "out_of_register"  # too much displacement is left after registration
    LITTLE_OVERLAP = "little_overlap"  # the twin covers too little of the radiograph


class Refused(Exception):
    """One pair is left out; nothing of a data set or a name stands in the explanation.

    Parameters
    ----------
    reason : of `Refusal`, or a `ReasonCode`.
    explanation : one sentence with what was measured, and what to do where something can be done.

    Attributes
    ----------
    facts : fields of `PairRecord` that were found out before.
    """

    def __init__(self, reason: str, explanation: str) -> None:
        super().__init__(reason, explanation)
        self.reason, self.explanation = str(reason), explanation
        self.facts: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self.reason}: {self.explanation}"
