"""Every format that pair sets come in is read to grey values, and what cannot be read says why."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.training.ingest.chests import FloatImage, dicom, png8, png16, raw_jsrt, twins
from training.ingest.pictures import is_picture, read_picture
from training.ingest.polarity import NEGATIVE_BELOW, chest_score, turned
from training.ingest.refusal import Refused


@pytest.fixture(scope="module")
def chest() -> FloatImage:
    return twins(0, 256)[0]


@pytest.mark.parametrize("ending", ["png", "tif", "tiff"])
def test_sixteen_bits_are_read_as_sixteen(chest: FloatImage, tmp_path: Path, ending: str) -> None:
    read = read_picture(png16(chest, tmp_path / f"a.{ending}"))
    assert np.abs(read.pixels - chest).max() <= 0.5 / 65535 + 1e-7  # half a step, and float32


@pytest.mark.parametrize(("ending", "tolerance"), [("png", 0.5), ("bmp", 0.5), ("jpg", 12)])
def test_eight_bits_are_read_whatever_the_format(
    chest: FloatImage, tmp_path: Path, ending: str, tolerance: float
) -> None:
    read = read_picture(png8(chest, tmp_path / f"a.{ending}"))
    assert np.abs(read.pixels - chest).max() <= tolerance / 255 + 1e-6  # JPEG at quality 95 rings at the ribs' rims


def test_a_grey_picture_in_three_channels_is_grey(chest: FloatImage, tmp_path: Path) -> None:
    Image.open(png8(chest, tmp_path / "a.png")).convert("RGB").save(tmp_path / "rgb.png")
    assert np.abs(read_picture(tmp_path / "rgb.png").pixels - chest).max() <= 0.5 / 255 + 1e-6


def test_a_raw_jsrt_image_is_turned_positive(chest: FloatImage, tmp_path: Path) -> None:
    read = read_picture(raw_jsrt(chest, tmp_path / "JPCLN001.IMG"))
    assert read.pixels.shape == (2048, 2048)
    assert np.abs(read.pixels[::8, ::8] - chest).max() <= 0.5 / 4095 + 1e-6
    assert chest_score(read.pixels) > 0.3


def test_dicom_is_read_as_the_service_reads_it(chest: FloatImage, tmp_path: Path) -> None:
    stored = (1 - chest).astype(np.float32)
    path = dicom(stored, tmp_path / "a.dcm", "p1", 0, PhotometricInterpretation="MONOCHROME1")
    assert np.corrcoef(read_picture(path).pixels.ravel(), chest.ravel())[0, 1] > 0.999


def refused(path: Path) -> str:
    with pytest.raises(Refused) as told:
        read_picture(path)
    return told.value.reason


def test_what_cannot_be_used_is_refused_with_its_reason(chest: FloatImage, tmp_path: Path) -> None:
    whole = png16(chest, tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "short.IMG").write_bytes(bytes(1000))
    (tmp_path / "little.IMG").write_bytes(np.full((2048, 2048), 3000, dtype="<u2").tobytes())
    colour = np.stack([chest, chest * 0.5, chest], axis=2)
    Image.fromarray((colour * 255).astype(np.uint8)).save(tmp_path / "colour.png")
    png8(chest[:100], tmp_path / "small.png")
    png8(np.full((300, 300), 0.5, dtype=np.float32), tmp_path / "blank.png")
    (tmp_path / "not.dcm").write_bytes(b"no preamble")
    frames = [Image.fromarray(np.full((256, 256), level, np.uint8)) for level in (1, 2)]
    frames[0].save(tmp_path / "frames.tif", save_all=True, append_images=frames[1:])
    reasons = {path.name: refused(path) for path in tmp_path.iterdir() if path.name != "whole.png"}
    assert reasons == {
        "cut.png": "damaged",
        "empty.jpg": "damaged",
        "short.IMG": "damaged",
        "little.IMG": "damaged",  # 3000 in the wrong byte order is beyond 12 bit
        "colour.png": "not_grey",
        "small.png": "too_small",
        "blank.png": "blank",
        "not.dcm": "not_dicom",
        "frames.tif": "damaged",
    }


def test_only_pictures_are_looked_at(chest: FloatImage, tmp_path: Path) -> None:
    png8(chest, tmp_path / "a.PNG")
    dicom(chest, tmp_path / "IM0001", "p", 0)
    for name in ("readme.txt", ".hidden.png", "table.csv", "NOTES"):
        (tmp_path / name).write_text("text of more than a hundred and thirty-two characters " * 4, encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir() if is_picture(path)) == ["IM0001", "a.PNG"]


@pytest.mark.parametrize("seed", range(3))
def test_a_negative_scores_as_much_below_zero_as_its_positive_above(seed: int) -> None:
    chest = twins(seed, 256)[0]
    assert chest_score(chest) > -NEGATIVE_BELOW
    assert chest_score((1 - chest).astype(np.float32)) == pytest.approx(-chest_score(chest), abs=0.02)


def test_a_frame_around_the_picture_does_not_hide_the_chest() -> None:
    framed = np.pad(twins(0, 256)[0], ((90, 90), (0, 60))).astype(np.float32)
    assert chest_score(framed) > -NEGATIVE_BELOW


def test_padding_stays_black_when_a_picture_is_turned_around(chest: FloatImage, tmp_path: Path) -> None:
    stored = chest.copy()
    stored[:20] = 0
    path = dicom(stored, tmp_path / "a.dcm", "p1", 0, PixelPaddingValue=0)
    read = turned(read_picture(path))
    assert read.padding is not None
    assert not read.pixels[:20].any()


def test_real_radiographs_are_taken_for_positives_and_their_negatives_are_found(shared_data: Path) -> None:
    scores = []
    for path in sorted((shared_data / "cxr").iterdir())[::3]:
        with Image.open(path) as picture:
            grey = np.asarray(picture.convert("L").resize((400, 400)), dtype=np.float32)  # the scale does not matter
        scores.append(chest_score(grey))
    assert min(scores) > NEGATIVE_BELOW  # no positive is turned around
    # a negative scores the opposite: all but a few white lungs would be found
    assert np.mean(np.array(scores) > -NEGATIVE_BELOW) > 0.9
