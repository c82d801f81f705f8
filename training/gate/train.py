"""Fit the gate's network: one for each fold, which never sees that fold, and one on everything, which ships."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import nn

from pacs_node.imaging.gate_network import CLASSES
from pacs_node.imaging.gate_thumbnail import with_ranks
from pacs_node.records import FloatImage
from training.gate.augment import CROPPED
from training.gate.film import KINDS, Pool
from training.gate.network import GateNetwork, arrays_of

__all__ = ["Plan", "batch", "fit", "write_weights"]

EVERY_FOLD = -1
# How often each answer is the right one; frontal chests most, since refusing one costs most.
SHARES = {
    "frontal": 0.32,
    "inverted": 0.1,
    "rotated": 0.14,
    "lateral": 0.15,
    "other": 0.17,
    "cropped": 0.07,
    "bone": 0.05,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast."""

    steps: int = 1800
    batch: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    smoothing: float = 0.02
    seed: int = 20261122


def fit(pool: Pool, left_out: int = EVERY_FOLD, plan: Plan | None = None) -> GateNetwork:
    """Train one network on all folds but one; ``left_out`` of -1 takes all."""
    plan = plan or Plan()
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng([plan.seed, left_out + 1])
    network = GateNetwork()
    rows = _rows_of_kinds(pool, left_out)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=plan.steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=plan.smoothing)
    for _ in track(range(plan.steps), f"fold {left_out}", console=Console(stderr=True)):
        tones, wanted = batch(pool, rows, plan.batch, rng)
        loss = loss_of(network(torch.from_numpy(with_ranks(tones))), torch.from_numpy(wanted))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def _rows_of_kinds(pool: Pool, left_out: int) -> list[NDArray[np.int64]]:
    """Rows of the pool for each kind and, last, for useless crops."""
    seen = pool.fold != left_out if left_out >= 0 else np.ones(len(pool.fold), bool)
    return [np.flatnonzero(seen & (pool.kind == kind)) for kind in range(CROPPED + 1)]


def batch(
    pool: Pool, rows: list[NDArray[np.int64]], count: int, rng: np.random.Generator
) -> tuple[FloatImage, NDArray[np.int64]]:
    """Thumbnails of every class: rotations and negatives are made here from upright ones.

    Returns
    -------
    tones : (count, 64, 64) float32 in [0, 1].
    wanted : (count,) int64, index into ``CLASSES``.
    """
    wanted = rng.choice(len(CLASSES), count, p=[SHARES[name] for name in CLASSES])
    tones = np.stack([_example(pool, rows, CLASSES[label], rng) for label in wanted])
    return tones, wanted.astype(np.int64)


def _example(pool: Pool, rows: list[NDArray[np.int64]], name: str, rng: np.random.Generator) -> FloatImage:
    kind = CROPPED if name == "cropped" else KINDS.index(name if name in KINDS else "frontal")
    tones = pool.tones[rng.choice(rows[kind])].astype(np.float32) / 255
    if rng.random() < 0.5:
        tones = tones[:, ::-1]
    turns, negative = 0, name == "inverted"
    if name == "rotated":
        turns, negative = int(rng.choice([1, 1, 2, 2, 3, 3])), rng.random() < 0.15
    elif name in ("lateral", "bone", "cropped"):
        turns, negative = int(rng.integers(4)) * (rng.random() < 0.15), rng.random() < 0.12
    elif name == "other":
        turns, negative = int(rng.integers(4)) * (rng.random() < 0.5), rng.random() < 0.3
    tones = np.rot90(tones, turns)
    return np.ascontiguousarray(1 - tones if negative else tones)


def write_weights(network: GateNetwork, path: Path, note: str) -> None:
    """Write what the service reads, with a note on what made it."""
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(temporary, note=np.array(note), **arrays_of(network))  # type: ignore[arg-type]
    temporary.replace(path)
