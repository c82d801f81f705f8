"""The rows of the bench that need torch: the same network as the service's, and figures that are what they say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.bundle import Bundle
from model.sampler import draw_noise
from pacs_node.bench.plan import PAPER_STEPS, TorchRow, torch_rows
from pacs_node.config import Device
from pacs_node.engine.load import open_engine
from pacs_node.pipeline import predicted_bone
from tests.bundles import TINY_GRID, tiny_bundle
from tests.conftest import REPOSITORY
from tests.networks import tiny_paper_network
from training.benchmark import measure as measuring
from training.benchmark.measure import Bench, measure, torch_rates
from training.benchmark.networks import BoneNetwork, control_network, counted, paper_networks, shipped_network

SEED = 1


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """With three views, one of them moved and one mirrored."""
    made = tiny_bundle(tmp_path / "bundle")
    path = made.folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"views": 3}), encoding="utf-8")
    return made.model_copy(update={"spec": made.spec.model_copy(update={"views": 3})})


@pytest.fixture
def image() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 1, TINY_GRID, TINY_GRID)).astype(np.float32))


def noise_of(network: BoneNetwork) -> Tensor:
    return torch.from_numpy(draw_noise(SEED, network.facts.latent_shape(1), network.facts.recipe.offset_noise))


@pytest.mark.parametrize("at_once", [False, True])
def test_the_network_of_the_bench_is_that_of_the_service(bundle: Bundle, image: Tensor, at_once: bool) -> None:
    network = shipped_network(bundle.folder, at_once=at_once)
    with torch.inference_mode():
        layer = network(image, noise_of(network))[0, 0].numpy()
    engine = open_engine(bundle, Device.CPU, threads=1)
    np.testing.assert_allclose(layer, predicted_bone(image.numpy(), engine, bundle.spec.steps, SEED), atol=1e-4)


def test_half_precision_is_near_and_not_the_same(bundle: Bundle, image: Tensor) -> None:
    exact, half = (shipped_network(bundle.folder, at_once=False) for _ in range(2))
    half.halved(torch.float16)
    with torch.inference_mode():
        error = (exact(image, noise_of(exact)) - half(image, noise_of(half))).abs().max()
    assert 0 < error < 0.05  # 11 bits of mantissa through some tens of layers


def test_operations_are_counted_for_views_steps_and_both_decodes(bundle: Bundle) -> None:
    network = shipped_network(bundle.folder, at_once=False)
    latents = network.facts.latent_shape(1)
    view = counted(network.autoencoder.encode, (1, 1, TINY_GRID, TINY_GRID))
    view += 2 * counted(network.denoiser, latents, (1,), latents) + 2 * counted(network.autoencoder.decode, latents)
    assert network.flop() == 3 * view > 0


def test_the_published_step_has_the_published_number_of_operations() -> None:
    with torch.device("meta"):
        autoencoder, denoiser, grid = paper_networks()
    latents = (1, 4, grid // 8, grid // 8)
    both = counted(autoencoder.encode, (1, 1, grid, grid)) + counted(autoencoder.decode, latents)
    assert counted(denoiser, latents, (1,), latents) == pytest.approx(393e9, rel=0.01)
    assert both == pytest.approx(4608e9, rel=0.01)


def test_a_thousand_steps_are_extrapolated_and_say_so(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tiny_paper_network()
    monkeypatch.setattr(measuring, "paper_networks", lambda: (small.autoencoder, small.denoiser, TINY_GRID))
    (row,) = measure(row_named("paper"), Bench(bundle.folder, "cpu", repeat=2))
    assert row.seconds is not None
    parts = row.parts
    assert row.seconds.median == pytest.approx(parts["encode"] + PAPER_STEPS * parts["step"] + parts["decode"])
    assert row.seconds.count == 2
    assert "extrapolated" in row.note


def test_every_number_of_images_has_a_row(bundle: Bundle) -> None:
    found = measure(row_named("eager"), Bench(bundle.folder, "cpu", repeat=1, batches=(1, 2)))
    assert [(row.batch, row.missing) for row in found] == [(1, ""), (2, "")]
    assert all(row.seconds and row.peak_bytes for row in found)


def test_the_control_is_timed_at_the_size_of_the_default_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    network, grid = control_network()
    assert grid == 512
    monkeypatch.setattr(measuring, "control_network", lambda: (network, 64))
    (row,) = measure(row_named("control"), Bench(Path(), "cpu", repeat=1))
    assert row.flop == counted(network, (1, 1, 64, 64))
    assert row.seconds is not None


def test_without_a_compiler_the_row_says_so(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    (row,) = measure(row_named("compiled"), Bench(bundle.folder, "cpu", repeat=1))
    assert row.seconds is None
    assert "C++ compiler" in row.missing


@pytest.mark.parametrize("row", torch_rows("cuda"), ids=lambda row: row.key)
def test_without_a_gpu_every_row_of_one_says_so(row: TorchRow, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (found,) = measure(row, Bench(bundle.folder, "cuda", repeat=1))
    assert (found.seconds, found.missing) == (None, "torch sees no GPU")


def test_torch_has_a_rate_in_every_precision_of_its_rows() -> None:
    assert [rate.precision for rate in torch_rates("cpu", sides=(32,), repeat=1)] == ["fp32", "bf16"]


def test_it_runs_where_there_is_only_torch_numpy_and_safetensors(bundle: Bundle, tmp_path: Path) -> None:
    absent = ["pydantic", "typer", "rich", "pydicom", "onnxruntime", "onnx", "scipy", "pynetdicom", "highdicom"]
    target = tmp_path / "bench.json"
    words = ["--rows", "eager", "--bundle", str(bundle.folder), "--device", "cpu", "--threads", "1", "--repeat", "1"]
    script = (
        f"import sys\nsys.modules |= dict.fromkeys({absent!r})\n"
        "from training.benchmark.__main__ import main\n"
        f"raise SystemExit(main({[*words, '--json', str(target)]!r}))\n"
    )
    done = run(script)
    assert done.returncode == 0, done.stderr
    (row, *_) = json.loads(target.read_text(encoding="utf-8"))["comparison"]
    assert row["seconds"]["median"] > 0
    assert "same weights, torch eager" in done.stdout


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def row_named(key: str) -> TorchRow:
    (row,) = [row for row in torch_rows("cpu") if row.key == key]
    return row
