"""The four clipping variants on values worked out by hand, in NumPy and in torch."""

from typing import Any

import numpy as np
import pytest
import torch

from model.bundle import ClippingSpec
from model.clipping import clip_x0, dynamic_bound

VALUES = np.array([-8.0, -2.0, -0.5, 0.0, 1.0, 4.0], dtype=np.float32).reshape(1, 1, 2, 3)


def clipped(kind: str, progress: float = 0.0, **numbers: float) -> list[float]:
    """The same through NumPy and through torch, which must agree exactly: clipping only compares."""
    spec = ClippingSpec.model_validate({"kind": kind, **numbers})
    results: list[Any] = [
        clip_x0(values, spec, progress) for values in (VALUES.copy(), torch.from_numpy(VALUES.copy()))
    ]
    np.testing.assert_array_equal(results[0], results[1].numpy())
    return [float(value) for value in results[0].ravel()]


def test_none_changes_nothing() -> None:
    assert clipped("none", bound=0.1) == [-8.0, -2.0, -0.5, 0.0, 1.0, 4.0]


def test_static_cuts_at_the_bound() -> None:
    assert clipped("static", bound=1.5) == [-1.5, -1.5, -0.5, 0.0, 1.0, 1.5]


@pytest.mark.parametrize(("progress", "bound"), [(0.0, 1.5), (0.5, 3.0), (1.0, 4.5)])
def test_dynamic_clipping_widens_with_progress(progress: float, bound: float) -> None:
    expected = [float(np.clip(value, -bound, bound)) for value in VALUES.ravel()]
    assert clipped("dynamic_clipping", progress, omega=3.0, b=1.5) == expected


def test_the_published_bounds_come_back_for_a_thousand_steps() -> None:
    """Eq. 6 with omega .003 per step and b 1.4: from 1.4 at the first step to 4.4 at the last."""
    published = ClippingSpec(omega=0.003 * 1000, b=1.4)
    assert dynamic_bound(published, 0 / 999) == pytest.approx(1.4)
    assert dynamic_bound(published, 999 / 999) == pytest.approx(4.4)
    for index in (0, 250, 999):  # the paper counts t to 999, a fraction of progress to 1: less than one step apart
        assert dynamic_bound(published, index / 999) == pytest.approx(0.003 * index + 1.4, abs=0.0031)


def test_dynamic_thresholding_scales_the_quantile_to_the_bound() -> None:
    # the largest absolute value is 8: everything is divided by it
    assert clipped("dynamic_thresholding", percentile=1.0, bound=1.0) == [-1.0, -0.25, -0.0625, 0.0, 0.125, 0.5]


def test_dynamic_thresholding_leaves_what_is_within_the_bound() -> None:
    assert clipped("dynamic_thresholding", percentile=1.0, bound=10.0) == [-8.0, -2.0, -0.5, 0.0, 1.0, 4.0]


def test_dynamic_thresholding_treats_every_sample_alone() -> None:
    spec = ClippingSpec(kind="dynamic_thresholding", percentile=1.0, bound=1.0)
    both = np.concatenate([VALUES, VALUES / 100])
    result = clip_x0(both, spec, 0.0)
    np.testing.assert_array_equal(result[1], both[1])
    assert np.abs(result[0]).max() == 1.0


@pytest.mark.parametrize("kind", ["none", "static", "dynamic_thresholding", "dynamic_clipping"])
def test_the_prediction_of_the_caller_is_not_changed(kind: str) -> None:
    values = VALUES.copy()
    clip_x0(values, ClippingSpec.model_validate({"kind": kind, "bound": 0.5, "b": 0.5}), 0.0)
    np.testing.assert_array_equal(values, VALUES)
