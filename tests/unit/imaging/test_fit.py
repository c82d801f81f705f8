"""To the grid and back: where things are, how bright they are, and what does not leak."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pacs_node.imaging.fit import Placement, from_grid, intensity_range, letterbox, native_strips, place, to_grid
from tests.unit.imaging.synthetic import radiograph, scene

GRID = 256
SIZES = [
    (512, 512),
    (1955, 1841),
    (1001, 333),
    (333, 999),
    (601, 200),
    (257, 300),
    (200, 255),
    (4096, 4096),
    (3001, 4097),
]

Image = NDArray[np.float32]


def blob(rows: int, columns: int, row: float, column: float, radius: float) -> Image:
    """A Gaussian whose centre is at (row, column), the outer corner of the first pixel being (0, 0)."""
    along_rows = np.exp(-(((np.arange(rows) + 0.5 - row) / radius) ** 2) / 2)
    along_columns = np.exp(-(((np.arange(columns) + 0.5 - column) / radius) ** 2) / 2)
    product: Image = np.outer(along_rows, along_columns).astype(np.float32)
    return product


def centroid(image: Image) -> tuple[float, float]:
    weights = image.astype(np.float64)
    rows, columns = (np.arange(size) + 0.5 for size in image.shape)
    return float(weights.sum(1) @ rows / weights.sum()), float(weights.sum(0) @ columns / weights.sum())


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_point_comes_back_where_it_was(rows: int, columns: int) -> None:
    row, column = 0.37 * rows + 0.3, 0.61 * columns - 0.2
    source = blob(rows, columns, row, column, radius=max(rows, columns) / 40)
    grid_image = to_grid(radiograph(source), GRID)
    layer = grid_image.pixels[0, 0] + 1  # black is 0, as in a bone layer
    # 1/100 px: the top of the blob is clipped at the robust maximum, on cells that do not lie evenly around it
    assert centroid(from_grid(layer, grid_image, rows, columns)) == pytest.approx(centroid(source), abs=1e-2)


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_point_lies_on_the_grid_where_the_placement_says(rows: int, columns: int) -> None:
    row, column = 0.4 * rows, 0.55 * columns
    placement = place(rows, columns, GRID)
    on_grid = letterbox(blob(rows, columns, row, column, max(rows, columns) / 40), placement)
    expected = (row / placement.scale + placement.top, column / placement.scale + placement.left)
    # 1/200 cell: aliases of a blob of 6 cells, sampled where the image is hardly larger than the grid
    assert centroid(on_grid) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_edge_comes_back_within_a_tenth_of_a_grid_cell(rows: int, columns: int) -> None:
    edge = int(0.45 * columns)
    source = np.zeros((rows, columns), np.float32)
    source[:, edge:] = 1
    grid_image = to_grid(radiograph(source), GRID)
    back = from_grid(grid_image.pixels[0, 0] + 1, grid_image, rows, columns)[rows // 2]
    # the area to the right of the edge is kept to a tenth of a cell, because averaging and interpolation keep it
    assert back.sum() == pytest.approx(columns - edge, abs=0.1 * max(1.0, grid_image.placement.scale))


def test_smooth_picture_comes_back_as_it_was() -> None:
    source = scene(1955, 1841)
    grid_image = to_grid(radiograph(source), 512)
    back = from_grid(grid_image.pixels[0, 0] + 1, grid_image, 1955, 1841) + grid_image.low
    expected = np.clip(source, grid_image.low, grid_image.high)
    # averaging over 4 px takes 1 % off the contrast of ribs of 80 px
    np.testing.assert_allclose(back, expected, atol=0.01)


def test_image_is_centred_to_the_fraction_of_a_cell() -> None:
    for rows, columns in ((1955, 1841), (601, 777)):
        placement = place(rows, columns, 512)
        middle = (placement.top + rows / 2 / placement.scale, placement.left + columns / 2 / placement.scale)
        assert middle == pytest.approx((256, 256))


def test_letterbox_is_black_and_the_image_fills_the_longer_side() -> None:
    image = to_grid(radiograph(np.clip(scene(900, 300), 0.3, 1)), GRID).pixels[0, 0]
    bar = (GRID - GRID // 3) // 2 - 1
    assert (image[:, :bar] == -1).all()
    assert (image[:, -bar:] == -1).all()
    assert (image[:, GRID // 2] > -1).any()


def test_reduction_averages_areas_and_makes_no_moire() -> None:
    # stripes of one native pixel: point sampling or bilinear interpolation turns them into bands of up to 0 and 1
    stripes = np.zeros((1000, 1000), np.float32)
    stripes[:, ::2] = 1
    on_grid = letterbox(stripes, place(1000, 1000, 96))
    # a cell of 10.4 px holds at most half a stripe too many: 0.5 / 10.4
    assert np.abs(on_grid - 0.5).max() < 0.06


def test_brightness_is_kept_exactly() -> None:
    source = scene(1001, 777)
    source[:8], source[-8:], source[:, :8], source[:, -8:] = 0, 0, 0, 0  # cells that lie half outside do not count half
    placement = place(1001, 777, GRID)
    # float32 sums of a million values
    assert letterbox(source, placement).sum() * placement.scale**2 == pytest.approx(float(source.sum()), rel=1e-5)


def test_border_is_not_blended_with_the_black_around_it() -> None:
    placement = place(1955, 1841, 512)
    on_grid = letterbox(np.ones((1955, 1841), np.float32), placement)
    inside = placement.covered()
    np.testing.assert_allclose(on_grid[inside], 1, rtol=1e-6)
    on_grid[inside] = 0
    assert not on_grid.any()


def test_edge_of_a_layer_rings_less_than_documented() -> None:
    edge = np.zeros((GRID, GRID), np.float32)
    edge[:, GRID // 2 :] = 1
    back = native(edge, place(2048, 2048, GRID))
    assert -0.2 < back.min() < -0.1  # a spline that has the averages rings more than interpolation does
    assert 1.1 < back.max() < 1.2


def native(layer: Image, placement: Placement) -> Image:
    return np.concatenate([values for _, values in native_strips(layer, placement)])


@pytest.mark.parametrize(("rows", "columns"), [(2048, 2048), (1955, 1841), (3001, 4097)])
def test_native_layer_averages_to_the_grid_again(rows: int, columns: int) -> None:
    placement = place(rows, columns, GRID)
    layer = np.random.default_rng(3).random((GRID, GRID), np.float32)
    again = letterbox(native(layer, placement), placement)
    inside = tuple(slice(s.start + 4, s.stop - 4) for s in placement.covered())
    # noise of full range: plain cubic interpolation is off by .3. What is left is pixels that lie across two cells.
    np.testing.assert_allclose(again[inside], layer[inside], atol=0.03)


def test_native_layer_is_zero_ten_cells_beside_bone() -> None:
    layer = np.zeros((GRID, GRID), np.float32)
    layer[100:110, 100:110] = np.random.default_rng(4).random((10, 10))
    back = native(layer, place(2048, 2048, GRID))
    touched = np.zeros(back.shape, bool)
    touched[8 * 90 : 8 * 120, 8 * 90 : 8 * 120] = True
    assert not back[~touched].any()
    assert back[8 * 100 : 8 * 110, 8 * 100 : 8 * 110].all()


def test_level_layer_comes_back_level_up_to_the_border() -> None:
    placement = place(1955, 1841, GRID)
    layer = np.zeros((GRID, GRID), np.float32)
    layer[placement.covered()] = 0.25
    np.testing.assert_allclose(native(layer, placement), 0.25, rtol=1e-5)


def test_layer_of_zeros_comes_back_as_zeros() -> None:
    grid_image = to_grid(radiograph(scene(500, 400)), GRID)
    assert not from_grid(np.zeros((GRID, GRID), np.float32), grid_image, 500, 400).any()


def test_letterbox_of_the_layer_does_not_bleed_into_the_image() -> None:
    grid_image = to_grid(radiograph(scene(900, 300)), GRID)
    layer = np.full((GRID, GRID), 100.0, np.float32)
    layer[grid_image.placement.covered()] = 0
    assert not from_grid(layer, grid_image, 900, 300).any()


def test_layer_comes_back_in_p_values() -> None:
    grid_image = to_grid(radiograph(0.2 + 0.5 * scene(600, 600)), GRID)
    whole_range = from_grid(np.full((GRID, GRID), 2, np.float32), grid_image, 600, 600)
    np.testing.assert_allclose(whole_range, grid_image.high - grid_image.low, rtol=1e-5)


def test_layer_of_another_image_is_refused() -> None:
    grid_image = to_grid(radiograph(scene(600, 500)), GRID)
    with pytest.raises(ValueError, match="size"):
        from_grid(np.zeros((GRID, GRID), np.float32), grid_image, 500, 600)


def test_robust_range_fills_the_scale_of_the_network() -> None:
    image = to_grid(radiograph(0.3 + 0.1 * scene(800, 800)), GRID).pixels
    assert image.min() == -1
    assert image.max() == 1
    assert image.dtype == np.float32
    assert image.shape == (1, 1, GRID, GRID)


def test_intensity_does_not_depend_on_the_window() -> None:
    # a linear change of contrast and brightness, without clipping, must reach the network as the same image
    source = scene(800, 700)
    first, second = to_grid(radiograph(source), GRID), to_grid(radiograph(0.25 + 0.5 * source), GRID)
    np.testing.assert_allclose(first.pixels, second.pixels, atol=1e-4)


def test_a_few_burnt_in_markers_do_not_move_the_range() -> None:
    source = 0.2 + 0.4 * scene(800, 800)
    low, high = intensity_range(source)
    source[20:50, 20:60] = 1.0
    source[60:70, 20:60] = 0.0
    assert intensity_range(source) == pytest.approx((low, high), abs=0.01)


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_collimation_does_not_move_the_range(margin: float) -> None:
    source = 0.3 + 0.4 * scene(800, 800)
    framed = np.full((1200, 1100), margin, np.float32)
    framed[200:1000, 150:950] = source
    # the first and last textured lines may be cut with the margin
    assert intensity_range(framed) == pytest.approx(intensity_range(source), abs=0.01)


def test_padding_does_not_move_the_range() -> None:
    source = 0.3 + 0.4 * scene(800, 800)
    y, x = np.mgrid[0:800, 0:800]
    round_field = (x - 400) ** 2 + (y - 400) ** 2 > 390**2
    padded = np.where(round_field, np.float32(0), source)
    grid_image = to_grid(radiograph(padded, round_field), GRID)
    assert (grid_image.low, grid_image.high) == pytest.approx(intensity_range(source[~round_field][None]), abs=0.02)


def test_flat_image_is_not_blown_up() -> None:
    assert intensity_range(np.full((300, 300), 0.5, np.float32)) == (0.0, 1.0)
