"""Radiographs that the bench sends: what the node reads out of them is what was put in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacs_node.bench.radiographs import MIXED, NOISE, Form, formed, pictures_of, renewed
from pacs_node.errors import ConfigError
from pacs_node.imaging.read import read_radiograph
from pacs_node.records import FloatImage
from tests.radiographs import radiograph, saved


def picture(side: int = 320) -> FloatImage:
    rows, columns = np.mgrid[0:side, 0:side] / side
    return np.asarray(0.1 + 0.4 * rows + 0.4 * columns, dtype=np.float32)


@pytest.mark.parametrize("form", MIXED, ids=lambda form: f"{form.side}-{form.bits}-{form.syntax.name}-{form.inverted}")
def test_the_node_sees_the_picture_in_every_form(form: Form, tmp_path: Path) -> None:
    small = Form(320, form.bits, form.syntax, form.inverted)
    seen = read_radiograph(saved(formed(picture(), small, 3), tmp_path / "a.dcm"))
    assert (seen.bits_stored, seen.pixels.shape) == (form.bits, (320, 320))
    # six sigma of the noise that is added, and half a level of 8 bits
    np.testing.assert_allclose(seen.pixels, picture(), atol=6 * NOISE + 0.002)


def test_a_picture_keeps_its_proportions_at_another_size() -> None:
    ds = formed(picture()[:, :240], Form(640, 12), 0)
    assert (ds.Rows, ds.Columns) == (640, 480)


def test_a_renewed_radiograph_is_another_instance_with_the_same_pixels() -> None:
    ds = formed(picture(), Form(320, 12), 0)
    before, pixels = (ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID), ds.PixelData
    renewed(ds, 1)
    assert not set(before) & {ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID}
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert ds.PixelData == pixels


def test_a_folder_gives_its_dicom_files_and_pictures_and_nothing_else(tmp_path: Path) -> None:
    saved(radiograph(), tmp_path / "a.dcm")
    Image.fromarray(np.full((300, 280), 51, dtype=np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "c.txt").write_text("no radiograph")
    found = pictures_of(tmp_path, 9)
    assert [each.shape for each in found] == [(256, 256), (300, 280)]
    assert found[1][0, 0] == pytest.approx(0.2)
    assert len(pictures_of(tmp_path, 1)) == 1


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_a_radiograph_is_a_usage_error(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "none"
    if made:
        folder.mkdir()
    with pytest.raises(ConfigError, match="--images"):
        pictures_of(folder, 1)
