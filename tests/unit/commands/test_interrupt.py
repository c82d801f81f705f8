"""How long work ends before its time, in words of the command line."""

import errno
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from pacs_node.commands.interrupt import resumable, terminated_as_interrupted
from pacs_node.errors import ConfigError, DiskFull


def test_a_full_disk_is_said_of_the_folder_that_is_written(tmp_path: Path) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(DiskFull, match=r"out cannot be written: No space left"), resumable(tmp_path / "out"):
            os.write(descriptor, b"one byte")
    finally:
        os.close(descriptor)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.txt cannot be used: No such file"), resumable(tmp_path):
        (tmp_path / "absent.txt").read_text(encoding="utf-8")


def test_an_error_without_a_number_keeps_its_text(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 20).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:900])
    with pytest.raises(ConfigError, match="truncated"), resumable(tmp_path):
        Image.open(tmp_path / "cut.png").load()


def test_named_errors_are_what_to_ask_for_instead_and_others_pass(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="take less"), resumable(tmp_path, KeyError, ArithmeticError):
        raise OverflowError("take less")
    with pytest.raises(ValueError, match="ours"), resumable(tmp_path, KeyError):
        raise ValueError("ours")


def test_sigterm_ends_as_ctrl_c_and_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), resumable(tmp_path), terminated_as_interrupted():
        signal.raise_signal(signal.SIGTERM)
    assert "the same command goes on from there" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_quota_counts_as_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskFull), resumable(tmp_path):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
