"""The loop: averages, exact resume, a clean stop, no checkpoint from a broken step."""

import json
import os
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from model.autoencoder import Autoencoder, AutoencoderConfig
from model.denoiser import DenoiserConfig
from training.checkpoint import CheckpointError, load_autoencoder, load_state, read_meta, save_weights
from training.loop import Run, Stage, TrainingError, learning_rate, run_stage, update_average
from training.preset import Preset


def stage(preset: Preset, fail_at: int = -1, stop_at: int = -1) -> Stage:
    """A regression whose data come from the generator; on request it breaks, or asks itself to stop."""
    torch.manual_seed(0)
    calls = {"step": -1}

    def loss(model: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        calls["step"] += 1
        if calls["step"] == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        x = torch.from_numpy(rng.standard_normal((4, 3), dtype=np.float32))
        error = (model(x) - x.sum(dim=1, keepdim=True)).pow(2).mean()
        return (error * float("nan") if calls["step"] == fail_at else error), {"error": float(error.detach())}

    return Stage("regression", nn.Linear(3, 1), DenoiserConfig(), preset.diffusion, loss)


def run(folder: Path, steps: int, *, resume: bool = True) -> Run:
    return Run(folder, max_steps=steps, seed=3, resume=resume, quiet=True, tensorboard=False)


def files(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "last" / "weights.safetensors") | load_file(folder / "last" / "state.safetensors")


def test_a_training_that_was_cut_in_two_is_bit_equal_to_one_that_was_not(preset: Preset, tmp_path: Path) -> None:
    """Same schedule (max_steps 12) in both: the first half is stopped by a signal, as on a terminal."""
    run_stage(stage(preset), run(tmp_path / "whole", 12))
    first = run_stage(stage(preset, stop_at=4), run(tmp_path / "cut", 12))
    assert (first.ending, first.step) == ("stopped", 5)
    second = run_stage(stage(preset), run(tmp_path / "cut", 12))
    assert (second.ending, second.step) == ("finished", 12)
    whole, cut = files(tmp_path / "whole"), files(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    different = [name for name, tensor in whole.items() if not torch.equal(tensor, cut[name])]
    assert not different
    states = [load_state(tmp_path / name / "last") for name in ("whole", "cut")]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].header["generator"] == states[1].header["generator"]


def test_a_stop_signal_saves_the_step_it_happened_in_and_the_handler_is_put_back(
    preset: Preset, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_stage(stage(preset, stop_at=2), run(tmp_path, 50))
    assert read_meta(tmp_path / "last")["step"] == 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_loss_that_is_no_number_ends_the_training_before_it_reaches_a_checkpoint(
    preset: Preset, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="not finite at step 6: loss") as told:
        run_stage(stage(preset, fail_at=6), run(tmp_path, 12))
    assert "the checkpoint of 4 is kept; try a lower learning_rate" in str(told.value)
    assert read_meta(tmp_path / "last")["step"] == 4  # save_every of the preset
    assert all(bool(torch.isfinite(tensor).all()) for tensor in files(tmp_path).values() if tensor.is_floating_point())


def test_starting_over_ignores_the_checkpoint(preset: Preset, tmp_path: Path) -> None:
    run_stage(stage(preset), run(tmp_path, 8))
    again = run_stage(stage(preset), run(tmp_path, 4, resume=False))
    assert again.step == 4


def test_a_time_limit_ends_after_the_step_in_hand(preset: Preset, tmp_path: Path) -> None:
    outcome = run_stage(stage(preset), replace(run(tmp_path, 10**6), max_minutes=0.0))
    assert (outcome.ending, outcome.step) == ("out of time", 1)


def test_a_budget_of_processor_time_counts_all_runs_of_a_training_together(preset: Preset, tmp_path: Path) -> None:
    """What is spent is kept in the checkpoint: a second run under the same budget takes no step more."""
    budget = replace(run(tmp_path, 10**6), max_cpu_minutes=0.02)
    first = run_stage(stage(preset), budget)
    assert first.ending == "out of time"
    assert first.cpu_seconds > 1.2  # seconds: .02 minutes
    again = run_stage(stage(preset), budget)
    assert (again.ending, again.step, again.cpu_seconds) == ("out of time", first.step, first.cpu_seconds)
    assert read_meta(tmp_path / "last")["cpu_seconds"] == round(first.cpu_seconds, 1)
    more = run_stage(stage(preset), replace(budget, max_steps=first.step + 2, max_cpu_minutes=10))
    assert (more.ending, more.step) == ("finished", first.step + 2)
    assert more.cpu_seconds > first.cpu_seconds


def test_the_clock_does_not_count_as_processor_time(preset: Preset, tmp_path: Path) -> None:
    def idle(model: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        time.sleep(0.05)
        return (model(torch.ones(1, 3)) - rng.random()).pow(2).mean(), {}

    outcome = run_stage(replace(stage(preset), loss=idle), replace(run(tmp_path, 10), max_cpu_minutes=1.0))
    assert outcome.ending == "finished"
    assert outcome.seconds >= 0.5
    assert outcome.cpu_seconds < outcome.seconds


def test_the_learning_rate_falls_with_a_budget_that_ends_before_the_steps(preset: Preset) -> None:
    optimisation = preset.diffusion
    whole, late = (learning_rate(optimisation, 500, 10**6, spent) for spent in (0.0, 1.0))
    assert late == pytest.approx(optimisation.final_learning_rate)
    assert learning_rate(optimisation, 500, 10**6, 0.5) == pytest.approx((whole + late) / 2, rel=1e-3)
    assert learning_rate(optimisation, 500, 1000, 0.2) == learning_rate(optimisation, 500, 1000)


def test_a_damaged_state_is_said_and_not_trained_over(preset: Preset, tmp_path: Path) -> None:
    run_stage(stage(preset), run(tmp_path, 4))
    (tmp_path / "last" / "state.safetensors").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="damaged: bring back a copy, or start over with --restart"):
        run_stage(stage(preset), run(tmp_path, 8))


@pytest.mark.parametrize("told", ["{}", "[]", "null"])
def test_a_description_of_nothing_is_said(told: str, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(told)
    with pytest.raises(CheckpointError, match=r"meta\.json describes no checkpoint: train that stage again"):
        read_meta(tmp_path)


def test_cut_weights_are_said(tmp_path: Path) -> None:
    network = Autoencoder(AutoencoderConfig())
    save_weights(tmp_path, network, {"step": 1, "config": asdict(network.config)})
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"the weights in .* do not fit"):
        load_autoencoder(tmp_path)


def test_the_saved_weights_are_the_averaged_ones(preset: Preset, tmp_path: Path) -> None:
    run_stage(stage(preset), run(tmp_path, 8))
    weights, state = load_file(tmp_path / "last/weights.safetensors"), load_file(tmp_path / "last/state.safetensors")
    assert torch.equal(weights["weight"], state["average.weight"])
    assert not torch.equal(weights["weight"], state["model.weight"])


def test_the_best_is_kept_when_later_ones_are_worse(preset: Preset, tmp_path: Path) -> None:
    scores = {2: 0.3, 4: 0.7, 6: 0.1}
    watched = replace(
        stage(preset),
        optimisation=preset.diffusion.model_copy(update={"validate_every": 2}),
        validate=lambda _model, step: {"score": scores[step]},
    )
    run_stage(watched, run(tmp_path, 6))
    assert read_meta(tmp_path / "best")["step"] == 4
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["score"] for line in lines if line["kind"] == "validation"] == [0.3, 0.7, 0.1]


def test_the_average_follows_with_its_decay_and_forgets_the_start() -> None:
    old, new = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    for layer, value in ((old, 0.0), (new, 1.0)):
        nn.init.constant_(layer.weight, value)
    update_average(old, new, decay=0.9, step=10**6)
    assert old.weight.item() == pytest.approx(0.1, abs=1e-6)
    nn.init.constant_(old.weight, 0.0)
    update_average(old, new, decay=0.9, step=0)  # keeps (1 + 0) / (10 + 0) of the untrained weights
    assert old.weight.item() == pytest.approx(0.9, abs=1e-6)


def test_the_learning_rate_warms_up_and_falls_to_its_end(preset: Preset) -> None:
    optimisation = preset.diffusion.model_copy(update={"warmup_steps": 9})
    assert learning_rate(optimisation, 0, 100) == pytest.approx(optimisation.learning_rate / 10, rel=0.01)
    assert learning_rate(optimisation, 100, 100) == pytest.approx(optimisation.final_learning_rate)
    rates = [learning_rate(optimisation, step, 100) for step in range(10, 101)]
    assert rates == sorted(rates, reverse=True)


def test_a_checkpoint_holds_no_pickle(preset: Preset, tmp_path: Path) -> None:
    run_stage(stage(preset), run(tmp_path, 4))
    names = sorted(path.name for path in (tmp_path / "last").iterdir())
    assert names == ["meta.json", "state.safetensors", "weights.safetensors"]


def test_a_step_on_several_batches_is_a_step_on_their_mean(preset: Preset, tmp_path: Path) -> None:
    """Accumulated, by two threads, or three batches by two threads: the same gradients, added in the same order."""
    weights = []
    for name, accumulate, workers in (("turn", 4, 1), ("threads", 2, 2), ("more threads", 1, 4)):
        several = preset.diffusion.model_copy(update={"accumulate": accumulate})
        run_stage(replace(stage(preset), optimisation=several), replace(run(tmp_path / name, 6), workers=workers))
        weights.append(files(tmp_path / name)["model.weight"])
    # a sum of halves of quarters is that of quarters, in float32 too: only the order counts, and it is the same
    assert torch.equal(weights[1], weights[2])
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-6)


def test_threads_add_their_gradients_in_order_whoever_is_first(preset: Preset, tmp_path: Path) -> None:
    """Three threads that finish in another order each time end at the same bits."""
    rng = np.random.default_rng(0)

    def slow(model: nn.Module, generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        x = torch.from_numpy(generator.standard_normal((4, 3), dtype=np.float32))
        error = (model(x) - x.sum(dim=1, keepdim=True)).pow(2).mean()
        time.sleep(float(rng.uniform(0, 0.01)))
        return error, {}

    weights = []
    for name in ("one", "two"):
        run_stage(replace(stage(preset), loss=slow), replace(run(tmp_path / name, 12), workers=3))
        weights.append(files(tmp_path / name)["model.weight"])
    assert torch.equal(*weights)
