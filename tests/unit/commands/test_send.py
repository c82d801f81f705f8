"""`pacs-node send`: which files, to whom, and what a script learns."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pacs_node.audit import AUDIT_FILE, Audit, EventKind
from pacs_node.cli import main
from pacs_node.commands.send import receiver
from pacs_node.config import NodeSettings, Peer, Settings
from pacs_node.errors import ConfigError
from tests.peers.destination import answering
from tests.sources import write_instance

PACS = Peer(name="pacs", ae_title="ORTHANC", host="10.0.0.5", port=4242)
SETTINGS = Settings(node=NodeSettings(ae_title="ME", host="0.0.0.0", port=104), peers=(PACS,))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command of these tests finds a config.toml or leaves files in the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("to", "aet", "expected"),
    [
        (None, None, "ME@127.0.0.1:104"),
        (None, "OTHER", "OTHER@127.0.0.1:104"),
        ("pacs", None, "ORTHANC@10.0.0.5:4242"),
        ("pacs", "ARCHIVE", "ARCHIVE@10.0.0.5:4242"),
        ("pacs.example:11112", None, "ANY-SCP@pacs.example:11112"),
        ("[::1]:104", "X", "X@::1:104"),
    ],
)
def test_the_receiver_is_the_node_a_peer_or_an_address(to: str | None, aet: str | None, expected: str) -> None:
    peer = receiver(SETTINGS, to, aet)
    assert f"{peer.ae_title}@{peer.host}:{peer.port}" == expected


@pytest.mark.parametrize(
    ("to", "aet", "told"),
    [
        ("pasc", None, "did you mean pacs?"),
        ("archive", None, "the peers are pacs"),
        ("host:port", None, "port 'port' is not valid"),
        ("host:0", None, "port '0' is not valid"),
        ("host:104", "LONGER THAN SIXTEEN", "ae_title 'LONGER THAN SIXTEEN' is not valid"),
    ],
)
def test_nobody_to_send_to_is_a_configuration_error(to: str, aet: str | None, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        receiver(SETTINGS, to, aet)
    assert told in str(caught.value)


def test_a_folder_is_sent_and_what_is_no_dicom_in_it_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    Path("study/inner").mkdir(parents=True)
    write_instance(Path("study/one.dcm"))
    write_instance(Path("study/inner/two"))
    Path("study/readme.txt").write_text("text", encoding="utf-8")
    with answering() as pacs:
        assert main(["send", "study", "--to", f"127.0.0.1:{pacs.port}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["taken"], told["failed"], told["passed_over"]) == (2, 0, 1)
    assert {file["status"] for file in told["files"]} == {"0x0000"}
    assert len(pacs.stored) == 2


def test_a_file_that_is_named_and_is_no_dicom_fails(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.dcm").write_text("text", encoding="utf-8")
    write_instance(Path("b.dcm"))
    with answering() as pacs:
        assert main(["send", "a.dcm", "b.dcm", "--to", f"127.0.0.1:{pacs.port}"]) == 1
    shown = capsys.readouterr()
    assert "not a DICOM file" in shown.out
    assert "1 delivered, 1 refused" in shown.err
    assert len(pacs.stored) == 1


@pytest.mark.parametrize(
    ("status", "code", "result"), [(0xB000, 0, "warning"), (0xA700, 1, "retry"), (0xC000, 1, "refused")]
)
def test_each_status_is_shown_and_failures_end_with_one(
    status: int, code: int, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_instance(Path("one.dcm"))
    with answering(lambda _number: status) as pacs:
        assert main(["send", "one.dcm", "--to", f"127.0.0.1:{pacs.port}", "--json"]) == code
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert (file["status"], file["result"]) == (f"0x{status:04X}", result)


def test_when_nobody_listens_every_file_fails(free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    write_instance(Path("one.dcm"))
    assert main(["send", "one.dcm", "--to", f"127.0.0.1:{free_port}", "--json"]) == 1
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert (file["status"], file["result"]) == (None, "retry")


def test_json_about_a_file_whose_name_is_no_text_can_be_read(tmp_path: Path) -> None:
    write_instance(tmp_path / "plain.dcm").rename(tmp_path / "caf\udce9.dcm")  # an old Windows or a CD wrote the name
    command = [sys.executable, "-m", "pacs_node", "send", str(tmp_path), "--json", "--to"]
    with answering() as pacs:
        told = subprocess.run([*command, f"127.0.0.1:{pacs.port}"], capture_output=True, check=True)
    assert json.loads(told.stdout.decode("utf-8"))["files"][0]["file"] == str(tmp_path / "caf\udce9.dcm")


def test_the_name_of_a_file_commands_no_terminal_and_stays_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_instance(tmp_path / "a\x1b[31m\nb.dcm")
    with answering() as pacs:
        assert main(["send", str(tmp_path), "--to", f"127.0.0.1:{pacs.port}"]) == 0
    assert f"{tmp_path}/a\\x1b[31m\\nb.dcm  delivered" in capsys.readouterr().out


def test_a_folder_without_dicom_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert main(["send", "empty"]) == 1
    assert "no DICOM file found" in capsys.readouterr().err


def test_a_path_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "nowhere.dcm"]) == 2
    assert "nowhere.dcm cannot be read" in capsys.readouterr().err


def test_the_command_is_in_the_audit_of_the_node_without_the_names_of_files(tmp_path: Path) -> None:
    Audit(tmp_path / "var" / AUDIT_FILE).close()
    write_instance(Path("Doe_Jane.dcm"))
    with answering() as pacs:
        assert main(["send", "Doe_Jane.dcm", "--to", f"127.0.0.1:{pacs.port}"]) == 0
    (event,) = Audit(tmp_path / "var" / AUDIT_FILE).events()
    assert (event.kind, event.note) == (EventKind.USER_COMMAND, "send: 1 taken, 0 not")


def test_a_peer_that_is_away_is_told_with_what_to_check_and_no_text_becomes_a_picture(
    tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_instance(tmp_path / "a:x:.dcm"))
    assert main(["send", path, "--to", f"127.0.0.1:{free_port}"]) == 1
    told = capsys.readouterr()
    assert path in told.out
    assert "check host, port and AE title" in told.err
