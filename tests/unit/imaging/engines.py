"""Engines whose answer is known, for tests of everything around the network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.bundle import Bundle, FusionSpec, ModelSpec
from pacs_node.engine.coarse import Networks, in_parts, separate_layers
from pacs_node.records import FloatImage

__all__ = ["BoneFromDecoder", "described_bundle", "one_by_one"]


def described_bundle(grid: int = 256, steps: int = 3, fusion: FusionSpec | None = None) -> Bundle:
    """A bundle that exists on paper only: what the pipeline and the derivation ask of it."""
    graphs = {"encoder": "e.onnx", "denoiser": "n.onnx", "decoder": "d.onnx"}
    spec = ModelSpec.model_validate(
        {
            "name": "known answer",
            "version": "1",
            "grid": grid,
            "steps": steps,
            "fusion": fusion or FusionSpec(),
            "graphs": graphs,
            "files": {name: {"sha256": "0" * 64, "bytes": 0} for name in (*graphs.values(), "weights.safetensors")},
        }
    )
    return Bundle(folder=Path("nowhere"), spec=spec, digest="ab" * 32)


def one_by_one(networks: Networks, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
    """`Engine.coarse_layers` of an engine that takes one image at a time."""

    def layers(part: slice) -> FloatImage:
        found: FloatImage = separate_layers(networks, images[part], steps, seeds[part])
        return found

    return in_parts(layers, len(images), 1)


class BoneFromDecoder:
    """Decodes the radiograph's latents to ``bone`` and any others to 0, so that the layer is ``bone``.

    Attributes
    ----------
    predicted_at : the diffusion times the denoiser was asked at.
    noises : the first latents of each sampling.
    """

    device = "cpu"

    def __init__(self, bundle: Bundle, bone: FloatImage | float = 0.0) -> None:
        self.spec = bundle.spec
        self.bone = np.broadcast_to(np.asarray(bone, np.float32), (1, 1, bundle.spec.grid, bundle.spec.grid))
        self.seen: list[FloatImage] = []
        self.predicted_at: list[float] = []
        self.noises: list[FloatImage] = []
        self._latents: FloatImage | None = None

    def encode(self, image: FloatImage) -> FloatImage:
        self.seen.append(image)
        side = self.spec.grid // self.spec.downsampling
        self._latents = np.ones((image.shape[0], self.spec.latent_channels, side, side), np.float32)
        return self._latents

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        assert condition is self._latents
        if t[0] == 1:
            self.noises.append(x_t)
        self.predicted_at.append(float(t[0]))
        return np.zeros_like(x_t)

    def decode(self, latents: FloatImage) -> FloatImage:
        return self.bone.copy() if latents is self._latents else np.zeros_like(self.bone)

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        return one_by_one(self, images, steps, seeds)

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        return layer
