"""Every row of a report on a pair whose answer is known."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from model.bundle import Bundle, FusionSpec, ModelSpec
from pacs_node.engine import Engine
from pacs_node.imaging.fuse import quantised
from pacs_node.pipeline import noise_seed, run_network
from tests.unit.training.evaluate.conftest import Known
from training.baselines.registry import BASELINES
from training.baselines.rival import Rival
from training.control_network import ControlConfig, ControlNetwork
from training.evaluate.cases import Twins, open_cases
from training.evaluate.contenders import Contender, Others, contenders
from training.metrics import bsr_tone

LEVEL = 1 / 65535  # of the 16-bit pair


@pytest.fixture(scope="module")
def twins(pair_folder: Path) -> Twins:
    return open_cases(pair_folder)[2].load()


@pytest.fixture(scope="module")
def rows(bundle: Bundle, engine: Engine) -> dict[str, Contender]:
    control = ControlNetwork(ControlConfig(widths=(8, 16), blocks=(1, 1)))
    return {row.key: row for row in contenders(bundle, engine, (1, 4), Others(control))}


def test_the_rows_are_those_that_are_asked_for_and_the_bundles_own(rows: dict[str, Contender]) -> None:
    assert [key for key in rows if key.startswith("steps")] == ["steps_1", "steps_2", "steps_4"]
    assert "what ships" in rows["steps_2"].title  # the tiny bundle takes two
    assert [row.evaluations for row in rows.values() if row.kind == "bundle"] == [1, 2, 4]


def test_identity_returns_the_input_and_the_truth_the_truth(rows: dict[str, Contender], twins: Twins) -> None:
    same = rows["identity"].make("a", twins)
    assert np.abs(same.soft - twins.radiograph.pixels).max() <= LEVEL
    assert not same.layer.any()
    assert rows["truth"].make("a", twins).soft is twins.truth


def test_the_best_tone_curve_removes_no_bone(rows: dict[str, Contender], twins: Twins) -> None:
    toned = rows["tone_curve"].make("a", twins).soft
    # not exactly 0: a curve is fitted once more, with knots at quantiles of the fitted image
    assert bsr_tone(twins.radiograph.pixels, toned, twins.truth) == pytest.approx(0.0, abs=5e-3)


def test_ours_is_what_the_service_makes(
    rows: dict[str, Contender], twins: Twins, bundle: Bundle, engine: Engine
) -> None:
    output = rows["steps_4"].make("name", twins)
    served = run_network(twins.radiograph, engine, 4, noise_seed("name", bundle.digest, 4, 0))
    assert np.array_equal(np.rint(output.soft * 65535), served.soft_tissue)
    assert np.array_equal(output.layer, served.bone_layer)


def test_an_untrained_control_is_the_input(rows: dict[str, Contender], twins: Twins) -> None:
    assert np.abs(rows["control"].make("a", twins).soft - twins.radiograph.pixels).max() <= LEVEL


def test_what_the_control_finds_is_subtracted_as_the_bundles_layer(
    bundle: Bundle, engine: Engine, twins: Twins
) -> None:
    """A control that answers one tenth everywhere: half of it in units of [0, 1] of the robust range."""
    control = ControlNetwork(ControlConfig(widths=(8,), blocks=(1,)))
    torch.nn.init.constant_(control.leave.bias, 0.1)  # type: ignore[arg-type]
    row = {row.key: row for row in contenders(bundle, engine, (), Others(control))}["control"]
    pixels = twins.radiograph.pixels
    low, high = np.percentile(pixels, (0.5, 99.5))
    layer = row.make("a", twins).layer
    assert layer.mean() == pytest.approx(0.05 * (high - low), rel=0.05)  # the robust range is found on the grid
    soft = row.make("a", twins).soft
    assert np.array_equal(np.rint(soft * 65535), quantised(pixels - layer, 16))


class Halves(torch.nn.Module):
    """A rival that takes a quarter of the range from everything."""

    config = BASELINES["resnet_bs"].configs["small"]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image - 0.5


def test_a_rival_gives_its_difference_and_its_own_picture(bundle: Bundle, engine: Engine, twins: Twins) -> None:
    baseline = BASELINES["resnet_bs"]
    rival = Rival(baseline, "small", Halves(), 1, {"config": asdict(baseline.configs["small"])})
    rows = {row.key: row for row in contenders(bundle, engine, (), Others(rivals=(rival, rival)))}
    assert [key for key, row in rows.items() if row.kind == "rival"] == [
        "resnet_bs",
        "resnet_bs_plain",
        "resnet_bs_1",
        "resnet_bs_1_plain",
    ]
    pixels, taken = twins.radiograph.pixels, rows["resnet_bs"].make("a", twins)
    low, high = np.percentile(pixels, (0.5, 99.5))
    # where black is reached nothing more can be taken; elsewhere a quarter of the robust range, found on the grid
    assert float(np.median(taken.layer)) == pytest.approx(0.25 * (high - low), rel=0.05)
    assert np.array_equal(np.rint(taken.soft * 65535), quantised(pixels - taken.layer, 16))
    own = rows["resnet_bs_plain"].make("a", twins).soft
    inner = pixels > low + 0.3 * (high - low)
    assert float(np.abs(own - taken.soft)[inner].mean()) < 0.05  # the same picture, but for what is below the grid
    assert float(np.abs(own - taken.soft)[inner].max()) > LEVEL


def test_the_bounds_lose_what_their_parts_lose(twins: Twins, bundle: Bundle, spec: ModelSpec) -> None:
    """With the pair's own size as grid and an autoencoder that returns its input, all bone goes but what is clipped."""
    spec = spec.model_copy(update={"grid": 256, "fusion": FusionSpec()})
    made = {}
    for name, engine in {"exact": Known(spec), "half": Known(spec, shown=0.5)}.items():
        rows = {row.key: row for row in contenders(bundle, engine, (), Others())}
        for key in ("oracle", "oracle_whole", "oracle_fusion"):
            output = rows[key].make("a", twins).soft
            made[name, key] = bsr_tone(twins.radiograph.pixels, output, twins.truth)
    assert made["exact", "oracle_whole"] > 0.99
    # the fusion of a whole layer cuts it at 0, and the truth is brighter than the toned radiograph in places
    assert 0.7 < made["exact", "oracle"] < made["exact", "oracle_whole"]
    assert made["exact", "oracle"] == made["exact", "oracle_fusion"]
    # half of the layer comes through the autoencoder: three quarters of the energy; the curve hides a little bone
    assert made["half", "oracle_whole"] == pytest.approx(0.75, abs=0.05)
    assert made["half", "oracle_fusion"] == made["exact", "oracle_fusion"]  # this one has no autoencoder
