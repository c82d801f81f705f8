"""The refiner: starts as nothing, learns from what the frozen networks sampled, and knows whose layers those were."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from export.checkpoint import export_bundle
from model.refiner import Refiner
from pacs_node.cli import main
from pacs_node.errors import ConfigError
from training.checkpoint import CheckpointError, load_denoiser, load_refiner, read_meta, require_sizes, save_weights
from training.coarse import CoarseBatch, CoarseShards, Sampler, form_coarse
from training.diffusion import sampling_of
from training.loop import Run
from training.pairs import PairShards
from training.perceptual import load_perceptual
from training.preset import Preset, PresetError, RefinerTraining, load_preset
from training.refinement import RefinerData, refined_layers, refinement_loss, train_refiner
from training.run import Amounts, Sources, StageName, stages_of, train

AMOUNTS = Amounts(latents=3)


@pytest.fixture(scope="module")
def trained(pairs: PairShards, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an autoencoder, a denoiser and a refiner of two steps; tests change copies of it alone."""
    torch.set_num_threads(1)
    run, sources = tmp_path_factory.mktemp("run"), Sources(pairs=(pairs.folder,))
    stages: tuple[StageName, ...] = ("autoencoder", "diffusion", "refiner")
    train(load_preset("tiny"), run, stages, sources=sources, amounts=AMOUNTS, max_steps=2, quiet=True)
    return run


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copied"))


def _go_on(run: Path, pairs: PairShards, steps: int) -> None:
    """Ask for the refiner alone."""
    sources = Sources(pairs=(pairs.folder,))
    train(load_preset("tiny"), run, ("refiner",), sources=sources, amounts=AMOUNTS, max_steps=steps, quiet=True)


def test_an_untrained_refiner_returns_the_layer_as_it_came(preset: Preset) -> None:
    assert preset.refiner is not None
    images, coarse = torch.rand(2, 2, 1, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert np.array_equal(refined_layers(Refiner(preset.refiner), images, coarse), coarse[:, 0].numpy() / 2)


def test_the_perceptual_part_is_nothing_for_the_true_layer_and_something_for_an_empty_one(preset: Preset) -> None:
    assert preset.refiner is not None
    rng = torch.Generator().manual_seed(0)
    cxr = torch.rand(1, 1, 64, 64, generator=rng) * 2 - 1
    layer = torch.zeros_like(cxr)
    layer[..., 20:30, :] = 0.5
    network, distance = Refiner(preset.refiner), load_perceptual()
    parts = [
        refinement_loss(network, CoarseBatch(cxr, layer, coarse), preset.refiner_training, distance)[1]["perceptual"]
        for coarse in (layer, torch.zeros_like(layer))
    ]
    assert parts[0] < 1e-4  # the untrained refiner adds exact zeros
    assert parts[1] > 0.01


def test_the_perceptual_part_is_taken_in_its_window_alone(preset: Preset) -> None:
    assert preset.refiner is not None
    rng = torch.Generator().manual_seed(0)
    cxr = torch.rand(1, 1, 64, 64, generator=rng) * 2 - 1
    layer = torch.zeros_like(cxr)
    layer[..., :20, :] = 0.5
    batch, network, distance = (
        CoarseBatch(cxr, layer, torch.zeros_like(layer)),
        Refiner(preset.refiner),
        load_perceptual(),
    )
    above, below = (
        refinement_loss(network, batch, preset.refiner_training, distance, (rows, slice(32, 64)))[1]["perceptual"]
        for rows in (slice(0, 32), slice(32, 64))
    )
    assert above > 0.01
    assert below < 1e-4


def test_the_energy_is_that_of_the_error_over_that_of_the_layer(preset: Preset) -> None:
    assert preset.refiner is not None
    layer = torch.zeros(1, 1, 32, 32)
    layer[..., ::2, :] = 0.4
    batch = CoarseBatch(torch.zeros_like(layer), layer, 0.5 * layer)
    _, parts = refinement_loss(Refiner(preset.refiner), batch, preset.refiner_training)
    floor = 0.03**2 / 0.08  # of the mean square of the layer
    assert parts["energy"] == pytest.approx(0.25 / (1 + floor), rel=1e-4)
    assert parts["identity_energy"] == parts["energy"]
    assert parts["edge_energy"] == pytest.approx(0.25 / (1 + floor), rel=0.05)  # stripes
    marked = replace(batch, mark=(torch.arange(32) < 8)[:, None].float().expand_as(layer))
    doubled = preset.refiner_training.model_copy(update={"shadow_weight": 7.0})
    wrong = replace(marked, coarse=batch.coarse + 0.4 * marked.mark)  # type: ignore[operator]
    ratio = [
        refinement_loss(Refiner(preset.refiner), wrong, each)[1]["energy"]
        for each in (preset.refiner_training, doubled)
    ]
    assert ratio[1] > 1.8 * ratio[0]


def test_the_layers_are_sampled_once_from_every_framing(trained: Path, copied: Path, pairs: PairShards) -> None:
    shards = CoarseShards(trained / "coarse")
    assert len(shards) == AMOUNTS.latents
    batch = shards.batch(3, 64, np.random.default_rng(0))
    assert float(batch.layer.max()) > 0.05  # the stripes of bone
    assert float(batch.coarse.abs().max()) > 0  # a denoiser of two steps changes something
    assert float((batch.layer - batch.coarse).abs().mean()) > 0.001  # and is not the truth
    before = (copied / "coarse" / "0000.npy").stat().st_mtime_ns
    _go_on(copied, pairs, 3)
    assert (copied / "coarse" / "0000.npy").stat().st_mtime_ns == before


def test_a_crop_shows_one_frame_of_all_three_images(tmp_path: Path) -> None:
    ramp = np.arange(32 * 32, dtype=np.float16).reshape(32, 32)  # below 2048 every whole number is a float16
    np.save(tmp_path / "0000.npy", np.stack([ramp, ramp + 1, ramp - 1])[None])
    batch = CoarseShards(tmp_path).batch(8, 16, np.random.default_rng(0))
    assert batch.cxr.shape == (8, 1, 16, 16)
    assert torch.equal(batch.layer, batch.cxr + 1)
    assert torch.equal(batch.coarse, batch.cxr - 1)
    assert set(batch.cxr.diff(dim=-1).flatten().tolist()) == {-1.0, 1.0}  # some are mirrored, some are not
    assert len(set(batch.cxr.amin(dim=(1, 2, 3)).tolist())) > 2  # from several places


def test_the_mark_of_shadows_comes_with_the_framing_and_weighs(
    preset: Preset, trained: Path, pairs: PairShards, tmp_path: Path
) -> None:
    sampler = Sampler.of(trained, sampling_of(preset), torch.device("cpu"))
    form_coarse(sampler, pairs, tmp_path, count=3, grid=64, shadows=True)
    batch = CoarseShards(tmp_path).batch(3, 64, np.random.default_rng(0))
    assert batch.mark is not None
    assert batch.mark.shape == batch.cxr.shape
    assert float(batch.mark.max()) > 0.3
    model = load_refiner(trained / "refiner" / "last")
    losses = []
    for weight in (0.0, 5.0):
        chosen = preset.refiner_training.model_copy(update={"shadow_weight": weight})
        wrong = replace(batch, layer=batch.layer + 0.3 * batch.mark)  # what it leaves out lies where the mark is
        losses.append(refinement_loss(model, wrong, chosen)[1]["l1"])
    assert losses[1] > losses[0]


def test_a_shadow_that_the_sample_took_for_bone_is_told_without_a_true_layer(
    preset: Preset, trained: Path, pairs: PairShards, tmp_path: Path
) -> None:
    sampler = Sampler.of(trained, sampling_of(preset), torch.device("cpu"))
    form_coarse(sampler, pairs, tmp_path, count=3, grid=64, shadows=True, plain=True)
    batch = CoarseShards(tmp_path).batch(3, 64, np.random.default_rng(0))
    assert batch.plain is not None
    assert batch.plain_coarse is not None
    assert batch.mark is not None
    assert preset.refiner is not None
    shadows = batch.cxr - batch.plain
    marked = [float(shadows[where].abs().mean()) for where in (batch.mark > 0.3, batch.mark == 0)]
    assert marked[0] > 0.02
    assert marked[1] < 0.1 * marked[0]
    chosen, untrained = preset.refiner_training.model_copy(update={"steady": 1.0}), Refiner(preset.refiner)
    taken = [
        refinement_loss(untrained, replace(batch, coarse=batch.plain_coarse + share * shadows), chosen)[1]["steady"]
        for share in (0.0, 0.1, 0.2)
    ]
    assert taken[0] == 0
    assert taken[2] == pytest.approx(4 * taken[1], rel=1e-3)  # an energy
    assert 0.0001 < taken[1] < 0.01  # of a tenth of a shadow, less where it fades


def test_framings_of_other_planes_do_not_meet_in_one_batch(tmp_path: Path) -> None:
    for number, planes in enumerate((3, 6)):
        np.save(tmp_path / f"{number:04d}.npy", np.full((4, planes, 8, 8), planes, np.float16))
    shards, rng = CoarseShards(tmp_path), np.random.default_rng(0)
    batches = [shards.batch(4, 8, rng) for _ in range(20)]
    assert {float(batch.cxr.max()) for batch in batches} == {3.0, 6.0}
    assert all((batch.plain is None) == (float(batch.cxr.min()) == 3.0) for batch in batches)


def test_steadiness_is_not_left_out_silently_where_no_framing_was_kept_without_shadows(
    preset: Preset, trained: Path, tmp_path: Path
) -> None:
    steady = preset.refiner_training.model_copy(update={"steady": 1.0})
    asked = preset.model_copy(update={"refiner_training": steady})
    with pytest.raises(PresetError, match="remove coarse/"):
        train_refiner(asked, RefinerData(CoarseShards(trained / "coarse")), Run(tmp_path, 1, quiet=True), {})


def test_the_log_compares_like_with_like(preset: Preset) -> None:
    assert preset.refiner is not None
    rng = torch.Generator().manual_seed(0)
    cxr, layer, coarse, mark = torch.rand(4, 2, 1, 32, 32, generator=rng)
    weighty = preset.refiner_training.model_copy(update={"shadow_weight": 9.0})
    _, parts = refinement_loss(Refiner(preset.refiner), CoarseBatch(cxr, layer, coarse, mark), weighty)
    for name in ("l1", "gradient", "energy"):  # untrained, it is the identity
        assert parts[f"identity_{name}"] == pytest.approx(parts[name], rel=1e-5)


def test_steadiness_asks_for_shadows(preset: Preset) -> None:
    with pytest.raises(ValueError, match="set shadows = true"):
        Preset.model_validate(preset.model_dump() | {"shadows": False, "refiner_training": {"steady": 1.0}})


def test_a_few_steps_lower_the_loss_of_a_fixed_batch(preset: Preset, trained: Path, tmp_path: Path) -> None:
    shards = CoarseShards(trained / "coarse")
    fixed = shards.batch(3, 64, np.random.default_rng(5))
    schedule = preset.refiner_training.model_copy(update={"learning_rate": 4e-3, "final_learning_rate": 4e-3})
    quick = preset.model_copy(update={"refiner_training": schedule})
    outcome = train_refiner(quick, RefinerData(shards), Run(tmp_path, 40, quiet=True), {"from": "a test"})
    assert (outcome.ending, outcome.step) == ("finished", 40)
    _, parts = refinement_loss(load_refiner(tmp_path / "last"), fixed, schedule)
    assert parts["l1"] < 0.9 * parts["identity_l1"]  # .9: learnt something, in 40 steps
    assert read_meta(tmp_path / "last")["provenance"]["from"] == "a test"


def test_a_refiner_resumes_bit_for_bit(preset: Preset, trained: Path, tmp_path: Path) -> None:
    windowed = preset.refiner_training.model_copy(update={"perceptual": 0.3, "perceptual_crop": 32, "crop": 64})
    preset = preset.model_copy(update={"refiner_training": windowed})
    data = RefinerData(CoarseShards(trained / "coarse"))
    train_refiner(preset, data, Run(tmp_path / "whole", 5, seed=1, quiet=True), {})
    first = train_refiner(preset, data, Run(tmp_path / "cut", 5, max_minutes=0.0, seed=1, quiet=True), {})
    assert (first.ending, first.step) == ("out of time", 1)
    train_refiner(preset, data, Run(tmp_path / "cut", 5, seed=1, quiet=True), {})
    whole, cut = (load_file(tmp_path / name / "last" / "state.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


def test_layers_of_another_denoiser_are_refused(copied: Path, pairs: PairShards) -> None:
    last = copied / "diffusion" / "last"
    denoiser, meta = load_denoiser(last), read_meta(last)
    next(denoiser.parameters()).add_(0.01)
    save_weights(last, denoiser, meta)
    with pytest.raises(CheckpointError, match=r"coarse is from before the denoiser was trained on: remove it"):
        _go_on(copied, pairs, 3)
    shutil.rmtree(copied / "coarse")
    _go_on(copied, pairs, 3)
    assert read_meta(copied / "refiner" / "last")["step"] == 3


def test_a_denoiser_of_another_autoencoder_gives_no_layers(copied: Path, pairs: PairShards) -> None:
    last = copied / "diffusion" / "last"
    meta = read_meta(last)
    meta["provenance"]["autoencoder_sha256"] = "0" * 64
    save_weights(last, load_denoiser(last), meta)
    with pytest.raises(CheckpointError, match="was trained on another autoencoder"):
        _go_on(copied, pairs, 3)


def test_real_pairs_choose_the_best_refiner(preset: Preset, trained: Path, pairs: PairShards, tmp_path: Path) -> None:
    looked_at, run = tmp_path / "real", tmp_path / "run"
    looked_at.mkdir()
    for index in range(2):
        for name, image in zip(("cxr", "soft"), pairs[index], strict=True):
            grey = ((image + 1) * 127.5).round().to(torch.uint8).numpy()
            Image.fromarray(grey).resize((256, 256)).save(looked_at / f"{index}_{name}.png")
    looking = preset.model_copy(
        update={"refiner_training": preset.refiner_training.model_copy(update={"validate_every": 2})}
    )
    sources = Sources(real_pairs=looked_at, pairs=(pairs.folder,))
    limits = {"max_steps": 2, "quiet": True, "earlier": trained}
    (outcome,) = train(looking, run, ("refiner",), sources=sources, amounts=AMOUNTS, **limits)
    assert outcome.ending == "finished"
    assert np.isfinite(read_meta(run / "refiner" / "best")["scores"]["score"])
    assert [path.name for path in (run / "refiner" / "sheets").iterdir()] == ["step-0000002.png"]


def test_a_refiner_takes_over_both_networks_of_an_earlier_run(trained: Path, pairs: PairShards, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(trained, alone, ignore=shutil.ignore_patterns("refiner", "coarse"))
    for earlier, started_from in ((alone, None), (trained, "refiner, 2 steps")):
        run = tmp_path / f"from-{earlier.name}"
        sources, limits = Sources(pairs=(pairs.folder,)), {"max_steps": 1, "quiet": True, "earlier": earlier}
        train(load_preset("tiny"), run, ("refiner",), sources=sources, amounts=AMOUNTS, **limits)
        meta = read_meta(run / "refiner" / "last")
        assert meta["provenance"].get("started_from") == started_from
        for stage in ("autoencoder", "diffusion"):
            one, other = (load_file(folder / stage / "last" / "weights.safetensors") for folder in (run, earlier))
            assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_checkpoint_of_another_refiner_is_not_gone_on_with(preset: Preset, trained: Path) -> None:
    assert preset.refiner is not None
    require_sizes(trained / "refiner" / "last", preset.refiner)
    other = load_preset("default").refiner
    assert other is not None
    with pytest.raises(CheckpointError, match="of another network, preset tiny"):
        require_sizes(trained / "refiner" / "last", other)


def test_a_preset_without_a_refiner_has_no_such_stage(preset: Preset, tmp_path: Path) -> None:
    without = preset.model_copy(update={"refiner": None})
    assert stages_of(without) == ("autoencoder", "diffusion", "control")
    assert stages_of(preset) == ("autoencoder", "diffusion", "refiner", "control")
    with pytest.raises(PresetError, match=r"the preset tiny has no refiner: add \[refiner\]"):
        train(without, tmp_path / "run", ("refiner",))
    assert not (tmp_path / "run").exists()  # said before anything is simulated


def test_a_crop_that_the_refiner_cannot_halve_is_refused(preset: Preset) -> None:
    odd = preset.model_dump() | {"refiner_training": RefinerTraining(crop=36).model_dump()}
    with pytest.raises(ValueError, match="crop 36 have to be multiples of 8"):
        Preset.model_validate(odd)


def test_the_command_trains_the_stage(copied: Path, pairs: PairShards, capsys: pytest.CaptureFixture[str]) -> None:
    order = ["train", "refiner", "-o", str(copied), "--preset", "tiny", "--data", str(pairs.folder)]
    assert main([*order, "--framings", "3", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["stage"], told["ending"], told["step"]) == ("refiner", "finished", 8)
    assert set(read_meta(copied / "refiner" / "last")["provenance"]) >= {"autoencoder_sha256", "denoiser_sha256"}


@pytest.mark.parametrize(("network", "refused"), [("autoencoder", True), ("denoiser", False)])
def test_the_export_sees_whose_layers_the_refiner_learned_from(
    copied: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, network: str, refused: bool
) -> None:
    for meta in (copied / "refiner").glob("*/meta.json"):
        told = json.loads(meta.read_text())
        told["provenance"][f"{network}_sha256"] = "0" * 64
        meta.write_text(json.dumps(told))
    if refused:
        with pytest.raises(ConfigError, match=r"another autoencoder: remove .*coarse"):
            export_bundle(copied, tmp_path / "bundle")
    else:
        assert "refiner" in export_bundle(copied, tmp_path / "bundle").spec.graphs
        assert "an earlier denoiser" in caplog.text
