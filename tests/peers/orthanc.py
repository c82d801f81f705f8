"""A real Orthanc, started from a JSON file in a temporary folder and stopped at the end."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["Orthanc", "free_tcp_port", "running_orthanc", "start_orthanc"]

START_DEADLINE_S = 60.0  # generous: the cores may be shared with a training run


def free_tcp_port() -> int:
    """A TCP port that was free a moment ago on the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Orthanc:
    """One running Orthanc; answers of its REST interface are decoded JSON.

    ``dicom_port`` answers C-STORE and C-ECHO for any called AE title and any calling AE title. The node is known to it
    as the modality ``node``.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    ae_title: str
    dicom_port: int
    http_port: int

    def get(self, path: str) -> Any:
        return self._request("GET", path, None)

    def post(self, path: str, body: bytes | dict[str, Any], timeout_s: float = 120.0) -> Any:
        """POST bytes as they are, or a dictionary as JSON."""
        return self._request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), timeout_s)

    def file_of(self, instance: str) -> bytes:
        """The stored DICOM file of an Orthanc instance id."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/instances/{instance}/file") as answer:
            content: bytes = answer.read()
        return content

    def upload(self, path: Path) -> str:
        """Put a file into Orthanc through REST; returns Orthanc's instance id."""
        return str(self.post("/instances", path.read_bytes())["ID"])

    def send_to_node(self, instances: list[str], timeout_s: float = 120.0) -> Any:
        """C-STORE instances to the modality ``node``; raises HTTPError when one was not accepted."""
        body = {"Resources": instances, "Synchronous": True}
        return self.post("/modalities/node/store", body, timeout_s)

    def sop_instance_uids(self) -> list[str]:
        """SOPInstanceUID of every stored instance, with repetitions if there were any."""
        instances = self.get("/instances?expand")
        return [str(instance["MainDicomTags"]["SOPInstanceUID"]) for instance in instances]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _request(self, method: str, path: str, body: bytes | None, timeout_s: float = 60.0) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.loads(answer.read())


def start_orthanc(
    folder: Path,
    node_port: int,
    node_ae_title: str = "PACSNODE",
    dicom_port: int | None = None,
    http_port: int | None = None,
    **options: Any,
) -> Orthanc:
    """Start Orthanc with its storage in ``folder`` and wait until its REST interface answers.

    ``options`` are further keys of Orthanc's configuration. Starting again in the same folder with the same ports finds
    what was stored before.
    """
    dicom_port = dicom_port or free_tcp_port()
    http_port = http_port or free_tcp_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "Name": "TEST",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": "ORTHANC",
        "DicomPort": dicom_port,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowEcho": True,
        "DicomScuTimeout": 30,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"node": [node_ae_title, "127.0.0.1", node_port]},
    } | options
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    with (folder / "orthanc.log").open("ab") as log:
        process = subprocess.Popen(
            ["Orthanc", str(folder / "orthanc.json")],
            stdout=log,
            stderr=log,
            env=os.environ | {"TCP_NODELAY": "1"},  # DCMTK leaves Nagle's algorithm on: small files would crawl
        )
    orthanc = Orthanc(process, folder, "ORTHANC", dicom_port, http_port)
    _wait_until_ready(orthanc)
    return orthanc


@contextmanager
def running_orthanc(folder: Path, node_port: int, **options: Any) -> Iterator[Orthanc]:
    """`start_orthanc` as a context: stopped at the end, whatever happened."""
    with start_orthanc(folder, node_port, **options) as orthanc:
        yield orthanc


def _wait_until_ready(orthanc: Orthanc) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if orthanc.process.poll() is not None:
            break
        try:
            orthanc.get("/system")
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
            continue
        return
    orthanc.stop()
    raise RuntimeError(
        "Orthanc did not start:\n" + (orthanc.folder / "orthanc.log").read_text(errors="replace")[-2000:]
    )
