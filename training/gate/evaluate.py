"""How often the gate errs: every kind of picture, by what became of it, as the table of docs/gate.md."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from pacs_node.config import GateSettings
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.gate_network import Network, load_network, shipped_network
from pacs_node.imaging.gate_pixels import check_pixels
from pacs_node.records import FloatImage, Radiograph
from training.gate.augment import USELESS, framed
from training.gate.film import FOLDS, Film

__all__ = ["ANSWERS", "Shown", "confusion", "fold_networks", "markdown", "outcome", "shown"]

PASSED, CORRECTED = "passed", "corrected"
ANSWERS = (
    PASSED,
    CORRECTED,
    ReasonCode.NOT_CHEST,
    ReasonCode.NOT_FRONTAL,
    ReasonCode.ROTATED,
    ReasonCode.INVERTED,
    ReasonCode.CROPPED,
    ReasonCode.ALREADY_SUPPRESSED,
    ReasonCode.SATURATED,
    ReasonCode.BLANK,
)
# Real chests are also shown turned and as negatives; the rest would only repeat what these say.
TURNED = {"cxr", "dicom", "pairs", "ct/frontal", "simulated"}
RIGHT: dict[str, set[str]] = {
    "as it is": {PASSED},
    "turned by 90": {ReasonCode.ROTATED},
    "turned by 180": {ReasonCode.ROTATED},
    "negative": {CORRECTED},
    "a fifth to a half of each side": {ReasonCode.CROPPED},
}
RIGHT_OF_KIND: dict[str, set[str]] = {
    "lateral": {ReasonCode.NOT_FRONTAL},
    "bone": {ReasonCode.ALREADY_SUPPRESSED},
    "other": {ReasonCode.NOT_CHEST, ReasonCode.BLANK, ReasonCode.SATURATED},
}


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One picture as the gate gets it, the row that it counts in, and what may become of it."""

    picture: FloatImage
    row: str
    right: frozenset[str]
    fold: int


def shown(films: Iterable[Film]) -> Iterator[Shown]:
    """Every film as it is, and real chests also turned, as negatives and cut to pieces."""
    for film in films:
        name = film.source.replace("/", ", ")
        right = RIGHT_OF_KIND.get(film.kind, RIGHT["as it is"])
        yield Shown(film.picture, name, frozenset(right), film.fold)
        if film.source in TURNED:
            for how, picture in _handled(film):
                yield Shown(picture, f"{name}, {how}", frozenset(RIGHT[how]), film.fold)


def _handled(film: Film) -> Iterator[tuple[str, FloatImage]]:
    yield "turned by 90", np.rot90(film.picture).copy()
    yield "turned by 90", np.rot90(film.picture, 3).copy()
    yield "turned by 180", np.rot90(film.picture, 2).copy()
    yield "negative", 1 - film.picture
    rng = np.random.default_rng([len(film.name), film.fold, 0xE7])
    yield "a fifth to a half of each side", framed(film.picture, rng, USELESS)


def outcome(picture: FloatImage, network: Network, ds: Dataset | None = None) -> str:
    """What the gate does with a picture: one of ``ANSWERS``."""
    try:
        passed = check_pixels(Radiograph(picture, None, 8, ds or Dataset()), GateSettings(), network)
    except Rejected as refusal:
        return str(refusal.reason)
    return CORRECTED if passed.polarity_corrected else PASSED


def fold_networks(folder: Path) -> list[Network]:
    """The network of each fold: it was trained on the other four."""
    return [load_network(folder / f"fold-{fold}.npz") for fold in range(FOLDS)]


def confusion(
    pictures: Iterable[Shown], networks: list[Network] | None = None
) -> dict[str, tuple[Counter[str], frozenset[str]]]:
    """Count what became of the pictures, row by row.

    Parameters
    ----------
    networks : one for each fold, which judges only what it never saw; None takes the shipped one.
    """
    rows: dict[str, tuple[Counter[str], frozenset[str]]] = {}
    for each in pictures:
        network = networks[each.fold] if networks else shipped_network()
        counts, _ = rows.setdefault(each.row, (Counter(), each.right))
        counts[outcome(each.picture, network)] += 1
    return rows


def markdown(rows: dict[str, tuple[Counter[str], frozenset[str]]]) -> str:
    """A table: one row for each kind of picture, the share that was judged rightly, and what became of the rest."""
    lines = ["| picture | n | right | became |", "|---|---|---|---|"]
    for name, (counts, right) in rows.items():
        total = counts.total()
        share = 100 * sum(counts[answer] for answer in right) / total
        became = ", ".join(f"{answer} {counts[answer]}" for answer in ANSWERS if counts[answer])
        lines.append(f"| {name} | {total} | {share:.1f} % | {became} |")
    return "\n".join(lines)
