"""Which rows a comparison has, and what each is called; those of torch are run by `python -m training.benchmark`."""

from typing import NamedTuple

__all__ = ["BATCHES", "PAPER_STEPS", "RATES", "TorchRow", "torch_rows"]

RATES = "rates"  # the key under which torch's own matrix rates are asked for
PAPER_STEPS = 1000
BATCHES = {"cpu": (1, 2), "cuda": (1, 2, 4, 8, 16, 32, 64)}  # images at once, where nothing else is asked for


class TorchRow(NamedTuple):
    """One way of running a network on torch.

    Attributes
    ----------
    key : what `--rows` takes.
    what : for people.
    precision : of the products.
    slow : takes minutes on a CPU: left out by `--quick`.
    batched : timed for every number of images at once, too.
    """

    key: str
    what: str
    precision: str = "fp32"
    slow: bool = False
    batched: bool = False


CONTROL = TorchRow("control", "one-pass control U-Net, torch (random weights: the time is the same)")
PAPER = TorchRow("paper", f"BS-LDM in its published size at {PAPER_STEPS} steps, torch", slow=True)

CPU_ROWS = (
    TorchRow("eager", "same weights, torch eager", batched=True),
    TorchRow("eager-bf16", "same weights, torch eager", "bf16"),
    TorchRow("compiled", "same weights, torch.compile", slow=True),
    TorchRow("compiled-bf16", "same weights, torch.compile", "bf16", slow=True),
    CONTROL,
    PAPER,
)
CUDA_ROWS = (
    TorchRow("eager", "same weights, torch eager"),
    TorchRow("eager-fp16", "same weights, torch eager", "fp16"),
    TorchRow("graph", "same weights, torch CUDA graph", batched=True),
    TorchRow("graph-fp16", "same weights, torch CUDA graph", "fp16", batched=True),
    TorchRow("graph-bf16", "same weights, torch CUDA graph", "bf16"),
    TorchRow("compiled-fp16", "same weights, torch.compile in a CUDA graph", "fp16", slow=True, batched=True),
    CONTROL,
    PAPER,
    TorchRow("paper-bf16", PAPER.what, "bf16", slow=True),
)


def torch_rows(device: str, *, quick: bool = False) -> tuple[TorchRow, ...]:
    """Those of `cpu` or `cuda`, in the order in which they are shown."""
    rows = CUDA_ROWS if device == "cuda" else CPU_ROWS
    return tuple(row for row in rows if not (quick and row.slow))
