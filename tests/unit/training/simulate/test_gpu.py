"""Image formation with torch gives the numbers of NumPy."""

import numpy as np
import pytest

from training.gpu import TorchBackend
from training.simulate.anatomy import Anatomy
from training.simulate.backend import NUMPY, smooth
from training.simulate.pair import Studio, form_pair


@pytest.mark.parametrize("sigma_px", [0.4, 1.5, 20.0])
def test_a_blur_is_the_same(sigma_px: float) -> None:
    image = np.random.default_rng(0).random((128, 128), dtype=np.float32)
    torch_on = TorchBackend()
    mine = torch_on.give(smooth(torch_on.take(image), sigma_px, torch_on))
    # float32 sums of some hundred products
    assert np.abs(mine - smooth(image, sigma_px, NUMPY)).max() < 5e-6


@pytest.mark.parametrize("seed", range(4))
def test_a_pair_is_the_same(phantom: Anatomy, seed: int) -> None:
    ours, theirs = (
        form_pair(phantom, phantom, np.random.default_rng(seed), 256, Studio(0.01, on))
        for on in (NUMPY, TorchBackend())
    )
    for one, other in ((ours.cxr, theirs.cxr), (ours.soft, theirs.soft)):
        difference = np.abs(one - other)
        # A value between two grey levels, or two steps of JPEG, may fall to either side; the rest is rounding.
        assert np.median(difference) < 1e-4
        assert np.quantile(difference, 0.95) < 6e-3
    assert (ours.lungs == theirs.lungs).mean() > 0.999
