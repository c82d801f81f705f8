"""The display shutter of a source: what a viewer hides of it is hidden of its companion, too (PS3.3 C.7.6.11).

A detector is larger than its collimated field, and unexposed borders can be white. A modality does not blacken them; it
states a shutter. Pixels are not touched here either: whatever a viewer makes of a shutter, it makes of both images.
"""

import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from pacs_node.derive.verbatim import element, is_legal, values, verbatim

__all__ = ["SHUTTER_KEYWORDS", "carried_shutter", "visible_part"]

EDGES = (
    "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge",
    "ShutterLeftVerticalEdge",
    "ShutterRightVerticalEdge",
)
CIRCLE = ("CenterOfCircularShutter", "RadiusOfCircularShutter")
VERTICES = "VerticesOfThePolygonalShutter"
NEEDED: dict[bytes, tuple[str, ...]] = {b"RECTANGULAR": EDGES, b"CIRCULAR": CIRCLE, b"POLYGONAL": (VERTICES,)}
FEWEST_VERTICES = 3
FARTHEST = 2**20  # px; no image reaches so far
SHUTTER_KEYWORDS = ("ShutterShape", *EDGES, *CIRCLE, VERTICES, "ShutterPresentationValue")
BLACK = b"\0\0"  # of ShutterPresentationValue, a P-value; type 1 in a presentation state (C.11.12)


def carried_shutter(source: Dataset) -> dict[BaseTag, RawDataElement]:
    """The shutter of the source as bytes; empty where it has none, or one that is not whole or hides everything."""
    try:
        shapes = values(verbatim(source, "ShutterShape")) if "ShutterShape" in source else []
        if not shapes or not set(shapes) <= NEEDED.keys():
            return {}
        keywords = ("ShutterShape", *(keyword for shape in dict.fromkeys(shapes) for keyword in NEEDED[shape]))
        found = {Tag(keyword): verbatim(source, keyword) for keyword in keywords}
        colour = verbatim(source, "ShutterPresentationValue") if "ShutterPresentationValue" in source else None
        size = int(source["Rows"].value), int(source["Columns"].value)
        if not _is_whole(found) or not _visible(found, *size).any():
            return {}
    except Exception:  # noqa: BLE001  absent or of any damage: it is then no shutter for a viewer either
        return {}
    black = element("ShutterPresentationValue", BLACK)
    value = colour if colour is not None and len(colour.value or b"") == len(BLACK) else black
    return found | {value.tag: value}


def visible_part(elements: dict[BaseTag, RawDataElement], rows: int, columns: int) -> NDArray[np.bool_] | None:
    """(rows, columns) bool, False where the carried shutter hides the image; None where there is no shutter."""
    return _visible(elements, rows, columns) if Tag("ShutterShape") in elements else None


def _is_whole(found: dict[BaseTag, RawDataElement]) -> bool:
    """Whether every number is there and one that a place in an image can have."""
    numbers = {tag: each for tag, each in found.items() if tag != Tag("ShutterShape")}
    return all(
        is_legal(each) and _is_counted(tag, len(values(each))) and all(map(_is_place, values(each)))
        for tag, each in numbers.items()
    )


def _is_counted(tag: BaseTag, count: int) -> bool:
    if tag == Tag(VERTICES):
        return count % 2 == 0 and count // 2 >= FEWEST_VERTICES
    return count == (2 if tag == Tag("CenterOfCircularShutter") else 1)


def _is_place(value: bytes) -> bool:
    return re.fullmatch(rb"[+-]?\d+", value) is not None and abs(int(value)) <= FARTHEST


def _visible(elements: dict[BaseTag, RawDataElement], rows: int, columns: int) -> NDArray[np.bool_]:
    """What all shapes leave open; rows and columns of a shutter count from 1."""
    shapes = values(elements[Tag("ShutterShape")])
    y, x = np.ogrid[1 : rows + 1, 1 : columns + 1]
    visible = np.ones((rows, columns), dtype=np.bool_)
    if b"RECTANGULAR" in shapes:
        top, bottom, left, right = (_numbers(elements, keyword)[0] for keyword in EDGES)
        visible &= (y >= top) & (y <= bottom) & (x >= left) & (x <= right)
    if b"CIRCULAR" in shapes:
        (row, column), (radius,) = (_numbers(elements, keyword) for keyword in CIRCLE)
        visible &= np.hypot(y - row, x - column) <= radius
    if b"POLYGONAL" in shapes:
        numbers = _numbers(elements, VERTICES)
        plane = Image.new("1", (columns, rows))
        ImageDraw.Draw(plane).polygon([(x - 1, y - 1) for y, x in zip(numbers[::2], numbers[1::2], strict=True)], 1)
        visible &= np.asarray(plane)
    return visible


def _numbers(elements: dict[BaseTag, RawDataElement], keyword: str) -> list[int]:
    return [int(value) for value in values(elements[Tag(keyword)])]
