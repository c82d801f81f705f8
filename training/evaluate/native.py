"""Fusion at native resolution, on simulated pairs of 2048 px and more: ``python -m training.evaluate.native FOLDER``.

The folder is one that ``pacs-node simulate --size 2048`` wrote. Three layers are brought to native resolution: the true
one, averaged down to the grid (its fusion shows what the way up loses), the one that the bundle predicts, whole, and
what of that the bundle trusts (what a reader gets). Three ways up are compared for each: plain cubic interpolation, the
spline, and the spline guided by the radiograph; beside them stands the network's image of soft tissue, decoded on the
grid with the same layer taken out, and interpolated.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from scipy.ndimage import binary_dilation, gaussian_filter, gaussian_gradient_magnitude

from model.bundle import FusionSpec
from pacs_node.commands.terminal import print_json, stdout, table
from pacs_node.engine import Engine
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.imaging.fit import GridImage, Placement, letterbox, native_strips, to_grid
from pacs_node.imaging.fuse import native_layer, shaped_layer, without_glow
from pacs_node.imaging.guide import FINER, detailed
from pacs_node.pipeline import predicted_bone
from pacs_node.records import FloatImage, MaskImage, Radiograph
from training.evaluate.cases import open_cases
from training.evaluate.native_crops import Panel, edge_crop, page
from training.metrics import psnr, tone_fitted

__all__ = ["edge_band", "ghost_energy", "interpolated", "measure", "results", "texture_kept"]

Figures = dict[str, dict[str, float]]
EDGE_SHARE = 0.25  # of the steepest percentile of the true layer: what counts as an edge of bone
FLAT = 1e-4  # P-values a pixel: less is no edge but the rounding of an 8-bit film
BITS = 16
IMAGE, PLAIN = "image interpolated", "layer interpolated"
WAYS = (("layer, spline", False), ("layer, guided spline", True))
FORMATS = {
    "psnr": ".2f",
    "sd": ".2f",
    "psnr_fitted": ".2f",
    "psnr_fine": ".2f",
    "ghost": ".5f",
    "of_plain": ".3f",
    "of_image": ".3f",
    "texture": ".3f",
}


def interpolated(cells: FloatImage, placement: Placement) -> FloatImage:
    """Plain cubic convolution (Keys, a = -1/2) of cell values to native pixels: (rows, columns) float32."""
    right, lower = placement.columns / placement.scale, placement.rows / placement.scale
    box = (placement.left, placement.top, placement.left + right, placement.top + lower)
    size = (placement.columns, placement.rows)
    return np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC, box=box), dtype=np.float32)


def edge_band(true_layer: FloatImage, scale: float) -> MaskImage:
    """Within one cell of an edge of the true bone layer.

    An edge is where the gradient (Gaussian of 1 px) exceeds a quarter of its 99th percentile among all pixels where it
    is more than 1e-4 a pixel.
    """
    slope = gaussian_gradient_magnitude(true_layer, 1.0)
    steep = slope[slope > FLAT]
    if steep.size == 0:
        return np.zeros(true_layer.shape, bool)
    return np.asarray(binary_dilation(slope > EDGE_SHARE * np.percentile(steep, 99), iterations=round(scale)))


def ghost_energy(error: FloatImage, band: MaskImage, scale: float) -> float:
    """Energy of ghost lines: mean over ``band`` of the squared, high-passed error.

    Parameters
    ----------
    error : result minus true soft tissue, P-values, native.
    band : as from `edge_band`.
    scale : native px a cell. The high-pass is the image less its Gaussian of one cell: lines up to about two cells wide
        pass, wrong tone and whole ribs that were left do not.
    """
    return float(np.mean(fine(error, scale)[band] ** 2))


def fine(image: FloatImage, sigma: float) -> FloatImage:
    """An image less its Gaussian of ``sigma`` px."""
    detail: FloatImage = image - gaussian_filter(image, sigma)
    return detail


def texture_kept(result: FloatImage, truth: FloatImage, band: MaskImage, scale: float) -> float:
    """Regression of the result's finest detail on the truth's inside ``band``: 1 where noise and vessels stay.

    The truth has the radiograph's own noise; a layer that copies a tenth of it leaves .9.
    """
    ours, own = (fine(image, scale / 2)[band] for image in (result, truth))
    return float(np.sum(ours * own) / np.sum(own * own))


def measure(radiograph: Radiograph, truth: FloatImage, engine: Engine) -> tuple[Figures, dict[str, FloatImage]]:
    """Every figure of one pair and what it is of, by row; both empty where there is no bone."""
    pixels = radiograph.pixels
    grid_image = to_grid(radiograph, engine.spec.grid)
    placement = grid_image.placement
    band = edge_band(pixels - truth, placement.scale)
    if not band.any():
        return {}, {}
    everywhere = np.ones(truth.shape, bool)
    found: Figures = {}
    made = results(radiograph, truth, grid_image, engine)
    for name, result in made.items():
        found[name] = {
            "psnr": psnr(result, truth),
            "psnr_fine": psnr(fine(result, placement.scale), fine(truth, placement.scale)),
            "psnr_fitted": psnr(tone_fitted(result, truth, everywhere), truth),
            "ghost": ghost_energy(result - truth, band, placement.scale),
            "texture": texture_kept(result, truth, band, placement.scale),
        }
    return found, made


def _shares(rows: Figures) -> None:
    """Ghost energy of means beside that of the same layer interpolated, and of the image interpolated."""
    for name, row in rows.items():
        layer = name.split(":")[0]
        row["of_plain"] = row["ghost"] / rows[f"{layer}: {PLAIN}"]["ghost"]
        row["of_image"] = row["ghost"] / rows[f"{layer}: {IMAGE}"]["ghost"]


def results(radiograph: Radiograph, truth: FloatImage, grid_image: GridImage, engine: Engine) -> dict[str, FloatImage]:
    """Soft tissue by every way: "LAYER: WAY" -> (rows, columns) float32 in [0, 1]."""
    pixels, placement = radiograph.pixels, grid_image.placement
    units = np.float32((grid_image.high - grid_image.low) / 2)
    seen, true_cells = letterbox(pixels, placement), letterbox(pixels - truth, placement)
    predicted = predicted_bone(grid_image.pixels, engine, engine.spec.steps, seed=1)
    decoded = (engine.decode(engine.encode(grid_image.pixels))[0, 0] + 1) * units + np.float32(grid_image.low)
    made = {
        f"true layer: {IMAGE}": interpolated(seen - true_cells, placement),
        f"true layer: {PLAIN}": pixels - interpolated(true_cells, placement),
    }
    for way, guided in WAYS:
        made[f"true layer: {way}"] = pixels - _brought_up(true_cells, pixels, grid_image, guided=guided)
    whole = FusionSpec(edge_gain=engine.spec.fusion.edge_gain)
    for layer, fusion in (("predicted, whole", whole), ("predicted, as it ships", engine.spec.fusion)):
        shaped = shaped_layer(predicted, placement, fusion) * units
        plain = without_glow(interpolated(shaped, placement), pixels, grid_image.low, grid_image.high)
        made[f"{layer}: {IMAGE}"] = interpolated(decoded - shaped, placement)
        made[f"{layer}: {PLAIN}"] = pixels - plain
        for way, guided in WAYS:
            chosen = fusion.model_copy(update={"guided": guided})
            made[f"{layer}: {way}"] = pixels - native_layer(predicted, radiograph, grid_image, chosen)
    return {name: np.clip(result, 0, 1) for name, result in made.items()}


def _brought_up(cells: FloatImage, pixels: FloatImage, grid_image: GridImage, *, guided: bool) -> FloatImage:
    """The true layer as it is: sharpened radiographs have darker rims beside bone, which a bundle would cut at 0."""
    placement = grid_image.placement
    if guided and placement.scale >= FINER:
        cells, placement = detailed(cells, pixels, placement, grid_image.high - grid_image.low)
    return np.concatenate([values for _, values in native_strips(cells, placement)])


def _mean(pairs: list[Figures], of: Callable[[list[float]], NDArray[np.float64]]) -> Figures:
    rows, keys = list(pairs[0]), list(pairs[0][next(iter(pairs[0]))])
    return {row: {key: float(of([pair[row][key] for pair in pairs])) for key in keys} for row in rows}


def main(
    folders: Annotated[list[Path], typer.Argument(help="Simulated pairs, as pacs-node simulate --size 2048 writes.")],
    bundle: Annotated[str, typer.Option("--bundle", help='Folder of a bundle, "default" or "careful".')] = "default",
    sheet: Annotated[Path | None, typer.Option("--sheet", help="PNG that gets crops around edges of bone.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON document with every pair on stdout.")] = False,
) -> None:
    """Measure fusion at native resolution: docs/method.md says how to read the table."""
    engine = open_engine(load_bundle(bundle))
    found: dict[str, Figures] = {}
    crops: list[Panel] = []
    for case in (case for folder in folders for case in open_cases(folder)):
        twins = case.load()
        radiograph = Radiograph(twins.radiograph.pixels, None, BITS, Dataset())
        figures, made = measure(radiograph, twins.truth, engine)
        if figures:
            found[case.name] = figures
            crops.append(edge_crop(case.name, radiograph.pixels, twins.truth, made))
    if not found:
        raise typer.BadParameter("none of the pairs has bone in it")
    if sheet is not None:
        page(crops).save(sheet)
    means, spread = _mean(list(found.values()), np.mean), _mean(list(found.values()), np.std)
    _shares(means)
    if json:
        print_json({"mean": means, "sd": spread, "pairs": found})
        return
    columns = ("", "PSNR, dB", "sd", "fitted, dB", "detail, dB", "ghost, rms", "of layer", "of image", "texture kept")
    cells = []
    for name, row in means.items():
        shown = row | {"ghost": row["ghost"] ** 0.5, "sd": spread[name]["psnr"]}
        cells.append([name, *(format(shown[key], form) for key, form in FORMATS.items())])
    stdout().print(table(columns, cells, title=f"mean of {len(found)} pairs"))


if __name__ == "__main__":
    typer.run(main)
