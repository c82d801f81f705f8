"""Several processes that train one network, as `torchrun` starts them; a process alone is a world of one.

Gradients travel by NCCL between GPUs; the few words that processes exchange beside them travel by Gloo, on the CPU.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["DeviceError", "World", "choose_device", "current_world", "joined"]

# One process simulates, encodes and validates while the others wait: hours are nothing unusual.
PATIENCE = timedelta(days=7)


class DeviceError(Exception):
    """The device that was asked for is not there, or is not used like this."""


@dataclass(frozen=True, slots=True)
class World:
    """One process among those of a training."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes, validates and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            self.largest(0)

    def largest(self, value: int) -> int:
        """The largest of what the processes say: a decision that all of them take."""
        if self.size == 1:
            return value
        told = torch.tensor([value])
        distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
        return int(told)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean over the processes, name by name; what is not finite in one of them is not finite in the mean."""
        if self.size == 1:
            return values
        told = torch.tensor(list(values.values()), dtype=torch.float64)
        distributed.all_reduce(told)
        return dict(zip(values, (told / self.size).tolist(), strict=True))

    def average_buffers(self, module: nn.Module) -> None:
        """Give all processes the mean of what each of them counted, as a codebook that follows its own data."""
        if self.size == 1:
            return
        for buffer in module.buffers():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer.div_(self.size)

    def share(self, module: nn.Module) -> nn.Module:
        """A module whose backward pass averages the gradients over the processes."""
        return module if self.size == 1 else DistributedDataParallel(module, broadcast_buffers=False)


def current_world() -> World:
    """Where this process stands."""
    if not distributed.is_available() or not distributed.is_initialized():
        return World()
    return World(distributed.get_rank(), distributed.get_world_size())


def choose_device(name: str) -> torch.device:
    """The device to train on.

    Parameters
    ----------
    name : as `torch.device` takes it; `auto` is CUDA where there is one, and under `torchrun` this process's own GPU.

    Raises
    ------
    DeviceError
        There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"{name} is no device: cpu, cuda, cuda:1 or auto") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"there is no {name} here, but {torch.cuda.device_count()} GPUs: take --device auto")
    return device


@contextmanager
def joined(device: str = "auto") -> Iterator[World]:
    """Meet the other processes where `torchrun` started several, and part at the end.

    Raises
    ------
    DeviceError
        There is no such device.
    """
    chosen = choose_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield current_world()
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield current_world()
    finally:
        distributed.destroy_process_group()
