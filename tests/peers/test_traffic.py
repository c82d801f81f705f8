"""`pacs-node bench --ingest` and `--soak` with a real node, a real Orthanc and DCMTK."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.peers.node import PATIENCE_S, wait_until

BENCH = (sys.executable, "-m", "pacs_node", "bench")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PACS_NODE_MODEL__THREADS": "1"}


def bench(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT | ({"PATH": path} if path is not None else {})
    command = [*BENCH, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment)


@pytest.mark.peer("orthanc")
def test_companions_of_mixed_images_come_back_to_orthanc_and_nothing_is_left(tmp_path: Path) -> None:
    done = bench("--soak", "4", "--json", str(tmp_path / "soak.json"), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    soak = json.loads((tmp_path / "soak.json").read_text())["soak"]
    assert (soak["archive"], soak["sent"], len(soak["arrivals"]), soak["problems"]) == ("Orthanc", 4, 4, [])
    assert (tmp_path / "out" / "soak.csv").read_text().count("\n") > 1
    assert (tmp_path / "out" / "soak.svg").read_text().startswith("<svg")


def test_a_plain_scp_stands_in_where_orthanc_is_not_installed(tmp_path: Path) -> None:
    done = bench("--soak", "2", "--json", "-", path=str(tmp_path))
    soak = json.loads(done.stdout)["soak"]
    assert (done.returncode, len(soak["arrivals"])) == (0, 2), done.stderr
    assert "Orthanc is not installed" in soak["archive"]


def test_ctrl_c_shows_what_was_reached() -> None:
    command = [*BENCH, "--soak", "500"]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 (no other thread runs here)
    )
    wait_until(lambda: _node_has_images(run.pid), "images come to the node of the bench")
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130
    assert "of 500" in said


def _hear_interrupts() -> None:
    """A shell starts what runs in the background with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _node_has_images(pid: int) -> bool:
    """Whether the node that this bench has started holds a received image."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if "serve" in words:
            return any((Path(words[words.index("--config") + 1]).parent / "var" / "incoming").glob("*.dcm"))
    return False


def test_reception_without_peers_is_measured_for_the_node_alone(tmp_path: Path) -> None:
    done = bench("--ingest", "--rounds", "1", "--json", "-", path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["client"] == "pynetdicom storescu"
    measured = {row["what"]: row["images_per_s"] for row in report["ingest"] if row["associations"] == 1}
    assert [bool(rate) for rate in measured.values()] == [True, True, False, False]
