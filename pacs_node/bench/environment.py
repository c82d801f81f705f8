"""On what was measured: processor, versions, commit, and whether the machine had something else to do."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["BUSY", "busy_warning", "describe_environment", "peak_resident_bytes"]

PACKAGES = ("pacs-node", "numpy", "scipy", "pydicom", "onnxruntime", "onnxruntime-gpu", "torch")
BUSY = 0.3  # processes that want to run, per core: above that, timings are not those of a machine at rest


def describe_environment(threads: int = 0) -> dict[str, Any]:
    """What stands above a table of timings.

    Parameters
    ----------
    threads : that the networks were given; 0 is all of them.

    Returns
    -------
    JSON values; ``commit`` is None outside of a checkout, ``gpu`` where nvidia-smi finds none.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": cores,
        "threads": threads or cores,
        "memory_gib": _memory_gib(),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _commit(Path(__file__).resolve().parents[2]),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def busy_warning(environment: dict[str, Any]) -> str | None:
    """A sentence when other processes were running at the start, else None."""
    load, cores = environment.get("load_1min"), environment["cores"]
    if load is None or load <= BUSY * cores:
        return None
    return f"the machine was busy at the start (load {load} on {cores} cores): these timings are too long"


def peak_resident_bytes() -> int | None:
    """Largest resident set of this process since it began to run its program; None where the system does not say.

    Not `getrusage`: what that says begins with the size of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _gpu() -> str | None:
    return _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def _commit(checkout: Path) -> str | None:
    """Short name of the commit, with a plus where tracked files were changed."""
    if not (checkout / ".git").exists():
        return None
    name = _said("git", "-C", str(checkout), "rev-parse", "--short", "HEAD")
    changed = _said("git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no")
    return f"{name}+" if name and changed else name


def _said(program: str, *arguments: str) -> str | None:
    """First line that a program prints; None where there is no such program, or it fails or says nothing."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=20)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None
