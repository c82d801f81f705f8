"""All figures of outputs that are known: the input, the truth, half the bone."""

import numpy as np
import pytest
import torch

from tests.unit.training.evaluate.conftest import chest
from training.evaluate.scores import METRICS, Judge, Reference
from training.perceptual import PerceptualDistance


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(*chest(192, 192))


def test_every_figure_of_the_table_is_measured(reference: Reference) -> None:
    """With LPIPS's architecture and random weights: what the published ones say is tested with them."""
    torch.manual_seed(0)
    judge = Judge(PerceptualDistance())
    found = judge.scores(reference, reference.cxr)
    assert set(found) == {metric.key for metric in METRICS}
    assert found["lpips"] > 0
    assert judge.scores(reference, reference.truth)["lpips"] == 0


def test_the_input_scores_zero_and_the_truth_one(reference: Reference) -> None:
    judge = Judge(None)
    untouched, right = (judge.scores(reference, image) for image in (reference.cxr, reference.truth))
    for key in ("bsr_tone", "bsr_tone_lungs", "bsr_strict", "bsr_strict_lungs"):
        assert untouched[key] == pytest.approx(0.0, abs=1e-6), key
        assert right[key] == pytest.approx(1.0, abs=1e-6), key
    assert right["ms_ssim"] == pytest.approx(1.0, abs=1e-5)
    assert right["mse"] == 0
    assert right["psnr"] == float("inf")
    assert right["ribs_left"] < untouched["ribs_left"] - 0.3
    assert untouched["bsr_paper"] > 0.3  # the published ratio pays the input


def test_half_the_bone_is_three_quarters(reference: Reference) -> None:
    half = (reference.cxr + reference.truth) / np.float32(2)
    found = Judge(None).scores(reference, half)
    assert found["bsr_strict"] == pytest.approx(0.75, abs=1e-4)
    assert found["psnr"] == pytest.approx(Judge(None).scores(reference, reference.cxr)["psnr"] + 6.02, abs=0.01)


def test_a_tone_curve_changes_no_figure_that_is_fitted(reference: Reference) -> None:
    """A rising curve of the input is worth nothing in bsr_tone, and much in bsr_strict or psnr."""
    brighter = np.sqrt(reference.cxr)
    plain, toned = (Judge(None).scores(reference, image) for image in (reference.cxr, brighter))
    assert toned["bsr_tone"] == pytest.approx(0.0, abs=0.01)  # knots lie at quantiles of either image
    assert toned["psnr_fitted"] == pytest.approx(plain["psnr_fitted"], abs=0.05)
    assert toned["bsr_strict"] < -1


def test_a_picture_without_lungs_has_no_figure_for_them() -> None:
    flat = np.linspace(0.2, 0.8, 96 * 96, dtype=np.float32).reshape(96, 96)
    bright = flat.copy()
    bright[40:44] += np.float32(0.1)
    found = Judge(None).scores(Reference(bright, flat), flat)
    empty = sorted(key for key, value in found.items() if np.isnan(value))
    assert empty == ["bsr_paper_lungs", "bsr_strict_lungs", "bsr_tone_lungs", "psnr_lungs", "ribs_left"]


def test_an_output_that_is_no_image_has_no_figures(reference: Reference) -> None:
    found = Judge(PerceptualDistance()).scores(reference, np.full_like(reference.cxr, np.nan))
    assert set(found) == {metric.key for metric in METRICS}
    assert np.isnan(list(found.values())).all()


def test_what_an_image_is_too_small_for_is_no_number() -> None:
    """An MS-SSIM of no scale would be 1 whatever the images are, and AlexNet has nothing left to pool."""
    rng = np.random.default_rng(0)
    cxr, truth = (rng.random((11, 40), dtype=np.float32) for _ in range(2))
    found = Judge(PerceptualDistance()).scores(Reference(cxr, truth), cxr)
    assert np.isnan([found["ms_ssim"], found["lpips"]]).all()
    assert found["psnr"] < 20
