"""`pacs-node process`: one file in, its companion out, no network."""

import json
import os
import socket
from pathlib import Path

import pytest
from PIL import Image
from pydicom import dcmread

from pacs_node.audit import AUDIT_FILE, Audit, EventKind
from pacs_node.cli import main
from tests.bundles import tiny_bundle
from tests.radiographs import radiograph, saved


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A radiograph in a folder whose settings name a tiny bundle; connecting anywhere is an error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACS_NODE_MODEL__BUNDLE", str(tiny_bundle(tmp_path / "bundle").folder))

    def refuse(*_arguments: object) -> None:
        raise AssertionError("a command without network tried to connect")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return saved(radiograph(), tmp_path / "in.dcm")


def test_the_companion_is_in_the_study_of_its_source_and_the_same_each_time(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["process", str(source), "-o", "one.dcm", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["process", str(source), "-o", "two.dcm"]) == 0
    one, two, before = dcmread("one.dcm"), dcmread("two.dcm"), dcmread(source)
    assert one.StudyInstanceUID == before.StudyInstanceUID
    assert one.SOPInstanceUID == two.SOPInstanceUID == told["sop_instance_uid"]
    assert one.PixelData == two.PixelData


def test_the_audit_of_the_node_names_source_companion_and_model(source: Path) -> None:
    trail = source.parent / "var" / AUDIT_FILE
    Audit(trail).close()
    assert main(["process", str(source), "-o", "out.dcm"]) == 0
    (event,) = Audit(trail).events()
    assert (event.kind, event.note, event.steps) == (EventKind.USER_COMMAND, "process", 2)
    assert event.source_sop_instance_uid == dcmread(source).SOPInstanceUID
    assert event.derived_sop_instance_uid == dcmread("out.dcm").SOPInstanceUID


def test_a_node_that_cannot_be_looked_at_costs_its_audit_and_not_the_companion(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACS_NODE_NODE__DATA_DIR", "v" * 300)  # refused as the folder of another user
    assert main(["process", str(source), "-o", "out.dcm"]) == 0
    assert "the audit trail could not be written (OSError)" in capsys.readouterr().err


def test_the_preview_shows_three_panels(source: Path) -> None:
    assert main(["process", str(source), "-o", "out.dcm", "--preview", "picture.png"]) == 0
    with Image.open("picture.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2.9 * 900  # three squares of the panels' height


def test_a_rejected_file_is_told_with_its_reason_and_nothing_is_written(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ds = radiograph()
    ds.BodyPartExamined = "HIP"
    saved(ds, source)
    assert main(["process", str(source), "-o", "out.dcm"]) == 1
    assert "rejected (not_chest)" in capsys.readouterr().err
    assert not Path("out.dcm").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["in.dcm", "-o", "in.dcm"], 2, "must not replace its source"),
        (["in.dcm", "-o", "no/out.dcm"], 2, "there is no folder no"),
        (["in.dcm", "-o", "out.dcm", "--preview", "no/p.png"], 2, "there is no folder no"),
        (["none.dcm", "-o", "out.dcm"], 2, "none.dcm is not a file"),
        (["in.dcm", "-o", "folder"], 2, "folder is a folder; name the file to write, as folder/companion.dcm"),
        (["in.dcm", "-o", "pipe"], 2, "pipe is a device or a pipe; name the file to write"),
        (["in.dcm", "-o", "out.dcm", "--preview", "out.dcm"], 2, "must not replace the companion"),
    ],
)
def test_what_cannot_be_read_or_written_is_named(
    words: list[str], code: int, told: str, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source.parent / "folder").mkdir()
    os.mkfifo(source.parent / "pipe")
    assert main(["process", *words]) == code
    assert (source.parent / "pipe").is_fifo()
    assert told in capsys.readouterr().err
    assert not [path for path in source.parent.iterdir() if path.name.endswith(".part")]


def test_what_can_neither_be_written_nor_tidied_is_told(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source.parent / ".out.dcm.part").mkdir()  # refuses both, as a read-only folder does
    assert main(["process", str(source), "-o", "out.dcm"]) == 4
    assert "out.dcm cannot be written" in capsys.readouterr().err
