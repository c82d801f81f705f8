"""The spool: received, outgoing and refused objects as files that survive a crash.

::

    incoming/KEY.dcm                  received, not yet finished
    outbox/DESTINATION/KEY.dcm        a companion that this destination has not got yet
    outbox/DESTINATION/KEY.LABEL.dcm  another object of the same job, with a label such as `bone`
    quarantine/KEY.dcm + KEY.json     refused, with the reason; kept until a person removes it

KEY is the key of the job (`pacs_node.intake`), so no name comes from a peer and the same instance is the same file.
Every file appears complete or not at all: it is written under a temporary name in its own folder, fsynced, renamed, and
the folder is fsynced.
"""

import contextlib
import errno
import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from pacs_node.errors import DiskFull

__all__ = ["IncomingFile", "Spool"]

TEMPORARY_SUFFIX = ".part"
COMPANION_ONLY = ("",)
# Received files may not fill the disk: they go when their companions have left, and those would find no room for ever.
RESERVED_BYTES = 2**28
EARLY_BYTES = 2**20  # what comes in before the disk is told to begin; a smaller file waits for nothing but itself


class Spool:
    """The three folders below ``data_dir``; every method that writes raises DiskFull when the bytes are not durable."""

    def __init__(self, data_dir: Path) -> None:
        self.incoming = data_dir / "incoming"
        self.outbox = data_dir / "outbox"
        self.quarantine = data_dir / "quarantine"
        self._naming = threading.Lock()
        with _disk_errors():
            for folder in (self.incoming, self.outbox, self.quarantine):
                # the images are the patients', also in a data_dir that somebody else made for all to read
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove_leftovers(self) -> int:
        """Delete the temporary files of writes that a crash interrupted; returns how many there were."""
        leftovers = [*self.incoming.parent.glob(f"*/*{TEMPORARY_SUFFIX}"), *self.outbox.glob(f"*/*{TEMPORARY_SUFFIX}")]
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    def incoming_path(self, key: str) -> Path:
        return self.incoming / f"{key}.dcm"

    def outbox_path(self, key: str, destination: str, label: str = "") -> Path:
        """Name of an object of a job; ``label`` begins with a lower-case letter, as a repetition `KEY.2` does not."""
        return self.outbox / destination / (f"{key}.{label}.dcm" if label else f"{key}.dcm")

    def outbox_files(self, key: str, destination: str, labels: Iterable[str] = COMPANION_ONLY) -> dict[str, Path]:
        """What this destination has not got yet of a job, by label; asked by name, for the folder may be long."""
        paths = {label: self.outbox_path(key, destination, label) for label in labels}
        return {label: path for label, path in paths.items() if path.exists()}

    def open_incoming(self, key: str) -> "IncomingFile":
        """Begin a file that comes in pieces; raises DiskFull also where only the room for companions is left."""
        with _disk_errors():
            free_bytes = shutil.disk_usage(self.incoming).free
        if free_bytes < RESERVED_BYTES:
            raise DiskFull("the disk has no more room than companions and queue need")
        return IncomingFile(self.incoming_path(key), self._naming)

    def write_incoming(self, key: str, parts: Sequence[bytes | memoryview]) -> Path:
        """Make a received file durable; a file of the same key is replaced in one step."""
        incoming = self.open_incoming(key)
        try:
            for part in parts:
                incoming.write(part)
            return incoming.commit()
        finally:
            incoming.discard()

    def write_outbox(
        self, key: str, destinations: Sequence[str], write: Callable[[BinaryIO], object], label: str = ""
    ) -> list[Path]:
        """Make one object durable for each destination; the bytes exist once, under several names.

        Parameters
        ----------
        write : called with a binary stream, writes the whole file.
        """
        paths = [self.outbox_path(key, destination, label) for destination in destinations]
        for number, path in enumerate(paths):
            with _disk_errors():
                path.parent.mkdir(exist_ok=True)
                _fsync_folder(self.outbox)
            if number == 0:
                _write_atomically(path, write)
            else:
                _link_atomically(paths[0], path)
        return paths

    def release(self, key: str, destination: str | None = None, labels: Iterable[str] = COMPANION_ONLY) -> None:
        """Remove what is finished: a destination's objects, or the received file; absence is no error."""
        finished = [self.incoming_path(key)]
        if destination is not None:
            finished = [*self.outbox_files(key, destination, labels).values()]
        with _disk_errors():
            for path in finished:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in finished}:
                _fsync_folder(folder)

    def waiting_destinations(self, key: str, labels: Sequence[str] = COMPANION_ONLY) -> list[str]:
        """Destinations that have not got everything of this key yet."""
        return sorted(folder.name for folder in self.outbox.iterdir() if self.outbox_files(key, folder.name, labels))

    def refuse(self, path: Path, reason: Mapping[str, object], name: str | None = None) -> Path:
        """Move a spooled file to quarantine/ with a JSON file that says why; an absent file leaves the reason only.

        Safe to repeat after a crash: the reason is written first, then the bytes are moved in one step.
        """
        target = self.refused_path(name or path.stem)
        text = json.dumps(reason, indent=1, sort_keys=True).encode()
        _write_atomically(target.with_suffix(".json"), lambda stream: stream.write(text))
        with _disk_errors(), contextlib.suppress(FileNotFoundError):
            path.rename(target)
            _fsync_folder(path.parent)
            _fsync_folder(self.quarantine)
        return target

    def refused_path(self, key: str) -> Path:
        return self.quarantine / f"{key}.dcm"

    def refused(self, key: str) -> list[Path]:
        """What quarantine/ holds of a job and its repetitions, data and reasons."""
        return sorted(self.quarantine.glob(f"{key}.*"))

    def rename_incoming(self, key: str, new_key: str) -> None:
        """Give a received file another key."""
        with _disk_errors():
            self.incoming_path(key).rename(self.incoming_path(new_key))
            _fsync_folder(self.incoming)


class IncomingFile:
    """A received file on its way: it has its name only after `commit`, and leaves nothing after `discard`.

    One thread at a time; `discard` may come from another one.
    """

    def __init__(self, path: Path, naming: threading.Lock) -> None:
        self._path = path
        self._naming = naming  # held while a file gets its name
        self._temporary = _temporary_name(path)
        self._lock = threading.Lock()
        with _disk_errors():
            self._stream: io.FileIO | None = io.FileIO(self._temporary, "x+")
        self._written = self._on_its_way = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes; raises DiskFull."""
        view = memoryview(data)
        with self._lock, _disk_errors():
            self._written += len(view)
            while view:
                view = view[self._opened().write(view) :]
            self._begin_to_store()

    def _begin_to_store(self) -> None:
        """Let the disk write what is there while more comes, so that `commit` waits for the rest only."""
        count = self._written - self._on_its_way
        if count >= EARLY_BYTES and hasattr(os, "posix_fadvise"):
            # Linux begins to write dirty pages when it is told that they will not be needed
            os.posix_fadvise(self._opened().fileno(), self._on_its_way, count, os.POSIX_FADV_DONTNEED)
            self._on_its_way = self._written

    def read_from(self, offset: int) -> BinaryIO:
        """What was written, from a byte on; for reading before `commit`."""
        with _disk_errors():
            stream = self._temporary.open("rb")
            stream.seek(offset)
        return stream

    def commit(self, require: Callable[[Path, Path], object] | None = None) -> Path:
        """Make it durable under its name; a file of the same key is replaced in one step. Raises DiskFull.

        Parameters
        ----------
        require : told where the bytes are and where an earlier file may be; raises when that one is to stay.
        """
        with self._lock, _disk_errors():
            stream = self._opened()
            os.fsync(stream.fileno())
            while not self._replaces(require):
                continue  # another copy got the name meanwhile
            stream.close()
            self._stream = None
            _fsync_folder(self._path.parent)
        return self._path

    def _replaces(self, require: Callable[[Path, Path], object] | None) -> bool:
        """Take the name; False when what has it is not what was compared: that takes time, and others may not wait."""
        earlier = _version(self._path)
        if require is not None:
            require(self._temporary, self._path)
        with self._naming:
            if _version(self._path) != earlier:
                return False
            self._temporary.replace(self._path)
        return True

    def discard(self) -> None:
        """Remove what is not committed; harmless when repeated or after `commit`."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None
                with contextlib.suppress(OSError):
                    self._temporary.unlink(missing_ok=True)

    def _opened(self) -> io.FileIO:
        if self._stream is None:
            raise OSError(errno.EBADF, "the file was discarded")
        return self._stream


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn every failure of the file system into DiskFull, naming the error but no path (names may reach a log)."""
    try:
        yield
    except OSError as error:
        code = error.strerror or type(error).__name__
        raise DiskFull(f"the spool cannot be written: {code}") from error


def _write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    temporary = _temporary_name(path)
    try:
        with _disk_errors():
            with temporary.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            _fsync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _temporary_name(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY_SUFFIX}")


def _link_atomically(source: Path, path: Path) -> None:
    temporary = path.with_name(f"{path.name}.{os.urandom(4).hex()}{TEMPORARY_SUFFIX}")
    with _disk_errors():
        temporary.hardlink_to(source)
        temporary.replace(path)
        # rename(2) does nothing when both names are links to one file already; the temporary name then stays
        temporary.unlink(missing_ok=True)
        _fsync_folder(path.parent)


def _version(path: Path) -> tuple[int, int] | None:
    """Which file has this name now."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _fsync_folder(folder: Path) -> None:
    """A rename is durable only when the folder that holds the name is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
