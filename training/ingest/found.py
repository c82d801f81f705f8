"""What a search through a folder gives."""

from dataclasses import dataclass
from pathlib import Path

from training.ingest.manifest import Tone

__all__ = ["Candidate", "Found", "Loner"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two files that should be twins; ``name`` is their place in the source, ``patient`` as the source names them."""

    name: str
    cxr: Path
    soft: Path
    patient: str


@dataclass(frozen=True, slots=True)
class Loner:
    """A file that makes no pair, and why."""

    name: str
    path: Path
    reason: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Found:
    """A source: its layout, what is known about the set, its pairs, and what makes none."""

    layout: str
    title: str
    licence: str | None
    tone: Tone
    pairs: list[Candidate]
    loners: list[Loner]
