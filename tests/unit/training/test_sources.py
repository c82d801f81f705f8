"""Pairs to train on: ingested folders, shards of another run, and both mixed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pacs_node.cli import main
from pacs_node.errors import ConfigError
from training.checkpoint import CheckpointError, read_meta
from training.coarse import CoarseShards
from training.ingest.manifest import Manifest, PairRecord, SourceFacts, Split
from training.latents import LatentShards
from training.pairs import PairShards, write_shard
from training.preset import Preset
from training.radiographs import Radiographs
from training.run import Amounts, Sources, train
from training.sources import MixedPairs, gather, held_out_images

SIZE = 96
SPLITS: tuple[Split, ...] = ("train", "train", "train", "validation", "test")


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pairs as `pacs-node ingest` leaves them; the twin has half the contrast, which its curve undoes."""
    folder = tmp_path_factory.mktemp("ingested")
    (folder / "pairs").mkdir()
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    records = []
    for index, split in enumerate(SPLITS):
        soft = 0.2 + 0.6 * columns * (1 - 0.1 * index)
        cxr = soft + 0.15 * ((rows * (6 + index)) % 1 < 0.4)
        name = f"{index:x}" * 16
        for kind, values in (("cxr", cxr), ("soft", 0.5 * soft)):
            Image.fromarray(np.rint(values * 65535).astype(np.uint16)).save(folder / "pairs" / f"{name}_{kind}.png")
        curve = ((0.0, 0.0), (0.5, 1.0))
        sources = ("0" * 64, "1" * 64)
        records.append(
            PairRecord(
                pair_id=name,
                patient=name,
                source="own",
                split=split,
                recipe="r",
                source_sha256=sources,
                picture=(SIZE, SIZE),
                tone_curve=curve,
            )
        )
    facts = {"own": SourceFacts(title="drawn", layout="test", licence=None)}
    Manifest(size=SIZE, sources=facts, pairs=tuple(records)).write(folder)
    return folder


def test_only_the_training_split_is_trained_on_and_in_the_tone_of_the_radiograph(
    ingested: Path, tmp_path: Path
) -> None:
    gathered = gather([ingested], tmp_path, 64)
    assert len(gathered.pairs) == 3
    cxr, soft = gathered.sources[0][0]
    assert cxr.shape == (64, 64)
    difference = (cxr - soft).numpy()
    # bone is .15 of [0, 1], so .3 of [-1, 1]; without the curve half of the soft tissue would remain, up to .8
    assert float(difference.max()) == pytest.approx(0.3, abs=0.01)
    assert float(difference.min()) == pytest.approx(0.0, abs=0.01)


def test_the_validation_split_is_looked_at(ingested: Path, tmp_path: Path) -> None:
    gathered = gather([ingested], tmp_path, 64)
    assert gathered.real is not None
    assert gathered.real.names == ["3" * 16]
    images = held_out_images(gathered.real)
    assert images is not None
    assert images.shape == (1, 1, 64, 64)


def test_ingested_pairs_are_read_once_and_again_when_the_manifest_is_another(ingested: Path, tmp_path: Path) -> None:
    first = gather([ingested], tmp_path, 64)
    written = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.npy"))]
    assert gather([ingested], tmp_path, 64).identity == first.identity
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.npy"))] == written
    manifest = Manifest.read(ingested)
    changed = tmp_path / "changed"
    (changed / "pairs").mkdir(parents=True)
    for path in (ingested / "pairs").iterdir():
        (changed / "pairs" / path.name).write_bytes(path.read_bytes())
    manifest.model_copy(update={"pairs": manifest.pairs[1:]}).write(changed)
    second = gather([changed], tmp_path, 64)
    assert second.identity != first.identity
    assert len(second.pairs) == 2


def test_few_real_pairs_are_drawn_as_often_as_many_simulated_ones() -> None:
    class Constant:
        def __init__(self, value: float, count: int) -> None:
            self.value, self.count = value, count

        def __len__(self) -> int:
            return self.count

        def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.tensor(self.value), torch.tensor(rng.random())

    mixed, rng = MixedPairs([Constant(1.0, 3), Constant(0.0, 1000)]), np.random.default_rng(0)
    drawn = [float(mixed.draw(rng)[0]) for _ in range(1000)]
    assert len(mixed) == 1003
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.05)  # three standard errors of .016


def test_pictures_of_the_simulator_become_shards_stretched_like_a_radiograph(tmp_path: Path) -> None:
    folder = tmp_path / "simulated"
    folder.mkdir()
    (folder / "simulation.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no pair yet"):
        gather([folder], tmp_path / "data", 64)
    soft = np.tile(np.linspace(0.2, 0.5, SIZE), (SIZE, 1))
    for kind, values in (("cxr", soft + 0.1 * (soft > 0.4)), ("soft", soft), ("bone", soft)):
        picture = Image.fromarray(np.rint(values * 65535).astype(np.uint16))
        picture.save(folder / f"procedural_0000-00000_{kind}.png")
    gathered = gather([folder], tmp_path / "data", 64)
    assert (len(gathered.pairs), gathered.real) == (1, None)
    cxr, soft_twin = gathered.sources[0][0]
    assert cxr.shape == (64, 64)  # averaged down to the grid
    # .2 to .6 became -1 to 1, but for the half percent at each end
    assert float(cxr.min()) == pytest.approx(-1, abs=0.02)
    assert float(cxr.max()) == pytest.approx(1, abs=0.02)
    assert float((cxr - soft_twin).max()) == pytest.approx(0.1 * 2 / 0.4, abs=0.02)


def test_a_folder_of_neither_kind_is_refused_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither pairs of `pacs-node ingest` nor of `pacs-node simulate` nor"):
        gather([tmp_path], tmp_path, 64)


def test_a_run_trains_every_stage_on_ingested_pairs_and_simulates_nothing(
    ingested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    order = ["train", "all", "-o", str(run), "--preset", "tiny", "--data", str(ingested), "--framings", "4"]
    assert main([*order, "--steps", "2", "--json"]) == 0
    assert capsys.readouterr().out.count('"finished"') == 4
    assert not (run / "anatomy").exists()
    assert not (run / "pairs").exists()
    for stage in ("autoencoder", "diffusion", "refiner", "control"):
        provenance = read_meta(run / stage / "last")["provenance"]
        assert provenance["pairs"] == 3
        assert "anatomies" not in provenance
    told = read_meta(run / "diffusion" / "last")["provenance"]["data"]
    assert told == {"real_pairs": "the training split of 1 ingested folder"}  # an evaluation repeats it


def test_shards_that_were_made_anew_are_other_pairs_though_their_files_have_the_size_of_the_old(tmp_path: Path) -> None:
    identities = []
    for grey in (0.25, 0.75):  # as of composites by the bundle of the next round
        picture = np.full((8, 8), grey, np.float32)
        write_shard(tmp_path / "films" / "films-000.npy", [(picture, picture)])
        identities.append(gather([tmp_path / "films"], tmp_path, 64).identity)
    assert identities[0] != identities[1]


@pytest.mark.parametrize("kept", [0, 4, 200])  # bytes: nothing, half a magic number, half of the pictures
@pytest.mark.parametrize(("opened", "name"), [(PairShards, "0"), (CoarseShards, "0"), (LatentShards, "0-layer")])
def test_a_shard_that_a_power_cut_damaged_is_named_with_what_to_do(
    opened: Callable[[Path], object], name: str, kept: int, tmp_path: Path
) -> None:
    for each in (name, "0-condition", "0-soft"):
        np.save(tmp_path / f"{each}.npy", np.zeros((2, 2, 8, 8), np.uint16))
    path = tmp_path / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConfigError, match=rf"{name}.npy is damaged: remove {tmp_path}, and the command that made it"):
        opened(tmp_path)


def test_a_picture_that_was_cut_off_is_named(tmp_path: Path) -> None:
    for number in range(2):
        noise = np.random.default_rng(number).integers(256, size=(64, 64), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"0\.png cannot be decoded: copy it again"):
        Radiographs(tmp_path, size=64, held_out=1)


def test_real_pairs_that_were_asked_for_are_not_left_out_in_silence(
    preset: Preset, ingested: Path, tmp_path: Path
) -> None:
    manifest = Manifest.read(ingested)
    manifest.model_copy(update={"pairs": manifest.pairs[:3]}).write(tmp_path / "none")
    sources = Sources(pairs=(ingested,), real_pairs=tmp_path / "none")
    with pytest.raises(ConfigError, match="none holds no pair of the split validation: ingest more patients"):
        train(preset, tmp_path / "run", ("control",), sources=sources, max_steps=1, quiet=True)


def test_latents_of_other_pairs_are_refused(preset: Preset, ingested: Path, pairs: PairShards, tmp_path: Path) -> None:
    first = Sources(pairs=(ingested,))
    train(preset, tmp_path, sources=first, amounts=Amounts(latents=2), max_steps=1, quiet=True)
    both = Sources(pairs=(ingested, pairs.folder))
    with pytest.raises(CheckpointError, match=r"latents is of other pairs .* remove it"):
        train(preset, tmp_path, ("diffusion",), sources=both, amounts=Amounts(latents=2), max_steps=2, quiet=True)
