"""Shadows that are no bone: the same in both twins, marked where they lie, weighed in the losses."""

import numpy as np
import pytest
import torch

from training.losses import gradient_difference, weighed
from training.shadows import random_shadows

SIZE = 128


def twins() -> torch.Tensor:
    """Lungs are dark, a letterbox is black, one stripe is bone: (2, SIZE, SIZE), the radiograph first."""
    soft = torch.full((SIZE, SIZE), 0.2)
    soft[20:100, 20:100] = -0.5
    soft[:, :12] = -1
    cxr = soft.clone()
    cxr[60:66, 20:100] += 0.2
    return torch.stack([cxr, soft])


@pytest.mark.parametrize("seed", range(12))
def test_shadows_leave_the_bone_between_the_twins_as_it_was(seed: int) -> None:
    before = twins()
    after, mark = random_shadows(before, np.random.default_rng(seed))
    unclipped = (after.abs() < 1).all(dim=0)
    torch.testing.assert_close((after[0] - after[1])[unclipped], (before[0] - before[1])[unclipped], atol=1e-6, rtol=0)
    assert mark.shape == (SIZE, SIZE)
    assert 0 <= float(mark.min()) <= float(mark.max()) <= 1
    assert torch.equal(after[:, :, :12], before[:, :, :12])  # beside the picture nothing is drawn
    assert float(mark[:, :12].max()) == 0


def test_most_draws_have_shadows_and_the_mark_lies_on_them() -> None:
    drawn = [random_shadows(twins(), np.random.default_rng(seed)) for seed in range(80)]
    changed = [float((after - twins()).abs().max()) > 0 for after, _ in drawn]
    assert 64 <= sum(changed) <= 79  # 90 % of 80, two and a half standard errors
    assert all((float(mark.max()) > 0) == moved for (_, mark), moved in zip(drawn, changed, strict=True))
    strong = [(after - twins()).abs()[0][mark > 0.5] for after, mark in drawn]
    assert float(torch.cat(strong).median()) > 0.01  # what is marked is to be seen


def test_most_shadows_lie_where_the_image_is_dark() -> None:
    marks = sum((random_shadows(twins(), np.random.default_rng(seed))[1] > 0.5).float() for seed in range(150))
    assert isinstance(marks, torch.Tensor)
    lungs = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    lungs[20:100, 20:100] = True
    assert float(marks[lungs].mean()) > 1.5 * float(marks[~lungs][:, None].mean())


def test_a_blank_image_is_no_reason_to_fail() -> None:
    blank = torch.full((2, SIZE, SIZE), -1.0)
    for seed in range(5):
        after, mark = random_shadows(blank, np.random.default_rng(seed))
        assert float(mark.max()) == 0
        assert torch.equal(after, blank)


def test_what_is_marked_weighs_more() -> None:
    error, mark = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    error[..., 2, 3] = 1
    plain = float(weighed(error))
    assert plain == pytest.approx(1 / 64)
    assert float(weighed(error, mark, 5.0)) == pytest.approx(plain)
    mark[..., 2, 3] = 1
    assert float(weighed(error, mark, 5.0)) == pytest.approx(6 / (64 + 5))
    assert float(weighed(error, mark, 0.0)) == pytest.approx(plain)


def test_edges_that_are_marked_weigh_more() -> None:
    a, b, mark = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    a[..., 4:, :] = 1
    plain = float(gradient_difference(a, b))
    assert plain == pytest.approx(1 / 7)
    mark[..., 4, :] = 1  # of two neighbours the later one counts
    assert float(gradient_difference(a, b, mark, 6.0)) == pytest.approx(7 * 8 / (7 * 8 + 48))
