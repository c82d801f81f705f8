"""Looking at a node from outside changes nothing and tells whether it runs."""

import fcntl
from pathlib import Path

import pytest

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.config import NodeSettings, RoutingSettings, Settings
from pacs_node.errors import ConfigError
from pacs_node.service import LOCK_FILE, node_status, run_service
from pacs_node.spool import Spool


def settings(folder: Path) -> Settings:
    return Settings(node=NodeSettings(data_dir=folder))


def test_the_status_of_a_node_that_never_ran_creates_nothing(tmp_path: Path) -> None:
    report = node_status(settings(tmp_path / "var"))
    assert (report.running, report.queue, report.last) == (False, {}, [])
    assert not (tmp_path / "var").exists()


def test_the_status_counts_files_and_shows_the_last_events(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write_incoming("ab", [b"x"])
    spool.write_outbox("cd", ["a", "b"], lambda stream: stream.write(b"y"))
    spool.refuse(spool.write_incoming("ef", [b"z"]), {"reason": "not_chest"})
    Audit(tmp_path / AUDIT_FILE).record(AuditEvent(kind=EventKind.SERVICE_STARTED))
    report = node_status(settings(tmp_path))
    assert report.files == {"incoming": 1, "outbox": 2, "quarantine": 1}
    assert [event.kind for event in report.last] == [EventKind.SERVICE_STARTED]


def test_a_node_runs_exactly_while_its_lock_is_held(tmp_path: Path) -> None:
    with (tmp_path / LOCK_FILE).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert node_status(settings(tmp_path)).running
    assert not node_status(settings(tmp_path)).running


def test_a_data_dir_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"node\.data_dir"):
        run_service(settings(tmp_path / "file"))


def test_a_destination_without_a_peer_is_a_configuration_error(tmp_path: Path) -> None:
    configuration = settings(tmp_path).model_copy(update={"routing": RoutingSettings(destinations=("nowhere",))})
    with pytest.raises(ConfigError, match="nowhere"):
        run_service(configuration)
