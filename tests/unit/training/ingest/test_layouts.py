"""What belongs together in each layout, and what belongs to nothing."""

import re
from pathlib import Path

import numpy as np
import pytest

from pacs_node.cli import main
from pacs_node.errors import ConfigError
from tests.unit.training.ingest.chests import dicom, png8
from training.ingest.layouts import Wish, find_pairs

GREY = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (256, 1))


def files(folder: Path, *names: str) -> Path:
    """Files with these names; what is found depends on nothing else."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def told(folder: Path, wish: Wish | None = None) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
    found = find_pairs(folder, wish or Wish())
    pairs = [
        (pair.cxr.relative_to(folder).as_posix(), pair.soft.relative_to(folder).as_posix()) for pair in found.pairs
    ]
    return found.layout, pairs, sorted((loner.name, str(loner.reason)) for loner in found.loners)


def test_szch_folders_are_known_by_their_names(tmp_path: Path) -> None:
    files(tmp_path, "CXR/0.png", "CXR/1.png", "BS/0.png", "BS/1.png", "README.md")
    assert told(tmp_path) == ("szch", [("CXR/0.png", "BS/0.png"), ("CXR/1.png", "BS/1.png")], [])
    found = find_pairs(tmp_path, Wish())
    assert (found.licence, found.tone) == ("CC BY-NC 4.0", "own")


def test_jsrt_is_paired_from_raw_images_and_exports(tmp_path: Path) -> None:
    files(tmp_path, "JSRT/JPCLN001.IMG", "BSE_JSRT/JPCLN001.png", "JSRT/JPCNN002.png", "BSE_JSRT/JPCNN002.jpg")
    layout, pairs, loners = told(tmp_path)
    assert layout == "jsrt"
    assert pairs == [("JSRT/JPCLN001.IMG", "BSE_JSRT/JPCLN001.png"), ("JSRT/JPCNN002.png", "BSE_JSRT/JPCNN002.jpg")]
    assert loners == []
    assert find_pairs(tmp_path, Wish()).tone == "cxr"  # its contrast was changed and is to be restored


def test_copies_of_a_jsrt_image_are_one_patient(tmp_path: Path) -> None:
    files(tmp_path, *[f"{side}/JPCLN001{copy}.png" for side in ("cxr", "soft") for copy in ("", "_2", "aug")])
    assert {pair.patient for pair in find_pairs(tmp_path, Wish()).pairs} == {"JPCLN001"}


def test_folders_may_have_any_name_and_subfolders(tmp_path: Path) -> None:
    files(tmp_path, "before/x/1.png", "after/x/1.tif", "before/2.png", "after/2.png")
    wish = Wish(cxr="before", soft="after")
    assert told(tmp_path, wish) == (
        "folders",
        [("before/2.png", "after/2.png"), ("before/x/1.png", "after/x/1.tif")],
        [],
    )


def test_endings_of_names_pair_files_of_one_folder(tmp_path: Path) -> None:
    files(tmp_path, "a_cxr.png", "a_soft.png", "b_cxr.jpg", "b_soft.png")
    assert told(tmp_path) == ("suffixes", [("a_cxr.png", "a_soft.png"), ("b_cxr.jpg", "b_soft.png")], [])
    files(tmp_path / "other", "a-in.png", "a-out.png")
    assert told(tmp_path / "other", Wish(cxr="-in", soft="-out"))[1] == [("a-in.png", "a-out.png")]


def test_a_missing_twin_and_a_doubled_name_are_told(tmp_path: Path) -> None:
    files(tmp_path, "CXR/1.png", "BS/1.png", "CXR/2.png", "BS/3.png", "CXR/4.png", "CXR/4.jpg", "BS/4.png")
    layout, pairs, loners = told(tmp_path)
    assert (layout, pairs) == ("szch", [("CXR/1.png", "BS/1.png")])
    assert loners == [("2", "missing_twin"), ("3", "missing_twin"), ("4", "duplicate_name")]


def test_a_pattern_finds_the_patient_in_the_name(tmp_path: Path) -> None:
    files(tmp_path, "p7_1_cxr.png", "p7_1_soft.png", "p7_2_cxr.png", "p7_2_soft.png", "p8_1_cxr.png", "p8_1_soft.png")
    pairs = find_pairs(tmp_path, Wish(patient=re.compile(r"^(p\d+)_"))).pairs
    assert [pair.patient for pair in pairs] == ["p7", "p7", "p8"]
    assert len({pair.patient for pair in find_pairs(tmp_path, Wish()).pairs}) == 3


def study(folder: Path, number: int, *described: str, patient: str | None = None, **attributes: object) -> None:
    for text in described:
        name = f"{number}-{text or 'plain'}.dcm".replace(" ", "_")
        dicom(GREY, folder / name, patient or f"ID{number}", number, SeriesDescription=text, **attributes)


def test_twins_of_a_dicom_study_are_told_apart_by_their_descriptions(tmp_path: Path) -> None:
    study(tmp_path, 1, "PA Standard", "PA Soft Tissue", "PA Bone")
    study(tmp_path, 2, "Thorax pa", "Thorax Weichteil")
    study(tmp_path, 3, "Chest", "Chest Bone Suppressed")
    layout, pairs, loners = told(tmp_path)
    assert layout == "dicom"
    assert pairs == [
        ("1-PA_Standard.dcm", "1-PA_Soft_Tissue.dcm"),
        ("2-Thorax_pa.dcm", "2-Thorax_Weichteil.dcm"),
        ("3-Chest.dcm", "3-Chest_Bone_Suppressed.dcm"),
    ]
    assert loners == []  # the bone image of a study is no half of a pair


def test_a_word_of_ones_own_tells_the_soft_image(tmp_path: Path) -> None:
    study(tmp_path, 1, "Chest A", "Chest B")
    assert told(tmp_path)[2] == [("1-Chest_A.dcm", "missing_twin"), ("1-Chest_B.dcm", "missing_twin")]
    assert told(tmp_path, Wish(layout="dicom", soft="chest b"))[1] == [("1-Chest_A.dcm", "1-Chest_B.dcm")]


def test_an_image_type_tells_the_soft_image_too(tmp_path: Path) -> None:
    study(tmp_path, 1, "a")
    study(tmp_path, 1, "b", ImageType=["DERIVED", "PRIMARY", "DES_SOFT"])
    assert told(tmp_path)[1] == [("1-a.dcm", "1-b.dcm")]


def test_several_exposures_of_a_study_are_matched_by_their_time(tmp_path: Path) -> None:
    for hour, text in (("08", "first"), ("12", "second")):
        study(tmp_path, 1, text, f"soft {text}", AcquisitionTime=f"{hour}0000", AcquisitionDate="20260101")
    pairs = told(tmp_path)[1]
    assert pairs == [("1-first.dcm", "1-soft_first.dcm"), ("1-second.dcm", "1-soft_second.dcm")]


def test_exposures_that_nothing_tells_apart_are_left_out(tmp_path: Path) -> None:
    study(tmp_path, 1, "one", "two", "soft")
    layout, pairs, loners = told(tmp_path)
    assert (layout, pairs) == ("dicom", [])
    assert {reason for _, reason in loners} == {"ambiguous"}


def test_two_folders_of_dicom_are_matched_by_study(tmp_path: Path) -> None:
    for number in (1, 2):
        dicom(GREY, tmp_path / "cxr" / f"x{number}.dcm", f"ID{number}", number)
        dicom(GREY, tmp_path / "soft" / f"y{3 - number}.dcm", f"ID{number}", number)
    assert told(tmp_path)[1] == [("cxr/x1.dcm", "soft/y2.dcm"), ("cxr/x2.dcm", "soft/y1.dcm")]


def test_dicom_twins_of_two_patients_are_left_out(tmp_path: Path) -> None:
    dicom(GREY, tmp_path / "cxr" / "1.dcm", "ID1", 1)
    dicom(GREY, tmp_path / "soft" / "1.dcm", "ID2", 2)
    assert told(tmp_path) == ("folders", [], [("1", "different_patients")])


def test_a_lateral_view_and_a_companion_of_ours_make_no_pair(tmp_path: Path) -> None:
    study(tmp_path, 1, "lateral", ViewPosition="LL")
    study(tmp_path, 1, "pa", "soft tissue")
    study(tmp_path, 2, "soft companion", Manufacturer="pacs-node")
    _, pairs, loners = told(tmp_path)
    assert pairs == [("1-pa.dcm", "1-soft_tissue.dcm")]
    assert loners == [("1-lateral.dcm", "not_frontal"), ("2-soft_companion.dcm", "own_output")]


@pytest.mark.parametrize(
    ("names", "wish", "next_step"),
    [
        ([], Wish(), "--cxr FOLDER --soft FOLDER"),
        (["x/1.png", "y/1.png"], Wish(), "--cxr FOLDER --soft FOLDER"),
        (["CXR/1.png"], Wish(layout="szch"), "no two folders"),
        (["CXR/1.txt", "BS/1.png"], Wish(), "holds no picture"),
        (["a.png"], Wish(cxr="_x", soft="_y"), "ends in _x"),
        (["a.png"], Wish(cxr="_x"), "both --cxr and --soft"),
    ],
)
def test_a_folder_that_says_nothing_is_told_what_to_say(
    tmp_path: Path, names: list[str], wish: Wish, next_step: str
) -> None:
    with pytest.raises(ConfigError, match=next_step):
        find_pairs(files(tmp_path, *names), wish)


def test_a_source_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_single_picture_is_enough_to_find_a_pair(tmp_path: Path) -> None:
    png8(GREY, tmp_path / "cxr" / "1.png")
    png8(GREY, tmp_path / "soft" / "1.png")
    assert told(tmp_path)[1] == [("cxr/1.png", "soft/1.png")]
