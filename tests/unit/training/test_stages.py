"""Both stages really train, with the tiny preset, and go on bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.denoiser import Denoiser
from training.autoencoder import AutoencoderData, Critics, autoencoder_loss, train_autoencoder
from training.checkpoint import load_autoencoder, load_denoiser, read_meta
from training.diffusion import add_noise, on_own_path, train_diffusion
from training.latents import LatentShards, form_latents
from training.loop import Outcome, Run
from training.pairs import PairShards
from training.preset import Preset, PresetError, load_preset
from training.radiographs import Radiographs
from training.validate import Sampling, bone_layers


@pytest.fixture(scope="module")
def data(pairs: PairShards, picture_folder: Path) -> AutoencoderData:
    return AutoencoderData(pairs, Radiographs(picture_folder, size=80, held_out=1))


@pytest.fixture(scope="module")
def trained(preset: Preset, data: AutoencoderData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny autoencoder."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run") / "autoencoder"
    train_autoencoder(preset, data, Run(folder, max_steps=8, quiet=True), {"pairs": len(data.pairs or [])})
    return folder


@pytest.fixture(scope="module")
def latents(preset: Preset, pairs: PairShards, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> LatentShards:
    folder = tmp_path_factory.mktemp("latents")
    form_latents(load_autoencoder(trained / "last"), pairs, folder, count=6, grid=preset.grid)
    return LatentShards(folder)


def train(preset: Preset, trained: Path, latents: LatentShards, run: Run) -> Outcome:
    torch.manual_seed(run.seed)
    return train_diffusion(
        preset, (load_autoencoder(trained / "last"), Denoiser(preset.denoiser)), (latents, None), run, {}
    )


def test_the_autoencoder_learns_and_says_what_on(preset: Preset, data: AutoencoderData, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    training = preset.autoencoder_training
    images, count = data.batch(training.model_copy(update={"batch": 6}), np.random.default_rng(5))
    losses = []
    for steps in (1, 40):
        train_autoencoder(preset, data, Run(tmp_path, steps, quiet=True), {"source": "test"})
        model = load_autoencoder(tmp_path / "last")
        losses.append(float(autoencoder_loss(model, images, count, Critics(training), np.random.default_rng(0))[0]))
    assert losses[1] < 0.7 * losses[0]
    assert read_meta(tmp_path / "last")["provenance"] == {"source": "test"}


def test_saved_latents_are_standardised(preset: Preset, trained: Path, data: AutoencoderData) -> None:
    model = load_autoencoder(trained / "last")
    assert data.radiographs is not None
    image = data.radiographs.draw(np.random.default_rng(0))[None, None]
    latents = model.encode(image)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.5)  # one image of the sample the statistics are from
    assert float(model.latent_std.min()) > 0


def test_a_batch_has_pairs_first_and_twins_in_the_same_frame(preset: Preset, pairs: PairShards) -> None:
    images, count = AutoencoderData(pairs, None).batch(preset.autoencoder_training, np.random.default_rng(0))
    assert (images.shape, count) == ((2, 1, 64, 64), 1)
    difference = images[0] - images[1]
    assert float(difference.max()) > 0.02  # the bones
    assert float(difference.min()) > -0.02  # and nothing brighter in the twin: same frame, same curve


def test_diffusion_resumes_bit_for_bit(preset: Preset, trained: Path, latents: LatentShards, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    train(preset, trained, latents, Run(tmp_path / "whole", 6, seed=1, quiet=True))
    first = train(preset, trained, latents, Run(tmp_path / "cut", 6, max_minutes=0.0, seed=1, quiet=True))
    assert (first.ending, first.step) == ("out of time", 1)
    train(preset, trained, latents, Run(tmp_path / "cut", 6, seed=1, quiet=True))
    whole, cut = (load_file(tmp_path / name / "last" / "weights.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


def test_training_moves_the_bone_layer_towards_the_bones(
    preset: Preset, trained: Path, latents: LatentShards, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    longer = preset.model_copy(update={"diffusion": preset.diffusion.model_copy(update={"batch": 4})})
    train(longer, trained, latents, Run(tmp_path, 150, quiet=True))
    meta = read_meta(tmp_path / "last")
    assert meta["provenance"]["bundle"]["grid"] == preset.grid
    batch = latents.batch(6, np.random.default_rng(0))
    denoiser = load_denoiser(tmp_path / "last")
    noised = add_noise(batch.soft, batch.condition, longer.diffusion, np.random.default_rng(1))
    error = (denoiser(noised.x_t, noised.t, batch.condition) - batch.soft).abs().mean()
    identity = (batch.condition - batch.soft).abs().mean()
    assert float(error) < 0.9 * float(identity)


def test_an_untrained_denoiser_leaves_no_bone_layer(preset: Preset, trained: Path) -> None:
    images = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wide = preset.clipping.model_copy(update={"kind": "none"})
    layers = bone_layers(load_autoencoder(trained / "last"), Denoiser(preset.denoiser), images, Sampling(2, wide))
    assert float(layers.abs().max()) == pytest.approx(0.0, abs=1e-5)  # float32: latents minus themselves


def test_half_of_the_times_are_near_noise(preset: Preset) -> None:
    clean = torch.zeros(4000, 1, 1, 1)
    noised = add_noise(clean, clean, preset.diffusion, np.random.default_rng(0))
    # half drawn from [.9, 1], a tenth of the other half lands there too: .55, three standard errors of .024
    assert float((noised.t >= 0.9).float().mean()) == pytest.approx(0.55, abs=0.03)


def test_latents_are_formed_once(preset: Preset, pairs: PairShards, trained: Path, tmp_path: Path) -> None:
    model = load_autoencoder(trained / "last")
    assert form_latents(model, pairs, tmp_path, count=3, grid=64) == 3
    assert form_latents(model, pairs, tmp_path, count=3, grid=64) == 0
    batch = LatentShards(tmp_path).batch(2, np.random.default_rng(0))
    assert (batch.condition.shape, batch.layer.shape) == ((2, 4, 8, 8), (2, 1, 64, 64))


def test_shadows_come_with_their_mark_for_each_latent(
    preset: Preset, pairs: PairShards, trained: Path, tmp_path: Path
) -> None:
    form_latents(load_autoencoder(trained / "last"), pairs, tmp_path, count=6, grid=64, shadows=True)
    batch = LatentShards(tmp_path).batch(6, np.random.default_rng(0))
    assert batch.mark is not None
    assert batch.mark.shape == (6, 1, 8, 8)
    assert float(batch.mark.max()) > 0.3  # 6 framings with shadows in 90 %
    moved = batch.to(torch.device("cpu"))
    assert moved.mark is not None
    assert torch.equal(moved.mark, batch.mark)


def test_pairs_come_back_from_their_shards(pairs: PairShards) -> None:
    assert len(pairs) == 6
    cxr, soft = pairs[5]  # the second shard
    assert cxr.shape == (64, 64)
    assert float((cxr - soft).min()) >= -4 / 65535  # two roundings to 16 bit, over a range of 2
    assert float((cxr - soft).max()) == pytest.approx(0.3, abs=1e-3)


def test_shipped_presets_are_valid_and_a_wrong_key_is_named(tmp_path: Path) -> None:
    assert {name: load_preset(name).name for name in ("default", "tiny", "paper")}.keys() == {
        "default",
        "tiny",
        "paper",
    }
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('nmae = "x"\n')
    with pytest.raises(PresetError, match="nmae"):
        load_preset(wrong)
    with pytest.raises(PresetError, match="default, paper, tiny"):
        load_preset("unheard-of")


def test_samples_on_their_own_path_start_from_the_first_guess(preset: Preset) -> None:
    """An untrained denoiser guesses the condition, so that is what must be noised, with the same noise and time."""
    always = preset.diffusion.model_copy(update={"own_prediction_share": 1.0})
    rng = np.random.default_rng(0)
    truth, condition = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    noised = add_noise(truth, condition, always, rng)
    own = on_own_path(Denoiser(preset.denoiser), noised, condition, always, rng)
    torch.testing.assert_close(own.x_t, noised.level.alpha * condition + noised.level.spread * noised.noise)
    never = on_own_path(
        Denoiser(preset.denoiser), noised, condition, always.model_copy(update={"own_prediction_share": 0.0}), rng
    )
    assert torch.equal(never.x_t, noised.level.alpha * truth + noised.level.spread * noised.noise)
