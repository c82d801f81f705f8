"""A cell is sampled as a training looks at its network, and scored even where nothing is left of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.autoencoder import Autoencoder
from model.denoiser import Denoiser
from training.ablate.data import HeldOut, given
from training.ablate.measure import Bench
from training.ablate.plan import Cell, Values
from training.ablate.run import quick
from training.diffusion import sampling_of
from training.evaluate.scores import Judge, Reference
from training.preset import Preset
from training.validate import bone_layers

Networks = tuple[Autoencoder, Denoiser]


@pytest.fixture
def preset(ablation: Preset) -> Preset:
    return quick(ablation)


@pytest.fixture
def tested(simulated_folder: Path, tmp_path: Path) -> tuple[HeldOut, ...]:
    return given(simulated_folder, tmp_path, 3, 64).tested


@pytest.fixture
def networks(preset: Preset) -> Networks:
    torch.manual_seed(0)
    denoiser = Denoiser(preset.denoiser)
    torch.nn.init.normal_(denoiser.out.weight, std=0.05)  # a new one predicts 0 everywhere
    pair = Autoencoder(preset.autoencoder), denoiser
    for network in pair:
        network.eval().requires_grad_(False)
    return pair


def psnrs(bench: Bench, networks: Networks, cell: Cell, preset: Preset, seed: int) -> list[float]:
    return [row["psnr"] for row in bench.measure(networks, cell, preset, seed).scores]


class Broken(Denoiser):
    """Its output is no number."""

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return super().forward(x_t, t, condition) * torch.nan


def test_a_cell_is_what_a_training_sees_of_its_network(
    preset: Preset, networks: Networks, tested: tuple[HeldOut, ...]
) -> None:
    values = Values.of(preset, quick=True)
    cell = Cell(values.base, values.way())
    got = Bench(tested[:1], Judge(None)).measure(networks, cell, preset, 0).scores[0]
    image = torch.from_numpy(tested[0].cxr)[None, None] * 2 - 1
    layer = bone_layers(*networks, image, sampling_of(preset))[0].numpy()
    output = np.clip(tested[0].cxr - np.maximum(layer, 0), 0, 1)
    wanted = Judge(None).scores(Reference(tested[0].cxr, tested[0].soft), output)
    assert got["psnr"] == pytest.approx(wanted["psnr"], abs=1e-4)
    assert got["bsr_tone"] == pytest.approx(wanted["bsr_tone"], abs=1e-4)


def test_noise_is_the_same_in_every_cell_of_a_seed(
    preset: Preset, networks: Networks, tested: tuple[HeldOut, ...]
) -> None:
    values = Values.of(preset, quick=True)
    bench, cell = Bench(tested, Judge(None)), Cell(values.base, values.way())
    first, again, other = (psnrs(bench, networks, cell, preset, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    wide = Cell(values.base, replace(values.way(), omega=1e9, b=1e9))  # a bound that nothing reaches
    free = Cell(values.base, values.way("none"))
    assert psnrs(bench, networks, wide, preset, 0) == psnrs(bench, networks, free, preset, 0) != first


def test_samples_that_are_no_numbers_have_no_figures(preset: Preset, tested: tuple[HeldOut, ...]) -> None:
    values = Values.of(preset, quick=True)
    networks = Autoencoder(preset.autoencoder).eval(), Broken(preset.denoiser).eval()
    for kind in ("none", "static", "dynamic_thresholding", "dynamic_clipping"):
        found = Bench(tested, Judge(None)).measure(networks, Cell(values.base, values.way(kind)), preset, 0)
        assert len(found.scores) == len(tested)
        assert all(np.isnan(list(row.values())).all() for row in found.scores)


def test_the_input_returned_is_worth_nothing_and_the_tone_curve_no_bone(tested: tuple[HeldOut, ...]) -> None:
    rows = Bench(tested, Judge(None)).without_network()
    assert [row["bsr_strict"] for row in rows["identity"]] == [0.0] * len(tested)
    assert [row["bsr_tone"] for row in rows["tone"]] == pytest.approx([0.0] * len(tested), abs=0.01)
