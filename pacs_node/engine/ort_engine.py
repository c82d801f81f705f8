"""The engine of the service: the ONNX graphs of a bundle on ONNX Runtime, on CPU or CUDA, without torch.

Deterministic: equal inputs give equal bytes, run after run and process after process, on one machine with one version
of the runtime. On CUDA that is why the convolution algorithm is chosen by rule (not by timing) and TF32 is off.
Another machine, device or version may differ in the last bits of float32.

Memory is bounded whatever arrives: one run at a time, of at most ``max_batch`` images of the bundle's size, and a graph
is opened when it is first needed, so that a bundle with a fused graph holds its weights once.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from model.bundle import ROLES, Bundle, ModelSpec, Role
from pacs_node.config import Device, ModelSettings, Precision
from pacs_node.engine.checks import check_image, check_latents, check_order, check_step
from pacs_node.engine.coarse import Networks, batch_size, in_parts, separate_layers, starting_noise
from pacs_node.engine.device_array import Arithmetic, DeviceArray
from pacs_node.engine.graph import Graph, Replayed
from pacs_node.engine.providers import Setup, choose_device
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage
from pacs_node.timing import stage

__all__ = ["OrtEngine"]

log = logging.getLogger(__name__)


class OrtEngine:
    """Engine (see `pacs_node.engine.Engine`) on ONNX Runtime; safe to call from several threads, which take turns.

    Parameters
    ----------
    bundle : an open bundle.
    device : `auto` takes CUDA where it really works, else the CPU with one log line.
    threads : CPU threads for one operator; 0 lets the runtime take every core.
    settings : all of [model], in the place of these two; its steps say what is opened and warmed up.
    warm : see `warm_up`; where the device may turn out not to work, as with `auto` on a GPU, it is done anyway.

    Raises
    ------
    ModelError
        A graph cannot be loaded or run, or a device or precision was asked for that is not there.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device = Device.AUTO,
        threads: int = 0,
        *,
        settings: ModelSettings | None = None,
        warm: bool = True,
    ) -> None:
        self._bundle = bundle
        self._spec = bundle.spec
        self._settings = settings or ModelSettings(device=device, threads=threads)
        self._lock = threading.RLock()
        self._warm = warm
        found = choose_device(self._settings.device)
        try:
            self._open(found)
        except ModelError:
            if self._settings.device is not Device.AUTO or found is Device.CPU:
                raise
            log.warning("CUDA is here but ONNX Runtime cannot use it: running on the CPU")
            self._open(Device.CPU)

    def _open(self, device: Device) -> None:
        self._setup = Setup.of(device, self._settings, half=_computes_half(self._bundle, device, self._settings))
        self._graphs: dict[Role, Graph] = {}
        self._replayed: dict[Role, Graph | Replayed] = {}
        self._arithmetic: Arithmetic | None = None
        self._max_batch = batch_size(self._settings.max_batch, device)
        self._open_graphs()
        if self._warm or device is not Device.CPU:
            self.warm_up()

    @property
    def spec(self) -> ModelSpec:
        """Sizes, schedule and digest of the open bundle."""
        return self._spec

    @property
    def device(self) -> str:
        """`cpu`, `cuda`, `tensorrt` or `openvino`: what really runs."""
        return self._setup.device.value

    @property
    def precision(self) -> str:
        """`fp16` where the bundle's half-precision graphs run, else `fp32`."""
        return "fp16" if self._setup.half else "fp32"

    @property
    def max_batch(self) -> int:
        """How many images run at once; less than was asked for once memory was short."""
        return self._max_batch

    def encode(self, image: FloatImage) -> FloatImage:
        """Image (B, 1, H, W) -> standardised latents (B, C, H / r, W / r)."""
        with self._lock:
            return self._graph("encoder").array(image=check_image(self._spec, image))

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        """One evaluation of the denoiser at the times t (B,) in [0, 1]."""
        check_step(self._spec, x_t, t, condition)
        with self._lock:
            return self._graph("denoiser").array(x_t=x_t, t=t, condition=condition)

    def decode(self, latents: FloatImage) -> FloatImage:
        """Latents (B, C, h, w) -> image (B, 1, h r, w r)."""
        with self._lock:
            return self._graph("decoder").array(latents=check_latents(self._spec, latents))

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        """Bone layers (B, 1, H, W) before refinement, one seed for each image; see `pacs_node.engine.Engine`.

        The fused graph runs where the bundle has one and ``steps`` are its own, else the separate graphs.
        """
        check_order(self._spec, images, steps, seeds)
        run = self._fused if self._has_fused(steps) else self._separate
        return self._bounded(lambda part: run(images[part], steps, seeds[part]), len(images))

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        """Bone layer (B, 1, H, W) with the edges of the image; as it came where there is no refiner."""
        if "refiner" not in self._spec.graphs:
            return layer
        if check_image(self._spec, image).shape != check_image(self._spec, layer).shape:
            raise ValueError(f"image {image.shape} and layer {layer.shape} do not belong together")
        return self._bounded(
            lambda part: self._whole("refiner").array(image=image[part], layer=layer[part]), len(image)
        )

    def warm_up(self) -> None:
        """Run once what every image will run, at its size: memory, kernels and damage show before the first patient."""
        image = np.zeros((1, 1, self._spec.grid, self._spec.grid), np.float32)
        self.refine(image, self.coarse_layers(image, self._steps, [0]))

    @property
    def _steps(self) -> int:
        return self._settings.steps or self._spec.steps

    def _has_fused(self, steps: int) -> bool:
        return "fused" in self._spec.graphs and steps == self._spec.steps

    def _open_graphs(self) -> None:
        """Open what every image will run; the others wait for somebody who asks, so that the weights are held once."""
        if self._has_fused(self._steps):
            self._whole("fused")
        else:
            for role in ROLES:
                self._graph(role)
        if "refiner" in self._spec.graphs:
            self._whole("refiner")

    def _fused(self, images: FloatImage, _steps: int, seeds: Sequence[int]) -> FloatImage:
        with stage("fused"):
            return self._whole("fused").array(image=images, noise=starting_noise(self._spec, images, seeds))

    def _separate(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        # this bound looks up a quantile of every sample, which the arithmetic of a device does not know
        quantiles = self._spec.clipping.kind == "dynamic_thresholding"
        networks: Networks = self if quantiles else _OnDevice(self._spec, self._graph, self._sampler_arithmetic())
        layers: FloatImage = separate_layers(networks, images, steps, seeds)
        return layers

    def _bounded(self, compute: Callable[[slice], FloatImage], count: int) -> FloatImage:
        """All of ``count`` images, at most ``max_batch`` at once and half as many from when memory is short."""
        while True:
            size = min(self._max_batch, count)
            try:
                return in_parts(lambda part: self._alone(compute, part), count, size)
            except Retriable:
                if size == 1:
                    raise
                self._max_batch = max(1, size // 2)
                log.warning("memory is short: at most %d images at once from now on", self._max_batch)

    def _alone(self, compute: Callable[[slice], FloatImage], part: slice) -> FloatImage:
        with self._lock:  # two runs at a time would need twice the memory and be no faster
            return compute(part)

    def _graph(self, role: Role) -> Graph:
        """The graph of a role, opened when it is first needed."""
        with self._lock:
            if role not in self._graphs:
                self._graphs[role] = Graph(self._path(role), self._setup)
            return self._graphs[role]

    def _whole(self, role: Role) -> Graph | Replayed:
        """A graph that takes and gives whole images: on CUDA one whose kernels are captured."""
        if self._setup.device is not Device.CUDA:
            return self._graph(role)
        with self._lock:
            if role not in self._replayed:
                self._replayed[role] = Replayed(self._path(role), self._setup)
            return self._replayed[role]

    def _sampler_arithmetic(self) -> Arithmetic:
        with self._lock:
            self._arithmetic = self._arithmetic or Arithmetic(self._setup)
            return self._arithmetic

    def _path(self, role: Role) -> Path:
        return self._bundle.path(role, half=self._setup.half and role in self._spec.half_graphs)

    def close(self) -> None:
        """Give memory back; the engine cannot be used afterwards."""
        with self._lock:
            self._graphs.clear()
            self._replayed.clear()
            self._arithmetic = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _OnDevice:
    """The three networks on tensors that stay on the device from the latents of the image to the decoded layer."""

    spec: ModelSpec
    graph: Callable[[Role], Graph]
    arithmetic: Arithmetic

    def encode(self, image: FloatImage) -> DeviceArray:
        return DeviceArray(self.graph("encoder").run(image=image), self.arithmetic)

    def predict(self, x_t: DeviceArray, t: FloatImage, condition: DeviceArray) -> DeviceArray:
        prediction = self.graph("denoiser").run(x_t=x_t.value, t=t, condition=condition.value)
        return DeviceArray(prediction, self.arithmetic)

    def decode(self, latents: DeviceArray) -> FloatImage:
        return self.graph("decoder").array(latents=latents.value)


def _computes_half(bundle: Bundle, device: Device, settings: ModelSettings) -> bool:
    """Whether the half-precision graphs run; raises ModelError when they are asked for and there are none."""
    if settings.precision is Precision.FP16 and not bundle.spec.half_graphs:
        raise ModelError(
            'model.precision is "fp16" but the bundle has no half-precision graphs: make it again with '
            'pacs-node export-onnx, or set model.precision = "auto"'
        )
    if settings.precision is Precision.AUTO:
        return bool(bundle.spec.half_graphs) and device in {Device.CUDA, Device.TENSORRT}
    return settings.precision is Precision.FP16
