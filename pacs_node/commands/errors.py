"""The one place where an error becomes a message and an exit code."""

import errno
import traceback
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_log_path

from pacs_node.commands.terminal import say
from pacs_node.errors import ConfigError, ModelError, Rejected, Retriable

__all__ = ["ExitCode", "report"]


class ExitCode:
    """What a script sees."""

    DONE = 0
    FAILED = 1  # the input was refused, or some of the files were not taken
    CONFIGURATION = 2  # also wrong usage: what typer answers itself
    MODEL = 3  # bundle or runtime unusable, an extra is missing
    TRY_AGAIN = 4  # the same may work later: a full disk, a peer that is away
    UNEXPECTED = 70  # a mistake of ours; EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130  # Ctrl-C


# What a file system says to a path that a person chose; another user or another path helps.
NOT_TO_BE_USED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG})
# How to get a module that a command may miss.
EXTRAS = {
    "matplotlib": "pip install 'pacs-node[training]'",
    "onnxruntime": "pip install 'pacs-node[cpu]', or 'pacs-node[gpu]' where there is an NVIDIA GPU",
    "onnx": "pip install 'pacs-node[export]'",
    "onnxscript": "pip install 'pacs-node[export]'",
    "safetensors": "pip install 'pacs-node[training]'",
    "skimage": "pip install 'pacs-node[training]'",
    "torch": "pip install 'pacs-node[training]'",
}


def report(error: BaseException, *, debug: bool) -> int:
    """Say on stderr what a person can do about ``error`` and return the exit code; never raises."""
    if debug:
        say("".join(traceback.format_exception(error)).rstrip())
    message, code = _expected(error) or _unexpected(error, debug=debug)
    say(f"pacs-node: {message}")
    return code


def _expected(error: BaseException) -> tuple[str, int] | None:
    missing = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
    if missing in EXTRAS:
        return f"this needs {missing}, which is not installed: {EXTRAS[missing]}", ExitCode.MODEL
    if isinstance(error, Rejected):
        return f"rejected ({error.reason}): {error.explanation}", ExitCode.FAILED
    if isinstance(error, Retriable):
        return f"{error}; the same command may work later", ExitCode.TRY_AGAIN
    for kind, code in ((ConfigError, ExitCode.CONFIGURATION), (ModelError, ExitCode.MODEL)):
        if isinstance(error, kind):
            return str(error), code
    if isinstance(error, OSError):
        return _of_the_file_system(error)
    return ("interrupted", ExitCode.INTERRUPTED) if isinstance(error, KeyboardInterrupt) else None


def _of_the_file_system(error: OSError) -> tuple[str, int] | None:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = "" if error.filename is None else f" {error.filename}"
        return f"no room to write{where}: {error.strerror}; the same command may work later", ExitCode.TRY_AGAIN
    if error.filename is not None and error.errno in NOT_TO_BE_USED:
        return f"{error.filename} cannot be used: {error.strerror}", ExitCode.CONFIGURATION
    return None


def _unexpected(error: BaseException, *, debug: bool) -> tuple[str, int]:
    # The text of a foreign exception may quote a data set: only its type is shown unasked.
    where = None if debug else _write_log(error)
    told = f"; the details are in {where}" if where else "" if debug else "; repeat with pacs-node --debug"
    return f"unexpected {type(error).__name__}, a mistake in pacs-node{told}", ExitCode.UNEXPECTED


def _write_log(error: BaseException) -> Path | None:
    """The traceback in a file of this user; it may quote the input, so it isn't shown unasked."""
    try:
        folder = user_log_path("pacs-node", appauthor=False, ensure_exists=True)
        path = folder / f"traceback-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.log"
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        path.chmod(0o600)
    except OSError:
        return None
    return path
