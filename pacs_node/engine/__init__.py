"""The network behind one Protocol; `pacs_node.engine.load` opens one by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from model.bundle import ModelSpec
from pacs_node.records import FloatImage

__all__ = ["Engine", "TorchOptions"]


class Engine(Protocol):
    """Encode, predict and decode on NumPy arrays; deterministic for equal inputs on one machine.

    Images are (B, 1, H, W) float32 in [-1, 1]; latents are (B, C, H / r, W / r) float32, standardised to unit
    variance per channel.
    """

    @property
    def spec(self) -> ModelSpec:
        """Sizes, schedule and digest of the open bundle."""
        ...

    @property
    def device(self) -> str:
        """`cpu` or `cuda`, or the name of another provider: what really runs, not what was asked for."""
        ...

    def encode(self, image: FloatImage) -> FloatImage:
        """Image -> latents."""
        ...

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        """One evaluation of the denoiser; t is (B,) float32 in [0, 1]; the output is what ``spec.prediction`` names."""
        ...

    def decode(self, latents: FloatImage) -> FloatImage:
        """Latents -> image."""
        ...

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        """Bone layers (B, 1, H, W) before refinement: each image as decoded, minus its sampled soft tissue as decoded.

        Parameters
        ----------
        images : any number of them; the engine decides how many it runs at once, and a layer depends on its own image
            and seed alone (to 1e-5; float32 sums are cut up differently in another batch).
        steps : network evaluations of each image.
        seeds : of all noise, one for each image.
        """
        ...

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        """Bone layer (B, 1, H, W) with the edges of the image; as it came where the bundle has no refiner."""
        ...


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """How the torch engine runs; the service never does. Known without torch.

    Attributes
    ----------
    precision : `bf16` and `fp16` are autocast: matrix products and convolutions in half precision.
    compiled : with torch.compile; on CUDA as CUDA graphs (mode reduce-overhead). On the CPU it needs a C++ compiler.
    channels_last : memory order of the weights.
    max_batch : images in one run; 0 is as for the service.
    """

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compiled: bool = False
    channels_last: bool = False
    max_batch: int = 0
