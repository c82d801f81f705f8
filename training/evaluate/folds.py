"""Bundles that were fine-tuned on some real pairs, each measured on the pairs that it has not seen."""

from collections.abc import Callable, Sequence
from pathlib import Path

from model.bundle import BUNDLE_FILE, Bundle
from pacs_node.engine import Engine
from pacs_node.errors import ConfigError
from training.evaluate.cases import Case

__all__ = ["Folds"]


class Folds:
    """A folder of bundles, each named after the pair it was not trained on, or as the names of several such begin.

    Parameters
    ----------
    folder : `gusarevdes_001/`, or `gusarevdes_/` for a whole source, each with a `bundle.json`.
    load : a folder -> its bundle and an engine on it.

    Raises
    ------
    ConfigError
        A dual-energy pair is left out by none.
    """

    def __init__(self, folder: Path, cases: Sequence[Case], load: Callable[[Path], tuple[Bundle, Engine]]) -> None:
        self.places = {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{BUNDLE_FILE}"))}
        self.load = load
        self.opened: tuple[Path, tuple[Bundle, Engine]] | None = None
        self.chosen = {case.name: self._place(folder, case) for case in cases}

    def _place(self, folder: Path, case: Case) -> Path:
        """The most particular name that fits; no fine-tuning sees computed truths, so any one does for those."""
        # a name in full, or a beginning that ends in _: bsdiff_1 leaves bsdiff_1 out and not bsdiff_10
        fitting = [
            name for name in self.places if case.name == name or (name[-1] == "_" and case.name.startswith(name))
        ]
        if not fitting and (case.dual_energy or not self.places):
            raise ConfigError(f"{folder} holds no bundle that leaves {case.name} out: a folder {case.name} with one")
        return self.places[max(fitting or self.places, key=len)]

    def __call__(self, name: str) -> tuple[Bundle, Engine]:
        """The bundle and an engine for one pair; one is open at a time."""
        place = self.chosen[name]
        if self.opened is None or self.opened[0] != place:
            self.opened = None  # before the next is opened: two do not fit into every memory
            self.opened = place, self.load(place)
        return self.opened[1]
