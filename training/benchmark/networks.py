"""The networks that are compared, as torch modules, and their operations."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from model.autoencoder import Autoencoder, AutoencoderConfig
from model.denoiser import Denoiser, DenoiserConfig
from model.process import Process
from model.refiner import Refiner, RefinerConfig
from model.sampler import Given, Noise, Recipe, walk
from model.schedule import timesteps
from training.control_network import ControlConfig, ControlNetwork

__all__ = ["BoneNetwork", "Facts", "control_network", "counted", "paper_networks", "shipped_network"]

PRESETS = Path(__file__).resolve().parents[1] / "presets"
Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rows need of `bundle.json`; read without its validation, which this machine may not have.

    Attributes
    ----------
    grid : rows = columns of the input, px.
    recipe, steps, views : how the network is run.
    """

    grid: int
    latent_channels: int
    downsampling: int
    recipe: Recipe
    steps: int
    views: int
    network: dict[str, Arguments]
    weights: Path

    @classmethod
    def read(cls, bundle: Path) -> Self:
        """From the folder of a bundle."""
        spec = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
        process = Process(spec["process"], spec["schedule"], spec["path_noise"])
        clipping: Any = SimpleNamespace(**spec["clipping"])
        recipe = Recipe(spec["prediction"], clipping, process, spec["sampler"], spec["eta"], spec["offset_noise"])
        sizes = (spec["grid"], spec["latent_channels"], spec["downsampling"])
        return cls(*sizes, recipe, spec["steps"], spec["views"], spec["network"], bundle / spec["weights"])

    def latent_shape(self, batch: int) -> tuple[int, int, int, int]:
        """(B, C, h, w)."""
        side = self.grid // self.downsampling
        return batch, self.latent_channels, side, side


class BoneNetwork(nn.Module):
    """A bundle's whole way on the grid: views, encode, sample, decode twice, mean, refine.

    Parameters
    ----------
    at_once : whether the views of an image run as one batch (faster on CUDA) or one after the other (less memory).
    """

    def __init__(self, facts: Facts, parts: tuple[Autoencoder, Denoiser, Refiner | None], *, at_once: bool) -> None:
        super().__init__()
        self.facts, self.at_once = facts, at_once
        self.autoencoder, self.denoiser, self.refiner = parts
        self.dtype = torch.float32

    def halved(self, dtype: torch.dtype) -> Self:
        """Compute in ``dtype``; the embedding of time (angles up to 1000), the sampler and the sums stay float32."""
        self.to(dtype)
        self.denoiser.time.float()
        self.denoiser.time.register_forward_hook(lambda _module, _inputs, out: out.to(dtype))
        self.dtype = dtype
        return self

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        """Bone layers (B, 1, H, W) of images (B, 1, H, W) in [-1, 1], float32; noise is (B, C, h, w)."""
        shown = [_shown(image, view, self.facts.downsampling // 2) for view in range(self.facts.views)]
        layers = self._layers(shown, noise)
        known = [torch.ones_like(image) for _ in shown]
        moved = self.facts.downsampling // 2
        pairs = [_undone((layer, one), i, moved) for i, (layer, one) in enumerate(zip(layers, known, strict=True))]
        layer = torch.stack([part * one for part, one in pairs]).sum(0) / torch.stack([one for _, one in pairs]).sum(0)
        if self.refiner is None:
            return layer
        refined: Tensor = self.refiner(image.to(self.dtype), layer.to(self.dtype)).float()
        return refined

    def _layers(self, shown: list[Tensor], noise: Tensor) -> list[Tensor]:
        if not self.at_once:
            return [self._layer(image, noise) for image in shown]
        together = self._layer(torch.cat(shown), noise.repeat(len(shown), 1, 1, 1))
        return list(together.chunk(len(shown)))

    def _layer(self, image: Tensor, noise: Tensor) -> Tensor:
        condition = self.autoencoder.encode(image.to(self.dtype)).float()
        return self.decoded(condition) - self.decoded(self.sampled(condition, noise))

    def sampled(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Latents of soft tissue, float32."""
        recipe, given = self.facts.recipe, condition.to(self.dtype)

        def predict(x_t: Tensor, t: float) -> Tensor:
            times = torch.full((x_t.shape[0],), t, device=x_t.device)
            return self.denoiser(x_t.to(self.dtype), times, given).float()  # type: ignore[no-any-return]

        start = recipe.process.start(condition, lambda: noise)
        fresh = Given(condition, Noise(0, recipe.offset_noise))
        return walk(predict, start, timesteps(self.facts.steps), recipe, fresh)  # type: ignore[no-any-return]

    def decoded(self, latents: Tensor) -> Tensor:
        """Images of latents, float32."""
        return self.autoencoder.decode(latents.to(self.dtype)).float()

    def flop(self) -> float:
        """Operations of one image, counted on tensors without values."""
        facts, grid = self.facts, self.facts.grid
        image, latents = (1, 1, grid, grid), facts.latent_shape(1)
        once = counted(self.autoencoder.encode, image) + 2 * counted(self.autoencoder.decode, latents)
        step = counted(self.denoiser, latents, (1,), latents)
        refine = counted(self.refiner, image, image) if self.refiner is not None else 0.0
        return facts.views * (once + facts.steps * step) + refine


def _shown(image: Tensor, view: int, moved: int) -> Tensor:
    """As `pacs_node.imaging.views.View.shown`, on tensors; views 1 and 3 are mirrored, 2 and 3 moved."""
    if view % 2:
        image = image.flip(-1)
    if view >= 2:
        image = functional.pad(image, (moved, 0, moved, 0), mode="replicate")[..., :-moved, :-moved]
    return image.contiguous()


def _undone(pair: tuple[Tensor, Tensor], view: int, moved: int) -> tuple[Tensor, Tensor]:
    """As `View.undone`: the layer brought back, and where it is known."""
    if view >= 2:
        pair = tuple(functional.pad(part, (0, moved, 0, moved))[..., moved:, moved:] for part in pair)  # type: ignore[assignment]
    return (pair[0].flip(-1), pair[1].flip(-1)) if view % 2 else pair


def counted(run: Callable[..., Tensor], *shapes: tuple[int, ...]) -> float:
    """Floating-point operations of a module (or a method of one) on float32 tensors of these shapes.

    The weights are exchanged for ones without values while it runs, so that nothing is computed.
    """
    module = run if isinstance(run, nn.Module) else run.__self__  # type: ignore[attr-defined]
    empty = {name: torch.empty_like(part, device="meta", dtype=torch.float32) for name, part in _state(module)}
    method = "forward" if isinstance(run, nn.Module) else run.__name__
    given = tuple(torch.empty(shape, device="meta") for shape in shapes)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        weights = {f"module.{name}": part for name, part in empty.items()}
        torch.func.functional_call(_Method(module, method), weights, given)
    return float(counter.get_total_flops())


class _Method(nn.Module):
    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *given: Tensor) -> Any:
        return getattr(self.module, self.method)(*given)


def _state(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def shipped_network(bundle: Path, *, at_once: bool) -> BoneNetwork:
    """The network of a bundle with its weights."""
    facts = Facts.read(bundle)
    tensors = load_file(facts.weights)
    autoencoder = Autoencoder(AutoencoderConfig(**_tuples(facts.network["autoencoder"])))
    denoiser = Denoiser(DenoiserConfig(**_tuples(facts.network["denoiser"])))
    sizes = facts.network["refiner"]
    refiner = Refiner(RefinerConfig(**_tuples(sizes))) if sizes else None
    for name, module in (("autoencoder", autoencoder), ("denoiser", denoiser), ("refiner", refiner)):
        if module is not None:
            own = {key.removeprefix(f"{name}."): part.float() for key, part in tensors.items() if key.startswith(name)}
            module.load_state_dict(own)
    made = BoneNetwork(facts, (autoencoder, denoiser, refiner), at_once=at_once)
    return made.eval().requires_grad_(False)


def paper_networks() -> tuple[Autoencoder, Denoiser, int]:
    """Autoencoder and denoiser in the published sizes, with random weights, and the grid, px."""
    preset = _preset("paper")
    autoencoder = Autoencoder(AutoencoderConfig(**_tuples(preset["autoencoder"])))
    denoiser = Denoiser(DenoiserConfig(**_tuples(preset["denoiser"])))
    return (
        autoencoder.eval().requires_grad_(False),
        denoiser.eval().requires_grad_(False),
        int(preset["grid"]),
    )


def control_network() -> tuple[ControlNetwork, int]:
    """The one-pass control at the size of the default preset, with random weights, and the grid, px."""
    preset = _preset("default")
    network = ControlNetwork(ControlConfig(**_tuples(preset["control"])))
    return network.eval().requires_grad_(False), int(preset["grid"])


def _preset(name: str) -> dict[str, Any]:
    return tomllib.loads((PRESETS / f"{name}.toml").read_text(encoding="utf-8"))


def _tuples(arguments: Arguments) -> Arguments:
    """TOML and JSON know lists only; the configurations hold tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
