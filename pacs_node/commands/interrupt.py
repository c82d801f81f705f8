"""SIGTERM as Ctrl-C, for long work that keeps what is finished."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["terminated_as_interrupted"]


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does: what is finished is kept, exit code 130; a training loop asks by itself.

    Raises
    ------
    KeyboardInterrupt
        At SIGTERM, wherever the main thread is.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
