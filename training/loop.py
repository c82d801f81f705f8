"""The training loop of every stage: bar, average weights, checkpoints, exact resume, a clean stop."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

from training.advance import Training, learning_rate, update_average
from training.memory import advised
from training.parallel import choose_device, current_world
from training.record import Record
from training.stage import Ending, Outcome, OutOfMemory, Run, Stage, TrainingError

__all__ = [
    "Ending",
    "OutOfMemory",
    "Outcome",
    "Run",
    "Stage",
    "TrainingError",
    "learning_rate",
    "run_stage",
    "update_average",
]

ENDINGS: tuple[Ending | None, ...] = (None, "out of time", "stopped")  # the later one counts where processes differ


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM become a question that the loop asks between two steps."""
    received: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_stage(stage: Stage, run: Run) -> Outcome:
    """Train until a limit or a signal; the last checkpoint is always of the last step.

    Under `torchrun` every process calls this with the same stage; the first one alone validates and writes.

    Raises
    ------
    TrainingError
        A loss or gradient is not finite, or a batch does not fit into memory. Checkpoints stay as they were.
    CheckpointError
        The state in `last/` is damaged.
    DeviceError
        The device of the run is not there.
    """
    world = current_world()
    with advised(stage.name, stage.optimisation, str(choose_device(run.device))):
        training = Training(stage, run, world)
        if run.resume:
            training.resume()
        with _stop_requested() as stopped:
            record = Record(run, stage.name, training.step) if world.leads else None
            with record or nullcontext():
                ending = _train(training, run, record, stopped)
        if world.leads:
            training.save("last")
        world.wait()
    return Outcome(ending, training.step, training.seconds, run.folder, training.cpu_seconds)


def _train(training: Training, run: Run, record: Record | None, stopped: Callable[[], bool]) -> Ending:
    started, earlier = time.monotonic(), training.seconds
    cpu_started, cpu_earlier = time.process_time(), training.cpu_seconds
    optimisation = training.stage.optimisation
    if training.cpu_seconds > run.max_cpu_minutes * 60:  # gone on with under a budget that is spent
        return "out of time"
    while training.step < run.max_steps:
        parts = training.advance(run.max_steps, run.max_cpu_minutes * 60)
        training.seconds = earlier + time.monotonic() - started
        training.cpu_seconds = cpu_earlier + time.process_time() - cpu_started
        if record is not None:
            record.step(training.step, training.seconds, parts)
            if optimisation.validate_every and training.step % optimisation.validate_every == 0:
                _look(training, record)
            training.cpu_seconds = cpu_earlier + time.process_time() - cpu_started
        late = time.monotonic() - started > run.max_minutes * 60 or training.cpu_seconds > run.max_cpu_minutes * 60
        wish = 2 if stopped() else int(late)
        ending = ENDINGS[training.world.largest(wish)]
        if ending is not None:
            return ending
        if record is not None and training.step % optimisation.save_every == 0:
            training.save("last")
    return "finished"


def _look(training: Training, record: Record) -> None:
    """Validate the averaged model, note the scores, keep the best."""
    stage = training.stage
    if stage.validate is None and stage.sheet is None:
        return
    if stage.prepare is not None:
        stage.prepare(training.average)
    scores = stage.validate(training.average, training.step) if stage.validate is not None else {}
    training.scores = scores
    record.look(training.step, scores, stage.sheet(training.average) if stage.sheet is not None else [])
    if scores.get("score", -math.inf) > training.best:
        training.best = scores["score"]
        training.save("best")
