"""One picture of what was done: source, companion and bone layer side by side, as a PNG."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pacs_node.records import FloatImage

__all__ = ["render_preview", "write_preview"]

PANEL_HEIGHT = 900  # px; a picture of three panels fits on a screen
GAP = 12
CAPTION = 40
LAYER_PERCENTILE = 99.8  # what is shown as white in the bone layer; a few edge pixels must not darken all others
FAINTEST = 0.05  # of the grey scale; a layer without bone stays black instead of showing its noise


def write_preview(path: Path, source: FloatImage, companion: FloatImage, bone_layer: FloatImage) -> None:
    """Write the picture of `render_preview` as PNG; raises OSError when that fails."""
    render_preview(source, companion, bone_layer).save(path, format="PNG")


def render_preview(source: FloatImage, companion: FloatImage, bone_layer: FloatImage) -> Image.Image:
    """The source and its companion on one grey scale, and the bone layer on its own.

    Parameters
    ----------
    source, companion, bone_layer : (rows, columns) float32 P-values in [0, 1]; of the layer, what was subtracted.

    Returns
    -------
    An 8-bit grey image, 900 px high without the captions.
    """
    layer = np.maximum(bone_layer, 0.0)
    top = max(float(np.percentile(layer, LAYER_PERCENTILE)), FAINTEST)
    panels = (
        ("Source", source),
        ("Soft-tissue companion (AI, research use)", companion),
        (f"Bone layer, {1 / top:.1f}x", (layer / top).astype(np.float32)),
    )
    return _side_by_side([(caption, _panel(pixels)) for caption, pixels in panels])


def _panel(pixels: FloatImage) -> Image.Image:
    grey: NDArray[np.uint8] = (np.clip(pixels, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    rows, columns = grey.shape
    width = max(1, round(columns * PANEL_HEIGHT / rows))
    return Image.fromarray(grey).resize((width, PANEL_HEIGHT), Image.Resampling.LANCZOS)


def _side_by_side(panels: list[tuple[str, Image.Image]]) -> Image.Image:
    width = sum(panel.width for _, panel in panels) + GAP * (len(panels) + 1)
    picture = Image.new("L", (width, PANEL_HEIGHT + CAPTION + GAP), color=24)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=20)
    left = GAP
    for caption, panel in panels:
        draw.text((left, CAPTION // 4), caption, fill=230, font=font)
        picture.paste(panel, (left, CAPTION))
        left += panel.width + GAP
    return picture
