"""Answers on the disk: whole lines, in order, whoever writes and whoever is killed."""

import multiprocessing
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pacs_node.errors import ConfigError, DiskFull
from tests.unit.training.readers.small_study import small_study
from training.readers.durable import append_line
from training.readers.records import (
    ANSWERS,
    Answer,
    Mark,
    append_answer,
    latest,
    open_study,
    read_answers,
    write_study,
)

WRITERS, LINES = 4, 40


def answer(confidence: int, case: str = "c001", reader: str = "r1") -> Answer:
    return Answer(
        at=datetime(2026, 1, 2, tzinfo=UTC),
        reader=reader,
        session=1,
        case=case,
        arm="without",
        kind="marks",
        marks=(Mark(x=1.25, y=2, confidence=confidence),),
    )


def test_an_answer_comes_back_as_it_was_and_the_last_of_a_case_counts(tmp_path: Path) -> None:
    assert read_answers(tmp_path) == []
    told = [answer(10), answer(20, "c002"), answer(30)]
    for each in told:
        append_answer(tmp_path, each)
    assert read_answers(tmp_path) == told
    assert latest(read_answers(tmp_path)) == {("r1", 1, "c001"): told[2], ("r1", 1, "c002"): told[1]}


@pytest.mark.parametrize("kept", [1, 30, -1], ids=["a byte", "a part", "all but its end"])
def test_a_torn_last_line_is_passed_over_and_cut_off_by_the_next(tmp_path: Path, kept: int) -> None:
    append_answer(tmp_path, answer(10))
    whole = (tmp_path / ANSWERS).read_bytes()
    (tmp_path / ANSWERS).write_bytes(whole + whole[:kept])
    assert read_answers(tmp_path) == [answer(10)]
    append_answer(tmp_path, answer(20))
    assert read_answers(tmp_path) == [answer(10), answer(20)]
    assert (tmp_path / ANSWERS).read_bytes().count(b"\n") == 2


def test_a_damaged_line_inside_is_told_with_its_number(tmp_path: Path) -> None:
    append_answer(tmp_path, answer(10))
    with (tmp_path / ANSWERS).open("ab") as stream:
        stream.write(b'{"at": 3}\n')
    with pytest.raises(ConfigError, match="line 2"):
        read_answers(tmp_path)


def write_many(folder: Path, reader: str) -> None:
    for number in range(LINES):
        append_answer(folder, answer(number, reader=reader))


def test_processes_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path, f"r{k}")) for k in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = read_answers(tmp_path)
    assert len(found) == WRITERS * LINES
    for k in range(WRITERS):
        mine = [each.marks[0].confidence for each in found if each.reader == f"r{k}"]
        assert mine == list(range(LINES)), "in the order they were saved"


def write_until_killed(folder: Path, pipe: int) -> None:
    for number in range(10_000):
        append_answer(folder, answer(number % 101))
        os.write(pipe, b".")


def test_a_killed_writer_loses_nothing_that_it_was_told_is_saved(tmp_path: Path) -> None:
    told, pipe = os.pipe()
    writer = multiprocessing.get_context("fork").Process(target=write_until_killed, args=(tmp_path, pipe))
    writer.start()
    saved = b""
    while len(saved) < 20:
        saved += os.read(told, 100)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    os.set_blocking(told, False)
    while True:
        try:
            saved += os.read(told, 4096)
        except BlockingIOError:
            break
    os.close(told)
    os.close(pipe)
    assert len(saved) <= len(read_answers(tmp_path)) <= len(saved) + 1


def test_a_write_that_fails_leaves_nothing_of_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_answer(tmp_path, answer(10))
    before = (tmp_path / ANSWERS).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="No space left"):
        append_answer(tmp_path, answer(20))
    assert (tmp_path / ANSWERS).read_bytes() == before


def test_a_file_that_holds_only_a_torn_line_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"torn")
    append_line(tmp_path / "log", b"whole")
    assert (tmp_path / "log").read_bytes() == b"whole\n"


def test_a_folder_without_a_study_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pacs-node reader-study make"):
        open_study(tmp_path)
    (tmp_path / "study.json").write_text('{"version": 2}', encoding="utf-8")
    with pytest.raises(ConfigError, match="no study of this version"):
        open_study(tmp_path)


def test_a_study_that_lost_a_case_is_told(tmp_path: Path) -> None:
    study = small_study()
    write_study(tmp_path, study.model_copy(update={"cases": study.cases[1:]}))
    with pytest.raises(ConfigError, match="plans case c1, which it does not have"):
        open_study(tmp_path)
