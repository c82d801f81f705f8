"""Several processes under torchrun do what one process does with the same batches, and go on bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pacs_node.cli import main
from training.checkpoint import read_meta
from training.pairs import PairShards
from training.parallel import DeviceError, World, choose_device
from training.preset import SHIPPED

PROGRAM = Path(__file__).with_name("several_commands.py")
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def preset_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny preset against a discriminator, so that two optimisers are shared."""
    path = tmp_path_factory.mktemp("preset") / "against.toml"
    text = (SHIPPED / "tiny.toml").read_text(encoding="utf-8")
    path.write_text(text.replace("\ntwin = 1.0\n", "\ntwin = 1.0\nadversarial = 0.05\n"), encoding="utf-8")
    return path


def words(stage: str, run: Path, preset_file: Path, data: Path, *more: str) -> list[str]:
    order = ["train", stage, "-o", str(run), "--preset", str(preset_file), "--data", str(data)]
    return [*order, "--steps", "4", "--framings", "4", "--device", "cpu", "--json", *more]


def state(run: Path, stage: str = "autoencoder") -> dict[str, Tensor]:
    return load_file(run / stage / "last" / "state.safetensors")


@pytest.fixture(scope="module")
def runs(preset_file: Path, pairs: PairShards, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made of several commands; what they said is in `stdout` and `stderr` there.

    The launch costs more than the steps, so that there is one for all tests.
    """
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    (folder / "wild.toml").write_text(preset_file.read_text("utf-8").replace("rate = 2e-3", "rate = 1e30"), "utf-8")

    def order(stage: str, name: str, *more: str, preset: Path = preset_file) -> list[str]:
        return words(stage, folder / name, preset, pairs.folder, *more)

    commands = [
        order("autoencoder", "whole"),
        order("diffusion", "whole"),
        order("autoencoder", "cut", "--minutes", "0"),
        order("autoencoder", "cut"),
        order("autoencoder", "twice", "--accumulate", "2"),
        order("autoencoder", "wild", preset=folder / "wild.toml"),
        order("autoencoder", "threads", "--workers", "2"),
    ]
    # `--standalone` lets the processes meet on a free port of this machine
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(PROGRAM)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*launch, json.dumps(commands)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "stdout").write_text(done.stdout, encoding="utf-8")
    (folder / "stderr").write_text(done.stderr, encoding="utf-8")
    return folder


def test_every_process_ends_each_command_alike_and_the_first_alone_reports(runs: Path) -> None:
    errors = (runs / "stderr").read_text(encoding="utf-8")
    assert all(f"process {rank}: [0, 0, 0, 0, 0, 3, 2]" in errors for rank in (0, 1))
    reports = [line.strip() for line in (runs / "stdout").read_text(encoding="utf-8").splitlines() if "ending" in line]
    ended = ("finished", "finished", "out of time", "finished", "finished")
    assert reports == [f'"ending": "{how}",' for how in ended]


def test_a_loss_that_is_no_number_ends_both_processes(runs: Path) -> None:
    """Else one would wait for the other for ever."""
    assert (runs / "stderr").read_text(encoding="utf-8").count("not finite at step") == 2


def test_several_processes_take_no_threads_beside_them(runs: Path) -> None:
    assert "take --accumulate instead" in (runs / "stderr").read_text(encoding="utf-8")


def test_two_processes_take_the_steps_of_one_that_accumulates(
    runs: Path, preset_file: Path, pairs: PairShards, tmp_path: Path
) -> None:
    for name, accumulate in (("whole", "2"), ("twice", "4")):
        assert main(words("autoencoder", tmp_path / name, preset_file, pairs.folder, "--accumulate", accumulate)) == 0
        one, two = state(tmp_path / name), state(runs / name)
        assert one.keys() == two.keys()
        # The gradients are sums of the same float32 numbers in another order. Adam divides each by its own size, so
        # that the last bits of a small one may move a weight by a thousandth of a step, which is 2e-3 here.
        for key, tensor in one.items():
            if key.startswith(("model.", "average.", "opponent.")):
                torch.testing.assert_close(two[key], tensor, rtol=0, atol=2e-5, msg=f"{name}: {key}")


def test_two_processes_that_were_cut_go_on_bit_for_bit(runs: Path) -> None:
    whole, cut = state(runs / "whole"), state(runs / "cut")
    assert whole.keys() == cut.keys()
    assert not [name for name, tensor in whole.items() if not torch.equal(tensor, cut[name])]


def test_two_processes_train_the_denoiser_on_latents_that_one_of_them_encoded(runs: Path) -> None:
    assert read_meta(runs / "whole" / "diffusion" / "last")["step"] == 4
    assert len(list((runs / "whole" / "latents").glob("*-layer.npy"))) == 1


def test_a_process_alone_is_a_world_of_one() -> None:
    world = World()
    assert world.leads
    assert world.largest(2) == 2
    assert world.mean({"loss": 0.5}) == {"loss": 0.5}
    module = torch.nn.Linear(1, 1)
    assert world.share(module) is module


def test_a_device_that_is_not_there_is_named() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match="there is no cuda:99 here"):
        choose_device("cuda:99")
    with pytest.raises(DeviceError, match="is no device"):
        choose_device("abacus")
