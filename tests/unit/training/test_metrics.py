"""The metrics on images whose score is known beforehand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.metrics import bsr_paper, bsr_strict, bsr_tone, lung_mask, mse, psnr, ribs_left, tone_fitted

SIZE = 96
FloatImage = NDArray[np.float32]


def scene() -> tuple[FloatImage, FloatImage]:
    """A smooth soft-tissue image and the same with stripes of bone."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    soft = 0.3 + 0.3 * columns + 0.1 * np.sin(5 * rows)
    bone = 0.1 * ((rows * 12) % 1 < 0.35)
    return (soft + bone).astype(np.float32), soft.astype(np.float32)


def test_the_untouched_radiograph_scores_zero_and_the_truth_one() -> None:
    cxr, soft = scene()
    assert bsr_strict(cxr, cxr, soft) == 0.0
    assert bsr_strict(cxr, soft, soft) == 1.0
    assert bsr_tone(cxr, cxr, soft) == 0.0
    # a straight line is among the curves: what is right stays right, up to float32
    assert bsr_tone(cxr, soft, soft) == pytest.approx(1.0, abs=1e-6)


def test_half_the_bone_is_three_quarters_of_the_score() -> None:
    """An error of half the size has a quarter of the energy."""
    cxr, soft = scene()
    half = (cxr + soft) / np.float32(2)
    assert bsr_strict(cxr, half, soft) == pytest.approx(0.75, abs=1e-4)  # float32
    # the curve of each image hides a little of its bones, and of fainter ones a smaller share
    assert bsr_tone(cxr, half, soft) == pytest.approx(0.75, abs=0.05)


def test_the_curve_is_fitted_on_the_whole_picture_and_errors_count_in_the_region() -> None:
    """Tone that differs between region and surroundings is an error that no single curve takes away."""
    cxr, soft = scene()
    region = np.zeros((SIZE, SIZE), dtype=bool)
    region[30:60, 30:60] = True
    output = np.where(region, soft, soft + np.float32(0.2))
    whole, inside = bsr_tone(cxr, output, soft, counted=region), bsr_tone(cxr, output, soft, region)
    assert inside == pytest.approx(1.0, abs=1e-6)
    assert whole < 0.5


def test_a_falling_relation_gets_a_curve_that_does_not_fall() -> None:
    """The best rising curve through a falling line is its mean."""
    image = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    fitted = tone_fitted(image, 1 - image, np.ones_like(image, dtype=bool))
    assert np.ptp(fitted) == pytest.approx(0.0, abs=1e-5)
    assert fitted.mean() == pytest.approx(0.5, abs=1e-4)


def test_a_curve_finds_a_known_tone() -> None:
    image = np.random.default_rng(2).random((SIZE, SIZE)).astype(np.float32)
    wanted = (0.2 + 0.5 * image**2).astype(np.float32)
    fitted = tone_fitted(image, wanted, np.ones_like(image, dtype=bool))
    assert np.abs(fitted - wanted).max() < 1e-3  # 1024 levels of the histogram


def test_output_worse_than_the_radiograph_scores_below_zero() -> None:
    cxr, soft = scene()
    assert bsr_strict(cxr, cxr + (cxr - soft), soft) < 0
    assert bsr_tone(cxr, cxr + (cxr - soft), soft) < 0


def test_the_published_ratio_forgives_the_untouched_radiograph_and_the_strict_one_does_not() -> None:
    cxr, soft = scene()
    assert bsr_paper(cxr, cxr, soft) > 0.5
    assert bsr_strict(cxr, cxr, soft) == 0.0


def test_a_tone_curve_earns_nothing() -> None:
    cxr, soft = scene()
    brighter = np.sqrt(cxr)
    assert bsr_tone(cxr, brighter, soft) == pytest.approx(0.0, abs=0.01)  # the bins are quantiles of either image
    assert bsr_tone(cxr, brighter, soft**2) == pytest.approx(bsr_tone(cxr, cxr, soft**2), abs=0.01)


def test_bone_outside_the_mask_does_not_count() -> None:
    cxr, soft = scene()
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[: SIZE // 2] = True
    output = np.where(mask, soft, cxr)
    assert bsr_tone(cxr, output, soft, mask) > 0.98
    assert bsr_tone(cxr, output, soft) < 0.9


def test_noise_scores_the_true_psnr_and_not_that_of_wrapped_bytes() -> None:
    rng = np.random.default_rng(0)
    noise, other = (rng.integers(0, 256, (256, 256)) / 255 for _ in range(2))
    # two uniform images differ by 1/6 in the mean square: 7.8 dB; uint8 subtraction would say 27.9
    assert psnr(noise.astype(np.float32), other.astype(np.float32)) == pytest.approx(7.78, abs=0.1)


def test_psnr_and_mse_of_a_known_shift() -> None:
    flat = np.full((8, 8), 0.5, dtype=np.float32)
    assert mse(flat + np.float32(0.1), flat) == pytest.approx(0.01, rel=1e-5)
    assert psnr(flat + np.float32(0.1), flat) == pytest.approx(20.0, abs=1e-4)
    assert psnr(flat, flat) == float("inf")


def test_ribs_left_falls_when_ribs_go() -> None:
    rng = np.random.default_rng(1)
    cxr, soft = scene()
    vessels = rng.normal(0, 0.01, soft.shape).astype(np.float32)  # a flat truth has nothing to correlate
    cxr, soft = cxr + vessels, soft + vessels
    everywhere = np.ones_like(soft, dtype=bool)
    untouched, half, clean = (
        ribs_left(cxr, output, soft, everywhere) for output in (cxr, cxr - 0.8 * (cxr - soft), soft)
    )
    assert untouched > half > clean


def test_the_band_of_ribs_scales_with_the_picture() -> None:
    """The same scene at two sizes has the same ribs; a band of fixed px would find -.06 and .33."""
    found = []
    for size in (128, 384):
        rows, columns = np.mgrid[0:size, 0:size] / size
        soft = 0.3 + 0.3 * columns + 0.05 * np.sin(40 * columns)
        cxr = soft + 0.1 * ((rows * 12) % 1 < 0.35)
        output = cxr - 0.9 * (cxr - soft)
        c, b, g = (image.astype(np.float32) for image in (cxr, output, soft))
        found.append(ribs_left(c, b, g, np.ones((size, size), dtype=bool)))
    assert found[0] == pytest.approx(found[1], abs=0.04)  # edges of ribs fall on other pixels


def test_there_is_no_figure_for_ribs_without_lungs() -> None:
    cxr, soft = scene()
    assert np.isnan(ribs_left(cxr, cxr, soft, np.zeros_like(cxr, dtype=bool)))


def test_lungs_are_the_two_dark_areas_inside_and_not_the_air_outside() -> None:
    image = np.broadcast_to(np.linspace(0.6, 0.9, 256, dtype=np.float32)[:, None], (256, 256)).copy()
    image[:, :20] = image[:, -20:] = 0.0
    image[60:180, 50:110] = image[60:180, 145:205] = 0.2
    lungs = lung_mask(image, np.ones_like(image, dtype=bool))
    assert lungs[120, 80]
    assert lungs[120, 175]
    assert not lungs[:, :20].any()
    assert not lungs[120, 128]
    assert lungs.sum() == pytest.approx(2 * 120 * 60, rel=0.15)  # the blur moves the edges by a pixel or two


def test_a_picture_without_lungs_has_an_empty_mask() -> None:
    image = np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(128, 128)
    assert not lung_mask(image, np.ones_like(image, dtype=bool)).any()


def test_of_no_bone_no_share_is_gone() -> None:
    """A ratio to nothing is no number; `pacs-node simulate` makes one pair in twenty-five without bone."""
    _, soft = scene()
    output = np.clip(soft + np.float32(0.01), 0, 1)
    assert np.isnan([ratio(soft, output, soft) for ratio in (bsr_strict, bsr_paper, bsr_tone)]).all()
