"""The same network on torch, rebuilt from the bundle's safetensors; for comparing, never for the service."""

from collections.abc import Callable
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
from pacs_node.engine.checks import check_image, check_latents, check_step
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage

__all__ = ["TorchEngine", "rebuild"]


class TorchEngine:
    """Engine (see `pacs_node.engine.Engine`) on torch modules in evaluation mode.

    Parameters
    ----------
    spec : ModelSpec
    autoencoder : module with ``encode`` and ``decode``.
    denoiser : module called with (x_t, t, condition).
    refiner : module called with (image, layer), or None.
    device : `cpu` or `cuda`, already decided.
    """

    def __init__(
        self,
        spec: ModelSpec,
        autoencoder: Autoencoder,
        denoiser: Denoiser,
        refiner: Refiner | None = None,
        device: Device = Device.CPU,
    ) -> None:
        self._spec = spec
        self._device = device
        self._autoencoder = autoencoder.to(device.value).eval()
        self._denoiser = denoiser.to(device.value).eval()
        self._refiner = refiner.to(device.value).eval() if refiner is not None else None

    @classmethod
    def open(cls, bundle: Bundle, device: Device = Device.AUTO, threads: int = 0) -> Self:
        """Rebuild the modules of ``bundle`` and load its weights.

        Raises
        ------
        ModelError
            The weights do not fit the modules, or CUDA was asked for and is not there.
        """
        if device is Device.CUDA and not torch.cuda.is_available():
            raise ModelError('model.device is "cuda" but torch sees no GPU; set model.device = "auto" or "cpu"')
        if threads:
            torch.set_num_threads(threads)
        found = Device.CUDA if device is not Device.CPU and torch.cuda.is_available() else Device.CPU
        return cls(bundle.spec, *rebuild(bundle), device=found)

    @property
    def spec(self) -> ModelSpec:
        """Sizes, schedule and digest of the open bundle."""
        return self._spec

    @property
    def device(self) -> str:
        """`cpu` or `cuda`: what really runs."""
        return self._device.value

    def encode(self, image: FloatImage) -> FloatImage:
        """Image (B, 1, H, W) -> standardised latents (B, C, H / r, W / r)."""
        return self._run(self._autoencoder.encode, check_image(self._spec, image))

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        """One evaluation of the denoiser at the times t (B,) in [0, 1]."""
        check_step(self._spec, x_t, t, condition)
        return self._run(self._denoiser, x_t, t, condition)

    def decode(self, latents: FloatImage) -> FloatImage:
        """Latents (B, C, h, w) -> image (B, 1, h r, w r)."""
        return self._run(self._autoencoder.decode, check_latents(self._spec, latents))

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        """Bone layer (B, 1, H, W) with the edges of the image; as it came where there is no refiner."""
        if self._refiner is None:
            return layer
        return self._run(self._refiner, check_image(self._spec, image), check_image(self._spec, layer))

    def _run(self, function: Callable[..., Tensor], *arrays: FloatImage) -> FloatImage:
        try:
            with torch.inference_mode():
                tensors = [torch.from_numpy(array).to(self._device.value) for array in arrays]
                output: FloatImage = function(*tensors).float().cpu().numpy()
                return output
        except torch.OutOfMemoryError as error:
            raise Retriable("out of memory in torch") from error
        except RuntimeError as error:
            raise ModelError("torch failed while running the network") from error


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
