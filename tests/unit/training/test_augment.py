"""Augmentation changes both twins alike: what lies between them stays bone."""

import numpy as np
import pytest
import torch

from training.augment import random_frame, random_nodules, random_strength, random_tone


def twins() -> torch.Tensor:
    """A soft image and the same with one stripe of bone, (2, 96, 96), the radiograph first."""
    soft = torch.linspace(-0.6, 0.4, 96).repeat(96, 1)
    cxr = soft.clone()
    cxr[40:46] += 0.2
    return torch.stack([cxr, soft])


@pytest.mark.parametrize("seed", range(8))
def test_nodules_are_the_same_in_both_twins(seed: int) -> None:
    before = twins()
    after = random_nodules(before, np.random.default_rng(seed))
    torch.testing.assert_close(after[0] - after[1], before[0] - before[1], atol=1e-6, rtol=0)  # float32 sums
    assert float((after - before).min()) >= 0


def test_most_draws_have_nodules_and_none_lie_beside_the_picture() -> None:
    letterboxed = twins()
    letterboxed[:, :, :30] = -1
    results = [random_nodules(letterboxed, np.random.default_rng(seed)) for seed in range(60)]
    changed = [not torch.equal(result, letterboxed) for result in results]
    assert 30 < sum(changed) < 54  # 70 % of 60, four standard errors
    assert all(torch.equal(result[:, :, :30], letterboxed[:, :, :30]) for result in results)


@pytest.mark.parametrize("seed", range(8))
def test_the_frame_is_the_same_for_both_and_black_outside(seed: int) -> None:
    both = random_frame(twins(), 64, np.random.default_rng(seed), (0.5, 2.0))
    assert both.shape == (2, 64, 64)
    difference = both[0] - both[1]
    assert float(difference.min()) > -1e-5  # bone only ever brightens: any shift between the two would darken an edge
    assert float(both.min()) >= -1.0


@pytest.mark.parametrize("seed", range(8))
def test_tone_is_monotone_and_stays_in_range(seed: int) -> None:
    ramp = torch.linspace(-1, 1, 256)[None, None].repeat(1, 2, 1)
    toned = random_tone(ramp, np.random.default_rng(seed))
    assert bool((toned.diff(dim=-1) >= -1e-6).all())
    assert float(toned.min()) >= -1.0
    assert float(toned.max()) <= 1.13  # gain 1.02 and lift .04 at most, on a range of 2


def test_strength_changes_the_radiograph_along_its_bones_only() -> None:
    cxr, soft = twins()
    changed = random_strength(cxr, soft, np.random.default_rng(1))
    ratio = (changed - soft)[40:46] / (cxr - soft)[40:46]
    assert float(ratio.std()) < 1e-4
    assert 0.6 <= float(ratio.mean()) <= 1.3
    assert torch.equal(changed[:40], soft[:40])
