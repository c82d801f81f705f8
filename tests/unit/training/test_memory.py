"""Out of memory: the advice names a command that fits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.denoiser import DenoiserConfig
from training.checkpoint import read_meta
from training.loop import OutOfMemory, Run, Stage, run_stage
from training.memory import advised
from training.preset import AutoencoderTraining, Preset

TOO_MUCH = 2**60  # bytes; no machine has them


def too_large(_generator: np.random.Generator) -> Tensor:
    return torch.empty(TOO_MUCH, dtype=torch.uint8)  # the CPU allocator's own words


def no_memory_left(_generator: np.random.Generator) -> Tensor:
    raise MemoryError


def cuda_out_of_memory(_generator: np.random.Generator) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("fails", [too_large, no_memory_left, cuda_out_of_memory])
def test_a_batch_that_does_not_fit_ends_with_advice_and_the_last_checkpoint(
    preset: Preset, tmp_path: Path, fails: Callable[[np.random.Generator], Tensor]
) -> None:
    calls = []

    def loss(model: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        calls.append(1)
        if len(calls) > 6:
            fails(rng)
        return model(torch.ones(1, 1)).sum(), {}

    stage = Stage("regression", nn.Linear(1, 1), DenoiserConfig(), preset.diffusion, loss)
    with pytest.raises(OutOfMemory, match="--batch 1 --accumulate 2 takes as many images a step") as told:
        run_stage(stage, Run(tmp_path, 12, quiet=True, tensorboard=False))
    assert "bfloat16 = true" in str(told.value)  # the tiny preset computes in float32
    assert read_meta(tmp_path / "last")["step"] == 4  # save_every of the preset


@pytest.mark.parametrize(
    ("batch", "accumulate", "told"),
    [
        (6, 1, "--batch 3 --accumulate 2 "),
        (7, 2, "--batch 3 --accumulate 6 "),  # 3 batches of 3 hold the 7 images of each of 2
        (1, 4, "crop = 128 takes a quarter"),
    ],
)
def test_the_advice_keeps_the_images_of_a_step(preset: Preset, batch: int, accumulate: int, told: str) -> None:
    sizes = {"batch": batch, "accumulate": accumulate, "crop": 256, "bfloat16": True}
    training: AutoencoderTraining = preset.autoencoder_training.model_copy(update=sizes)
    with pytest.raises(OutOfMemory, match=told) as advice, advised("autoencoder", training, "cuda:0"):
        raise MemoryError
    assert ("--batch" in str(advice.value)) == (batch > 1)
    assert "bfloat16" not in str(advice.value)


def test_another_error_of_torch_is_left_as_it_is(preset: Preset) -> None:
    with pytest.raises(RuntimeError, match="must match the size"), advised("diffusion", preset.diffusion, "cpu"):
        torch.ones(2) + torch.ones(3)
