"""A command in a process of its own: how long it took and how much memory it held at most."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacs_node.bench import launcher

__all__ = ["ChildRun", "run_child"]

LAST_LINES = 3  # of a failed child's messages


@dataclass(frozen=True, slots=True)
class ChildRun:
    """What one command took.

    Attributes
    ----------
    seconds : from start to end, the start of the interpreter included.
    peak_bytes : largest resident set of the command or of any process that it waited for.
    failure : empty, or the last lines of what it said.
    """

    seconds: float
    peak_bytes: int
    failure: str = ""


def run_child(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> ChildRun:
    """Run ``command`` and wait for it; a failure is told, not raised."""
    between = [sys.executable, "-I", "-S", str(launcher.__file__)]
    done = subprocess.run(  # noqa: S603 (our own program)
        [*between, *command], capture_output=True, text=True, check=False, env=dict(environment), cwd=folder
    )
    try:
        facts = json.loads(done.stdout)
    except ValueError:
        return ChildRun(0.0, 0, _last(done.stderr) or "it could not be started")
    failure = "" if facts["exit_code"] == 0 else _last(done.stderr) or f"exit code {facts['exit_code']}"
    return ChildRun(facts["seconds"], facts["peak_bytes"], failure)


def _last(said: str) -> str:
    return " / ".join(line.strip() for line in said.strip().splitlines()[-LAST_LINES:])
