"""The same network on torch, rebuilt from the bundle's safetensors; for comparing, never for the service."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from model.autoencoder import Autoencoder, AutoencoderConfig
from model.bundle import Bundle, ModelSpec
from model.denoiser import Denoiser, DenoiserConfig
from model.refiner import Refiner, RefinerConfig
from pacs_node.config import Device
from pacs_node.engine import TorchOptions
from pacs_node.engine.checks import check_image, check_latents, check_order, check_step
from pacs_node.engine.coarse import batch_size, in_parts, separate_layers
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage

__all__ = ["TorchEngine", "rebuild", "require_compiler"]

Network = Callable[..., Tensor]
PLAIN = TorchOptions()
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Engine (see `pacs_node.engine.Engine`) on torch modules in evaluation mode.

    Parameters
    ----------
    spec : ModelSpec
    autoencoder : module with ``encode`` and ``decode``.
    denoiser : module called with (x_t, t, condition).
    refiner : module called with (image, layer), or None.
    device : `cpu` or `cuda`, already decided.
    options : precision, compilation, memory order, batch.

    Raises
    ------
    ModelError
        The network is to be compiled and there is no compiler.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (three modules, and how to run them)
        self,
        spec: ModelSpec,
        autoencoder: Autoencoder,
        denoiser: Denoiser,
        refiner: Refiner | None = None,
        device: Device = Device.CPU,
        options: TorchOptions = PLAIN,
    ) -> None:
        if options.compiled:
            require_compiler()
        self._spec, self._device, self._options = spec, device, options
        for module in (autoencoder, denoiser, refiner):
            if module is not None:
                _place(module, device, options)
        self._networks = _Networks(
            spec,
            self._function(autoencoder.encode),
            self._function(denoiser),
            self._function(autoencoder.decode),
        )
        self._refine = self._function(refiner) if refiner is not None else None

    @classmethod
    def open(
        cls, bundle: Bundle, device: Device = Device.AUTO, threads: int = 0, options: TorchOptions = PLAIN
    ) -> Self:
        """Rebuild the modules of ``bundle`` and load its weights.

        Raises
        ------
        ModelError
            The weights do not fit the modules, or a device was asked for that is not there.
        """
        if device in {Device.TENSORRT, Device.OPENVINO}:
            raise ModelError(f'model.device is "{device}", which torch does not run on; set "auto", "cpu" or "cuda"')
        if device is Device.CUDA and not torch.cuda.is_available():
            raise ModelError('model.device is "cuda" but torch sees no GPU; set model.device = "auto" or "cpu"')
        if threads:
            torch.set_num_threads(threads)
        found = Device.CUDA if device is not Device.CPU and torch.cuda.is_available() else Device.CPU
        return cls(bundle.spec, *rebuild(bundle), device=found, options=options)

    @property
    def spec(self) -> ModelSpec:
        """Sizes, schedule and digest of the open bundle."""
        return self._spec

    @property
    def device(self) -> str:
        """`cpu` or `cuda`: what really runs."""
        return self._device.value

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`."""
        return self._options.precision

    @property
    def max_batch(self) -> int:
        """How many images run at once."""
        return batch_size(self._options.max_batch, self._device)

    def encode(self, image: FloatImage) -> FloatImage:
        """Image (B, 1, H, W) -> standardised latents (B, C, H / r, W / r)."""
        return self._run(self._networks.encoder, check_image(self._spec, image))

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        """One evaluation of the denoiser at the times t (B,) in [0, 1]."""
        check_step(self._spec, x_t, t, condition)
        return self._run(self._networks.denoiser, x_t, t, condition)

    def decode(self, latents: FloatImage) -> FloatImage:
        """Latents (B, C, h, w) -> image (B, 1, h r, w r)."""
        return self._run(self._networks.decoder, check_latents(self._spec, latents))

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        """Bone layers (B, 1, H, W) before refinement; latents stay on the device."""
        check_order(self._spec, images, steps, seeds)

        def layers(part: slice) -> FloatImage:
            return self._run(lambda image: separate_layers(self._networks, image, steps, seeds[part]), images[part])

        return in_parts(layers, len(images), self.max_batch)

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        """Bone layer (B, 1, H, W) with the edges of the image; as it came where there is no refiner."""
        refiner = self._refine
        if refiner is None:
            return layer
        check_image(self._spec, image)
        check_image(self._spec, layer)
        return in_parts(lambda part: self._run(refiner, image[part], layer[part]), len(image), self.max_batch)

    def _function(self, function: Network) -> Network:
        """``function`` in the precision that is asked for, compiled if that is asked for; its output is float32."""
        if self._options.compiled:
            # reduce-overhead means CUDA graphs, whose outputs the next call overwrites: they are copied below
            function = torch.compile(function, mode="reduce-overhead" if self._device is Device.CUDA else "default")
        half = HALF.get(self._options.precision)

        def run(*tensors: Tensor) -> Tensor:
            with torch.autocast(self._device.value, dtype=half, enabled=half is not None):
                output = function(*tensors).float()
            if self._device is Device.CUDA:
                torch.cuda.synchronize()  # so that a stage's time is its own
            return output.clone() if self._options.compiled else output

        return run

    def _run(self, function: Network, *arrays: FloatImage) -> FloatImage:
        try:
            # what torch.compile makes knows no inference mode in every version
            with torch.no_grad() if self._options.compiled else torch.inference_mode():
                output: FloatImage = (
                    function(*(torch.from_numpy(array).to(self._device.value) for array in arrays)).cpu().numpy()
                )
                return output
        except torch.OutOfMemoryError as error:
            raise Retriable("out of memory in torch") from error
        except RuntimeError as error:
            raise ModelError("torch failed while running the network") from error


@dataclass(frozen=True, slots=True)
class _Networks:
    """The three networks on tensors."""

    spec: ModelSpec
    encoder: Network
    denoiser: Network
    decoder: Network

    def encode(self, image: Tensor) -> Tensor:
        return self.encoder(image)

    def predict(self, x_t: Tensor, t: FloatImage, condition: Tensor) -> Tensor:
        return self.denoiser(x_t, torch.from_numpy(t).to(x_t.device), condition)

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents)


def _place(module: nn.Module, device: Device, options: TorchOptions) -> None:
    module.to(device.value).eval()
    if options.channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def require_compiler() -> None:
    """See that torch.compile can build what it writes.

    Raises
    ------
    ModelError
        There is no C++ compiler.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        raise ModelError("torch.compile needs a C++ compiler: apt-get install g++, or run without compiling")


def rebuild(bundle: Bundle) -> tuple[Autoencoder, Denoiser, Refiner | None]:
    """The torch modules of a bundle, float32, on the CPU, in evaluation mode.

    Raises
    ------
    ModelError
        The constructor arguments or the tensors do not fit this version of the modules.
    """
    try:
        tensors = load_file(bundle.weights_path)
        network = bundle.spec.network
        autoencoder = Autoencoder(AutoencoderConfig(**_tuples(network.autoencoder)))
        denoiser = Denoiser(DenoiserConfig(**_tuples(network.denoiser)))
        _load(autoencoder, "autoencoder.", tensors)
        _load(denoiser, "denoiser.", tensors)
        refiner = Refiner(RefinerConfig(**_tuples(network.refiner))) if network.refiner else None
        if refiner is not None:
            _load(refiner, "refiner.", tensors)
    except (OSError, SafetensorError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{bundle.weights_path} does not fit the torch modules of this version") from error
    return autoencoder, denoiser, refiner


def _tuples(arguments: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; the configurations hold tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}


def _load(module: nn.Module, prefix: str, tensors: dict[str, Tensor]) -> None:
    own = {name.removeprefix(prefix): tensor.float() for name, tensor in tensors.items() if name.startswith(prefix)}
    module.load_state_dict(own, strict=True)
    module.eval()
