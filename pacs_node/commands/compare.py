"""`pacs-node compare`: the rivals, the control and ours, trained under one budget and measured on the same pairs."""

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from model.bundle import Bundle
from pacs_node.bench.environment import describe_environment
from pacs_node.commands.errors import ExitCode
from pacs_node.commands.interrupt import resumable, terminated_as_interrupted
from pacs_node.commands.places import require_places
from pacs_node.commands.terminal import print_json, say, stderr, stdout, table
from pacs_node.engine.load import load_bundle
from pacs_node.errors import ConfigError, ModelError
from training.baselines.registry import Scale
from training.checkpoint import CheckpointError
from training.compare.findings import findings
from training.compare.ground import OVERSAMPLED, Ground, open_ground, simulate_pairs
from training.compare.ours import SHARES
from training.compare.page import as_html, as_markdown
from training.compare.result import Comparison, as_json
from training.compare.run import Order, Watcher, claim_folder, compare, one_thread, sheets, train_all
from training.compare.systems import NAMES, Name
from training.compare.tables import cost_table, summary_table
from training.compare.trained import ENOUGH_STEPS, Budget
from training.evaluate.scores import Judge
from training.loop import OutOfMemory, TrainingError
from training.perceptual import PerceptualWeightsError, load_perceptual
from training.preset import Preset, PresetError, load_preset

__all__ = ["DEFAULT_SCALES", "Request", "run"]

RESULTS, PAGE = "results.json", "report.html"
TRAIN_FOLDER, TEST_FOLDER = "simulated-train", "simulated-test"
# In minutes of one thread MCA-Net and BS-Diff have to be scaled down, and the tied Gusarev does not reach the input.
DEFAULT_SCALES: dict[Name, Scale] = {"gusarev": "small", "resnet_bs": "paper", "mca_net": "small", "bs_diff": "small"}
QUICK_STEPS = 2


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; see `pacs-node compare --help`.

    Attributes
    ----------
    amounts : pairs to simulate for training, for the test, and framings.
    """

    output: Path
    data: tuple[Path, ...] = ()
    pairs_test: tuple[Path, ...] = ()
    cpu_minutes: float = 12.0
    size: int | None = None
    preset: str = "compare"
    only: str | None = None
    scale: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    bundle: str | None = None
    markdown: Path | None = None
    amounts: tuple[int, int, int] = (400, 60, 1000)
    seed: int = 501
    lpips: bool = True
    quick: bool = False

    @property
    def command(self) -> str:
        """The command line that makes the same report."""
        words: list[object] = ["pacs-node", "compare", "-o", self.output]
        for name, values in (("data", self.data), ("pairs-test", self.pairs_test)):
            for value in values:
                words += [f"--{name}", value]
        if self.quick:
            words.append("--quick")
        else:
            words += ["--cpu-minutes", f"{self.cpu_minutes:g}", "--framings", self.amounts[2]]
            words += [] if self.data else ["--pairs", self.amounts[0], "--test-pairs", self.amounts[1]]
        words += ["--seed", self.seed, "--preset", self.preset]
        words += ["--size", self.size] if self.size else []
        for name, pairs in (("scale", self.scale), ("load", self.load)):
            for pair in pairs:
                words += [f"--{name}", pair]
        for name, given in (("only", self.only), ("bundle", self.bundle), ("markdown", self.markdown)):
            words += [f"--{name}", given] if given is not None else []
        return shlex.join(map(str, [*words, *([] if self.lpips else ["--no-lpips"])]))


def run(request: Request, *, as_json: bool) -> int:
    """Train, measure and write; 130 when Ctrl-C or SIGTERM stopped it, else 0.

    Raises
    ------
    ConfigError
        Pairs, preset, bundle or an earlier training cannot be used.
    ModelError
        A loss is not finite, or the bundle cannot be run.
    DiskFull
        The report cannot be written.
    """
    with _told(request.output), terminated_as_interrupted():
        return _run(request, quiet=as_json)


def _run(request: Request, *, quiet: bool) -> int:
    order, judge = _order(request, quiet=quiet), _judge(request)
    one_thread()
    with _Bar(quiet) as bar:
        ground = _ground(request, order.preset.grid, bar)
    claim_folder(order, ground)
    facts = _facts(request, order, ground)  # of now: the commit may be another one when the training has ended
    trained = train_all(order, ground, (lambda _: None) if quiet else say)
    if trained is None:
        say("stopped; the same command goes on from there")
        return ExitCode.INTERRUPTED
    missing = tuple(f"Not in this comparison: {name}." for name in NAMES if name not in trained)
    with _Bar(quiet) as bar:

        def note(found: Comparison) -> None:
            _write_results(request, replace(found, facts=facts, missing=missing))

        watch = Watcher(bar.begin, bar.advance, note)
        result = replace(compare(order, trained, ground.tests, judge, watch), facts=facts, missing=missing)
    written = _written(request, order, result)
    if quiet:
        print_json(_document(result))
    else:
        _show(result, order.preset.grid)
    for path in written:
        say(f"wrote {path}")
    return ExitCode.DONE


def _order(request: Request, *, quiet: bool) -> Order:
    """Everything that can be wrong is found before time goes into it."""
    preset = load_preset(request.preset)
    if request.size is not None:
        preset = _sized(preset, request.size)
    require_places(request.output, request.markdown)
    scales, loaded = _pairs_of("scale", request.scale), _pairs_of("load", request.load)
    for name, scale in scales.items():
        if scale not in get_args(Scale) or name in ("control", "ours"):
            raise ConfigError(f"--scale {name}={scale}: one of {', '.join(DEFAULT_SCALES)}, as paper or small")
    usual = dict.fromkeys(DEFAULT_SCALES, "small") if request.quick else DEFAULT_SCALES
    seed, steps = request.seed, QUICK_STEPS if request.quick else ENOUGH_STEPS
    minutes = math.inf if request.quick else request.cpu_minutes
    return Order(
        request.output,
        preset,
        Budget(minutes, steps, request.amounts[2], seed),
        _names(request.only),
        cast(dict[Name, Scale], {**usual, **scales}),
        {name: Path(folder) for name, folder in loaded.items()},
        _bundle(request.bundle),
        quiet,
    )


def _bundle(name: str | None) -> Bundle | None:
    return None if name is None else load_bundle(name)


def _sized(preset: Preset, size: int) -> Preset:
    """The preset at another grid; its own checks say what does not fit."""
    try:
        return Preset.model_validate(preset.model_dump() | {"grid": size})
    except ValueError as error:
        raise ConfigError(f"--size {size} does not fit the preset {preset.name}: {error}") from error


def _names(only: str | None) -> tuple[Name, ...]:
    if only is None:
        return NAMES
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in NAMES]
    if unknown or not wanted:
        raise ConfigError(f"--only {only}: names with commas between them, of {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in wanted)


def _pairs_of(option: str, texts: Sequence[str]) -> dict[Name, str]:
    found: dict[Name, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in NAMES or not (equals and value):
            raise ConfigError(f"--{option} {text}: NAME=VALUE is asked for, NAME one of {', '.join(NAMES)}")
        found[name] = value
    return found


def _judge(request: Request) -> Judge:
    try:
        return Judge(load_perceptual() if request.lpips and not request.quick else None)
    except PerceptualWeightsError as error:
        raise ConfigError(f"{error}; or go without it: --no-lpips") from error


def _ground(request: Request, size: int, bar: "_Bar") -> Ground:
    shards = request.output / "data"
    for folder in (*request.data, *request.pairs_test):
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}")
    if request.data:
        return open_ground(request.data, (), shards, size, also=request.pairs_test)
    train, test = (shards / name for name in (TRAIN_FOLDER, TEST_FOLDER))
    simulate_pairs(train, request.seed, request.amounts[0], OVERSAMPLED * size, bar.at)
    simulate_pairs(test, request.seed + 1, request.amounts[1], OVERSAMPLED * size, bar.at)
    return open_ground((train,), (test,), shards, size, also=request.pairs_test)


def _facts(request: Request, order: Order, ground: Ground) -> dict[str, str]:
    """What makes the report one that can be repeated."""
    machine, budget, preset = describe_environment(1), order.budget, order.preset
    parts = ", ".join(f"{100 * share:.0f} % {name}" for name, share in SHARES.items())
    spent = (
        f"{budget.max_steps} steps of each stage"
        if request.quick
        else (
            f"{budget.cpu_minutes:g} minutes of processor time, one thread, for each system; for ours in all: {parts}"
        )
    )
    return {
        "command": request.command,
        "trained on": ground.told,
        "measured on": "; ".join(f"{each.name}: {each.title}" for each in ground.tests),
        "size": f"{preset.grid} px, for training and for every figure",
        "budget": spent,
        "preset of ours and of the control": f"{preset.name}; {order.budget.framings} framings encoded",
        "seed": str(request.seed),
        "machine": f"{machine['cpu']}, {machine['cores']} cores of which one was used, no GPU used",
        "versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "commit": machine["commit"] or "unknown",
        "date": machine["date"],
    }


def _document(result: Comparison) -> dict[str, Any]:
    return as_json(result, {each.held_out.name: findings(result, each) for each in result.sets})


def _write_results(request: Request, result: Comparison) -> None:
    whole = replace(result, sets=tuple(each for each in result.sets if len(each.measured) > 2))
    _replace(request.output / RESULTS, (json.dumps(_document(whole), indent=1) + "\n").encode())


def _written(request: Request, order: Order, result: Comparison) -> list[Path]:
    _write_results(request, result)
    size, written = order.preset.grid, [request.output / RESULTS, request.output / PAGE]
    pictures, _ = sheets(result, order, None)
    _replace(request.output / PAGE, as_html(result, size, pictures).encode())
    if request.markdown is not None:
        pictures, files = sheets(result, order, request.markdown.stem)
        for name, data in files.items():
            _replace(request.markdown.with_name(name), data)
        _replace(request.markdown, as_markdown(result, size, pictures).encode())
        written += [request.markdown, *(request.markdown.with_name(name) for name in files)]
    return written


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data)
    temporary.replace(path)


def _show(result: Comparison, size: int) -> None:
    for each in (cost_table(result, size), *(summary_table(result, found) for found in result.sets)):
        stdout().print(table(each.columns, each.rows, title=escape(each.title)))  # a folder may be called a[b]
    for found in result.sets:
        for sentence in findings(result, found):
            stdout().print(sentence.replace("**", ""), markup=False)


class _Bar:
    """One line of progress for what is not a training."""

    def __init__(self, quiet: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, console=stderr(), disable=quiet)
        self.task: TaskID | None = None
        self.what = ""

    def __enter__(self) -> "_Bar":
        self.bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.bar.stop()

    def begin(self, what: str, count: int) -> None:
        self.what, self.task = what, self.bar.add_task(what, total=count)

    def advance(self) -> None:
        if self.task is not None:
            self.bar.advance(self.task)

    def at(self, what: str, done: int, count: int) -> None:
        if what != self.what or self.task is None:
            self.begin(what, count)
        assert self.task is not None  # noqa: S101  (begun above)
        self.bar.update(self.task, completed=done)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Errors in words of the command line."""
    try:
        with resumable(folder, PresetError, CheckpointError, PerceptualWeightsError, OutOfMemory):
            yield
    except TrainingError as error:
        raise ModelError(str(error)) from error
