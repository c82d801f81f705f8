"""The display shutter: hidden of the companion as of its source, and never in the way of the label."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from pacs_node.config import OutputSettings
from pacs_node.derive.inherited import image_description
from pacs_node.derive.label import burn_label
from pacs_node.derive.provenance import Recipe
from pacs_node.derive.shutter import SHUTTER_KEYWORDS, visible_part
from pacs_node.derive.verbatim import raw_bytes
from pacs_node.pipeline import make_outputs
from tests.sources import COLUMNS, ROWS, companion_of, inference, source, with_bytes
from tests.unit.imaging.engines import BoneFromDecoder, described_bundle
from tests.unit.imaging.synthetic import dataset, saved, scene
from tests.unit.test_outputs import OPEN

RECTANGLE: dict[str, Any] = {
    "ShutterShape": "RECTANGULAR",
    "ShutterUpperHorizontalEdge": 31,
    "ShutterLowerHorizontalEdge": 270,
    "ShutterLeftVerticalEdge": 41,
    "ShutterRightVerticalEdge": 220,
}
CIRCLE: dict[str, Any] = {
    "ShutterShape": "CIRCULAR",
    "CenterOfCircularShutter": [150, 130],
    "RadiusOfCircularShutter": 110,
}
POLYGON: dict[str, Any] = {
    "ShutterShape": "POLYGONAL",
    "VerticesOfThePolygonalShutter": [20, 60, 20, 200, 280, 240, 280, 20],
}
BOTH: dict[str, Any] = (
    RECTANGLE | CIRCLE | {"ShutterShape": ["RECTANGULAR", "CIRCULAR"], "ShutterPresentationValue": 65535}
)


def visible(ds: Dataset) -> NDArray[np.bool_] | None:
    return visible_part(image_description(ds), ROWS, COLUMNS)


@pytest.mark.parametrize("given", [RECTANGLE, CIRCLE, POLYGON, BOTH])
def test_a_shutter_is_carried_whole(given: dict[str, Any]) -> None:
    ds = source(**given)
    made = companion_of(ds)
    stated = {keyword: raw_bytes(made, keyword) for keyword in SHUTTER_KEYWORDS if keyword in made}
    black = {"ShutterPresentationValue": b"\0\0"}
    assert stated == black | {keyword: raw_bytes(ds, keyword) for keyword in given}


@pytest.mark.parametrize(
    "given",
    [
        RECTANGLE | {"ShutterLeftVerticalEdge": None},
        RECTANGLE | {"ShutterLeftVerticalEdge": 221},  # nothing would be left
        CIRCLE | {"RadiusOfCircularShutter": None},
        POLYGON | {"VerticesOfThePolygonalShutter": [20, 60, 20, 200, 280]},
        POLYGON | {"VerticesOfThePolygonalShutter": [20, 60, 2_000_000_000, 200, 280, 240]},
        {"ShutterShape": "BITMAP"},
        {"ShutterShape": ""},
    ],
)
def test_half_a_shutter_is_none(given: dict[str, Any]) -> None:
    made = companion_of(source(**given))
    assert not any(keyword in made for keyword in SHUTTER_KEYWORDS)


def test_a_number_that_is_none_costs_only_the_shutter() -> None:
    ds = with_bytes(source(**RECTANGLE), ShutterLeftVerticalEdge=b"left")
    assert "ShutterShape" not in companion_of(ds)


def test_what_is_visible_is_inside_of_every_shape() -> None:
    expected = np.zeros((ROWS, COLUMNS), bool)
    expected[30:270, 40:220] = True  # edges count from 1, and are a part of the image
    np.testing.assert_array_equal(visible(source(**RECTANGLE)), expected)
    y, x = np.mgrid[1 : ROWS + 1, 1 : COLUMNS + 1]
    circle = (y - 150) ** 2 + (x - 130) ** 2 <= 110**2
    np.testing.assert_array_equal(visible(source(**CIRCLE)), circle)
    np.testing.assert_array_equal(visible(source(**BOTH)), circle & expected)
    polygon = visible(source(**POLYGON))
    assert polygon is not None
    assert polygon[149, 129]
    assert not polygon[25, 40]
    assert not polygon[10].any()
    assert visible(source()) is None


@pytest.mark.parametrize("given", [RECTANGLE, CIRCLE, POLYGON, BOTH])
def test_the_label_is_where_the_shutter_does_not_hide_it(given: dict[str, Any]) -> None:
    ds = source(**given)
    made, plain = companion_of(ds, OutputSettings()).pixel_array, inference(ds).soft_tissue
    seen, changed = visible(ds), made != plain
    assert seen is not None
    assert changed.any()
    assert seen[changed].all()


def test_a_shutter_without_room_for_the_label_leaves_it_in_its_corner() -> None:
    pixels, slit = np.zeros((301, 257), np.uint16), np.zeros((301, 257), bool)
    slit[:, 100:104] = True
    assert burn_label(pixels, 12, visible=slit)[1] == burn_label(pixels, 12)[1]


def test_a_companion_with_a_shutter_has_another_uid_than_one_without() -> None:
    of = (inference(source()), OutputSettings())
    assert Recipe.of(*of, has_shutter=True).instance != Recipe.of(*of).instance
    assert Recipe.of(*of, has_shutter=True).series == Recipe.of(*of).series


def test_every_object_beside_the_companion_has_the_shutter_too(tmp_path: Path) -> None:
    stored = np.rint(4095 * scene(300, 260)).astype(np.int64)
    ds = dataset(stored, WindowCenter="2048", WindowWidth="4096", **RECTANGLE)
    bundle = described_bundle()
    outputs, _ = make_outputs(saved(ds, tmp_path / "x.dcm"), BoneFromDecoder(bundle, 0.0), bundle, OPEN)
    assert {name: made.get("ShutterLeftVerticalEdge") for name, made in outputs.items()} == dict.fromkeys(outputs, 41)
    assert len(outputs) == 4
