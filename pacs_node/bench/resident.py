"""Resident memory of another process, as Linux tells it."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["ResidentSample", "ResidentSampler", "forget_peak", "peak_bytes", "resident_bytes"]

RESET_PEAK = "5"  # proc(5), /proc/pid/clear_refs, since Linux 4.0


def resident_bytes(pid: int) -> int | None:
    """Resident set now; None where there is no such process or no /proc."""
    return _status(pid, "VmRSS:")


def peak_bytes(pid: int) -> int | None:
    """Largest resident set since the start or since `forget_peak`; None as in `resident_bytes`."""
    return _status(pid, "VmHWM:")


def forget_peak(pid: int) -> None:
    """Let the peak begin anew at the present size; where the kernel does not allow that, the old peak stays."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK, encoding="ascii")


def _status(pid: int, key: str) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)


@dataclass(frozen=True, slots=True)
class ResidentSample:
    """One look at a process.

    Attributes
    ----------
    seconds : since the sampler started.
    resident_bytes : its resident set.
    processor_s : of all its threads since it started.
    """

    seconds: float
    resident_bytes: int
    processor_s: float


@dataclass
class ResidentSampler:
    """Look at a process every ``every_s`` seconds in a thread of its own, until the block is left."""

    pid: int
    every_s: float = 1.0
    samples: list[ResidentSample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resident-sampler", daemon=True)
        self.started = time.monotonic()

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            size = resident_bytes(self.pid)
            if size is not None:
                self.samples.append(ResidentSample(time.monotonic() - self.started, size, _processor_s(self.pid)))
            if self._over.wait(self.every_s):
                return


def _processor_s(pid: int) -> float:
    """User and system time of a process, proc(5) fields 14 and 15; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
