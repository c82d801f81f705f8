"""Every error this node raises on purpose; its type is the decision what happens next.

::

    NodeError
    ├── ConfigError      a person must change the configuration       exit code 2
    ├── Rejected         this input will never work                    quarantine, with a reason code
    ├── Retriable        the same input may work later                 back to the queue
    │   └── DiskFull     no room for a file, or the write failed       C-STORE answers 0xA700
    └── ModelError       bundle damaged or runtime unusable            the service stops

Only the edge (cli, worker, receive) turns a type into a message, a state or a DICOM status.
Messages hold codes, sizes and UIDs of nobody: never names, dates or text taken from a dataset.
"""

from enum import StrEnum

__all__ = ["ConfigError", "DiskFull", "ModelError", "NodeError", "ReasonCode", "Rejected", "Retriable"]


class ReasonCode(StrEnum):
    """Why an input was refused: stable words for the audit, scripts and people."""

    NOT_DICOM = "not_dicom"  # no preamble or no parsable data set
    TRUNCATED = "truncated"  # the data set or its pixel data ends early
    MISSING_ATTRIBUTE = "missing_attribute"  # a Type 1 attribute that the path needs is absent or empty
    SOP_CLASS_UNSUPPORTED = "sop_class_unsupported"
    TRANSFER_SYNTAX_UNSUPPORTED = "transfer_syntax_unsupported"
    NO_PIXEL_DATA = "no_pixel_data"
    PIXEL_DATA_UNDECODABLE = "pixel_data_undecodable"
    PIXEL_DESCRIPTION_INVALID = "pixel_description_invalid"  # PS3.3 C.7.6.3 attributes contradict each other
    NOT_MONOCHROME = "not_monochrome"
    MULTI_FRAME = "multi_frame"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    BLANK = "blank"  # no two different grey values, or evenly grey
    NOT_CHEST = "not_chest"
    NOT_FRONTAL = "not_frontal"
    ROTATED = "rotated"  # a chest that is not upright
    INVERTED = "inverted"  # displayed in the wrong polarity, and not corrected
    SATURATED = "saturated"  # black and white with hardly any grey
    CROPPED = "cropped"  # too small a part of a chest
    CHILD = "child"  # younger than gate.min_age_years
    ALREADY_SUPPRESSED = "already_suppressed"  # soft-tissue or bone image of a dual-energy unit or of other software
    OWN_OUTPUT = "own_output"  # one of ours came back: processing it would loop
    IDENTITY_MISMATCH = "identity_mismatch"  # the data set is not the SOP Instance that was announced
    OUTPUT_INVALID = "output_invalid"  # the derived object did not pass its own check
    GUARD_REFUSED = "guard_refused"  # more than bone changed: the companion is withheld
    UNEXPECTED = "unexpected"  # a bug of ours on this input; kept so that the next input goes on


class NodeError(Exception):
    """Root of the tree."""


class ConfigError(NodeError):
    """The configuration cannot be used; the message says what to change."""


class Rejected(NodeError):
    """The input will never become a companion.

    Parameters
    ----------
    reason : ReasonCode
    explanation : str
        One sentence for people, without anything copied from the data set.
    """

    def __init__(self, reason: ReasonCode, explanation: str) -> None:
        super().__init__(reason, explanation)
        self.reason = reason
        self.explanation = explanation

    def __str__(self) -> str:
        return f"{self.reason}: {self.explanation}"


class Retriable(NodeError):
    """The same work may succeed later."""


class DiskFull(Retriable):
    """A file could not be made durable."""


class ModelError(NodeError):
    """The bundle or its runtime cannot be used; no image can be processed until a person acts."""
