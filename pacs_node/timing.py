"""How long each stage of the story takes, for whoever listens; where nobody does, nothing is measured.

A stage names itself where it happens, so that what `pacs-node bench` measures is the very code that the service runs.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Stopwatch", "recorded_stages", "stage"]


class Stopwatch:
    """Seconds by stage, in the order in which the stages first began; a repeated stage has several entries."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)


_listening: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def recorded_stages() -> Iterator[Stopwatch]:
    """Listen to the stages that this thread runs inside of the block."""
    watch = Stopwatch()
    token = _listening.set(watch)
    try:
        yield watch
    finally:
        _listening.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """A part of the work under its name; a stage inside of another counts in both."""
    watch = _listening.get()
    if watch is None:
        yield
        return
    started = time.perf_counter()
    try:
        yield
    finally:
        watch.add(name, time.perf_counter() - started)
