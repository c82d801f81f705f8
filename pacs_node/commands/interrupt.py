"""How long work that keeps what is finished ends before its time."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pacs_node.commands.terminal import say
from pacs_node.errors import ConfigError, DiskFull

__all__ = ["resumable", "terminated_as_interrupted"]


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


@contextmanager
def resumable(folder: Path, *wrong: type[Exception]) -> Iterator[None]:
    """The ends of work that the same command goes on with, in words of the command line.

    Parameters
    ----------
    folder : what is written.
    wrong : errors, besides those of files, whose message says what to ask for instead.

    Raises
    ------
    ConfigError
        One of ``wrong``, or a file or folder that cannot be used.
    DiskFull
        No room for what is written.
    """
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from there")
        raise
    except wrong as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{folder} cannot be written: {error.strerror}") from error
        # Pillow raises OSError without a number, whose text says all
        told = f"{error.filename or folder} cannot be used: {error.strerror}" if error.strerror else str(error)
        raise ConfigError(told) from error
