"""A full disk, an orderly end, a second service, a broken model: nothing is lost and the message is clear."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pacs_node.audit import AUDIT_FILE, EventKind
from pacs_node.commands.errors import ExitCode
from pacs_node.jobs import count_jobs
from tests.peers.destination import answering
from tests.peers.node import PATIENCE_S, NodeProcess, wait_until
from tests.peers.orthanc import free_tcp_port
from tests.peers.sender import send
from tests.radiographs import radiograph

# A node that may write files of up to 1.5 MiB: databases fit, a 1024 x 1024 radiograph of 2 MiB does not. The kernel
# refuses the write in the middle of the file, as it does on a full disk.
SMALL_FILES_ONLY = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3 * 2**19, resource.RLIM_INFINITY))
import runpy
runpy.run_module("pacs_node", run_name="__main__")
"""

# The next page of the file does not fit: SQLite refuses the insert, as on a full disk.
FULL_FOR_ANNOUNCEMENTS = """
CREATE TRIGGER full BEFORE INSERT ON events WHEN NEW.kind LIKE 'service_%'
BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END
"""


def test_an_image_that_does_not_fit_on_the_disk_is_refused_with_a700_and_the_next_one_is_taken(tmp_path: Path) -> None:
    limited = (sys.executable, "-c", SMALL_FILES_ONLY)
    with answering() as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}, command=limited) as node:
        node.start()
        assert send(node.port, radiograph(0, size=1024), radiograph(1)) == [0xA700, 0x0000]
        node.wait_until_idle()
        [refusal] = node.events(EventKind.REFUSED)
        assert (refusal.reason, refusal.dicom_status) == ("out_of_resources", 0xA700)
        assert len(pacs.stored) == 1
        assert node.spooled() == []  # not even a temporary file of the one that did not fit


def test_a_companion_that_does_not_fit_on_the_disk_is_made_when_there_is_room(tmp_path: Path) -> None:
    with answering() as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        (tmp_path / "var" / "outbox").mkdir(parents=True)
        (tmp_path / "var" / "outbox" / "pacs").write_bytes(b"a file where a folder must be: no write succeeds")
        node.start()
        assert send(node.port, radiograph()) == [0x0000]
        wait_until(lambda: len(node.events(EventKind.POSTPONED)) >= 2, "the work is postponed twice")
        (tmp_path / "var" / "outbox" / "pacs").unlink()
        wait_until(lambda: node.events(EventKind.DELIVERED), "the companion is delivered")
        node.wait_until_idle()
        assert len(pacs.stored) == 1
        assert node.spooled() == []


def test_an_end_that_cannot_be_audited_is_orderly_and_a_start_that_cannot_may_work_later(tmp_path: Path) -> None:
    with answering() as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        node.start()
        with sqlite3.connect(tmp_path / "var" / AUDIT_FILE) as connection:
            connection.execute(FULL_FOR_ANNOUNCEMENTS)
        connection.close()
        assert node.stop() == ExitCode.DONE
        assert "the end could not be audited" in node.last_log()
        node.launch()
        assert node.process.wait(PATIENCE_S) == ExitCode.TRY_AGAIN
        assert "the audit trail cannot be written" in node.last_log()


def test_sigterm_finishes_the_running_image_keeps_the_rest_queued_and_exits_zero(tmp_path: Path) -> None:
    count = 5
    with answering() as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        node.start()
        assert send(node.port, *(radiograph(seed) for seed in range(count))) == [0x0000] * count
        wait_until(lambda: node.events(EventKind.STARTED), "the first image is being processed")
        assert node.stop() == 0
        assert len(node.events(EventKind.STARTED)) == len(node.events(EventKind.DERIVED))
        assert len(node.events(EventKind.SERVICE_STOPPED)) == 1
        queued = count_jobs(node.data_dir)
        assert sum(queued.values()) >= 1
        assert not any(state.endswith("running") for state in queued)
        node.start()
        node.wait_until_idle()
        wait_until(lambda: len(node.events(EventKind.DELIVERED)) == count, "all are delivered")
        assert len(set(pacs.uids())) == len(pacs.stored) == count


def test_sigterm_ends_the_process_although_a_peer_never_answers(tmp_path: Path) -> None:
    hold = threading.Event()

    def never(_number: int) -> int:
        hold.wait(300)
        return 0x0000

    with answering(never) as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        path = tmp_path / "config.toml"
        path.write_text(path.read_text().replace("timeout_s = 20", "timeout_s = 300"))
        node.start()
        send(node.port, radiograph())
        wait_until(lambda: pacs.received, "the node waits for the answer")
        assert node.stop() == 0
        hold.set()
        assert count_jobs(node.data_dir) == {"deliver running": 1}  # interrupted: the next start sends it again


def test_a_second_service_on_the_same_data_dir_is_refused_by_name(tmp_path: Path) -> None:
    with NodeProcess(tmp_path, {}) as node:
        node.start()
        second = NodeProcess(tmp_path / "second", {}, port=free_tcp_port())
        path = second.folder / "config.toml"
        path.write_text(path.read_text().replace(str(second.data_dir), str(node.data_dir)))
        assert second.launch().process.wait(60) == 2
        assert "another pacs-node serves from" in second.last_log()


def test_a_port_in_use_ends_the_start_with_a_message(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "first", {}) as first:
        first.start()
        second = NodeProcess(tmp_path / "second", {}, port=first.port)
        assert second.launch().process.wait(60) == 2
        assert f"cannot listen on 127.0.0.1:{first.port}" in second.last_log()
        assert "choose another node.host or node.port" in second.last_log()


# An engine whose graph fails at the first image, as a GPU that has gone does.
BROKEN_ENGINE = """
import pacs_node.service
from pacs_node.errors import ModelError
from pacs_node.engine.load import open_engine

class Broken:
    def __init__(self, engine):
        self.spec, self.device = engine.spec, engine.device
    def coarse_layers(self, images, steps, seeds):
        raise ModelError("the device does not answer any more")

pacs_node.service.open_engine = lambda *arguments: Broken(open_engine(*arguments))
import runpy
runpy.run_module("pacs_node", run_name="__main__")
"""


def test_a_model_error_stops_the_service_and_the_image_stays_queued(tmp_path: Path) -> None:
    with answering() as pacs:
        with NodeProcess(tmp_path, {"pacs": pacs.port}, command=(sys.executable, "-c", BROKEN_ENGINE)) as node:
            node.start()
            assert send(node.port, radiograph()) == [0x0000]
            assert node.process.wait(60) == 3
            assert "the device does not answer any more" in node.last_log()
        with NodeProcess(tmp_path, {"pacs": pacs.port}) as mended:
            mended.start()
            wait_until(lambda: mended.events(EventKind.DELIVERED), "the companion is delivered")
            assert len(pacs.stored) == 1


NO_TORCH = """
import sys
sys.modules["torch"] = None
import runpy
runpy.run_module("pacs_node", run_name="__main__")
"""


def test_the_service_starts_and_processes_an_image_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([sys.executable, "-c", NO_TORCH.replace("import runpy", "import torch")], check=True)
    with (
        answering() as pacs,
        NodeProcess(tmp_path, {"pacs": pacs.port}, command=(sys.executable, "-c", NO_TORCH)) as node,
    ):
        node.start()
        assert send(node.port, radiograph()) == [0x0000]
        wait_until(lambda: node.events(EventKind.DELIVERED), "the companion is delivered")
        assert len(pacs.stored) == 1


def test_two_interrupts_end_the_process_at_once(tmp_path: Path) -> None:
    hold = threading.Event()
    with (
        answering(lambda _number: int(hold.wait(300)) * 0) as pacs,
        NodeProcess(tmp_path, {"pacs": pacs.port}) as node,
    ):
        node.start()
        send(node.port, radiograph())
        wait_until(lambda: pacs.received, "the node waits for the answer")
        node.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in node.last_log(), "the node is stopping")
        time.sleep(0.1)
        node.process.send_signal(signal.SIGINT)
        assert node.process.wait(60) == 128 + signal.SIGINT
        hold.set()
