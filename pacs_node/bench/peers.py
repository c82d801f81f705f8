"""The real programs that traffic is measured with: our node, Orthanc and DCMTK, each started in a folder of its own.

Orthanc and DCMTK are started with TCP_NODELAY=1: DCMTK leaves Nagle's algorithm on, and small answers then wait for
the other side's delayed acknowledgement.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacs_node.demo import free_port
from pacs_node.errors import Retriable

__all__ = ["LOOPBACK", "NODE_AE", "OrthancServer", "Server", "installed", "orthanc", "serve", "storescp"]

LOOPBACK = "127.0.0.1"
NODE_AE, ORTHANC_AE, STORESCP_AE = "PACSNODE", "ORTHANC", "STORESCP"
START_S = 120.0  # a cold disk; a program that cannot start leaves much earlier
STOP_S = 30.0
POLL_S = 0.05
LARGEST_DCMTK_PDU = 131072  # bytes; what `storescp --max-pdu` takes at most
PACKAGES = {"Orthanc": "orthanc", "storescp": "dcmtk", "storescu": "dcmtk"}


def installed(program: str) -> str:
    """Empty, or what to do about a program that is not there."""
    return "" if shutil.which(program) else f"not installed: apt-get install {PACKAGES[program]}"


@dataclass(frozen=True, slots=True)
class Server:
    """A running C-STORE SCP.

    Attributes
    ----------
    stored : how many instances it holds now; None where that cannot be told from outside.
    """

    process: subprocess.Popen[bytes]
    port: int
    ae_title: str
    folder: Path
    stored: Callable[[], int | None]

    @property
    def pid(self) -> int:
        return self.process.pid


@dataclass(frozen=True, slots=True)
class OrthancServer(Server):
    """A running Orthanc with its REST interface."""

    http_port: int

    def get(self, path: str) -> Any:
        """The JSON that a GET answers."""
        return self._asked("GET", path, None)

    def post(self, path: str, body: bytes | Mapping[str, Any]) -> Any:
        """POST bytes as they are or a mapping as JSON; raises Retriable when Orthanc answers an error."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._asked("POST", path, content)

    def delete(self, path: str) -> None:
        """DELETE a resource."""
        self._asked("DELETE", path, None)

    def _asked(self, method: str, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(f"http://{LOOPBACK}:{self.http_port}{path}", data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310 (our own Orthanc)
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Retriable(f"Orthanc answered {error.code} to {method} {path.split('/')[1]}") from error
        except OSError as error:
            raise Retriable(f"Orthanc does not answer: {type(error).__name__}") from error


@contextmanager
def serve(
    folder: Path, *, receive_only: bool = False, destination: tuple[str, int] | None = None, port: int | None = None
) -> Iterator[Server]:
    """`pacs-node serve` with a data_dir of its own in ``folder``; settings but for ports and peers are the defaults.

    Parameters
    ----------
    receive_only : take and queue, process nothing.
    destination : AE title and port of what gets the companions; nothing gets them when not given.

    Raises
    ------
    Retriable
        It did not begin to listen.
    """
    port = port or free_port()
    data_dir = folder / "var"
    (folder / "config.toml").write_text(_settings(port, data_dir, destination), encoding="utf-8")
    command = [sys.executable, "-m", "pacs_node", "serve", "--config", str(folder / "config.toml")]
    command += ["--receive-only"] if receive_only else []

    def stored() -> int | None:
        return sum(1 for _ in (data_dir / "incoming").glob("*.dcm")) if receive_only else None

    dropped = ("PACS_NODE_NODE__", "PACS_NODE_PEERS", "PACS_NODE_ROUTING__")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    with _running(command, folder, port, environment) as process:
        yield Server(process, port, NODE_AE, data_dir, stored)


def _settings(port: int, data_dir: Path, destination: tuple[str, int] | None) -> str:
    text = f'[node]\nae_title = "{NODE_AE}"\nhost = "{LOOPBACK}"\nport = {port}\ndata_dir = "{data_dir}"\n'
    if destination is None:
        return f"{text}[routing]\ndestinations = []\n"
    ae_title, to = destination
    peer = f'[[peers]]\nname = "archive"\nae_title = "{ae_title}"\nhost = "{LOOPBACK}"\nport = {to}\n'
    return f'{text}{peer}[routing]\ndestinations = ["archive"]\n'


@contextmanager
def orthanc(folder: Path, node_port: int = 0) -> Iterator[OrthancServer]:
    """Orthanc with its storage in ``folder`` and the node as its modality ``node``; raises Retriable as `serve` does.

    Orthanc's own defaults hold otherwise; it waits for the disk before it answers (SyncStorageArea).
    """
    port, http_port, storage = free_port(), free_port(), folder / "storage"
    configuration = {
        "Name": "BENCH",
        "StorageDirectory": str(storage),
        "IndexDirectory": str(storage),
        "DicomAet": ORTHANC_AE,
        "DicomPort": port,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowEcho": True,
        "DicomScuTimeout": 60,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"node": [NODE_AE, LOOPBACK, node_port or port]},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")

    def stored() -> int | None:
        return int(server.get("/statistics")["CountInstances"])

    command = [shutil.which("Orthanc") or "Orthanc", str(folder / "orthanc.json")]
    with _running(command, folder, http_port, os.environ | {"TCP_NODELAY": "1"}) as process:
        _await(lambda: _listens(port), process, folder)
        server = OrthancServer(process, port, ORTHANC_AE, storage, stored, http_port)
        yield server


@contextmanager
def storescp(folder: Path) -> Iterator[Server]:
    """DCMTK's storescp, a process for each association; raises Retriable as `serve` does.

    It answers without waiting for the disk.
    """
    port, stored_in = free_port(), folder / "received"
    stored_in.mkdir()
    command = [shutil.which("storescp") or "storescp", "--fork", "--max-pdu", str(LARGEST_DCMTK_PDU), "--aetitle"]
    command += [STORESCP_AE, "--output-directory", str(stored_in), str(port)]

    def stored() -> int | None:
        return sum(1 for _ in stored_in.iterdir())

    with _running(command, folder, port, os.environ | {"TCP_NODELAY": "1"}) as process:
        yield Server(process, port, STORESCP_AE, stored_in, stored)


@contextmanager
def _running(
    command: Sequence[str], folder: Path, port: int, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 (programs by their path, arguments of our own)
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C is for the bench, which then ends them in order
        )
    try:
        _await(lambda: _listens(port), process, folder)
        yield process
    finally:
        _stop(process)


def _await(happened: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            raise Retriable("a program that traffic is measured with did not start:\n" + "\n".join(said))
        time.sleep(POLL_S)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
