"""Files that are on the disk when the call returns."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pacs_node.errors import DiskFull

__all__ = ["append_line", "write_atomically"]


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put a file in its place as a whole and durably. Raises DiskFull."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _disk_errors(path.name):
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(path)
            _fsync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def append_line(path: Path, line: bytes) -> None:
    """Add a line, without its end, to a file that other processes may be adding to; DiskFull leaves nothing of it.

    A lock on the file lets one write at a time. What a killed writer left of a line is cut off first, so that the next
    line does not grow onto it.
    """
    with _disk_errors(path.name), path.open("a+b", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # released when the file is closed, also by the death of this process
        end = _without_torn_line(stream)
        try:
            _write_all(stream, line + b"\n")
            os.fsync(stream.fileno())
            _fsync_folder(path.parent)
        except OSError:
            stream.truncate(end)
            raise


def _write_all(stream: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]


def _without_torn_line(stream: BinaryIO) -> int:
    """Cut off what follows the last end of line; the length that stays."""
    length = stream.seek(0, os.SEEK_END)
    if length == 0:
        return 0
    stream.seek(length - 1)
    if stream.read(1) == b"\n":
        return length
    stream.seek(0)
    end = stream.read().rfind(b"\n") + 1
    stream.truncate(end)
    return end


def _fsync_folder(folder: Path) -> None:
    """A name is durable only when the folder that holds it is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFull(f"{name} of the study cannot be written: {error.strerror or type(error).__name__}") from error
