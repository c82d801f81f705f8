"""Rivals through the shared loop: they learn, resume exactly, are looked at, read back, exported and refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pacs_node.cli import main
from pacs_node.errors import ModelError
from training.baselines import export
from training.baselines.diffusion_unet import DiffusionUNetConfig
from training.baselines.enhancement import EnhancementConfig
from training.baselines.export import export_rival, load_exported, open_rival
from training.baselines.registry import BASELINES, BaselineName
from training.baselines.rival import load_baseline, multiple_of, padded
from training.baselines.train import Terms, train_baseline
from training.checkpoint import CheckpointError, read_meta
from training.control import ControlData
from training.loop import Run
from training.pairs import PairShards
from training.validate import RealPairs

Train = Callable[..., Path]


@pytest.fixture(autouse=True)
def _little_diffusion(monkeypatch: pytest.MonkeyPatch) -> None:
    """BS-Diff as small as the pairs: the code is the same."""
    unet = DiffusionUNetConfig((16, 16), 1, (False, True))
    enhancement = EnhancementConfig((16, 16), 1, (False, True), latents=4, shortcut=True)
    config = replace(BASELINES["bs_diff"].configs["small"], side=64, steps=2, unet=unet, enhancement=enhancement)
    monkeypatch.setitem(BASELINES["bs_diff"].configs, "small", config)


@pytest.fixture
def train(pairs: PairShards, tmp_path: Path) -> Train:
    """Train a small rival on the six pairs of 64 px, into its own folder, which is returned."""

    def carry_out(
        name: BaselineName, *steps: int, folder: str = "run", real: RealPairs | None = None, **more: float
    ) -> Path:
        target = tmp_path / folder / "baselines" / name
        changes = {"warmup_steps": 0, "batch": 2, "crop": 64, "final_learning_rate": 1e-3, "learning_rate": 1e-3}
        settings = BASELINES[name].training("small").model_copy(update=changes | more)
        for count in steps:
            run = Run(target, count, quiet=True, tensorboard=False)
            train_baseline(name, "small", ControlData([(pairs, 1.0)], real), run, Terms(64, settings))
        return target

    return carry_out


@pytest.mark.parametrize(("name", "steps"), [("gusarev", 30), ("mca_net", 120), ("resnet_bs", 30), ("bs_diff", 30)])
def test_a_few_steps_lower_the_loss(train: Train, pairs: PairShards, name: BaselineName, steps: int) -> None:
    folder = train(name, steps)
    notes = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert notes
    before, after = (_loss(name, folder if trained else None, pairs[0]) for trained in (False, True))
    assert after < before


def _loss(name: BaselineName, folder: Path | None, pair: tuple[torch.Tensor, torch.Tensor]) -> float:
    """What the paper minimises, on one pair, without the opponent's share."""
    torch.manual_seed(0)
    network = BASELINES[name].build("small") if folder is None else load_baseline(folder / "last").network
    cxr, soft = (image[None, None] for image in pair)
    objective = BASELINES[name].objective("small")
    cxr, soft = (padded(image, multiple_of(network)) for image in (cxr, soft))
    with torch.no_grad():
        _, parts = objective(network, (cxr, soft), np.random.default_rng(0))
    return parts.get("diffusion", parts["l1"]) if "l1" in parts else 1 - parts["ms_ssim"] + parts["error"]


@pytest.mark.parametrize("name", ["resnet_bs", "mca_net"])
def test_a_rival_goes_on_as_if_it_had_never_stopped_its_opponent_included(train: Train, name: BaselineName) -> None:
    whole, cut = train(name, 4, folder="whole"), train(name, 2, 4, folder="cut")
    one, other = (load_file(folder / "last" / "state.safetensors") for folder in (whole, cut))
    assert one.keys() == other.keys()
    assert any(key.startswith("opponent.") for key in one) == (name == "mca_net")
    assert not [key for key, tensor in one.items() if not torch.equal(tensor, other[key])]


def test_what_is_gone_on_with_has_to_be_the_same_network(train: Train, tmp_path: Path, pairs: PairShards) -> None:
    folder = train("resnet_bs", 1)
    with pytest.raises(CheckpointError, match="another network than Gusarev"):
        train_baseline("gusarev", "small", ControlData([(pairs, 1.0)]), Run(folder, 2, quiet=True), Terms(64))
    assert read_meta(folder / "last")["step"] == 1


@pytest.fixture
def real(tmp_path: Path) -> RealPairs:
    """One pair of pictures to look at."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "real"
    folder.mkdir()
    for kind in ("cxr", "soft"):
        Image.fromarray(rng.integers(20, 220, (320, 256)).astype(np.uint8)).save(folder / f"a_{kind}.png")
    return RealPairs(folder, 64)


def test_the_pairs_looked_at_choose_the_best_and_are_drawn(train: Train, real: RealPairs) -> None:
    folder = train("resnet_bs", 2, real=real, validate_every=1)
    assert list((folder / "sheets").glob("*.png"))
    assert "score" in read_meta(folder / "best")["scores"]
    assert load_baseline(folder).meta["step"] == read_meta(folder / "best")["step"]  # the best before the last


@pytest.mark.parametrize("name", get_args(BaselineName))
def test_an_exported_rival_computes_what_the_trained_one_does_and_is_counted_alike(
    train: Train, name: BaselineName, tmp_path: Path
) -> None:
    folder = train(name, 2)
    told = export_rival(folder, tmp_path / "exported")
    one, other = load_baseline(folder), open_rival(tmp_path / "exported")
    images = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 1, 64, 64)).astype(np.float32))
    assert float((one.soft(images) - other.soft(images)).abs().max()) < 1e-3  # sums in another order
    assert (other.title, other.parameters, other.flops(64, 64)) == (one.title, one.parameters, one.flops(64, 64))
    assert told["parameters"] == one.parameters == BASELINES[name].parameters("small")
    assert max(told["max_abs_error"].values()) < 1e-3


def test_an_exported_file_that_was_changed_is_refused(train: Train, tmp_path: Path) -> None:
    export_rival(train("gusarev", 1), tmp_path / "exported")
    with (tmp_path / "exported" / "network.onnx").open("ab") as stream:
        stream.write(b"!")
    with pytest.raises(CheckpointError, match=r"network\.onnx in .* is not what was exported"):
        load_exported(tmp_path / "exported")


def test_nothing_is_written_when_a_graph_computes_something_else(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train("gusarev", 1)
    monkeypatch.setattr(export, "NEAR", 0.0)  # no two runtimes agree to the last bit
    with pytest.raises(ModelError, match=r"network\.onnx differs from the trained network"):
        export_rival(folder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_more_steps_of_a_sampler_are_more_work_and_another_title(train: Train) -> None:
    folder = train("bs_diff", 1)
    few, many = (load_baseline(folder, steps=steps) for steps in (1, 3))
    assert (few.title, many.title) == ("BS-Diff (scaled down, 1 step)", "BS-Diff (scaled down, 3 steps)")
    assert many.flops(64, 64) > 2 * few.flops(64, 64)


def test_the_checkpoint_of_a_stage_is_no_rival(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"stage": "control", "config": {}}')
    with pytest.raises(CheckpointError, match="no rival"):
        load_baseline(tmp_path)


def test_the_command_trains_goes_on_and_exports(
    pairs: PairShards, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["train", "--baseline", "gusarev", "-o", str(tmp_path), "--data", str(pairs.folder), "--preset", "tiny"]
    assert main([*ask, "--steps", "2", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["stage"], told["ending"], told["step"]) == ("gusarev", "finished", 2)
    assert main([*ask, "--steps", "3", "--cpu-minutes", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["step"] == 3
    assert read_meta(tmp_path / "baselines" / "gusarev" / "last")["provenance"]["grid"] == 64
    assert main(["export-onnx", "--baseline", str(tmp_path), "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rival"] == "gusarev"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"network.onnx", "rival.json", "weights.safetensors"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["control", "--baseline", "gusarev"], "two trainings"),
        ([], "--baseline NAME"),
        (["--baseline", "unet"], "gusarev"),
    ],
)
def test_what_is_trained_is_named_once(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
