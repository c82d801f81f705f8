"""Ways of running a network on a batch of images: eager, compiled, or as one CUDA graph."""

import shutil
from collections.abc import Callable
from os import environ

import torch
from torch import Tensor

from training.benchmark.networks import BoneNetwork

__all__ = ["DTYPES", "CannotRun", "compiled", "finish", "graph_runner", "plain_runner"]

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CAPTURE_WARM_UP = 3  # runs before a capture: libraries choose kernels and allocate in them

Run = Callable[[], Tensor]


class CannotRun(Exception):
    """A way of running is not possible here; the message says why."""


def finish(device: str) -> Callable[[], object] | None:
    """What waits until the device has done what it was given."""
    return torch.cuda.synchronize if device == "cuda" else None


def plain_runner(network: BoneNetwork, image: Tensor, noise: Tensor) -> Run:
    """Images (B, 1, H, W) on the host -> layers on the host, each time it is called."""
    device = next(network.parameters()).device

    def run() -> Tensor:
        with torch.inference_mode():
            layer: Tensor = network(image.to(device), noise.to(device)).cpu()
            return layer

    return run


def graph_runner(network: BoneNetwork, image: Tensor, noise: Tensor) -> Run:
    """As `plain_runner`, the kernels recorded once and then started by one call."""
    inputs = [part.to("cuda") for part in (image, noise)]
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), torch.no_grad():
        for _ in range(CAPTURE_WARM_UP):
            network(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        layer: Tensor = network(*inputs)

    def run() -> Tensor:
        for held, given in zip(inputs, (image, noise), strict=True):
            held.copy_(given, non_blocking=True)
        graph.replay()
        return layer.cpu()

    return run


def compiled(network: BoneNetwork) -> BoneNetwork:
    """Let torch.compile make kernels for the three networks; the sampler between them is a few additions.

    Raises
    ------
    CannotRun
        There is no C++ compiler, which the generated code needs.
    """
    if not any(shutil.which(name) for name in (environ.get("CXX", "c++"), "g++", "clang++")):
        raise CannotRun("torch.compile needs a C++ compiler, and there is none: apt-get install g++")
    network.autoencoder.encode = torch.compile(network.autoencoder.encode)  # type: ignore[method-assign]
    network.autoencoder.decode = torch.compile(network.autoencoder.decode)  # type: ignore[method-assign]
    network.denoiser.forward = torch.compile(network.denoiser.forward)  # type: ignore[method-assign]
    if network.refiner is not None:
        network.refiner.forward = torch.compile(network.refiner.forward)  # type: ignore[method-assign]
    return network
