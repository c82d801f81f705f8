"""Run one command and print its time and peak memory as JSON; started by its path, with an empty environment around.

A child's peak resident set begins with that of the process that started it (Linux counts the image before `exec`), so
a small process has to stand between a large one and what is to be measured.
"""

import json
import resource
import subprocess
import sys
import time

__all__ = ["main"]

KIB = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, KiB elsewhere


def main(command: list[str]) -> int:
    """Run ``command`` with its output on stderr; returns its exit code."""
    started = time.perf_counter()
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603 (our caller's own command)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_bytes": peak, "exit_code": done.returncode}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
