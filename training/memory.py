"""A batch that does not fit: told in words that help, not in those of an allocator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from training.preset import Optimisation
from training.stage import OutOfMemory

__all__ = ["advised"]

# What the CPU allocator of torch says; it has no type of its own for it.
ALLOCATOR_WORDS = ("can't allocate memory", "not enough memory")


@contextmanager
def advised(stage: str, optimisation: Optimisation, device: str) -> Iterator[None]:
    """Turn what torch and Python raise when memory ends into advice.

    Raises
    ------
    OutOfMemory
        In their place.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(_advice(stage, optimisation, device)) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in ALLOCATOR_WORDS):
            raise
        raise OutOfMemory(_advice(stage, optimisation, device)) from error


def _advice(stage: str, optimisation: Optimisation, device: str) -> str:
    """The next smaller batch that gives the same steps, then what else costs memory."""
    batch, accumulate = optimisation.batch, optimisation.accumulate
    told = [f"{stage}: no memory left on {device} for batches of {batch}; the last checkpoint is kept"]
    if batch > 1:
        half = batch // 2
        told.append(f"--batch {half} --accumulate {accumulate * -(-batch // half)} takes as many images a step")
    crop = getattr(optimisation, "crop", None)
    if crop is not None and crop > 64:
        told.append(f"a preset of your own with crop = {crop // 2} takes a quarter of the memory")
    if not optimisation.bfloat16:
        told.append("bfloat16 = true in it takes about half")
    return "; ".join(told)
