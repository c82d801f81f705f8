"""A bundle opens only when every byte of it is the one that was exported."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.bundle import BUNDLE_FILE, BundleError, open_bundle, write_bundle

FILES = ("weights.safetensors", "encoder.onnx", "denoiser.onnx", "decoder.onnx")
GRAPHS = {"encoder": "encoder.onnx", "denoiser": "denoiser.onnx", "decoder": "decoder.onnx"}
FACTS: dict[str, Any] = {"name": "test", "version": "1", "grid": 64, "graphs": GRAPHS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose files hold a few bytes each: digests are not about networks."""
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode() * 10)
    write_bundle(tmp_path, FACTS, list(FILES))
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    path = folder / BUNDLE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_written_bundle_opens_with_the_same_digest(folder: Path) -> None:
    assert open_bundle(folder).digest == open_bundle(folder).digest
    assert open_bundle(folder).path("denoiser") == folder / "denoiser.onnx"


def test_equal_content_has_an_equal_digest_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for name in reversed(FILES):
        (other / name).write_bytes((folder / name).read_bytes())
    assert write_bundle(other, FACTS, list(reversed(FILES))).digest == open_bundle(folder).digest


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused_and_its_file_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        open_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_and_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        open_bundle(folder)


def test_a_cut_file_is_refused_with_both_sizes(folder: Path) -> None:
    (folder / "encoder.onnx").write_bytes(b"short")
    with pytest.raises(BundleError, match=r"5 bytes; bundle\.json says 120"):
        open_bundle(folder)


def test_an_unknown_key_is_refused_and_named(folder: Path) -> None:
    edit(folder, colour="blue")
    with pytest.raises(BundleError, match="colour: Extra inputs"):
        open_bundle(folder)


def test_an_unknown_format_is_refused(folder: Path) -> None:
    edit(folder, format=2)
    with pytest.raises(BundleError, match="format"):
        open_bundle(folder)


def test_a_bundle_without_one_of_its_graphs_is_refused(folder: Path) -> None:
    edit(folder, graphs={role: name for role, name in GRAPHS.items() if role != "denoiser"})
    with pytest.raises(BundleError, match="no graph for denoiser"):
        open_bundle(folder)


def test_a_graph_without_a_digest_is_refused(folder: Path) -> None:
    (folder / "unsigned.onnx").write_bytes(b"anything")
    edit(folder, graphs=GRAPHS | {"decoder": "unsigned.onnx"})
    with pytest.raises(BundleError, match=r"no digest for unsigned\.onnx"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../encoder.onnx", "/etc/hostname", "sub/encoder.onnx", ".hidden"])
def test_a_file_outside_the_folder_cannot_be_named(folder: Path, name: str) -> None:
    edit(folder, graphs=GRAPHS | {"encoder": name})
    with pytest.raises(BundleError, match=r"graphs\.encoder"):
        open_bundle(folder)


def test_a_grid_that_the_latents_cannot_cover_is_refused(folder: Path) -> None:
    edit(folder, grid=100)
    with pytest.raises(BundleError, match="not a multiple"):
        open_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_description_is_refused(folder: Path, content: bytes) -> None:
    (folder / BUNDLE_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=BUNDLE_FILE):
        open_bundle(folder)


def test_a_folder_without_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no readable bundle\.json"):
        open_bundle(tmp_path)


def test_invalid_facts_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BundleError, match="steps"):
        write_bundle(tmp_path, FACTS | {"steps": 0}, list(FILES))
    assert not (tmp_path / BUNDLE_FILE).exists()


def test_a_bundle_without_the_optional_graphs_stays_valid(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert (bundle.spec.shapes, bundle.spec.half_graphs, bundle.roles) == (
        "dynamic",
        {},
        ("encoder", "denoiser", "decoder"),
    )
    for role, half in (("fused", False), ("encoder", True)):
        with pytest.raises(BundleError, match=f"no .*graph {role}"):
            bundle.path(role, half=half)  # type: ignore[arg-type]


def whole(folder: Path, **changes: Any) -> None:
    """A bundle with a fused graph and a half-precision encoder."""
    for name in ("fused.onnx", "encoder.half.onnx"):
        (folder / name).write_bytes(name.encode())
    facts = FACTS | {"graphs": GRAPHS | {"fused": "fused.onnx"}, "half_graphs": {"encoder": "encoder.half.onnx"}}
    write_bundle(folder, facts | changes, [*FILES, "fused.onnx", "encoder.half.onnx"])


def test_fused_and_half_graphs_have_digests_like_the_others(folder: Path) -> None:
    whole(folder, shapes="fixed")
    bundle = open_bundle(folder)
    assert bundle.path("fused") == folder / "fused.onnx"
    assert bundle.path("encoder", half=True) == folder / "encoder.half.onnx"
    (folder / "encoder.half.onnx").write_bytes(b"encoder.Half.onnx")
    with pytest.raises(BundleError, match=r"encoder\.half\.onnx was changed"):
        open_bundle(folder)


def test_a_half_graph_without_a_digest_is_refused(folder: Path) -> None:
    edit(folder, half_graphs={"encoder": "unsigned.onnx"})
    with pytest.raises(BundleError, match=r"no digest for unsigned\.onnx"):
        open_bundle(folder)


def test_a_half_graph_without_its_float32_twin_is_refused(folder: Path) -> None:
    edit(folder, half_graphs={"refiner": "encoder.onnx"})
    with pytest.raises(BundleError, match="refiner computes in half precision only"):
        open_bundle(folder)


@pytest.mark.parametrize("changes", [{"sampler": "ddpm"}, {"eta": 0.5}, {"process": "bridge"}])
def test_a_fused_graph_of_a_way_that_draws_noise_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="a fused graph draws no noise"):
        whole(folder, **changes)
