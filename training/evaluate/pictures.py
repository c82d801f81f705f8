"""Small pictures for a report: input, output, truth and layer side by side."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pacs_node.records import FloatImage

__all__ = ["Panel", "jpeg", "panel", "sheet"]

WIDTH = 360  # px of one picture
GAP = 4
CAPTION = 22
JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Pictures of one patient in a row, 8 bit grey, each with its caption."""

    name: str
    captions: tuple[str, ...]
    pictures: tuple[Image.Image, ...]


def panel(name: str, cxr: FloatImage, soft: FloatImage, layer: FloatImage, truth: FloatImage | None = None) -> Panel:
    """Reduce the images (rows, columns) in [0, 1] of one patient; the layer is shown around grey, tripled.

    A layer is signed where the bundle takes its low frequencies away: bright is taken out, dark is put in.
    """
    images = {"input": cxr, "output": soft}
    if truth is not None:
        images["truth"] = truth
    images["layer x 3"] = (0.5 + 1.5 * layer).astype(np.float32)
    return Panel(name, tuple(images), tuple(_small(image) for image in images.values()))


def _small(image: FloatImage) -> Image.Image:
    rows, columns = image.shape
    grey = Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
    return grey.resize((WIDTH, max(1, round(rows * WIDTH / columns))), Image.Resampling.LANCZOS)


def sheet(panels: list[Panel]) -> Image.Image:
    """All panels below each other as one picture, with captions."""
    columns = max(len(each.pictures) for each in panels)
    heights = [CAPTION + max(picture.height for picture in each.pictures) + GAP for each in panels]
    whole = Image.new("L", (columns * (WIDTH + GAP), sum(heights)), color=24)
    draw, font, top = ImageDraw.Draw(whole), ImageFont.load_default(size=14), 0
    for each, height in zip(panels, heights, strict=True):
        for column, (caption, picture) in enumerate(zip(each.captions, each.pictures, strict=True)):
            left = column * (WIDTH + GAP)
            draw.text((left + GAP, top + 3), f"{each.name}: {caption}" if column == 0 else caption, fill=230, font=font)
            whole.paste(picture, (left, top + CAPTION))
        top += height
    return whole


def jpeg(picture: Image.Image) -> bytes:
    """The bytes of a JPEG, small enough to be put into a page."""
    stream = BytesIO()
    picture.save(stream, format="JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()
