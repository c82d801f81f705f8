"""Which part of the data a patient belongs to: by a hash, so that files that are added move nobody."""

import hashlib
from collections.abc import Iterable, Mapping

from training.ingest.manifest import Split

__all__ = ["assign_splits", "hashed_place"]

SPLITS: tuple[Split, Split, Split] = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)


def hashed_place(patient: str, seed: int) -> float:
    """Where a patient falls in [0, 1): the same on every machine, for every set that the patient is in."""
    digest = hashlib.sha256(f"{seed}/{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _by_hash(patient: str, seed: int) -> Split:
    at = hashed_place(patient, seed)
    return SPLITS[0] if at < SHARES[0] else SPLITS[1] if at < SHARES[0] + SHARES[1] else SPLITS[2]


def assign_splits(patients: Iterable[str], seed: int, earlier: Mapping[str, Split] | None = None) -> dict[str, Split]:
    """8:1:1 by patient.

    A patient who was assigned stays: who was once tested on is never trained on. In a set so small that a split stays
    empty, it gets one patient of the largest split, new ones only.

    Parameters
    ----------
    patients : names for the hash, not hashed yet; repetitions do not matter.
    seed : another one gives another assignment.
    earlier : assignments that must stay.
    """
    kept = dict(earlier or {})
    known = sorted(set(patients), key=lambda patient: hashed_place(patient, seed))
    assigned = {patient: kept.get(patient) or _by_hash(patient, seed) for patient in known}
    for wanted in SPLITS[: len(known)]:
        if wanted in assigned.values():
            continue
        sizes = {split: list(assigned.values()).count(split) for split in SPLITS}
        free = [p for p in known if p not in kept and (sizes[assigned[p]] > 1 or wanted == "train")]
        if free:
            largest = max(sizes[assigned[p]] for p in free)
            assigned[[p for p in free if sizes[assigned[p]] == largest][-1]] = wanted
    return assigned
