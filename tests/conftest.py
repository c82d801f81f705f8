"""What every test may ask for: the shared images, a free port, real peers."""

import os
import shutil
import socket
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PEER_PROGRAMS = {"orthanc": "Orthanc", "dcmtk": "storescu", "dicom3tools": "dciodvfy", "chromium": "chromium"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, or fail when PACS_NODE_REQUIRE_PEERS=1, the tests whose Debian peer is not installed."""
    required = os.environ.get("PACS_NODE_REQUIRE_PEERS") == "1"
    for item in items:
        for mark in item.iter_markers("peer"):
            package = str(mark.args[0])
            if shutil.which(PEER_PROGRAMS[package]) is not None:
                continue
            if required:
                raise pytest.UsageError(f"{item.nodeid} needs {package}: apt-get install {package}")
            item.add_marker(pytest.mark.skip(reason=f"{package} is not installed: apt-get install {package}"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, which are not part of the project."""
    folder = Path(os.environ.get("PACS_NODE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "dicom").is_dir():
        pytest.skip(f"no real images in {folder}: set PACS_NODE_SHARED_DATA to the folder that has them")
    return folder


@pytest.fixture
def free_port() -> int:
    """A TCP port that was free a moment ago on the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
