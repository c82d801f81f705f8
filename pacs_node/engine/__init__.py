"""The network behind one Protocol; `pacs_node.engine.load` opens one by name."""

from typing import Protocol

from model.bundle import ModelSpec
from pacs_node.records import FloatImage

__all__ = ["Engine"]


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
        """`cpu` or `cuda`: what really runs, not what was asked for."""
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

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        """Bone layer (B, 1, H, W) with the edges of the image; as it came where the bundle has no refiner."""
        ...
