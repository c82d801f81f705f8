"""Training pairs from real radiographs without twins, by a bundle that takes their bones out.

    python -m training.composites --bundle first --radiographs cxr/ --pairs runs/first/pairs -o runs/films

Two kinds, each a folder of shards that `pacs-node train --data` takes. `composites/`: simulated bones over real tissue
whose own bones the bundle took out. The simulator's soft tissue is its weakest part; real tissue under known bones
closes some of that gap without a single real pair. What was left of the real bones stays in both twins, so it teaches
nothing either way but to leave faint remains alone. `films/`: the radiographs as they are, the bundle's own layer taken
for the truth. They teach no bone that it does not find; with shadows laid into both twins (`training.shadows`) they
teach it to find the same bone under a lesion, on real ribs.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.ndimage import affine_transform, gaussian_filter

from pacs_node.engine import Engine
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.pipeline import predicted_bone
from training.metrics import lung_mask
from training.pairs import SHARD, PairShards, write_shard
from training.radiographs import Radiographs, from_bytes
from training.sources import Pair

__all__ = ["Tissue", "form_composites", "form_films", "lay_over", "main"]

FloatImage = NDArray[np.float32]
Box = tuple[float, float, float, float]  # top, bottom, left, right of the lungs, px
Tissue = tuple[FloatImage, Box]
BLACK = 0.004
HIGHPASS, WIDE, FINE = 16 / 512, 0.35, 0.9
STRENGTH = (0.7, 1.4)
JITTER = 0.04  # of the lungs' height and width: bones need not lie exactly where the real ones were


def lung_box(image: FloatImage) -> Box | None:
    """Rows and columns that the lungs span, or None where they are not found."""
    rows, columns = np.nonzero(lung_mask(image, np.ones(image.shape, dtype=bool)))
    if not len(rows):
        return None
    top, bottom = np.quantile(rows, (0.01, 0.99))
    left, right = np.quantile(columns, (0.01, 0.99))
    plausible = 0.25 < (bottom - top) / len(image) < 0.95 and 0.35 < (right - left) / len(image) < 0.95
    return (float(top), float(bottom), float(left), float(right)) if plausible else None


def form_films(radiographs: Radiographs, engine: Engine) -> tuple[list[Pair], list[Tissue]]:
    """Every training radiograph with its twin after the bundle; and, where lungs are found, its tissue to lay bones on.

    The tissue is the radiograph without most of its ribs' outlines and a third of what is wide: the wide part of a
    layer is what a network is least sure of.
    """
    pairs, tissues = [], []
    for number, stored in enumerate(track(radiographs.images, "taking bones out", console=Console(stderr=True))):
        image = from_bytes(stored).numpy()
        layer = predicted_bone(image[None, None], engine, engine.spec.steps, number) / 2
        cxr = ((image + 1) / 2).astype(np.float32)
        layer = np.where(cxr <= BLACK, 0, layer).astype(np.float32)
        pairs.append((cxr, np.clip(cxr - layer, 0, 1).astype(np.float32)))
        fine = layer - gaussian_filter(layer, HIGHPASS * len(layer))
        tissue = np.clip(cxr - WIDE * layer - FINE * fine, 0, 1).astype(np.float32)
        box = lung_box(tissue)
        if box is not None:
            tissues.append((tissue, box))
    return pairs, tissues


def lay_over(layer: FloatImage, own: Box, target: Box, rng: np.random.Generator) -> FloatImage:
    """Move a bone layer from one pair of lungs to another, with a little jitter, mirrored half of the time."""
    size = len(layer)
    if rng.random() < 0.5:
        layer, own = layer[:, ::-1], (own[0], own[1], size - own[3], size - own[2])
    scale, start = [], []
    for axis in (0, 2):
        extent = target[axis + 1] - target[axis]
        first, last = (target[axis + edge] + rng.normal(0, JITTER) * extent for edge in (0, 1))
        factor = (own[axis + 1] - own[axis]) / max(last - first, 0.3 * extent)
        scale.append(factor)
        start.append(own[axis] - first * factor)
    return np.asarray(affine_transform(layer, np.array(scale), np.array(start), order=1), dtype=np.float32)


def form_composites(tissues: list[Tissue], pairs: PairShards, folder: Path, count: int, seed: int = 0) -> int:
    """Form pairs of a real radiograph's soft tissue with and without simulated bones, as shards like the simulator's.

    Returns
    -------
    Number of pairs formed.
    """
    rng = np.random.default_rng([seed, 0xC0])
    for number in range(-(-count // SHARD)):
        twins = [_composite(tissues, pairs, rng) for _ in range(min(SHARD, count - number * SHARD))]
        write_shard(folder / f"composite-{seed:04d}-{number:03d}.npy", twins)
    return count


def _composite(tissues: list[Tissue], pairs: PairShards, rng: np.random.Generator) -> tuple[FloatImage, FloatImage]:
    while True:  # about two simulated pairs in three have lungs that are found
        cxr, soft = (((image + 1) / 2).numpy() for image in pairs.draw(rng))
        box = lung_box(soft)
        if box is not None and float(np.mean(cxr - soft)) > 1e-3:
            break
    tissue, target = tissues[int(rng.integers(len(tissues)))]
    bone = lay_over(cxr - soft, box, target, rng)
    black = tissue <= 0.01  # beyond the picture there are no bones
    return np.where(black, tissue, tissue + rng.uniform(*STRENGTH) * bone).astype(np.float32), tissue


def main(  # noqa: PLR0913, PLR0917  (typer reads them one by one)
    bundle: Annotated[str, typer.Option("--bundle", help='Folder of a bundle, "default" or "careful".')],
    radiographs: Annotated[Path, typer.Option("--radiographs", help="Real PNG or JPEG; the last 30 are left alone.")],
    pairs: Annotated[Path, typer.Option("--pairs", help="Shards of simulated pairs, on the bundle's grid.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Gets films/ and composites/.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Composites.")] = 500,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Make training pairs of real radiographs without twins: the module's docstring says which."""
    engine = open_engine(load_bundle(bundle))
    films, tissues = form_films(Radiographs(radiographs, size=engine.spec.grid), engine)
    if not tissues:
        raise typer.BadParameter("no lungs are found in any of the radiographs")
    for number in range(-(-len(films) // SHARD)):
        write_shard(output / "films" / f"films-{number:03d}.npy", films[number * SHARD : (number + 1) * SHARD])
    form_composites(tissues, PairShards(pairs), output / "composites", count, seed)
    Console().print(f"{len(films)} films and {count} composites over {len(tissues)} of them in {output}")


if __name__ == "__main__":
    typer.run(main)
