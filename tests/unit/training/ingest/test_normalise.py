"""One pair: however it was delivered, it ends as two positives on one grid, in register."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from pacs_node.imaging.fit import place, to_grid
from tests.unit.training.ingest.chests import FloatImage, moved, other_tone, png8, png16, raw_jsrt, twins
from training.ingest.normalise import Normalised, Recipe, normalise
from training.ingest.pictures import read_picture
from training.ingest.refusal import Refused
from training.ingest.tone import tone_curve

SMALL = Recipe(size=256)
Made = Callable[..., Normalised]


@pytest.fixture(scope="module")
def pair() -> tuple[FloatImage, FloatImage]:
    return twins(3, 256)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(cxr: FloatImage, soft: FloatImage, recipe: Recipe = SMALL) -> Normalised:
        return normalise(png16(cxr, tmp_path / "cxr.png"), png16(soft, tmp_path / "soft.png"), recipe)

    return make


def alike(first: FloatImage, second: FloatImage) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_a_radiograph_comes_out_as_the_service_hands_it_to_the_network(
    pair: tuple[FloatImage, FloatImage], made: Made, tmp_path: Path
) -> None:
    out = made(*pair)
    served = (to_grid(read_picture(tmp_path / "cxr.png"), 256).pixels[0, 0] + 1) / 2
    assert np.array_equal(out.cxr, served)
    assert out.facts["shift_px"] < 0.25
    assert out.facts["picture"] == (256, 256)


@pytest.mark.parametrize(("cxr_negative", "soft_negative"), [(False, True), (True, False), (True, True)])
def test_negatives_are_turned_positive(
    pair: tuple[FloatImage, FloatImage], made: Made, cxr_negative: bool, soft_negative: bool
) -> None:
    cxr, soft = (
        1 - image if negative else image for image, negative in zip(pair, (cxr_negative, soft_negative), strict=True)
    )
    out = made(cxr, soft)
    assert (out.facts["cxr_inverted"], out.facts["soft_inverted"]) == (cxr_negative, soft_negative)
    assert alike(out.cxr, pair[0]) > 0.99
    assert alike(out.soft, pair[1]) > 0.99


def test_a_person_may_say_the_polarity(pair: tuple[FloatImage, FloatImage], made: Made) -> None:
    out = made(*pair, replace(SMALL, polarity="negative"))
    assert alike(out.cxr, pair[0]) < -0.99
    assert alike(out.soft, pair[1]) < -0.99  # the twin follows its radiograph


def test_a_twin_out_of_register_is_laid_onto_its_radiograph(pair: tuple[FloatImage, FloatImage], made: Made) -> None:
    cxr, soft = pair
    out = made(cxr, moved(soft, (5.0, -3.0)))
    assert out.facts["shift_px"] == pytest.approx(4 * np.hypot(5, 3), abs=0.8)  # a fifth of a native px, at 1024
    assert out.facts["residual_px"] < out.facts["residual_before_px"] / 4
    rows, columns = out.facts["picture"]  # what only one of the two shows is cut off
    assert (rows, columns) == (251, 253)
    wanted = soft[:251, 3:]  # the twin's last rows and first columns left the picture
    inside = place(rows, columns, 256).covered()
    seen = np.asarray(Image.fromarray(out.soft[inside]).resize((253, 251), Image.Resampling.BICUBIC))
    assert alike(seen[8:-8, 8:-8], wanted[8:-8, 8:-8]) > 0.99


def test_a_smooth_warp_is_applied_to_the_pixels(pair: tuple[FloatImage, FloatImage], made: Made) -> None:
    cxr, soft = pair
    rows, columns = np.mgrid[0:256, 0:256].astype(np.float64)
    bulge = 2.5 * np.exp(-(((rows - 140) / 60) ** 2 + ((columns - 150) / 60) ** 2))
    beaten = map_coordinates(soft, [rows + bulge, columns], order=3, mode="nearest")
    errors = []
    for deform in (False, True):
        out = made(cxr, beaten, replace(SMALL, deform=deform))
        part = out.soft[100:180, 110:190]
        errors.append(1 - alike(part, np.asarray(Image.fromarray(soft).resize((256, 256)))[100:180, 110:190]))
    assert errors[1] < errors[0] / 2


def test_registration_can_be_left_out(pair: tuple[FloatImage, FloatImage], made: Made) -> None:
    recipe = replace(SMALL, register=False, max_residual_px=100)
    out = made(pair[0], moved(pair[1], (3.0, 0.0)), recipe)
    assert out.facts["shift_px"] == 0
    assert out.facts["residual_px"] == pytest.approx(12, abs=2)


def test_twins_of_different_sizes_end_on_one_grid(pair: tuple[FloatImage, FloatImage], tmp_path: Path) -> None:
    cxr = raw_jsrt(pair[0], tmp_path / "JPCLN001.IMG")  # 2048 px, its twin has 256
    soft = png8(1 - other_tone(pair[1]), tmp_path / "JPCLN001.png")
    out = normalise(cxr, soft, SMALL)
    assert (out.facts["cxr_size"], out.facts["soft_size"]) == ((2048, 2048), (256, 256))
    assert (out.facts["cxr_inverted"], out.facts["soft_inverted"]) == (False, True)
    assert alike(out.soft, pair[1]) > 0.97  # its tone is another one
    restored = np.interp(out.soft, *np.array(out.facts["tone_curve"]).T)
    ribless = np.abs(pair[0] - pair[1]) < 0.005
    assert np.median(np.abs(restored - out.cxr)[ribless]) < 0.03


def test_a_picture_that_is_not_square_is_letterboxed(pair: tuple[FloatImage, FloatImage], tmp_path: Path) -> None:
    tall = [np.pad(image, ((0, 60), (0, 0)), mode="reflect") for image in pair]
    out = normalise(png8(tall[0], tmp_path / "a.jpg"), png8(tall[1], tmp_path / "b.png"), SMALL)
    assert out.facts["picture"] == (316, 256)
    assert not out.cxr[:, :20].any()
    assert not out.soft[:, :20].any()


def test_a_radiograph_that_is_its_own_twin_is_refused(pair: tuple[FloatImage, FloatImage], tmp_path: Path) -> None:
    with pytest.raises(Refused) as told:  # whatever its depth and format
        normalise(png16(pair[0], tmp_path / "cxr.png"), png8(pair[0], tmp_path / "soft.bmp"), SMALL)
    assert told.value.reason == "same_picture"


def test_two_people_are_refused_with_what_was_measured(pair: tuple[FloatImage, FloatImage], made: Made) -> None:
    with pytest.raises(Refused) as told:
        made(pair[0], twins(4, 256)[1])
    assert told.value.reason == "not_twins"
    assert told.value.facts["matched_share"] < 0.3
    assert "check the pairing" in told.value.explanation


def test_too_much_displacement_left_is_refused(pair: tuple[FloatImage, FloatImage], made: Made) -> None:
    with pytest.raises(Refused, match="--max-residual"):
        made(pair[0], moved(pair[1], (3.0, 0.0)), replace(SMALL, register=False))


def test_a_damaged_half_names_itself(pair: tuple[FloatImage, FloatImage], tmp_path: Path) -> None:
    (tmp_path / "soft.png").write_bytes(b"\x89PNG and no more")
    with pytest.raises(Refused, match="the soft-tissue picture: "):
        normalise(png8(pair[0], tmp_path / "cxr.png"), tmp_path / "soft.png", SMALL)


def test_equalising_raises_local_contrast_in_both(pair: tuple[FloatImage, FloatImage], made: Made) -> None:
    plain, equal = made(*pair), made(*pair, replace(SMALL, clahe=0.02))
    lung = (slice(90, 150), slice(60, 90))
    assert equal.cxr[lung].std() > 1.2 * plain.cxr[lung].std()
    assert equal.soft[lung].std() > 1.2 * plain.soft[lung].std()


def test_the_tone_curve_follows_the_tissue_and_not_the_bones(pair: tuple[FloatImage, FloatImage]) -> None:
    cxr, soft = pair
    known, wanted = np.array(tone_curve(other_tone(soft), cxr)).T
    assert (np.diff(wanted) >= 0).all()
    assert (known[0], known[-1]) == (0, 1)
    ribless = np.abs(cxr - soft) < 0.005
    assert ribless.mean() > 0.5
    errors = np.interp(other_tone(soft), known, wanted) - soft
    # a quantile below the middle lies a little low where there is noise, and one curve of 33 points bends a little
    assert np.abs(np.median(errors[ribless])) < 0.01
    assert np.quantile(np.abs(errors[ribless]), 0.9) < 0.04


def test_a_blank_twin_has_no_curve() -> None:
    flat = np.full((64, 64), 0.5, dtype=np.float32)
    assert tone_curve(flat, flat) == ()
