"""The demo's own parts; the README's test runs all of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ImageStat
from pydicom import dcmread
from pynetdicom import AE

from pacs_node.demo import LoopbackPacs, contrast_left, echo, running_node
from pacs_node.errors import Retriable
from pacs_node.preview import render_preview
from tests.sources import write_instance


def rib_image() -> tuple[np.ndarray, np.ndarray]:
    """A source with bars as wide as ribs, and the same without them."""
    rows, columns = np.mgrid[0:256, 0:256].astype(np.float32)
    soft = 0.4 + 0.2 * np.sin(columns / 90)
    bars = 0.15 * (np.sin(rows / 3) > 0.5)
    return (soft + bars).astype(np.float32), soft.astype(np.float32)


def test_all_contrast_is_left_in_an_unchanged_image_and_none_in_the_truth() -> None:
    source, soft = rib_image()
    assert contrast_left(source, source, soft) == pytest.approx(1.0)
    assert contrast_left(source, soft, soft) == pytest.approx(0.0, abs=1e-6)
    assert contrast_left(source, (source + soft) / 2, soft) == pytest.approx(0.5, abs=1e-5)  # float32 sums


def test_the_loopback_pacs_keeps_what_it_gets(tmp_path: Path) -> None:
    ds = dcmread(write_instance(tmp_path / "sent.dcm"))
    with LoopbackPacs(tmp_path).listening() as pacs:
        assert pacs.wait(0.0) is None
        ae = AE()
        ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
        assoc = ae.associate("127.0.0.1", pacs.port)
        assert assoc.send_c_store(ds).Status == 0x0000
        assoc.release()
        arrived = pacs.wait(10.0)
    assert arrived is not None
    assert dcmread(arrived).PixelData == ds.PixelData


def test_a_node_that_cannot_start_is_told_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("PACS_NODE_MODEL__BUNDLE", str(tmp_path / "no bundle"))
    with pytest.raises(Retriable, match="no folder"), running_node(tmp_path, free_port):
        pass


def test_nobody_answers_on_a_free_port(free_port: int) -> None:
    assert echo(free_port) is False


def test_the_preview_is_wide_and_its_layer_is_black_without_bone() -> None:
    source, soft = rib_image()
    picture = render_preview(source, soft, source - soft)
    assert picture.width > 2.9 * picture.height * 0.9
    third = picture.width // 3
    layer = (2 * third + 20, 60, picture.width - 20, picture.height - 20)
    assert ImageStat.Stat(picture.crop(layer)).mean[0] > 30
    empty = render_preview(source, source, np.zeros_like(source))
    assert ImageStat.Stat(empty.crop(layer)).extrema[0] == (0, 0)
