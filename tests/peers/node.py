"""A real `pacs-node serve` in its own process, to be sent to, killed and looked into."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.jobs import count_jobs
from tests.conftest import REPOSITORY
from tests.peers.orthanc import free_tcp_port

__all__ = ["PATIENCE_S", "NodeProcess", "wait_until"]

PATIENCE_S = 120.0  # a bound for a machine under load, not an expectation
SERVE = (sys.executable, "-m", "pacs_node")


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.05)


class NodeProcess:
    """One node with its data_dir; the same object can be started again after it was killed or stopped.

    Parameters
    ----------
    destinations : name -> port of the peers that get every companion; they listen on the loopback interface.
    settings : lines of TOML that follow the tables of this harness.
    command : what to run instead of `python -m pacs_node`.
    arguments : of `serve`, besides its settings.
    """

    def __init__(
        self,
        folder: Path,
        destinations: Mapping[str, int],
        *,
        port: int | None = None,
        settings: str = "",
        command: tuple[str, ...] = SERVE,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.port = port or free_tcp_port()
        self.data_dir = folder / "var"
        self.log = folder / "node.log"
        self._command = command
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(self._configuration(destinations) + settings, encoding="utf-8")

    def _configuration(self, destinations: Mapping[str, int]) -> str:
        peers = "".join(
            f'[[peers]]\nname = "{name}"\nae_title = "{name.upper()}"\nhost = "127.0.0.1"\nport = {port}\n'
            for name, port in destinations.items()
        )
        return (
            f'[node]\nport = {self.port}\ndata_dir = "{self.data_dir}"\n{peers}'
            f"[routing]\ndestinations = {list(destinations)}\n"
            "[delivery]\nfirst_retry_s = 0.2\nmax_retry_s = 1.0\ntimeout_s = 20\n"
            '[model]\ndevice = "cpu"\nsteps = 1\nthreads = 1\n'
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the node was not started"
        return self._process

    def launch(self) -> Self:
        """Start the process; it is not ready yet."""
        command = [*self._command, "serve", "--config", str(self.folder / "config.toml"), *self._arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            log.write(b"--- start\n")
            self._process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        return self

    def start(self) -> Self:
        """Start the process and wait until it listens."""
        self.launch()
        wait_until(self._is_listening_or_dead, "the node listens")
        assert self.process.poll() is None, f"the node did not start:\n{self.last_log()}"
        return self

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def last_log(self) -> str:
        """What the process wrote since it was last started."""
        return self.log.read_text(errors="replace").rpartition("--- start\n")[2]

    def _is_listening_or_dead(self) -> bool:
        return "listening on" in self.last_log() or self.process.poll() is not None

    def events(self, *kinds: EventKind) -> list[AuditEvent]:
        """The audit trail, read beside the running node."""
        if not (self.data_dir / AUDIT_FILE).exists():
            return []
        audit = Audit(self.data_dir / AUDIT_FILE)
        found = audit.events(limit=100_000)
        audit.close()
        return [event for event in found if not kinds or event.kind in kinds]

    def spooled(self) -> list[str]:
        """Files in incoming/ and outbox/, temporary ones included."""
        folders = (self.data_dir / "incoming", self.data_dir / "outbox")
        return sorted(str(path) for folder in folders for path in folder.rglob("*") if path.is_file())

    def is_idle(self) -> bool:
        return count_jobs(self.data_dir) == {}

    def wait_until_idle(self, patience_s: float = PATIENCE_S) -> None:
        wait_until(self.is_idle, f"the queue is empty, it has {count_jobs(self.data_dir)}", patience_s)
