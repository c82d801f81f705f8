"""What a C-STORE answer means for the file: gone, gone with a note, try again, or never again.

The status is decided by PS3.4 Table B.2-1 first and PS3.7 Annex C for the rest. A code that neither knows counts as
transient: the attempts are bounded, and a file that could have arrived must not be given up.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["ENDED_BY_PEER", "StoreKind", "StoreOutcome", "Verdict", "judge"]


class StoreKind(StrEnum):
    DELIVERED = "delivered"
    WARNING = "warning"  # delivered, and the peer has something to say
    RETRY = "retry"  # the same file may be taken later
    REFUSED = "refused"  # the same file will be refused again


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What became of one file.

    Attributes
    ----------
    path : Path
    kind : StoreKind
    status : int or None, the DIMSE status; None where the peer gave none.
    note : str, a sentence for people without anything from the data set; empty for a plain success.
    """

    path: Path
    kind: StoreKind
    status: int | None
    note: str

    @property
    def is_delivered(self) -> bool:
        """Whether the peer has the object now."""
        return self.kind in {StoreKind.DELIVERED, StoreKind.WARNING}


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: StoreKind
    note: str


ENDED_BY_PEER = Verdict(StoreKind.RETRY, "the peer ended the association")
_KNOWN = {
    0x0000: Verdict(StoreKind.DELIVERED, ""),
    # Asked for the second time after an answer got lost: it is there (PS3.7 Annex C).
    0x0111: Verdict(StoreKind.DELIVERED, "the peer had this SOP Instance already"),
    0x0001: Verdict(StoreKind.WARNING, "stored, requested optional attributes are not supported"),
    0x0107: Verdict(StoreKind.WARNING, "stored, some attributes were not recognised"),
    0x0116: Verdict(StoreKind.WARNING, "stored, an attribute value is out of range"),
    0xB000: Verdict(StoreKind.WARNING, "stored, the peer changed data elements"),  # PS3.4 Table B.2-1
    0xB006: Verdict(StoreKind.WARNING, "stored, the peer discarded data elements"),
    0xB007: Verdict(StoreKind.WARNING, "stored, the data set does not match its SOP class"),
    0x0110: Verdict(StoreKind.RETRY, "processing failure at the peer"),  # says nothing about the object
    0x0210: Verdict(StoreKind.RETRY, "the peer saw a duplicate message ID"),
    0x0213: Verdict(StoreKind.RETRY, "resource limitation at the peer"),
    0xFE00: Verdict(StoreKind.RETRY, "the operation was cancelled"),
    0x0122: Verdict(StoreKind.REFUSED, "the peer does not support the SOP class"),
    0x0124: Verdict(StoreKind.REFUSED, "not authorized"),
}
# Other failures of PS3.7 Annex C speak about the request itself, which will be the same next time.
_ABOUT_THE_REQUEST = frozenset({*range(0x0105, 0x0107), *range(0x0112, 0x0124), 0x0211, 0x0212})
_FAMILIES = (  # PS3.4 Table B.2-1
    (range(0xA700, 0xA800), Verdict(StoreKind.RETRY, "the peer is out of resources")),
    (range(0xA900, 0xAA00), Verdict(StoreKind.REFUSED, "the data set does not match its SOP class")),
    (range(0xB000, 0xC000), Verdict(StoreKind.WARNING, "stored, with a warning")),
    (range(0xC000, 0xD000), Verdict(StoreKind.REFUSED, "the peer cannot understand the data set")),
)


def judge(status: int) -> Verdict:
    """Kind and note for a C-STORE status (PS3.4 B.2.3, PS3.7 9.1.1.1.9 and Annex C)."""
    if status in _KNOWN:
        return _KNOWN[status]
    if status in _ABOUT_THE_REQUEST:
        return Verdict(StoreKind.REFUSED, "the peer found the request invalid")
    fitting = (verdict for codes, verdict in _FAMILIES if status in codes)
    return next(fitting, Verdict(StoreKind.RETRY, "the peer failed for a reason of its own"))
