"""From images to coarse bone layers with the separate graphs, on whatever arrays a runtime keeps on its device.

The one order of encoding, sampling and decoding; the fused graph of a bundle is the same, traced into one.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.bundle import ModelSpec
from model.sampler import Given, Noise, Recipe, draw_noise, walk
from model.schedule import timesteps
from pacs_node.config import Device
from pacs_node.records import FloatImage
from pacs_node.timing import stage

__all__ = ["Networks", "batch_size", "in_parts", "separate_layers", "starting_noise"]

GPU_BATCH = 16


class Networks(Protocol):
    """The three networks on arrays of one kind: NumPy, torch, or `pacs_node.engine.device_array.DeviceArray`."""

    @property
    def spec(self) -> ModelSpec: ...

    def encode(self, image: Any) -> Any: ...

    def predict(self, x_t: Any, t: FloatImage, condition: Any) -> Any: ...

    def decode(self, latents: Any) -> Any: ...


class _NoiseOfEach(Noise):
    """A stream for each image of a batch, so that its noise does not depend on its companions."""

    def __init__(self, seeds: Sequence[int], offset_noise: float) -> None:
        super().__init__(0, offset_noise)
        self._streams = [Noise(seed, offset_noise) for seed in seeds]

    def draw(self, shape: Sequence[int]) -> NDArray[np.float32]:
        return np.concatenate([stream.draw((1, *shape[1:])) for stream in self._streams])


def separate_layers(networks: Networks, images: Any, steps: int, seeds: Sequence[int]) -> Any:
    """What the decoder shows of each radiograph, minus what it shows of its sampled soft tissue.

    Both images have passed the decoder, so that what the autoencoder loses or adds is in both and drops out.

    Parameters
    ----------
    images : (B, 1, H, W) in [-1, 1], of the kind that ``networks`` take; all of them in one run.
    steps : network evaluations.
    seeds : of all noise, B of them.

    Returns
    -------
    (B, 1, H, W) of the same kind.
    """
    with stage("encode"):
        condition = networks.encode(images)

    def predict(x_t: Any, t: float) -> Any:
        with stage("step"):
            return networks.predict(x_t, np.full(x_t.shape[0], t, dtype=np.float32), condition)

    recipe = Recipe.of(networks.spec)
    noise = _NoiseOfEach(seeds, recipe.offset_noise)
    start = recipe.process.start(condition, lambda: noise.like(condition))
    soft = walk(predict, start, timesteps(steps), recipe, Given(condition, noise))
    # one after the other: decoding is the widest part of the network, and together they would double the peak memory
    with stage("decode"):
        return networks.decode(condition) - networks.decode(soft)


def starting_noise(spec: ModelSpec, images: FloatImage, seeds: Sequence[int]) -> FloatImage:
    """Where the sampling of each image starts, (B, C, h, w): the input `noise` of the fused graph."""
    shape = (1, spec.latent_channels, *(side // spec.downsampling for side in images.shape[2:]))
    return np.concatenate([draw_noise(seed, shape, spec.offset_noise) for seed in seeds])


def in_parts(compute: Callable[[slice], FloatImage], count: int, size: int) -> FloatImage:
    """Compute at most ``size`` of ``count`` images at once and put the results together again."""
    return np.concatenate([compute(slice(here, here + size)) for here in range(0, count, size)])


def batch_size(asked: int, device: Device) -> int:
    """How many images run at once: as asked, else 16 with CUDA. One image fills a CPU, and more need more memory."""
    return asked or (GPU_BATCH if device is Device.CUDA else 1)
