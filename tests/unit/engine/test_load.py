"""Finding and opening: the next step is always said, and nothing falls back in silence."""

import shutil
import sys
from pathlib import Path

import pytest

import pacs_node.engine.load as load_module
from model.bundle import BUNDLE_FILE, Bundle
from pacs_node.config import Device
from pacs_node.engine.load import load_bundle, open_engine, resolve_bundle
from pacs_node.errors import ConfigError, ModelError


def test_default_is_the_folder_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "bundles" / "default"
    shipped.mkdir(parents=True)
    (shipped / BUNDLE_FILE).write_text("{}")
    monkeypatch.setattr(load_module, "files", lambda package: {"model": tmp_path}[package])
    assert resolve_bundle("default") == shipped


def test_a_missing_default_asks_for_a_new_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="install pacs-node again"):
        resolve_bundle("default")


def test_a_folder_that_does_not_exist_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        resolve_bundle(tmp_path / "nowhere")


def test_a_folder_without_bundle_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no bundle\.json"):
        resolve_bundle(str(tmp_path))


def test_a_folder_is_opened_by_its_path(bundle: Bundle) -> None:
    assert load_bundle(bundle.folder).digest == bundle.digest


def test_a_changed_graph_stops_the_service_and_is_named(bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "copy"))
    graph = bytearray((folder / "decoder.onnx").read_bytes())
    graph[100] ^= 1
    (folder / "decoder.onnx").write_bytes(graph)
    with pytest.raises(ModelError, match=r"decoder\.onnx was changed.*install the bundle again"):
        load_bundle(folder)


@pytest.mark.parametrize(("runtime", "module"), [("onnx", "onnxruntime"), ("torch", "torch")])
def test_a_runtime_that_is_not_installed_says_what_to_install(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, runtime: load_module.Runtime, module: str
) -> None:
    for name in ("ort_engine", "providers", "graph", "device_array", "torch_engine"):
        monkeypatch.delitem(sys.modules, f"pacs_node.engine.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=r"pip install pacs-node\["):
        open_engine(bundle, Device.CPU, runtime=runtime)


def test_torch_runs_only_when_it_is_named(bundle: Bundle) -> None:
    assert type(open_engine(bundle, Device.CPU)).__name__ == "OrtEngine"
    assert type(open_engine(bundle, Device.CPU, runtime="torch")).__name__ == "TorchEngine"
