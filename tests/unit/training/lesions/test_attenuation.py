"""The tone curve and the scale, against simulated people and by hand."""

import numpy as np
import pytest
from pydicom import Dataset

from pacs_node.records import FloatImage, MaskImage, Radiograph
from tests.unit.training.evaluate.conftest import chest
from training.lesions.attenuation import LEVELS_OF_LUNG_BOX, MU, PERCENTILES, ToneCurve, box_slices, mm_per_px
from training.metrics import lung_mask
from training.simulate.anatomy import draw_anatomy
from training.simulate.dress import LUNG_WIDTH_CM
from training.simulate.imaging import MU_SOFT, SPECTRUM_120_KVP, draw_exposure, expose


def lungs_of(pixels: FloatImage) -> MaskImage:
    return lung_mask(pixels, np.ones(pixels.shape, dtype=bool))


def test_the_stored_levels_are_those_of_simulated_people() -> None:
    levels = []
    for seed in range(9000, 9006):
        body = draw_anatomy(seed, 128)
        seen, _ = expose(body.soft, body.bones.sum(axis=0), *_shot(seed))
        box = np.percentile(seen[box_slices(body.lungs)], PERCENTILES)
        levels.append(box - np.percentile(seen[body.lungs], 10))
    # of 6 people; their medians deviate by up to .3 / sqrt(6) from those of 16, and exposures are others
    assert np.median(levels, axis=0) == pytest.approx(LEVELS_OF_LUNG_BOX, abs=0.35)


def _shot(seed: int) -> tuple:  # type: ignore[type-arg]
    rng = np.random.default_rng([seed, 1])
    return draw_exposure(rng, 128), rng


def test_the_attenuation_coefficient_is_the_mean_over_the_spectrum() -> None:
    assert pytest.approx(float(MU_SOFT @ SPECTRUM_120_KVP / SPECTRUM_120_KVP.sum()), abs=0.01) == MU


def test_tissue_brightens_and_twice_as_much_brightens_twice_where_the_curve_is_straight() -> None:
    levels = np.linspace(-3, 5, 1024)
    curve = ToneCurve(levels, 0.1 + 0.2 * levels)
    pixels = np.full((4, 4), 0.3, np.float32)
    once, twice = (curve.added(pixels, np.full((4, 4), amount, np.float32)) for amount in (0.1, 0.2))
    assert once == pytest.approx(np.full((4, 4), 0.02), abs=1e-6)
    assert twice == pytest.approx(2 * once, abs=1e-6)


def test_nothing_leaves_the_grey_scale() -> None:
    levels = np.linspace(-3, 5, 1024)
    curve = ToneCurve(levels, 0.1 + 0.2 * levels)
    pixels = np.array([[0.95, 0.0, 1.0]], np.float32)
    changed = pixels + curve.added(pixels, np.array([[9.0, -9.0, 1.0]], np.float32))
    assert changed == pytest.approx(np.array([[1.0, 0.0, 1.0]]), abs=1e-6)


def test_the_curve_rises_with_attenuation_and_follows_the_film() -> None:
    pixels = chest(256, 256)[0]
    lungs = lungs_of(pixels)
    dim, bright = (ToneCurve.of(image, lungs) for image in (pixels * np.float32(0.5), pixels))
    assert np.all(np.diff(bright.values) > 0)
    added = np.full(pixels.shape, 0.1, np.float32)
    whole, half = (curve.added(image, added) for curve, image in ((bright, pixels), (dim, pixels * np.float32(0.5))))
    assert half.mean() == pytest.approx(whole.mean() / 2, rel=0.05)  # half of the film's contrast, half of the lesion's


def test_without_a_scale_both_lungs_have_the_width_of_an_adult() -> None:
    lungs = np.zeros((300, 400), dtype=bool)
    lungs[50:250, 100:300] = True
    plain = Radiograph(lungs.astype(np.float32), None, 8, Dataset())
    assert mm_per_px(plain, lungs) == pytest.approx(LUNG_WIDTH_CM * 10 / 200, rel=0.02)
    ds = Dataset()
    ds.ImagerPixelSpacing = [0.2, 0.2]
    assert mm_per_px(Radiograph(lungs.astype(np.float32), None, 8, ds), lungs) == pytest.approx(0.2)
