"""The careful description: the network that ships, and a smaller part of its layer."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

import pacs_node.engine.load as load_module
from export.careful import FUSION, careful_facts
from model.bundle import BUNDLE_FILE, Bundle, BundleError, open_bundle, write_bundle
from pacs_node.config import Device
from pacs_node.engine.load import load_bundle, open_engine, resolve_bundle
from pacs_node.errors import ModelError
from pacs_node.pipeline import run_network
from pacs_node.records import Radiograph
from training.simulate.pair import simulate_pair


def test_what_ships_is_the_default_of_today_with_another_fusion() -> None:
    default, careful = load_bundle("default"), load_bundle("careful")
    assert careful.spec.model_dump(exclude={"files"}) == careful_facts(default), "run python -m export.careful"
    assert careful.spec.files == default.spec.files
    assert careful.folder == default.folder == resolve_bundle("careful")
    assert careful.spec.name != default.spec.name
    assert careful.digest != default.digest, "the UIDs of its companions would be those of the default"
    for key, value in FUSION.items():
        assert getattr(careful.spec.fusion, key) == value != getattr(default.spec.fusion, key)


def test_it_takes_out_less() -> None:
    pair = simulate_pair(7_000_001, 512)
    film = Radiograph(pair.cxr, None, 12, Dataset())
    left = {}
    for name in ("default", "careful"):
        engine = open_engine(load_bundle(name), Device.CPU, warm=False)
        left[name] = float(np.abs(run_network(film, engine, engine.spec.steps, 1).bone_layer).mean())
    assert 0.4 < left["careful"] / left["default"] < 0.8


def test_a_missing_description_asks_for_a_new_installation(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle.folder, tmp_path / "bundles" / "default")
    monkeypatch.setattr(load_module, "files", lambda _: tmp_path)
    assert load_bundle("default").digest == bundle.digest
    with pytest.raises(ModelError, match="install pacs-node again"):
        load_bundle("careful")


def test_two_descriptions_of_one_folder(bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "copy"))
    before = (folder / BUNDLE_FILE).read_bytes()
    second = write_bundle(folder, careful_facts(bundle), list(bundle.spec.files), "careful.json")
    assert (folder / BUNDLE_FILE).read_bytes() == before
    assert open_bundle(folder, "careful.json").digest == second.digest != open_bundle(folder).digest
    (folder / bundle.spec.weights).unlink()
    with pytest.raises(BundleError, match=r"careful\.json names it"):
        open_bundle(folder, "careful.json")
