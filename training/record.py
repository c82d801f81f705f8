"""What is written about a training while it runs: a bar, `metrics.jsonl`, TensorBoard, sheets of pictures."""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.stage import Rows, Run, Scores

__all__ = ["METRICS", "Record", "joined_sheet"]

METRICS, SHEETS, EVENTS = "metrics.jsonl", "sheets", "tensorboard"
LOG_EVERY = 10  # steps
LARGEST_PICTURE = 512  # px, each on a sheet


class Record:
    """The bar and the files of one run, from the step it starts at.

    What an earlier run noted after its last checkpoint (it was killed) is dropped: those steps are taken again. A
    training that starts over drops what was best before too, which whoever exports it would take for its own.
    """

    def __init__(self, run: Run, name: str, step: int) -> None:
        self.run, self.task_name, self.first = run, name, step
        self.events = _writer(run.folder / EVENTS, step) if run.tensorboard else None
        self.bar = _bar(run.quiet)
        _forget_after(run.folder / METRICS, step)
        if not run.resume:
            shutil.rmtree(run.folder / "best", ignore_errors=True)

    def __enter__(self) -> "Record":
        self.bar.start()
        self.task = self.bar.add_task(self.task_name, total=self.run.max_steps, completed=self.first, loss="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()
        if self.events is not None:
            self.events.close()

    def step(self, step: int, seconds: float, parts: Scores) -> None:
        """Move the bar; every tenth step is noted."""
        self.bar.update(self.task, completed=step, loss=f"loss {parts['loss']:.4f}")
        if step % LOG_EVERY == 0:
            self._note(step, "training", {"seconds": seconds, **parts})

    def look(self, step: int, scores: Scores, rows: Rows) -> None:
        """Note a validation, and keep its sheet of pictures."""
        if scores:
            self._note(step, "validation", scores)
        if rows:
            sheet = joined_sheet(rows)
            path = self.run.folder / SHEETS / f"step-{step:07d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(sheet).save(path)
            if self.events is not None:
                self.events.add_image("sheet", sheet, step, dataformats="HW")
        if self.events is not None:
            self.events.flush()

    def _note(self, step: int, kind: str, values: Scores) -> None:
        entry = {"step": step, "kind": kind, **values}
        rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in entry.items()}
        self.run.folder.mkdir(parents=True, exist_ok=True)
        with (self.run.folder / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(rounded) + "\n")
        if self.events is not None:
            for key, value in values.items():
                self.events.add_scalar(f"{kind}/{key}", value, step)


def joined_sheet(rows: Rows) -> NDArray[np.uint8]:
    """Pictures in [0, 1] side by side and one row below the other; large ones are averaged down.

    Returns
    -------
    (H, W) uint8; values outside [0, 1] are cut.
    """
    sheet = np.concatenate([np.concatenate([_small(picture) for picture in row], axis=1) for row in rows], axis=0)
    pixels: NDArray[np.uint8] = np.rint(sheet.clip(0, 1) * 255).astype(np.uint8)
    return pixels


def _small(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    factor = -(-max(picture.shape) // LARGEST_PICTURE)
    rows, columns = (side // factor for side in picture.shape)
    blocks = picture[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    mean: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return mean


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines of later steps, and a last line that was cut in the middle."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            continue
    temporary = path.with_suffix(".part")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)


def _writer(folder: Path, step: int) -> Any:
    """TensorBoard's writer, or None where the package is not installed: nothing hangs on it."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra of its own, slow to import)
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def _bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=Console(stderr=True),
        disable=quiet,
    )
