"""`pacs-node ablate`: train and sample without one part of the method after the other, and tell what that costs."""

import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pacs_node.commands.errors import ExitCode
from pacs_node.commands.interrupt import resumable, terminated_as_interrupted
from pacs_node.commands.places import require_places
from pacs_node.commands.terminal import print_json, say, stderr, stdout, table
from pacs_node.errors import ConfigError, ModelError
from training.ablate.compare import Seen
from training.ablate.data import Amounts
from training.ablate.networks import Budget
from training.ablate.page import write_page
from training.ablate.plan import STUDIES, Study, Values
from training.ablate.run import Told, Wish, ablate, quick
from training.ablate.tables import summary
from training.checkpoint import CheckpointError
from training.evaluate.scores import Judge
from training.loop import OutOfMemory, TrainingError
from training.perceptual import PerceptualWeightsError, load_perceptual
from training.preset import PresetError, load_preset

__all__ = ["Order", "parse_studies", "run"]

FRAMINGS, QUICK_FRAMINGS = 1500, 8
QUICK_AMOUNTS = Amounts(6, 3)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for; see `pacs-node ablate --help`.

    Attributes
    ----------
    amounts : pairs, test_pairs, data_seed, seeds.
    """

    folder: Path
    only: str | None
    data: Path | None
    preset: str
    amounts: Mapping[str, int]
    cpu_minutes: float | None
    threads: int
    markdown: Path | None
    lpips: bool
    quick: bool

    @property
    def command(self) -> str:
        """The command line that makes the same page."""
        words: dict[str, object] = {"-o": self.folder, "--data": self.data, "--only": self.only}
        words |= {f"--{name.replace('_', '-')}": number for name, number in self.amounts.items()}
        words |= {"--preset": self.preset, "--cpu-minutes": self.cpu_minutes, "--markdown": self.markdown}
        words |= {"--threads": self.threads} if self.threads > 1 else {}  # they sum in another order
        given = [text for name, value in words.items() if value is not None for text in (name, str(value))]
        flags = [*(["--quick"] if self.quick else []), *([] if self.lpips else ["--no-lpips"])]
        return shlex.join(["pacs-node", "ablate", *given, *flags])


def parse_studies(only: str | None) -> tuple[Study, ...]:
    """`"grid,omega"` -> the studies of these names, in the order of the page; all for None.

    Raises
    ------
    ConfigError
        There is no such study.
    """
    if only is None:
        return STUDIES
    names = [name.strip() for name in only.split(",")]
    unknown = [name for name in names if name not in STUDIES]
    if unknown:
        raise ConfigError(f"--only {', '.join(unknown)}: take of {', '.join(STUDIES)}")
    return tuple(study for study in STUDIES if study in names)


def run(order: Order, *, as_json: bool) -> int:
    """Make what is missing, show it, and write the page.

    Raises
    ------
    ConfigError
        Preset, data or folder cannot be used.
    ModelError
        A training is not finite.
    """
    if order.data is not None and not order.data.is_dir():
        raise ConfigError(f"there is no folder {order.data}")
    require_places(order.folder, order.markdown)
    with _told(order.folder), terminated_as_interrupted(), _bars(quiet=as_json) as told:
        wish = _wish(order)
        results = ablate(wish, lambda: _judge(order.lpips), told)
    if order.markdown is not None:
        results.note("facts", {"command": order.command})
    seen = Seen(results, wish.values)
    if order.markdown is not None:
        for path in write_page(seen, wish.studies, order.markdown):
            say(f"wrote {path}")
    if as_json:
        print_json(results.document)
    else:
        for grid in summary(seen, wish.studies):
            stdout().print(table(grid.columns, grid.rows, grid.title))
    return ExitCode.DONE


def _wish(order: Order) -> Wish:
    studies, preset = parse_studies(order.only), load_preset(order.preset)
    amounts, framings = Amounts(order.amounts["pairs"], order.amounts["test_pairs"]), FRAMINGS
    if preset.denoiser.prediction != "eps" or preset.diffusion.process != "diffusion":
        raise ConfigError(f"preset {preset.name}: what is ablated here is a diffusion that predicts noise (eps)")
    if order.quick:
        preset, amounts, framings = quick(preset), QUICK_AMOUNTS, QUICK_FRAMINGS
    steps = preset.autoencoder_training.max_steps, preset.diffusion.max_steps
    return Wish(
        order.folder,
        preset,
        Values.of(preset, quick=order.quick),
        studies,
        order.amounts["seeds"],
        Budget(*steps, framings, math.inf if order.cpu_minutes is None else order.cpu_minutes),
        amounts,
        order.data,
        order.amounts["data_seed"],
        order.threads,
    )


def _judge(lpips: bool) -> Judge:
    try:
        return Judge(load_perceptual() if lpips else None)
    except PerceptualWeightsError as error:
        raise ConfigError(f"{error}; or go without it: --no-lpips") from error


@contextmanager
def _bars(*, quiet: bool) -> Iterator[Told]:
    """One bar for whatever is counted; it is gone while a training shows its own."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=stderr(), disable=quiet, transient=True)
    tasks: dict[str, TaskID] = {}

    def advance(what: str, done: int, total: int) -> None:
        if what not in tasks:
            bar.start()
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done)
        if done >= total:
            bar.remove_task(tasks.pop(what))
            bar.stop()

    try:
        yield Told(say, advance, quiet)
    finally:
        bar.stop()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Errors in words of the command line."""
    try:
        with resumable(folder, PresetError, CheckpointError, OutOfMemory):
            yield
    except TrainingError as error:
        raise ModelError(str(error)) from error
