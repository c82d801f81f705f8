"""The command line: help that is quick, errors that end in one place, output a script can read."""

import errno
import json
import subprocess
import sys
from contextlib import redirect_stdout
from io import FileIO, TextIOWrapper
from pathlib import Path

import pytest

from pacs_node import cli, errors
from pacs_node.commands.errors import ExitCode, report

COMMANDS = [
    ["serve"],
    ["send"],
    ["process"],
    ["status"],
    ["explain"],
    ["reproduce"],
    ["audit"],
    ["export-onnx"],
    ["sweep"],
    ["ablate"],
    ["evaluate"],
    ["demo"],
    ["config", "check"],
    ["config", "show"],
    ["config", "reference"],
    ["ingest"],
    ["bench"],
    ["simulate"],
    ["reader-study", "make"],
    ["reader-study", "read"],
    ["reader-study", "score"],
    ["train", "autoencoder"],
    ["train", "diffusion"],
]
HEAVY = {"torch", "onnxruntime", "onnx", "dbos", "sqlalchemy", "pynetdicom", "highdicom", "scipy", "numpy"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command of these tests finds a config.toml or writes into the repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom pacs_node.cli import main\n"
        f"codes = [main([*words, '--help']) for words in [[], *{COMMANDS!r}]]\n"
        f"print(codes, sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == f"{[0] * (len(COMMANDS) + 1)} []"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_help_shows_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples" in shown
    assert f"pacs-node {' '.join(words)}" in shown.split("Examples")[1]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_command_whose_streams_were_closed_does_its_work(closed: str) -> None:
    command = f"{sys.executable} -m pacs_node status {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    name, version = capsys.readouterr().out.split()
    assert name == "pacs-node"
    assert version[0].isdigit()


def test_a_path_that_the_file_system_refuses_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "check", "--config", "c" * 300]) == ExitCode.CONFIGURATION
    assert f"{'c' * 300} cannot be used: File name too long" in capsys.readouterr().err


def test_wrong_usage_ends_with_two() -> None:
    assert cli.main(["send"]) == 2
    assert cli.main(["fly"]) == 2


def test_a_wrong_configuration_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text("[node]\nprot = 1\n", encoding="utf-8")
    assert cli.main(["config", "check"]) == ExitCode.CONFIGURATION
    shown = capsys.readouterr()
    assert "the nearest known key is node.port" in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (errors.ConfigError("change this"), 2, "change this"),
        (errors.ModelError("pip install pacs-node[cpu]"), 3, "pip install pacs-node[cpu]"),
        (errors.Rejected(errors.ReasonCode.NOT_CHEST, "a hip"), 1, "rejected (not_chest): a hip"),
        (errors.DiskFull("no room"), 4, "no room; the same command may work later"),
        (ModuleNotFoundError("x", name="torch"), 3, "pip install 'pacs-node[training]'"),
        (ModuleNotFoundError("x", name="onnxruntime.capi"), 3, "pip install 'pacs-node[cpu]'"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "a.json"), 4, "no room to write a.json"),
        (PermissionError(errno.EACCES, "Permission denied", "a.dcm"), 2, "a.dcm cannot be used: Permission denied"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_type_of_error_has_its_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, debug=False) == code
    assert told in capsys.readouterr().err


def test_an_unexpected_error_shows_its_type_only_and_where_the_rest_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(RuntimeError("Doe^Jane"), debug=False) == ExitCode.UNEXPECTED
    shown = capsys.readouterr().err
    assert "unexpected RuntimeError" in shown
    assert "Doe" not in shown
    log = Path(shown.split("the details are in ")[1].strip())
    assert "Doe^Jane" in log.read_text(encoding="utf-8")
    assert log.stat().st_mode & 0o077 == 0


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text("[[", encoding="utf-8")
    assert cli.main(["--debug", "config", "check"]) == ExitCode.CONFIGURATION
    assert "Traceback" in capsys.readouterr().err


def test_json_is_all_that_stands_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["node"]["port"] == 11112


def test_json_into_a_full_disk_may_work_later(capsys: pytest.CaptureFixture[str]) -> None:
    with FileIO("/dev/full", "w") as full, redirect_stdout(TextIOWrapper(full, write_through=True)):
        assert cli.main(["config", "show", "--json"]) == ExitCode.TRY_AGAIN
    assert "No space left on device; the same command may work later" in capsys.readouterr().err


def test_show_prints_what_the_environment_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACS_NODE_NODE__PORT", "4711")
    assert cli.main(["config", "show"]) == 0
    assert "4711" in capsys.readouterr().out


def test_status_and_audit_of_a_node_that_never_ran_are_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["running"], status["queue"], status["results"]) == (False, {}, [])
    assert cli.main(["audit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert not Path("var").exists()
