"""Detail below the grid: bone's own edges come back sharp, and nothing else of the radiograph is taken with them."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from model.bundle import FusionSpec
from pacs_node.imaging.fit import letterbox, native_strips, place, to_grid
from pacs_node.imaging.fuse import native_layer
from pacs_node.imaging.guide import detailed
from tests.unit.imaging.synthetic import radiograph
from training.evaluate.native import edge_band, ghost_energy, interpolated

GRID, SIDE = 128, 1024
SCALE = SIDE // GRID
PLACEMENT = place(SIDE, SIDE, GRID)

Image = NDArray[np.float32]


def rib() -> Image:
    """An oblique bar with edges of 3 px: less than half a cell."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    along = (y - SIDE / 2) * np.cos(0.3) - (x - SIDE / 2) * np.sin(0.3)
    bar: Image = gaussian_filter(np.where(np.abs(along) < 40, np.float32(0.2), np.float32(0)), 1.5)
    return bar


def vessel() -> Image:
    """A line of 4 px that crosses the bar."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    across: Image = 0.1 * np.exp(-(((x - SIDE / 2) + 0.2 * (y - SIDE / 2)) ** 2) / 8)
    return across.astype(np.float32)


def noise(sigma: float) -> Image:
    drawn: Image = np.random.default_rng(5).normal(0, sigma, (SIDE, SIDE)).astype(np.float32)
    return drawn


def brought_up(cells: Image, pixels: Image | None) -> Image:
    placement = PLACEMENT
    if pixels is not None:
        cells, placement = detailed(cells, pixels, PLACEMENT, 1.0)
    return np.concatenate([values for _, values in native_strips(cells, placement)])


def test_ghost_of_a_rib_edge_is_less_than_half_of_plain_interpolation() -> None:
    bone = rib()
    cells, pixels, band = letterbox(bone, PLACEMENT), 0.4 + bone + vessel() + noise(0.01), edge_band(bone, SCALE)
    plain, spline, guided = (
        ghost_energy(layer - bone, band, SCALE)
        for layer in (interpolated(cells, PLACEMENT), brought_up(cells, None), brought_up(cells, pixels))
    )
    assert guided < 0.5 * plain
    assert guided < spline


def test_guidance_copies_little_of_noise_and_vessels_into_the_layer() -> None:
    bone = rib()
    cells, around = letterbox(bone, PLACEMENT), edge_band(bone, SCALE)
    quiet = brought_up(cells, 0.4 + bone)
    for disturbance, most in ((noise(0.02), 0.15), (vessel(), 0.15)):
        copied = brought_up(cells, 0.4 + bone + disturbance) - quiet
        fine = disturbance - gaussian_filter(disturbance, SCALE / 2)
        # share of it that is in the layer: 1 would take it out of the companion
        assert abs(float(np.sum(copied[around] * fine[around]) / np.sum(fine[around] ** 2))) < most


def test_layer_is_zero_fifteen_cells_beside_bone_whatever_the_radiograph_shows() -> None:
    cells = np.zeros((GRID, GRID), np.float32)
    cells[60:64, 20:100] = 0.2
    layer = brought_up(cells, 0.5 + noise(0.1))
    far = np.ones((SIDE, SIDE), bool)
    far[45 * SCALE : 79 * SCALE, 5 * SCALE : 115 * SCALE] = False
    assert not layer[far].any()
    assert not brought_up(np.zeros((GRID, GRID), np.float32), 0.5 + noise(0.1)).any()


def test_a_bundle_can_go_without_guidance() -> None:
    source = radiograph(np.clip(0.4 + rib() + noise(0.01), 0, 1))
    grid_image = to_grid(source, GRID)
    layer = 2 * letterbox(rib(), PLACEMENT)
    guided, alone = (native_layer(layer, source, grid_image, FusionSpec(guided=each)) for each in (True, False))
    assert np.abs(guided - alone).max() > 0.002  # eight levels of 12 bits
    np.testing.assert_array_equal(guided, native_layer(layer, source, grid_image, FusionSpec()))
