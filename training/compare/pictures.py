"""Every system on the same pair: its output, and below it where and how far it is from the truth."""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pacs_node.records import FloatImage

__all__ = ["error_map", "jpeg_sheet"]

GAP, CAPTION = 4, 18
JPEG_QUALITY = 82
ERROR_GAIN = 4.0
GREY = 0.5


def error_map(output: FloatImage, truth: FloatImage) -> FloatImage:
    """Grey where output and truth agree, bright where bone (or anything bright) was left, dark where too much went."""
    shown: FloatImage = np.clip(GREY + ERROR_GAIN * (output - truth), 0, 1).astype(np.float32)
    return shown


def jpeg_sheet(pictures: Mapping[str, FloatImage], truth: FloatImage, side: int) -> bytes:
    """Two rows, outputs and their errors, the truth in front, as a JPEG.

    Parameters
    ----------
    pictures : title -> output (rows, columns) in [0, 1]; all of the truth's shape.
    side : longer side of one picture, px.
    """
    rows, columns = truth.shape
    scale = min(1.0, side / max(rows, columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    shown = {"truth": truth, **pictures}
    whole = Image.new("L", (len(shown) * (size[0] + GAP), 2 * (size[1] + CAPTION + GAP)), color=24)
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(size=12)
    for column, (title, picture) in enumerate(shown.items()):
        left, below = column * (size[0] + GAP), size[1] + CAPTION + GAP
        draw.text((left + 2, 2), title, fill=230, font=font)
        whole.paste(_small(picture, size), (left, CAPTION))
        draw.text((left + 2, below + 2), f"error x {ERROR_GAIN:g}", fill=160, font=font)
        whole.paste(_small(error_map(picture, truth), size), (left, below + CAPTION))
    stream = BytesIO()
    whole.save(stream, format="JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def _small(image: FloatImage, size: tuple[int, int]) -> Image.Image:
    grey = Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
    return grey if grey.size == size else grey.resize(size, Image.Resampling.LANCZOS)
