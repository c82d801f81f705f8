"""The perceptual distance: published figures, and what must hold with any weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.perceptual import (
    WEIGHTS_VARIABLE,
    PerceptualDistance,
    PerceptualWeightsError,
    find_weights,
    load_perceptual,
)

PUBLISHED_DISTANCE = 0.0619752


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    """Random weights: order and gradients do not hang on the published ones."""
    torch.manual_seed(0)
    return PerceptualDistance()


def waves() -> tuple[Tensor, Tensor]:
    """Two grey patterns that are the same on every machine, (1, 1, 48, 40) in [-1, 1]."""
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(40.0), indexing="ij")
    first = torch.sin(rows / 5) * torch.cos(columns / 7)
    return first[None, None], (0.8 * first + 0.2 * torch.sin((rows + columns) / 3))[None, None]


def test_equal_images_are_at_no_distance(distance: PerceptualDistance) -> None:
    first, second = waves()
    assert float(distance(first, first)) == 0.0
    assert float(distance(first, second)) > 0.0
    assert float(distance(second, first)) == pytest.approx(float(distance(first, second)), rel=1e-6)  # order of a sum


def test_more_noise_is_further_away(distance: PerceptualDistance) -> None:
    first, _ = waves()
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(1))
    distances = [float(distance(first, first + scale * noise)) for scale in (0.02, 0.1, 0.5)]
    assert distances == sorted(distances)


def test_each_image_of_a_batch_has_its_own_distance(distance: PerceptualDistance) -> None:
    first, second = waves()
    both = distance(torch.cat([first, first]), torch.cat([second, first]))
    assert both.shape == (2,)
    assert float(both[0]) == pytest.approx(float(distance(first, second)), rel=1e-5)  # a batch sums in other blocks
    assert float(both[1]) == 0.0


def test_a_gradient_reaches_the_image_and_not_the_weights(distance: PerceptualDistance) -> None:
    first, second = waves()
    image = first.clone().requires_grad_()
    distance(image, second).sum().backward()
    assert image.grad is not None
    assert bool(torch.isfinite(image.grad).all())
    assert float(image.grad.abs().max()) > 0
    assert all(weight.grad is None for weight in distance.parameters())


def test_a_flat_black_image_has_a_finite_gradient(distance: PerceptualDistance) -> None:
    black = torch.full((1, 1, 32, 32), -1.0, requires_grad=True)
    distance(black, torch.full((1, 1, 32, 32), -1.0)).sum().backward()
    assert black.grad is not None
    assert bool(torch.isfinite(black.grad).all())


def test_images_that_are_too_small_or_unlike_in_shape_are_refused(distance: PerceptualDistance) -> None:
    with pytest.raises(ValueError, match="at least 24 px"):
        distance(torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20))
    with pytest.raises(ValueError, match="one shape"):
        distance(torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 40))


def test_the_published_weights_give_the_published_distance(shared_data: Path) -> None:
    first, second = waves()
    distance = load_perceptual(shared_data / "weights" / "stlpips_alex.safetensors")
    # stlpips-pytorch 0.0.2, LPIPS(net="alex", variant="shift_tolerant"), on the CPU; float32 sums differ by machine
    assert float(distance(first, second)) == pytest.approx(PUBLISHED_DISTANCE, rel=1e-4)
    assert float(distance(first.expand(-1, 3, -1, -1), second.expand(-1, 3, -1, -1))) == pytest.approx(
        PUBLISHED_DISTANCE, rel=1e-4
    )


def test_other_weights_are_refused(shared_data: Path, tmp_path: Path) -> None:
    """One number off: figures made with it could not be compared with anyone's."""
    tensors = load_file(shared_data / "weights" / "stlpips_alex.safetensors")
    tensors["lin0.model.1.weight"] = tensors["lin0.model.1.weight"] * 1.001
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(PerceptualWeightsError, match="other weights"):
        load_perceptual(tmp_path / "other.safetensors")


def test_a_file_that_holds_no_weights_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(PerceptualWeightsError, match=r"weights\.safetensors holds no weights"):
        load_perceptual(path)


def test_weights_are_found_by_path_then_environment_then_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, set_here = tmp_path / "named.safetensors", tmp_path / "set.safetensors"
    named.touch()
    set_here.touch()
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(set_here))
    assert find_weights(named) == named
    assert find_weights() == set_here
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "gone.safetensors"))
    with pytest.raises(PerceptualWeightsError, match="there is no file"):
        find_weights()
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    package = tmp_path / "site" / "stlpips_pytorch"
    (package / "weights" / "vST0.0").mkdir(parents=True)
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    with pytest.raises(PerceptualWeightsError, match="pip install stlpips-pytorch"):
        find_weights()
    (package / "weights" / "vST0.0" / "alex_shift_tolerant.pth").touch()
    assert find_weights() == package / "weights" / "vST0.0" / "alex_shift_tolerant.pth"
