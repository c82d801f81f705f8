"""The wheel is enough: bundle, settings and migrations are in it, and it serves from an empty folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.contracts.running import serving

MEGABYTE = 10**6


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip makes of the wheel alone; its dependencies come from the test's environment."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, str(wheel)], check=True)
    return folder


def test_everything_that_serving_needs_is_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    needed = {
        "pacs_node/config.toml",
        "pacs_node/migrations/env.py",
        "model/bundles/default/bundle.json",
        "model/bundles/default/careful.json",
        "model/bundles/default/weights.safetensors",
        "model/bundles/default/encoder.onnx",
        "model/bundles/default/denoiser.onnx",
        "model/bundles/default/decoder.onnx",
    }
    assert needed - set(names) == set()
    assert any(name.startswith("pacs_node/migrations/versions/") for name in names)
    assert any(name.startswith("training/presets/") for name in names)
    page = REPOSITORY / "training" / "readers" / "static"
    assert {f"training/readers/static/{path.name}" for path in page.iterdir()} - set(names) == set()
    assert "training/readers/static/index.html" in names


def test_the_settings_in_the_wheel_are_those_of_the_repository(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).read("pacs_node/config.toml")
    assert packed == (REPOSITORY / "config.toml").read_bytes()


def test_nothing_but_the_four_packages_is_installed(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pacs_node", "model", "export", "training"}


def test_the_shipped_bundle_is_at_most_48_megabytes(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).infolist()
    assert sum(item.file_size for item in packed if item.filename.startswith("model/bundles/")) <= 48 * MEGABYTE


def test_an_installed_wheel_serves_from_an_empty_folder(installed: Path, tmp_path: Path, free_port: int) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PACS_NODE_")}
    environment |= {"PYTHONPATH": str(installed), "PACS_NODE_NODE__PORT": str(free_port)}
    where = [sys.executable, "-c", "import pacs_node, model; print(pacs_node.__file__, model.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert [path.startswith(str(installed)) for path in found.stdout.split()] == [True, True]
    with serving([sys.executable, str(installed / "bin" / "pacs-node"), "serve"], tmp_path, environment) as program:
        assert f"settings from {installed}" in program.text()
        assert f"listening on 127.0.0.1:{free_port} as PACSNODE" in program.text()
        assert (tmp_path / "var").is_dir()
    assert program.process.returncode == 0, program.text()
