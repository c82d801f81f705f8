"""Programs that serve for ever: started, waited for by a line of their log, ended with SIGTERM."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LISTENING = "listening on "
START_S = 120.0  # a bound against hanging for ever; listening takes about two seconds
END_S = 60.0


@dataclass(frozen=True)
class Program:
    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self) -> int:
        """SIGTERM to the program and its children (make has one), then the exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout=END_S)


@contextmanager
def serving(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Program]:
    """The program once it has said that it listens; it is ended when the block is left."""
    log = folder / "program.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    program = Program(process, log)
    try:
        deadline = time.monotonic() + START_S
        while LISTENING not in program.text():
            assert process.poll() is None, f"{command} ended with {process.returncode}:\n{program.text()}"
            assert time.monotonic() < deadline, f"{command} does not listen:\n{program.text()}"
            time.sleep(0.05)
        yield program
    finally:
        if process.poll() is None:
            program.end()
