"""Readers who are no persons: repeatable, recognisable, and never among persons' answers."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.readers.small_study import small_study
from training.readers.records import ANSWERS, STUDY, open_study, read_answers, write_study
from training.readers.score import Options, score_study
from training.readers.simulated import Skill, answer_study, invent_study, main


def difference(gain: float, seed: int, key: str = "wafroc") -> float:
    study = invent_study(60, 4, seed)
    result = score_study(study, answer_study(study, Skill(gain=gain), seed), Options(draws=50))
    comparison = next(each for each in result.figures if each.key == key).comparison
    assert comparison is not None
    return comparison.inferences[0].difference


def test_a_seed_gives_the_same_study_and_answers_and_another_gives_others() -> None:
    study = invent_study(12, 2, 5)
    assert study == invent_study(12, 2, 5)
    assert study != invent_study(12, 2, 6)
    assert answer_study(study, Skill(), 1) == answer_study(study, Skill(), 1)
    assert answer_study(study, Skill(), 1) != answer_study(study, Skill(), 2)


def test_a_gain_raises_detection_and_none_leaves_it_where_it_is() -> None:
    assert np.mean([difference(1.0, seed) for seed in range(8)]) > 0.1
    assert abs(np.mean([difference(0.0, seed) for seed in range(8)])) < 0.04


def test_every_reading_of_the_plan_is_answered_and_marked_as_simulated(tmp_path: Path) -> None:
    assert main([str(tmp_path / "study"), "--cases", "10", "--readers", "2", "--seed", "3"]) == 0
    study, answers = open_study(tmp_path / "study"), read_answers(tmp_path / "study")
    assert {each.key for each in answers} == {each.key for each in study.plan}
    assert all(reader.startswith("simulated") for reader in study.readers)
    assert score_study(study, answers, Options(draws=50)).simulated


def test_answers_of_anybody_are_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--cases", "6"]) == 0
    before = (tmp_path / ANSWERS).read_bytes()
    assert main([str(tmp_path), "--cases", "6", "--seed", "9"]) == 2
    assert (tmp_path / ANSWERS).read_bytes() == before
    assert "that nobody has answered" in capsys.readouterr().err


def test_nothing_is_made_up_for_persons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, small_study())
    assert main([str(tmp_path)]) == 2
    assert not (tmp_path / ANSWERS).exists()
    assert (tmp_path / STUDY).exists()
    assert "may be persons" in capsys.readouterr().err
