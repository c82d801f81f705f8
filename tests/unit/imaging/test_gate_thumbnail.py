"""What the gate keeps of a radiograph, and what it does not care about."""

import numpy as np
from scipy import ndimage

from pacs_node.imaging.gate_thumbnail import SIDE, glance_at, with_ranks
from tests.unit.imaging.synthetic import scene


def test_margins_do_not_change_the_thumbnail() -> None:
    image = scene(400, 400)
    framed = np.zeros((520, 640), np.float32)
    framed[40:440, 100:500] = image
    # the margin is found on a grid of 192 px, so the cut is exact to about one of 64
    assert np.corrcoef(glance_at(framed).tones.ravel(), glance_at(image).tones.ravel())[0, 1] > 0.95


def test_a_marker_in_the_margin_does_not_keep_the_margin() -> None:
    framed = np.zeros((500, 600), np.float32)
    framed[:, 100:500] = scene(500, 400)
    marked = framed.copy()
    marked[20:40, 20:35] = 1
    assert np.corrcoef(glance_at(framed).tones.ravel(), glance_at(marked).tones.ravel())[0, 1] > 0.99


def test_ranks_are_those_of_any_window_and_gamma() -> None:
    tones = np.linspace(0.1, 0.9, SIDE * SIDE, dtype=np.float32).reshape(1, SIDE, SIDE)
    plain, bent = with_ranks(tones)[0, 1], with_ranks(0.3 + 0.5 * tones**2)[0, 1]
    np.testing.assert_allclose(plain, bent, atol=0.02)  # tones of one level share a rank


def test_a_negative_has_the_negative_channels() -> None:
    tones = np.random.default_rng(2).random((1, SIDE, SIDE)).astype(np.float32)
    np.testing.assert_allclose(with_ranks(1 - tones), -with_ranks(tones), atol=1e-3)


def test_noise_is_grain_and_a_picture_is_spread() -> None:
    noise = glance_at(np.random.default_rng(1).random((1000, 1000)).astype(np.float32))
    assert noise.spread < 0.1 * noise.grain
    picture = glance_at(scene(1000, 1000))
    assert picture.spread > picture.grain


def test_black_and_white_pixels_are_counted_inside_the_margins() -> None:
    image = np.zeros((400, 500), np.float32)
    image[:, 100:400] = np.clip(scene(400, 300), 0.05, 0.95)
    assert glance_at(image).middle > 0.97  # the margin is found to within a pixel of 192
    image[:, 100:400] = np.random.default_rng(5).random((400, 300)) > 0.5
    assert glance_at(image).middle == 0


def test_padding_is_not_counted_as_black() -> None:
    image, padding = scene(300, 300).copy() * 0.5 + 0.2, np.zeros((300, 300), bool)
    padding[:, :140] = True
    image[padding] = 0
    assert glance_at(image, padding).middle > 0.95


def test_noise_of_any_grain_has_bell_shaped_differences_and_a_picture_with_edges_has_not() -> None:
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((600, 500)).astype(np.float32)
    for sigma in (0, 3, 12, 30):
        field = ndimage.gaussian_filter(noise, sigma, mode="wrap")
        field = (field - field.min()) / np.ptp(field)
        assert glance_at(field).tails < 3.65  # 3 but for chance; a chest has 4.5 and more
    rows, columns = np.mgrid[0:500, 0:500] / 500
    disc = 0.2 + 0.5 * (np.hypot(rows - 0.5, columns - 0.5) < 0.3) + 0.1 * rows
    assert glance_at(disc.astype(np.float32)).tails > 10
