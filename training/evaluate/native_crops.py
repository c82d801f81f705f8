"""Crops at native size around edges of bone: what a table of fusion at native resolution looks like."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_gradient_magnitude, uniform_filter

from pacs_node.records import FloatImage
from training.evaluate.pictures import WIDTH, Panel, sheet

SHOWN = {  # of all ways, with what stands above them
    "radiograph": "radiograph",
    "predicted, whole: image interpolated": "network's image, interpolated",
    "predicted, whole: layer, guided spline": "radiograph less its layer",
    "predicted, as it ships: layer, guided spline": "radiograph less layer as it ships",
    "true layer: layer, guided spline": "radiograph less true layer of the grid",
    "truth": "truth",
}

__all__ = ["Panel", "edge_crop", "edge_window", "page"]


def edge_window(true_layer: FloatImage, side: int = WIDTH) -> tuple[slice, slice]:
    """Where a square of ``side`` px holds the most edges of bone: rows and columns, all of a smaller image."""
    rows, columns = true_layer.shape
    # the square root, so that many edges win over one that is steep
    steep = uniform_filter(np.sqrt(gaussian_gradient_magnitude(true_layer, 1.0)), side, mode="constant")
    half = side // 2
    inner = steep[half : max(rows - half, half + 1), half : max(columns - half, half + 1)]
    row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return slice(int(row), int(row) + side), slice(int(column), int(column) + side)


def edge_crop(name: str, cxr: FloatImage, truth: FloatImage, made: dict[str, FloatImage]) -> Panel:
    """Radiograph, results and truth of one pair, px for px, in the radiograph's own window.

    Parameters
    ----------
    cxr, truth : (rows, columns) float32 in P-values.
    made : "LAYER: WAY" -> such an image, as from `training.evaluate.native.results`.
    """
    where = edge_window(cxr - truth)
    low, high = np.percentile(cxr[where], (0.5, 99.5))
    images = {"radiograph": cxr, **made, "truth": truth}
    scale = np.float32(255 / max(float(high - low), 1e-6))
    grey = [np.rint(np.clip((image[where] - low) * scale, 0, 255)).astype(np.uint8) for image in images.values()]
    return Panel(name, tuple(images), tuple(Image.fromarray(each) for each in grey))


def page(panels: list[Panel]) -> Image.Image:
    """One row a pair, of the columns that a reader compares."""
    return sheet([_shown(each) for each in panels])


def _shown(panel: Panel) -> Panel:
    pictures = dict(zip(panel.captions, panel.pictures, strict=True))
    return Panel(panel.name, tuple(SHOWN.values()), tuple(pictures[caption] for caption in SHOWN))
