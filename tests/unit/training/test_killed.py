"""A training that is killed, not asked to stop, goes on to the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from pacs_node.cli import main
from training.pairs import PairShards
from training.preset import SHIPPED

STEPS, SAVE_EVERY = 20, 4


def checkpoint_step(run: Path) -> int:
    """Of the last checkpoint; 0 where there is none."""
    try:
        return int(json.loads((run / "autoencoder" / "last" / "meta.json").read_text(encoding="utf-8"))["step"])
    except FileNotFoundError:
        return 0


def kill_after(step: int, command: list[str], run: Path) -> None:
    """SIGKILL as soon as a checkpoint of ``step`` or later is there: somewhere in the steps after it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pacs_node", *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while checkpoint_step(run) < step and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # it was in the middle, not at its end


def test_a_training_that_was_killed_twice_ends_bit_equal_to_one_that_was_not(pairs: PairShards, tmp_path: Path) -> None:
    """With a discriminator, quantised latents and a last line of the log that was cut: all of it is taken up again."""
    preset, cut, whole = tmp_path / "preset.toml", tmp_path / "cut", tmp_path / "whole"
    text = (
        (SHIPPED / "tiny.toml")
        .read_text(encoding="utf-8")
        .replace("\ntwin = 1.0\n", "\ntwin = 1.0\nadversarial = 0.05\n")
    )
    preset.write_text(text.replace('"continuous"', '"vq"').replace("validate_every = 0", "validate_every = 6"), "utf-8")

    def command(run: Path) -> list[str]:
        order = ["train", "autoencoder", "-o", str(run), "--preset", str(preset), "--data", str(pairs.folder)]
        return [*order, "--steps", str(STEPS), "--device", "cpu", "--json"]

    kill_after(SAVE_EVERY, command(cut), cut)
    first = checkpoint_step(cut)
    (cut / "autoencoder" / "last" / ".state.safetensors.part").write_bytes(b"half of a checkpoint")
    with (cut / "autoencoder" / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 1')
    kill_after(first + SAVE_EVERY, command(cut), cut)
    assert first < checkpoint_step(cut) < STEPS
    torch.set_num_threads(1)
    assert main(command(cut)) == 0
    assert main(command(whole)) == 0
    for name in ("last/weights", "last/state", "best/weights"):
        one, other = (load_file(run / "autoencoder" / f"{name}.safetensors") for run in (whole, cut))
        assert one.keys() == other.keys()
        assert not [key for key, tensor in one.items() if not torch.equal(tensor, other[key])], name
    notes = [(run / "autoencoder" / "metrics.jsonl").read_text("utf-8").splitlines() for run in (whole, cut)]
    steps = [[(json.loads(line)["step"], json.loads(line)["kind"]) for line in lines] for lines in notes]
    assert steps[0] == steps[1]  # every step is noted once
