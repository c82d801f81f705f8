"""Subtraction at native resolution: exact where nothing is predicted, bounded everywhere."""

import numpy as np
import pytest

from model.bundle import FusionSpec
from pacs_node.imaging.fit import place
from pacs_node.imaging.fuse import quantised, shaped_layer, subtract_bone, without_glow
from tests.unit.imaging.synthetic import radiograph, scene


@pytest.mark.parametrize("bits", [8, 12, 15, 16])
def test_layer_of_zeros_gives_the_input_level_for_level(bits: int) -> None:
    levels = 2**bits - 1
    stored = np.resize(np.arange(levels + 1), (300, 300))
    source = radiograph((stored / levels).astype(np.float32), bits=bits)
    np.testing.assert_array_equal(subtract_bone(source, np.zeros((300, 300), np.float32)), stored)


def test_input_is_untouched_where_the_layer_is_zero() -> None:
    source = radiograph(scene(300, 260))
    layer = np.zeros((300, 260), np.float32)
    layer[100:150, 100:150] = 0.05
    soft = subtract_bone(source, layer)
    unchanged = quantised(source.pixels, 12)
    np.testing.assert_array_equal(soft[layer == 0], unchanged[layer == 0])
    assert (soft[layer > 0] < unchanged[layer > 0]).all()


def test_subtraction_is_rounded_once() -> None:
    # 899.8: rounding image and layer apart gives 899, cutting off too
    source = radiograph(np.full((256, 256), 1000.4 / 4095, np.float32))
    layer = np.full((256, 256), 100.6 / 4095, np.float32)
    assert (subtract_bone(source, layer) == 900).all()


def test_result_is_clipped_and_never_wraps() -> None:
    source = radiograph(np.tile(np.linspace(0, 1, 256, dtype=np.float32), (256, 1)))
    assert subtract_bone(source, np.full((256, 256), 2, np.float32)).max() == 0
    assert subtract_bone(source, np.full((256, 256), -2, np.float32)).min() == 4095


def test_padding_stays_black() -> None:
    padding = np.zeros((256, 256), bool)
    padding[:50] = True
    pixels = np.where(padding, np.float32(0), np.float32(0.5))
    soft = subtract_bone(radiograph(pixels, padding), np.full((256, 256), -0.2, np.float32))
    assert not soft[padding].any()
    assert soft[~padding].all()


def test_whole_layer_only_darkens() -> None:
    layer = np.random.default_rng(1).normal(size=(128, 128)).astype(np.float32)
    shaped = shaped_layer(layer, place(500, 500, 128), FusionSpec(strength=0.5))
    np.testing.assert_array_equal(shaped, 0.5 * np.maximum(layer, 0))


def test_high_passed_layer_has_no_mean_and_keeps_ribs() -> None:
    y = np.arange(512, dtype=np.float32)[:, None]
    ribs = 0.1 * np.cos(2 * np.pi * y / 32) * np.ones((1, 512), np.float32)
    shaped = shaped_layer((0.3 + ribs).astype(np.float32), place(2000, 2000, 512), FusionSpec(highpass_px=24))
    # the Gaussian passes exp(-2 (pi 24 / 32)**2) < 1e-4 of a wave of 32 px; the edges are mirrored, not exact
    np.testing.assert_allclose(shaped[96:-96], ribs[96:-96], atol=1e-3)


def test_layer_outside_of_the_image_is_dropped() -> None:
    placement = place(900, 300, 128)
    for fusion in (FusionSpec(), FusionSpec(highpass_px=8)):
        outside = np.ones((128, 128), bool)
        outside[placement.covered()] = False
        shaped = shaped_layer(np.random.default_rng(2).random((128, 128), np.float32), placement, fusion)
        assert outside.any()
        assert not shaped[outside].any()


def test_letterbox_does_not_reach_into_a_high_passed_image() -> None:
    layer = np.full((128, 128), -5, np.float32)
    placement = place(900, 300, 128)
    layer[placement.covered()] = 0.25
    # float32 rounding of a weighted mean of equal values
    np.testing.assert_allclose(shaped_layer(layer, placement, FusionSpec(highpass_px=8)), 0, atol=1e-6)


def test_high_passed_layer_brightens_nothing_that_is_black() -> None:
    pixels = np.array([[0.0, 0.1, 0.125, 0.2, 0.9]], np.float32)
    brightening = np.full((1, 5), -0.08, np.float32)
    # the darkest value of the anatomy is .1, the brightest .6: full strength from .1 + a tenth of .5 on
    expected = [[0, 0, -0.04, -0.08, -0.08]]
    np.testing.assert_allclose(without_glow(brightening, pixels, 0.1, 0.6), expected, atol=1e-6)
    np.testing.assert_array_equal(without_glow(-brightening, pixels, 0.1, 0.6), -brightening)
