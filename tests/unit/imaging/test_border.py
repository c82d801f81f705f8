"""The border of an image: cells that it touches by a sliver, and cells of hardly more than a pixel."""

import numpy as np
import pytest

from pacs_node.imaging.fit import GridImage, from_grid, place

SIZES = ((1031, 1027), (980, 1058), (1104, 1048), (885, 1081), (1200, 1193), (520, 516), (1031, 1041), (835, 1035))


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("grid", [512, 1024])
def test_a_layer_comes_back_within_its_own_range_up_to_the_border(rows: int, columns: int, grid: int) -> None:
    down, right = np.mgrid[0:grid, 0:grid] / grid
    layer = (0.1 * np.sin(40 * down + 3) * np.cos(30 * right)).astype(np.float32)
    pixels = np.zeros((1, 1, grid, grid), np.float32)
    native = from_grid(layer, GridImage(pixels, place(rows, columns, grid), 0.0, 2.0), rows, columns)
    assert np.abs(native).max() < 0.12  # a fifth more than the layer; it was 400 million times as much
