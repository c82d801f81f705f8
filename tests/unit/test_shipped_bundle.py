"""The network that ships: really a latent diffusion, really trained, and bones really lose contrast."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from scipy.ndimage import gaussian_filter

from model.bundle import Bundle, open_bundle
from model.sampler import draw_noise
from pacs_node.config import Device
from pacs_node.engine import Engine
from pacs_node.engine.load import open_engine, resolve_bundle
from pacs_node.imaging.read import read_radiograph
from pacs_node.pipeline import run_network
from pacs_node.records import FloatImage, Radiograph
from training.simulate.pair import SimulatedPair, simulate_pair

MAX_BUNDLE_BYTES = 48 * 10**6
UNSEEN_SEEDS = (7_000_001, 7_000_002, 7_000_004)  # the trained ones count up from 0
BONELESS_SEED = 7_000_003
MOST_LEFT = 0.9  # of the amplitude of bone; .69 to .73 were measured, ribs less and spine more

# Ribs of RG1 marked by eye on the picture scaled to 920 columns: column, rows of the rib, rows of the gaps beside it.
RG1_COLUMNS = 920
RG1_RIBS = (
    (660, (256, 283), ((225, 250), (292, 305))),
    (620, (258, 285), ((228, 246), (291, 302))),
    (740, (283, 310), ((248, 275), (318, 345))),
    (700, (262, 290), ((235, 252),)),
    (660, (130, 153), ((105, 122), (158, 167))),
    (240, (262, 292), ((228, 244), (302, 318))),
    (740, (214, 238), ((190, 208), (246, 270))),
)


@cache
def _shipped() -> tuple[Bundle, Engine]:
    bundle = open_bundle(resolve_bundle("default"))
    return bundle, open_engine(bundle, Device.CPU)


def _band(image: FloatImage, column: int, rows: tuple[int, int]) -> float:
    """Mean of a strip 9 px wide, in the coordinates of the marks."""
    scale = image.shape[1] / RG1_COLUMNS
    top, bottom, left, right = (round(v * scale) for v in (*rows, column - 4, column + 5))
    return float(image[top:bottom, left:right].mean())


def _rib_contrasts(image: FloatImage) -> NDArray[np.float64]:
    return np.array(
        [
            _band(image, column, rib) - np.mean([_band(image, column, gap) for gap in gaps])
            for column, rib, gaps in RG1_RIBS
        ]
    )


def test_the_bundle_is_small_and_says_what_trained_it() -> None:
    bundle, _ = _shipped()
    assert sum(path.stat().st_size for path in bundle.folder.iterdir()) <= MAX_BUNDLE_BYTES
    assert bundle.spec.latent_channels == 4
    assert bundle.spec.downsampling == 8
    assert bundle.spec.training, "no provenance"


def test_the_denoiser_uses_the_noisy_latents_the_time_and_the_radiograph() -> None:
    bundle, engine = _shipped()
    side = bundle.spec.grid // bundle.spec.downsampling
    shape = (1, bundle.spec.latent_channels, side, side)
    a, b = (draw_noise(seed, shape, 0.0) for seed in (1, 2))
    full, half = np.ones(1, np.float32), np.full(1, 0.3, np.float32)
    usual = engine.predict(a, half, b)
    assert np.abs(engine.predict(b, half, b) - usual).max() > 1e-3
    assert np.abs(engine.predict(a, full, b) - usual).max() > 1e-3
    assert np.abs(engine.predict(a, half, a) - usual).max() > 1e-3


def _fine(image: FloatImage) -> FloatImage:
    """What is smaller than about a tenth of the image: the bundle may leave coarser shades alone on purpose."""
    return np.asarray(image - gaussian_filter(image, image.shape[0] / 20), dtype=np.float32)


def _rms(image: FloatImage) -> float:
    return float(np.sqrt(np.square(image).mean()))


def _suppressed(pair: SimulatedPair) -> FloatImage:
    _, engine = _shipped()
    inference = run_network(Radiograph(pair.cxr, None, 12, Dataset()), engine, 0, 1)
    return (inference.soft_tissue / 4095).astype(np.float32)


@pytest.mark.parametrize("seed", UNSEEN_SEEDS)
def test_an_unseen_phantom_comes_nearer_to_its_boneless_twin(seed: int) -> None:
    pair = simulate_pair(seed, 1024)
    left = _rms(_fine(_suppressed(pair) - pair.soft)) / _rms(_fine(pair.cxr - pair.soft))
    assert left < MOST_LEFT


def test_a_phantom_without_bones_is_left_alone() -> None:
    pair = simulate_pair(BONELESS_SEED, 1024)
    assert np.array_equal(pair.cxr, pair.soft)
    change = _rms(_fine(_suppressed(pair) - pair.cxr))
    assert change < 0.01, "a hundredth of the grey scale is what the faintest ribs have"


def test_ribs_of_a_real_radiograph_lose_contrast(shared_data: Path) -> None:
    _, engine = _shipped()
    radiograph = read_radiograph(shared_data / "dicom" / "RG1_UNCR.dcm")
    inference = run_network(radiograph, engine, 0, 1)
    soft = (inference.soft_tissue / (2**radiograph.bits_stored - 1)).astype(np.float32)
    before, after = _rib_contrasts(radiograph.pixels), _rib_contrasts(soft)
    assert (before > 0).all(), "the marks are not on ribs"
    assert abs(float(np.median(after / before))) < 0.35  # -.19 was measured: a little too much is taken out
