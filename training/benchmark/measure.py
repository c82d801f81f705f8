"""One row of the comparison, measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.sampler import draw_noise
from pacs_node.bench.environment import peak_resident_bytes
from pacs_node.bench.plan import PAPER_STEPS, TorchRow
from pacs_node.bench.rows import Rate, Row
from pacs_node.bench.spread import Spread, extrapolated_s, timed
from training.benchmark.networks import control_network, counted, paper_networks, shipped_network
from training.benchmark.runners import DTYPES, CannotRun, compiled, finish, graph_runner, plain_runner

__all__ = ["Bench", "measure", "torch_rates"]

PAPER_TIMED_STEPS = 3
FIRST_SENTENCE = 200  # characters of a foreign message
SEED = 1


@dataclass(frozen=True, slots=True)
class Bench:
    """How to measure.

    Attributes
    ----------
    bundle : folder.
    device : cpu or cuda.
    repeat : samples of each timing.
    batches : images at once, ascending; rows that are not batched take 1.
    image : (1, 1, grid, grid) float32 in [-1, 1], or None for a made one.
    """

    bundle: Path
    device: str
    repeat: int
    batches: tuple[int, ...] = (1,)
    image: NDArray[np.float32] | None = None


def measure(row: TorchRow, bench: Bench) -> list[Row]:
    """One row for each batch that was tried; a row that cannot run says why."""
    blank = Row(row.key, row.what, bench.device, row.precision)
    if bench.device == "cuda" and not torch.cuda.is_available():
        return [_without(blank, "torch sees no GPU")]
    try:
        if row.key.startswith("paper"):
            return [_paper(blank, bench)]
        return [_control(blank, bench)] if row.key == "control" else list(_shipped(row, blank, bench))
    except torch.OutOfMemoryError:
        return [_without(blank, "out of memory")]
    except (CannotRun, RuntimeError, NotImplementedError) as error:
        return [_without(blank, f"{type(error).__name__}: {str(error).splitlines()[0][:FIRST_SENTENCE]}")]


def _without(blank: Row, reason: str, batch: int = 1) -> Row:
    return Row(blank.key, blank.what, blank.device, blank.precision, batch, missing=reason)


def _shipped(row: TorchRow, blank: Row, bench: Bench) -> Iterator[Row]:
    network = shipped_network(bench.bundle, at_once=bench.device == "cuda").to(bench.device)
    image = torch.from_numpy(bench.image if bench.image is not None else made_image(network.facts.grid))
    noise = torch.from_numpy(draw_noise(SEED, network.facts.latent_shape(1), network.facts.recipe.offset_noise))
    flop, psnr_db = network.flop(), None
    if row.precision != "fp32":
        exact = plain_runner(network, image, noise)()
        psnr_db = _psnr_db(exact, plain_runner(network.halved(DTYPES[row.precision]), image, noise)())
    if row.key.startswith("compiled"):
        network = compiled(network)
    graph = bench.device == "cuda" and not row.key.startswith("eager")
    for batch in bench.batches if row.batched else (1,):
        _forget_peak(bench.device)
        inputs = image.repeat(batch, 1, 1, 1), noise.repeat(batch, 1, 1, 1)
        try:
            run = (graph_runner if graph else plain_runner)(network, *inputs)
            seconds = timed(run, bench.repeat, finish=finish(bench.device))
        except torch.OutOfMemoryError:
            yield _without(blank, "out of memory", batch)
            return
        peak = _peak(bench.device)
        yield Row(blank.key, blank.what, blank.device, blank.precision, batch, seconds, flop, peak, psnr_db)


def _psnr_db(exact: Tensor, other: Tensor) -> float:
    """For a data range of 2."""
    error = float(torch.mean((exact - other).double() ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(4 / error))


def _control(blank: Row, bench: Bench) -> Row:
    network, grid = control_network()
    flop = counted(network, (1, 1, grid, grid))
    network.to(bench.device)
    _forget_peak(bench.device)
    image = torch.from_numpy(made_image(grid))
    seconds = _timed(lambda: network(image.to(bench.device)).cpu(), bench.repeat, bench.device)
    return Row(blank.key, blank.what, blank.device, blank.precision, 1, seconds, flop, _peak(bench.device))


def _paper(blank: Row, bench: Bench) -> Row:
    """Steps are equal, so a few of them are timed; encoding and decoding happen once."""
    dtype = DTYPES[blank.precision]
    autoencoder, denoiser, grid = paper_networks()
    side = grid // autoencoder.config.downsampling
    latents = (1, autoencoder.config.latent_channels, side, side)
    flop = counted(autoencoder.encode, (1, 1, grid, grid)) + counted(autoencoder.decode, latents)
    flop += PAPER_STEPS * counted(denoiser, latents, (1,), latents)
    autoencoder.to(bench.device), denoiser.to(bench.device)
    _forget_peak(bench.device)
    image, x_t = torch.from_numpy(made_image(grid)).to(bench.device), torch.randn(latents, device=bench.device)
    t, repeat = torch.ones(1, device=bench.device), min(bench.repeat, PAPER_TIMED_STEPS)

    def seconds(run: Callable[[], object], count: int) -> Spread:
        with torch.autocast(bench.device, dtype=dtype, enabled=dtype is not torch.float32):
            return _timed(run, count, bench.device)

    step = seconds(lambda: denoiser(x_t, t, x_t), repeat)
    encode, decode = seconds(lambda: autoencoder.encode(image), 1), seconds(lambda: autoencoder.decode(x_t), 1)
    once = encode.median + decode.median
    middle, low, high = (extrapolated_s(once, value, PAPER_STEPS) for value in (step.median, step.low, step.high))
    return Row(
        blank.key,
        blank.what,
        blank.device,
        blank.precision,
        1,
        Spread(middle, low, high, step.count),
        flop,
        _peak(bench.device),
        parts={"encode": encode.median, "step": step.median, "decode": decode.median},
        note=f"extrapolated: encode + {PAPER_STEPS} x step ({step.count} timed) + decode, random weights, {grid} px",
    )


def _timed(run: Callable[[], object], repeat: int, device: str) -> Spread:
    with torch.inference_mode():
        return timed(run, repeat, finish=finish(device))


def made_image(grid: int) -> NDArray[np.float32]:
    """Smooth waves of many lengths, (1, 1, grid, grid) in [-1, 1]: the same on every machine."""
    rows, columns = np.meshgrid(np.linspace(0, 1, grid), np.linspace(0, 1, grid), indexing="ij")
    waves = sum(np.sin(2**n * (3 * rows + 2 * columns) + n) * np.cos(2**n * (rows - 4 * columns)) for n in range(6))
    return np.asarray(waves / 6, dtype=np.float32)[None, None]


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> int | None:
    return int(torch.cuda.max_memory_allocated()) if device == "cuda" else peak_resident_bytes()


def torch_rates(device: str, sides: Sequence[int] = (), repeat: int = 5) -> list[Rate]:
    """What torch makes of plain products of this device, in every precision that the rows use.

    Parameters
    ----------
    sides : rows = columns of the products; left out, what fills the device.
    """
    precisions = ("fp32", "bf16", "fp16") if device == "cuda" else ("fp32", "bf16")
    return [
        _rate(device, side, precision, repeat)
        for side in sides or ((8192, 4096) if device == "cuda" else (2048,))
        for precision in precisions
    ]


def _rate(device: str, side: int, precision: str, repeat: int) -> Rate:
    left, right = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    fastest = min(_timed(lambda: left @ right, 1, device).median for _ in range(repeat))
    return Rate(2.0 * side**3 / fastest, f"torch product {side} x {side} x {side}", precision, device)
