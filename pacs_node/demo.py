"""The whole way on one machine: a small PACS, a node of its own in a second process, one radiograph, its companion."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at run time from the Standard's registry
    SecondaryCaptureImageStorage,
    Verification,
)
from scipy.ndimage import gaussian_filter

from pacs_node.errors import Retriable
from pacs_node.records import FloatImage

__all__ = ["DATA", "LoopbackPacs", "contrast_left", "echo", "free_port", "running_node", "send_to_node"]

LOOPBACK = "127.0.0.1"
DATA = "var"  # the node's data_dir, below the folder of the demo
PACS_AE, NODE_AE = "DEMOPACS", "DEMONODE"
START_S = 120.0  # a cold disk and a first import of the runtime; a node that cannot start leaves much earlier
POLL_S = 0.1
STOP_S = 60.0


def free_port() -> int:
    """A TCP port that is free on the loopback interface now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@dataclass
class LoopbackPacs:
    """A C-STORE SCP for companions; it writes what it gets into a folder."""

    folder: Path
    port: int = field(default_factory=free_port)
    received: list[Path] = field(default_factory=list)
    _arrival: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def listening(self) -> Iterator["LoopbackPacs"]:
        """Listen until the block is left."""
        ae = AE(ae_title=PACS_AE)
        ae.add_supported_context(Verification)
        ae.add_supported_context(SecondaryCaptureImageStorage, AllTransferSyntaxes)
        server = ae.start_server((LOOPBACK, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        try:
            yield self
        finally:
            if server is not None:
                server.shutdown()

    def wait(self, seconds: float) -> Path | None:
        """The first object that came, None when none comes in time."""
        with self._arrival:
            self._arrival.wait_for(lambda: bool(self.received), timeout=seconds)
            return self.received[0] if self.received else None

    def _store(self, event: evt.Event) -> int:
        with self._arrival:
            path = self.folder / f"received-{len(self.received) + 1}.dcm"
            path.write_bytes(event.encoded_dataset())
            self.received.append(path)
            self._arrival.notify_all()
        return 0x0000


def _configuration(node_port: int, pacs_port: int, data_dir: Path) -> str:
    return (
        f'[node]\nae_title = "{NODE_AE}"\nhost = "{LOOPBACK}"\nport = {node_port}\ndata_dir = "{data_dir}"\n'
        f'[[peers]]\nname = "demo"\nae_title = "{PACS_AE}"\nhost = "{LOOPBACK}"\nport = {pacs_port}\n'
        '[routing]\ndestinations = ["demo"]\n'
    )


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would lead the demo's node to other ports or to a real PACS."""
    dropped = ("PACS_NODE_NODE__", "PACS_NODE_PEERS", "PACS_NODE_ROUTING__")
    return {name: value for name, value in environ.items() if not name.startswith(dropped)}


@contextmanager
def running_node(folder: Path, pacs_port: int) -> Iterator[int]:
    """A node with its own settings, data and log in ``folder``; yields its port, and ends it with SIGTERM.

    Raises
    ------
    Retriable
        It did not begin to listen; the message ends with the last lines of its log.
    """
    port = free_port()
    config, log = folder / "config.toml", folder / "node.log"
    config.write_text(_configuration(port, pacs_port, folder / DATA), encoding="utf-8")
    command = [sys.executable, "-m", "pacs_node", "serve", "--config", str(config)]
    with log.open("wb") as stream:
        node = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream, env=_environment(os.environ))  # noqa: S603 (our own program)
    try:
        if not _until(lambda: node.poll() is not None or echo(port), START_S) or node.poll() is not None:
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            raise Retriable("the node of the demo did not start:\n" + "\n".join(last))
        yield port
    finally:
        _stop(node)


def _stop(node: subprocess.Popen[bytes]) -> None:
    if node.poll() is None:
        node.send_signal(signal.SIGTERM)
    try:
        node.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()


def _until(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def echo(port: int) -> bool:
    """Whether a node on this machine answers C-ECHO."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            pass  # pynetdicom logs an error for a closed port; a bare connection does not
    except OSError:
        return False
    ae = AE(ae_title=PACS_AE)
    ae.add_requested_context(Verification)
    assoc = ae.associate(LOOPBACK, port, ae_title=NODE_AE)
    if not assoc.is_established:
        return False
    answered = "Status" in assoc.send_c_echo()
    assoc.release()
    return answered


def send_to_node(ds: Dataset, port: int) -> int:
    """C-STORE one data set to the demo's node; returns the status.

    Raises
    ------
    Retriable
        No association, or no answer.
    """
    ae = AE(ae_title=PACS_AE)
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    assoc = ae.associate(LOOPBACK, port, ae_title=NODE_AE)
    if not assoc.is_established:
        raise Retriable("the node of the demo did not accept the radiograph")
    try:
        status = assoc.send_c_store(ds)
    finally:
        assoc.release()
    if "Status" not in status:
        raise Retriable("the node of the demo did not answer")
    return int(status.Status)


def contrast_left(source: FloatImage, companion: FloatImage, soft: FloatImage) -> float:
    """Share of the bone contrast of ``source`` that ``companion`` still shows, measured against the simulated truth.

    Source, companion and truth are band-passed to the width of ribs; what is left is the projection of
    (companion - soft) on (source - soft): 1 for an unchanged image, 0 for the truth, below 0 when too much was taken.

    Parameters
    ----------
    source, companion, soft : (rows, columns) float32 in [0, 1]; ``soft`` is the simulated image without bone.
    """
    bone = _rib_band(source - soft)
    left = _rib_band(companion - soft)
    return float(np.vdot(left, bone) / max(float(np.vdot(bone, bone)), 1e-12))


def _rib_band(image: FloatImage) -> FloatImage:
    # 3 and 24 px at 1024 rows: from the cortical rim to the distance between two ribs
    unit = image.shape[0] / 1024
    band: FloatImage = gaussian_filter(image, 3 * unit) - gaussian_filter(image, 24 * unit)
    return band
