"""Diffusion, bridge and flow are trained for what their samplers ask of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.autoencoder import Autoencoder
from model.bundle import validate_spec
from model.denoiser import Denoiser
from model.process import Prediction, ProcessName
from training.diffusion import (
    add_noise,
    bundle_facts,
    diffusion_loss,
    on_own_path,
    sampling_of,
    train_diffusion,
    training_process,
    window_corners,
)
from training.latents import LatentBatch, LatentShards, form_latents
from training.pairs import PairShards
from training.preset import Preset, PresetError, load_preset
from training.stage import Run
from training.validate import bone_layers

WAYS: list[tuple[ProcessName, Prediction]] = [
    ("diffusion", "x0"),
    ("diffusion", "eps"),
    ("diffusion", "v"),
    ("flow", "x0"),
    ("flow", "v"),
    ("bridge", "x0"),
    ("bridge", "v"),
]


def way(preset: Preset, process: ProcessName, prediction: Prediction, **changes: Any) -> Preset:
    """The tiny preset with another process and prediction, checked as one that is read from a file."""
    values = preset.model_dump()
    values["diffusion"] |= {"process": process, "own_prediction_share": 0.0, **changes}
    values["denoiser"] |= {"prediction": prediction}
    return Preset.model_validate(values)


@pytest.fixture(scope="module")
def autoencoder(preset: Preset) -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(preset.autoencoder).eval().requires_grad_(False)
    with torch.no_grad():
        model.set_statistics(model.encode_raw(torch.rand(4, 1, 64, 64) * 2 - 1))
    return model


@pytest.fixture(scope="module")
def latents(
    preset: Preset, pairs: PairShards, autoencoder: Autoencoder, tmp_path_factory: pytest.TempPathFactory
) -> LatentShards:
    folder = tmp_path_factory.mktemp("latents")
    form_latents(autoencoder, pairs, folder, count=6, grid=preset.grid)
    return LatentShards(folder)


class Oracle(Denoiser):
    """Knows the truth and answers what the preset's network ought to."""

    def __init__(self, preset: Preset, truth: Tensor) -> None:
        super().__init__(preset.denoiser)
        self.process, self.truth = training_process(preset.diffusion), truth
        self.seen: list[Tensor] = []

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        self.seen.append(condition)
        alpha, beta, spread = (torch.as_tensor(scale).reshape(-1, 1, 1, 1) for scale in self.process.levels(t.numpy()))
        noise = (x_t - alpha * self.truth - beta * condition) / spread
        if self.config.prediction == "x0":
            return self.truth
        if self.config.prediction == "eps":
            return noise
        if self.process.kind == "diffusion":
            return alpha * noise - spread * self.truth
        return (x_t - self.truth) / t.reshape(-1, 1, 1, 1)


def random_batch(count: int = 8) -> LatentBatch:
    rng = torch.Generator().manual_seed(1)
    condition, soft = (torch.randn(count, 4, 8, 8, generator=rng) for _ in range(2))
    return LatentBatch(condition, soft, torch.zeros(count, 1, 64, 64))


@pytest.mark.parametrize(("process", "prediction"), WAYS)
def test_the_loss_of_the_true_answer_is_zero(
    preset: Preset, autoencoder: Autoencoder, process: ProcessName, prediction: Prediction
) -> None:
    chosen = way(preset, process, prediction, decoded=0.0, path_noise=0.5)
    batch = random_batch()
    loss, parts = diffusion_loss(
        Oracle(chosen, batch.soft), autoencoder, batch, chosen.diffusion, np.random.default_rng(2)
    )
    # float32: noise is found by dividing by sigma, x0 by dividing by alpha; smallest among 8 times are about .02
    assert float(loss) < 1e-6
    assert parts["l1"] < 1e-4
    wrong, _ = diffusion_loss(
        Oracle(chosen, batch.soft + 0.5), autoencoder, batch, chosen.diffusion, np.random.default_rng(2)
    )
    assert float(wrong) > 1e-3


@pytest.mark.parametrize("chosen_way", [("flow", "v"), ("bridge", "v"), ("diffusion", "eps")])
def test_every_process_resumes_bit_for_bit(
    preset: Preset,
    autoencoder: Autoencoder,
    latents: LatentShards,
    tmp_path: Path,
    chosen_way: tuple[ProcessName, Prediction],
) -> None:
    chosen = way(preset, *chosen_way, schedule="linear")

    def train(name: str, **limits: float) -> None:
        torch.manual_seed(1)
        run = Run(tmp_path / name, max_steps=4, seed=1, quiet=True, device="cpu", tensorboard=False)
        model = Denoiser(chosen.denoiser)
        train_diffusion(chosen, (autoencoder, model), (latents, None), replace(run, **limits), {})  # type: ignore[arg-type]

    train("whole")
    train("cut", max_minutes=0.0)
    train("cut")
    whole, cut = (load_file(tmp_path / name / "last" / "weights.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("process", ["flow", "bridge"])
def test_a_few_steps_from_the_radiograph_come_nearer_to_soft_tissue(
    preset: Preset, autoencoder: Autoencoder, latents: LatentShards, tmp_path: Path, process: ProcessName
) -> None:
    chosen = way(preset, process, "v", batch=4, eta=1.0 if process == "bridge" else 0.0, decoded=0.0)
    torch.manual_seed(0)
    model = Denoiser(chosen.denoiser)
    run = Run(tmp_path, max_steps=120, quiet=True, device="cpu", tensorboard=False)
    train_diffusion(chosen, (autoencoder, model), (latents, None), run, {})
    model.eval()
    batch = latents.batch(6, np.random.default_rng(0))
    process_ = training_process(chosen.diffusion)
    with torch.no_grad():  # one step, from the start without its noise
        level = process_.levels(np.ones(1, np.float32))
        first = model(batch.condition, torch.ones(6), batch.condition)
        found = process_.predicted_x0(first, batch.condition, level._replace(beta=1.0), "v")
    error, identity = ((one - batch.soft).abs().mean() for one in (found, batch.condition))
    assert float(error) < 0.9 * float(identity)


def test_the_sampler_of_a_preset_is_the_one_that_looks_at_real_images(preset: Preset, autoencoder: Autoencoder) -> None:
    """A network that always answers the truth is sampled to it, from a start that is the radiograph."""
    chosen = way(preset, "bridge", "v", path_noise=0.0, eta=1.0)
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    condition = autoencoder.encode(image)
    sampling = replace(sampling_of(chosen, steps=3), clipping=chosen.clipping.model_copy(update={"kind": "none"}))
    layer = bone_layers(autoencoder, Oracle(chosen, condition - 0.3), image, sampling)[0]
    wanted = (autoencoder.decode(condition) - autoencoder.decode(condition - 0.3))[0, 0] / 2
    torch.testing.assert_close(layer, wanted, atol=1e-5, rtol=0)  # float32 sums of three steps


def test_the_condition_is_the_same_in_training_and_sampling_unless_the_ablation_asks(
    preset: Preset, autoencoder: Autoencoder
) -> None:
    batch = random_batch()
    for scaled in (False, True):
        chosen = way(preset, "diffusion", "eps", decoded=0.0, scaled_condition=scaled)
        oracle, rng = Oracle(chosen, batch.soft), np.random.default_rng(3)
        diffusion_loss(oracle, autoencoder, batch, chosen.diffusion, rng)
        level = add_noise(batch.soft, batch.condition, chosen.diffusion, np.random.default_rng(3)).level
        expected = batch.condition * level.alpha if scaled else batch.condition
        assert torch.equal(oracle.seen[0], expected)
        image = torch.zeros(1, 1, 64, 64)
        bone_layers(autoencoder, oracle, image, sampling_of(chosen))
        assert torch.equal(oracle.seen[-1], autoencoder.encode(image))


@pytest.mark.parametrize("process", ["bridge", "flow"])
def test_own_guesses_of_a_bridge_or_flow_are_made_from_the_radiograph(preset: Preset, process: ProcessName) -> None:
    """An untrained denoiser guesses the condition, so that every sample lies between the radiograph and itself."""
    chosen = way(preset, process, "x0", own_prediction_share=1.0, path_noise=0.5).diffusion
    rng, batch = np.random.default_rng(0), random_batch()
    noised = add_noise(batch.soft, batch.condition, chosen, rng)
    own = on_own_path(Denoiser(preset.denoiser), noised, batch.condition, chosen, rng)
    expected = batch.condition + 0.5 * noised.level.spread * noised.noise
    torch.testing.assert_close(own.x_t, expected, atol=1e-6, rtol=0)  # float32: (1 - t) + t
    assert not torch.allclose(noised.x_t, expected)


@pytest.mark.parametrize(("process", "prediction"), WAYS)
def test_a_bundle_learns_the_way_from_the_preset(preset: Preset, process: ProcessName, prediction: Prediction) -> None:
    chosen = way(preset, process, prediction, schedule="linear", path_noise=0.7, eta=0.5)
    graphs = {"encoder": "e", "denoiser": "n", "decoder": "d"}
    files = {name: {"sha256": "0" * 64, "bytes": 0} for name in ("e", "n", "d", "weights.safetensors")}
    facts = bundle_facts(chosen) | {"name": "x", "version": "0", "prediction": prediction}
    spec = validate_spec(facts | {"graphs": graphs, "files": files})
    assert (spec.process, spec.schedule, spec.path_noise, spec.eta) == (process, "linear", 0.7, 0.5)
    assert spec.steps == chosen.diffusion.sampling_steps


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('prediction = "x0"', 'prediction = "v"', "own_prediction_share is for"),
        ("sampling_steps = 2", 'sampling_steps = 2\nprocess = "flow"\nsampler = "dpmpp_2m"', "solves a diffusion"),
        ("sampling_steps = 2", 'sampling_steps = 2\nprocess = "flow"\nscaled_condition = true', "ablation"),
        ("grid = 64", "grid = 72", "multiple of 16"),
        ("blocks = [1, 1]", "blocks = [1]", "as many numbers of blocks"),
        ("sampling_steps = 2", 'sampling_steps = 2\nprocess = "walk"', "'diffusion', 'bridge' or 'flow'"),
    ],
)
def test_a_preset_that_cannot_be_trained_as_it_is_sampled_is_refused(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    text = (Path(load_preset.__code__.co_filename).parent / "presets" / "tiny.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    with pytest.raises(PresetError, match=words):
        load_preset(tmp_path / "mine.toml")


def test_an_error_under_a_shadow_weighs_more(preset: Preset, autoencoder: Autoencoder) -> None:
    batch, mark = random_batch(), torch.zeros(8, 1, 8, 8)
    batch = replace(batch, layer=autoencoder.decode(batch.condition) - autoencoder.decode(batch.soft))
    mark[:, :, 4, 3] = 1
    wrong = batch.soft.clone()
    wrong[:, :, 4, 3] += 0.5

    def loss(mark: Tensor | None, **changes: Any) -> tuple[float, dict[str, float]]:
        chosen = way(preset, "diffusion", "x0", **changes)
        marked = replace(batch, mark=mark)
        found, parts = diffusion_loss(
            Oracle(chosen, wrong), autoencoder, marked, chosen.diffusion, np.random.default_rng(2)
        )
        return float(found), parts

    plain, _ = loss(None, decoded=0.0)
    assert loss(mark, decoded=0.0, shadow_weight=0.0)[0] == pytest.approx(plain)
    assert loss(mark, decoded=0.0, shadow_weight=7.0)[0] == pytest.approx(plain * 8 * 64 / 71)
    decoded = [loss(mark, decoded=1.0, shadow_weight=weight)[1]["decoded"] for weight in (0.0, 7.0)]
    assert decoded[1] > 1.1 * decoded[0]  # the decoded layer is wrong around the marked latent, and beyond it


def test_windows_are_drawn_around_shadows(preset: Preset, autoencoder: Autoencoder) -> None:
    """A grid of 64 latents, of which a window sees 20: most windows hold the one marked latent."""
    training = preset.diffusion.model_copy(update={"shadow_weight": 3.0})
    mark = torch.zeros(40, 1, 64, 64)
    mark[:, :, 50, 9] = 1
    batch = LatentBatch(torch.zeros(40, 4, 64, 64), torch.zeros(40, 4, 64, 64), torch.zeros(40, 1, 512, 512), mark)
    rng = np.random.default_rng(0)
    corners = window_corners(batch, 20, training, rng)
    seen = [top <= 50 < top + 20 and left <= 9 < left + 20 for top, left in corners]
    assert 18 <= sum(seen) <= 36  # 60 % and the few of the others that hit it; three standard errors
    assert all(0 <= top <= 44 and 0 <= left <= 44 for top, left in corners)
    assert len(set(window_corners(replace(batch, mark=None), 20, training, rng))) == 1  # one for the whole batch
