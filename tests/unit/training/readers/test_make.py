"""`pacs-node reader-study make`: what is in a study, and above all what is not."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pacs_node.cli import main
from pacs_node.errors import ConfigError
from pacs_node.imaging.read import read_radiograph
from tests.bundles import tiny_bundle
from tests.radiographs import radiograph, saved
from tests.unit.training.readers.pictures import companion_of, dicom_study, picture_pairs
from training.readers.records import Answer, append_answer, open_study
from training.readers.tokens import keep_tokens
from training.readers.truth import read_truth


def make(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    code = main(["reader-study", "make", *map(str, arguments), "--json"])
    shown = capsys.readouterr()
    return code, json.loads(shown.out) if shown.out else {}, shown.err


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_study_has_every_pair_once_and_the_truth_at_its_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, study = picture_pairs(tmp_path / "pairs", 5), tmp_path / "study"
    (tmp_path / "truth.csv").write_text("name,x,y,radius,kind\np_1,30,40,6,nodule\np_1,60.5,40,6,\np_3,,,,\n")
    code, told, _ = make(capsys, pairs, "-o", study, "--truth", tmp_path / "truth.csv", "--key", tmp_path / "key.csv")
    assert code == 0
    assert (told["cases"], told["with_lesion"], told["without_lesion"], told["truth_unknown"]) == (5, 1, 1, 3)
    made = open_study(study)
    key = dict(line.split(",") for line in (tmp_path / "key.csv").read_text().splitlines()[1:])
    assert sorted(key.values()) == [f"p_{k}" for k in range(5)]
    for case in made.cases:
        name = key[case.case]
        for stored, kind in ((case.image, "cxr"), (str(case.companion), "soft")):
            source = np.asarray(Image.open(pairs / f"{name}_{kind}.png"))
            assert np.array_equal(np.asarray(Image.open(study / stored)), source)
        lesions = None if case.truth is None else [(each.x, each.kind) for each in case.truth.lesions]
        assert lesions == {"p_1": [(30, "nodule"), (60.5, "lesion")], "p_3": []}.get(name)
    assert (tmp_path / "key.csv").stat().st_mode & 0o077 == 0
    assert (study / "study.json").stat().st_mode & 0o077 == 0


def test_companions_of_the_node_are_found_by_the_source_they_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dicom_study(tmp_path / "studies", 3)
    saved(radiograph(9), folder / "alone.dcm")
    (folder / "notes.txt").write_text("no image")
    truth = {"Doe_John_1/DOE1.dcm": [{"x": 3, "y": 4, "radius": 5}], str(radiograph(2).SOPInstanceUID): []}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    code, told, _ = make(capsys, folder, "-o", tmp_path / "study", "--truth", tmp_path / "truth.json")
    assert code == 0, "a radiograph that has no companion is not a failure"
    assert told["left_out"] == {"alone.dcm": "no companion in the folder"}
    assert (told["cases"], told["with_lesion"], told["without_lesion"]) == (3, 1, 1)
    for case in open_study(tmp_path / "study").cases:
        image, companion = (
            np.asarray(Image.open(tmp_path / "study" / str(name))) for name in (case.image, case.companion)
        )
        assert image.dtype == np.uint16
        assert 1.9 < image.mean() / companion.mean() < 2.1
    first = next(case for case in open_study(tmp_path / "study").cases if case.truth and case.truth.lesions)
    wanted = read_radiograph(folder / "Doe_John_1" / "DOE1.dcm").pixels
    assert np.abs(np.asarray(Image.open(tmp_path / "study" / first.image)) / 65535 - wanted).max() < 1e-4


def test_what_pacs_node_process_writes_is_a_companion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACS_NODE_MODEL__BUNDLE", str(tiny_bundle(tmp_path / "bundle").folder))
    studies = tmp_path / "studies"
    studies.mkdir()
    for number in range(2):
        source = saved(radiograph(number), studies / f"{number}.dcm")
        assert main(["process", str(source), "-o", str(studies / f"companion{number}.dcm")]) == 0
    capsys.readouterr()
    code, told, _ = make(capsys, studies, "-o", tmp_path / "study")
    assert (code, told["cases"], told["left_out"]) == (0, 2, {})
    for case in open_study(tmp_path / "study").cases:
        stored = np.asarray(Image.open(tmp_path / "study" / str(case.companion)))
        companions = [read_radiograph(studies / f"companion{number}.dcm").pixels for number in range(2)]
        assert min(np.abs(stored / 65535 - pixels).max() for pixels in companions) < 1e-4


def test_nothing_of_a_patient_and_nothing_of_an_arm_is_in_a_name_or_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dicom_study(tmp_path / "studies", 3)
    assert make(capsys, folder, "-o", tmp_path / "study")[0] == 0
    uids = [str(radiograph(number).StudyInstanceUID) for number in range(3)]
    for name, content in files_of(tmp_path / "study").items():
        for word in ("Doe", "DOE", "Synthetic", "SYN", *uids):
            assert word not in name
            assert word.encode() not in content
    for path in (tmp_path / "study" / "images").iterdir():
        chunks = Image.open(path)
        assert chunks.info == {}
        assert path.stem.isalnum()
        assert len(path.name) == 24
    study = open_study(tmp_path / "study")
    ranks = [sorted([case.image, str(case.companion)]).index(case.image) for case in study.cases]
    assert len({case.image for case in study.cases} | {case.companion for case in study.cases}) == 6
    assert ranks != [], "names of images and companions are digests alike"


def test_the_same_command_again_changes_nothing_and_another_seed_makes_another_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, study = picture_pairs(tmp_path / "pairs", 4), tmp_path / "study"
    assert make(capsys, pairs, "-o", study)[1]["written"]
    before = files_of(study)
    assert not make(capsys, pairs, "-o", study)[1]["written"]
    assert files_of(study) == before
    assert make(capsys, pairs, "-o", study, "--seed", "1")[1]["written"]
    after = files_of(study)
    assert after["study.json"] != before["study.json"]
    assert len(after) == len(before), "no picture of the former study stays"
    assert after["tokens.json"] == before["tokens.json"]


def test_a_study_with_answers_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, study = picture_pairs(tmp_path / "pairs", 4), tmp_path / "study"
    make(capsys, pairs, "-o", study)
    first = open_study(study).plan[0]
    append_answer(
        study,
        Answer(at=datetime.now(UTC), kind="marks", **first.model_dump(include={"reader", "session", "case", "arm"})),
    )
    before = files_of(study)
    code, _, said = make(capsys, pairs, "-o", study, "--seed", "1")
    assert code == 2
    assert "answers" in said
    code, told, _ = make(capsys, pairs, "-o", study)
    assert (code, told["written"]) == (0, False)
    assert files_of(study) == before


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = picture_pairs(tmp_path / "pairs", 2)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "thesis.txt").write_text("years of work")
    code, _, said = make(capsys, pairs, "-o", tmp_path / "study")
    assert code == 2
    assert "other files" in said
    assert list(files_of(tmp_path / "study")) == ["thesis.txt"]


def test_a_radiograph_with_two_companions_is_a_question_for_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dicom_study(tmp_path / "studies", 2)
    saved(companion_of(radiograph(0), "another model"), folder / "second.dcm")
    code, _, said = make(capsys, folder, "-o", tmp_path / "study")
    assert code == 2
    assert "2 companions" in said


def test_a_pair_that_cannot_be_read_is_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = dicom_study(tmp_path / "studies", 3)
    other = companion_of(radiograph(1, size=300))
    other.SourceImageSequence[0].ReferencedSOPInstanceUID = radiograph(1).SOPInstanceUID
    saved(other, folder / "Doe_John_1" / "zz.dcm")
    code, told, said = make(capsys, folder, "-o", tmp_path / "study")
    assert (code, told["cases"]) == (1, 2)
    assert "other rows and columns" in told["left_out"]["Doe_John_1/DOE1.dcm"]
    assert "Doe_John_1" in said


def test_a_source_whose_look_is_a_negative_is_shown_positive_like_its_companion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dicom_study(tmp_path / "studies", 2)
    source = radiograph(0)
    source.PhotometricInterpretation = "MONOCHROME1"  # with the same values: a wrong tag, and a negative
    saved(source, folder / "Doe_John_0" / "DOE0.dcm")
    assert make(capsys, folder, "-o", tmp_path / "study")[0] == 0
    for case in open_study(tmp_path / "study").cases:
        image, companion = (
            np.asarray(Image.open(tmp_path / "study" / str(name))) for name in (case.image, case.companion)
        )
        assert np.corrcoef(image.ravel(), companion.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ("name,x,y,radius\np_9,1,2,3\n", "no radiograph"),
        ("name,x,y,radius\np_1,1,2,3\np_1_cxr.png,4,5,6\n", "second name"),
        ("name,x,y,radius\np_1,1,2,\n", "radius"),
        ("name,x,y,radius\np_1,1,2,-3\n", "greater than 0"),
        ("name,x,y,radius\np_1,1,9999,3\n", "outside"),
        ("name,row,column\np_1,1,2\n", "columns"),
        ("name,x,y,radius\n,1,2,3\n", "line 2"),
    ],
)
def test_a_slip_in_the_truth_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], truth: str, said: str
) -> None:
    pairs = picture_pairs(tmp_path / "pairs", 2)
    (tmp_path / "truth.csv").write_text(truth)
    code, _, err = make(capsys, pairs, "-o", tmp_path / "study", "--truth", tmp_path / "truth.csv")
    assert code == 2
    assert said in err
    assert not (tmp_path / "study" / "study.json").exists()


def test_a_name_that_comes_twice_in_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text('{"a": [{"x": 1, "y": 1, "radius": 2}], "a": []}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"truth.json cannot be read as JSON: 'a' comes twice"):
        read_truth(path)


def test_practice_cases_are_read_first_and_are_no_part_of_the_sessions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = picture_pairs(tmp_path / "pairs", 6)
    told = make(capsys, pairs, "-o", tmp_path / "study", "--practice", "2")[1]
    assert (told["cases"], told["practice"], told["truth_unknown"]) == (4, 2, 4)
    study = open_study(tmp_path / "study")
    trained = {each.case for each in study.plan if each.session == 0}
    assert len(trained) == 2
    assert trained.isdisjoint(each.case for each in study.plan if each.session > 0)
    code, _, said = make(capsys, pairs, "-o", tmp_path / "other", "--practice", "5")
    assert code == 2
    assert "two more" in said


def test_a_key_that_could_not_be_written_is_told_before_the_study_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = picture_pairs(tmp_path / "pairs", 2)
    code, _, said = make(capsys, pairs, "-o", tmp_path / "study", "--key", tmp_path / "nowhere" / "key.csv")
    assert code == 2
    assert f"there is no folder {tmp_path / 'nowhere'}" in said
    assert not (tmp_path / "study").exists()


def test_why_pairs_cannot_be_read_is_told_where_too_few_are_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = picture_pairs(tmp_path / "pairs", 2)
    (pairs / "p_1_soft.png").write_bytes(b"no picture")
    code, _, said = make(capsys, pairs, "-o", tmp_path / "study")
    assert code == 2
    assert "1 pairs can be read" in said
    assert "p_1_soft.png cannot be used: damaged" in said


def test_the_key_is_not_put_into_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = picture_pairs(tmp_path / "pairs", 2)
    code, _, said = make(capsys, pairs, "-o", tmp_path / "study", "--key", tmp_path / "study" / "key.csv")
    assert code == 2
    assert "key" in said


@pytest.mark.parametrize("damage", ["null", '"r1"', "[]", "{"])
def test_damaged_links_are_told_and_not_a_mistake_of_ours(tmp_path: Path, damage: str) -> None:
    (tmp_path / "tokens.json").write_text(damage)
    with pytest.raises(ConfigError, match="every reader gets a new link"):
        keep_tokens(tmp_path, ["r1"])
