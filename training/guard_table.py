"""How often the guard withholds good results, and how many corrupted ones it lets go: `python -m training.guard_table`.

Bounds are chosen on every other image; the other half tells what they are worth.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset

from model.bundle import FusionSpec
from pacs_node.config import Device, GuardSettings
from pacs_node.engine import Engine
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.imaging.fit import GridImage, to_grid
from pacs_node.imaging.fuse import native_layer, subtract_bone
from pacs_node.imaging.guard import FIGURES, Opinions, guard_figures
from pacs_node.imaging.read import read_radiograph
from pacs_node.pipeline import layer_and_opinions
from pacs_node.records import FloatImage, Radiograph
from training.corruptions import CORRUPTIONS, Scene, corrupted

__all__ = ["GoodResult", "good_result", "main", "read_any"]

SEED = 12345
CORRUPTED_PER_KIND = 10


@dataclass(frozen=True, slots=True, eq=False)
class GoodResult:
    """What the shipped way makes of one radiograph, and all that the guard looks at."""

    radiograph: Radiograph
    grid_image: GridImage
    opinions: Opinions
    fusion: FusionSpec
    scene: Scene

    def figures(self, result: FloatImage | None = None) -> dict[str, float]:
        """Of the result itself, or of another one in its place."""
        shown = self.scene.result if result is None else result
        return guard_figures(self.radiograph, shown, self.grid_image, self.opinions, self.fusion)


def read_any(path: Path) -> Radiograph:
    """A DICOM file, or a picture whose grey values are P-values."""
    if path.suffix == ".dcm":
        return read_radiograph(path)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)
    return Radiograph(pixels, None, 8, Dataset())


def good_result(radiograph: Radiograph, engine: Engine) -> GoodResult:
    """Suppress bone as the service does, and keep what the views said."""
    grid_image, fusion = to_grid(radiograph, engine.spec.grid), engine.spec.fusion
    layer, opinions = layer_and_opinions(grid_image.pixels, engine, engine.spec.steps, SEED)
    soft = subtract_bone(radiograph, native_layer(layer, radiograph, grid_image, fusion))
    result = soft.astype(np.float32) / np.float32(2**radiograph.bits_stored - 1)
    scene = Scene(radiograph.pixels, result, grid_image.low, grid_image.high)
    return GoodResult(radiograph, grid_image, opinions, fusion, scene)


def _withheld(figures: dict[str, float], settings: GuardSettings) -> list[str]:
    return [name for name, value in figures.items() if not value <= settings.bounds()[name]]


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  the table is the output of this program


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="+", help="folders of radiographs, .dcm, .jpg or .png")
    parser.add_argument("--bundle", default="default")
    parsed = parser.parse_args(arguments)
    engine, settings = open_engine(load_bundle(parsed.bundle), Device.CPU, 1), GuardSettings()
    suffixes = {".dcm", ".jpg", ".png"}
    paths = [path for folder in parsed.images for path in sorted(folder.iterdir()) if path.suffix in suffixes]
    paths = [path for path in paths if not path.stem.endswith("_soft")]
    good: list[tuple[Path, dict[str, float]]] = []
    caught = {kind: [0, 0] for kind in CORRUPTIONS}
    answered = {kind: dict.fromkeys(FIGURES, 0) for kind in CORRUPTIONS}
    every = max(1, len(paths) // 2 // CORRUPTED_PER_KIND)
    for number, path in enumerate(paths):
        made = good_result(read_any(path), engine)
        good.append((path, made.figures()))
        held = number % 2 == 1 and number // 2 % every == 0  # of the half that the bounds were not chosen on
        for kind in CORRUPTIONS if held and caught["shift"][1] < CORRUPTED_PER_KIND else ():
            beyond = _withheld(made.figures(corrupted(kind, made.scene, number)), settings)
            caught[kind][0] += bool(beyond)
            caught[kind][1] += 1
            for name in beyond:
                answered[kind][name] += 1
    _report(good, settings)
    for kind, (withheld, of) in caught.items():
        names = ", ".join(f"{name} {count}" for name, count in answered[kind].items() if count)
        _print(f"| {kind} | {withheld} of {of} | {names} |")


def _report(good: list[tuple[Path, dict[str, float]]], settings: GuardSettings) -> None:
    _print("| figure | bound | median | largest, half chosen on | largest, other half |\n|---|---|---|---|---|")
    for name in sorted({name for _, figures in good for name in figures}):
        chosen, other = ([figures.get(name, 0.0) for _, figures in good[half::2]] for half in (0, 1))
        median = float(np.median(chosen + other))
        _print(f"| `{name}` | {settings.bounds()[name]:g} | {median:.3g} | {max(chosen):.3g} | {max(other):.3g} |")
    _print("\n| results | withheld | by |\n|---|---|---|")
    for words, half in (("good, half chosen on", 0), ("good, other half", 1)):
        beyond = [(path.name, _withheld(figures, settings)) for path, figures in good[half::2]]
        told = "; ".join(f"{name}: {', '.join(names)}" for name, names in beyond if names)
        _print(f"| {words} | {sum(bool(names) for _, names in beyond)} of {len(beyond)} | {told} |")


if __name__ == "__main__":
    main()
