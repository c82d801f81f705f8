"""The companion looks like its source at the source's default window wherever no bone is taken out.

The second opinion is DCMTK's renderer, which shares no code with this project: it draws the source with the source's
window or table and polarity, and the companion with the companion's, and the two pictures must agree.
"""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from pacs_node.config import GateSettings, OutputSettings, Settings
from pacs_node.imaging.fuse import quantised
from pacs_node.imaging.read import read_radiograph
from pacs_node.pipeline import make_companion
from tests.unit.imaging.engines import BoneFromDecoder, described_bundle
from tests.unit.imaging.synthetic import dataset, lut_item, saved, scene

WINDOW = ("+Wi", "1")
VOI_LUT = ("+Wl", "1")
MIN_MAX = ("+Wm",)

# the gate looks at pixels, too: half of these pictures are shown as negatives on purpose
UNLABELLED = Settings(
    gate=GateSettings(pixels=False), output=OutputSettings(burned_in_label=False)
)  # the label is not a part of the look


def companion_without_bone(source: Path) -> Dataset:
    bundle = described_bundle()
    return make_companion(source, BoneFromDecoder(bundle), bundle, UNLABELLED)[0]


def rendered(path: Path, voi: tuple[str, ...]) -> NDArray[np.int64]:
    png = path.with_suffix(".png")
    subprocess.run(["dcmj2pnm", *voi, "+on", str(path), str(png)], check=True, capture_output=True)
    return np.asarray(Image.open(png)).astype(np.int64)


def picture(low: int, high: int, **attributes: Any) -> Dataset:
    stored = np.rint(low + (high - low) * scene(300, 260)).astype(np.int64)
    return dataset(stored, **attributes)


WINDOWED = {"WindowCenter": "1500", "WindowWidth": "2500"}
CASES: dict[str, tuple[Dataset, tuple[str, ...]]] = {
    "monochrome2": (picture(0, 4095, **WINDOWED), WINDOW),
    "monochrome1": (picture(0, 4095, PhotometricInterpretation="MONOCHROME1", **WINDOWED), WINDOW),
    "monochrome2_identity": (picture(0, 4095, PresentationLUTShape="IDENTITY", **WINDOWED), WINDOW),
    "monochrome2_inverse": (picture(0, 4095, PresentationLUTShape="INVERSE", **WINDOWED), WINDOW),
    "monochrome1_identity": (
        picture(0, 4095, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY", **WINDOWED),
        WINDOW,
    ),
    "monochrome1_inverse": (
        picture(0, 4095, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE", **WINDOWED),
        WINDOW,
    ),
    "signed_12_bit": (picture(-2048, 2047, PixelRepresentation=1, WindowCenter="-300", WindowWidth="2000"), WINDOW),
    "16_bit": (picture(0, 65535, BitsStored=16, WindowCenter="30000", WindowWidth="45000"), WINDOW),
    "8_bit": (
        picture(0, 255, BitsAllocated=8, BitsStored=8, WindowCenter="128", WindowWidth="200"),
        WINDOW,
    ),
    "rescaled": (
        picture(0, 4095, RescaleSlope="0.5", RescaleIntercept="-200", WindowCenter="700", WindowWidth="1200"),
        WINDOW,
    ),
    "sigmoid": (picture(0, 4095, VOILUTFunction="SIGMOID", **WINDOWED), WINDOW),
    "voi_lut": (
        picture(
            0,
            4095,
            PhotometricInterpretation="MONOCHROME1",
            VOILUTSequence=[lut_item(np.rint(4095 * (np.arange(4096) / 4095) ** 1.7).astype(np.int64))],
        ),
        VOI_LUT,
    ),
    "no_window": (picture(300, 3000), MIN_MAX),
}


@pytest.mark.parametrize("case", CASES)
def test_companion_holds_the_p_values_of_the_source_where_no_bone_is_found(case: str, tmp_path: Path) -> None:
    source = saved(CASES[case][0], tmp_path / "source.dcm")
    radiograph = read_radiograph(source)
    companion = companion_without_bone(source)
    np.testing.assert_array_equal(companion.pixel_array, quantised(radiograph.pixels, radiograph.bits_stored))
    assert companion.PhotometricInterpretation == "MONOCHROME2"
    assert companion.PresentationLUTShape == "IDENTITY"


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("case", CASES)
def test_dcmtk_draws_source_and_companion_alike(case: str, tmp_path: Path) -> None:
    ds, voi = CASES[case]
    source = saved(ds, tmp_path / "source.dcm")
    companion = saved(companion_without_bone(source), tmp_path / "companion.dcm")
    difference = np.abs(rendered(source, voi) - rendered(companion, WINDOW))
    # one of 256 levels: DCMTK cuts fractions off, and the companion is rounded to its own levels first
    assert difference.max() <= 1


@pytest.mark.peer("dcmtk")
def test_test_would_see_a_second_inversion(tmp_path: Path) -> None:
    first, second = picture(0, 4095, **WINDOWED), picture(0, 4095, PhotometricInterpretation="MONOCHROME1", **WINDOWED)
    drawn = [rendered(saved(ds, tmp_path / f"{index}.dcm"), WINDOW) for index, ds in enumerate((first, second))]
    assert np.abs(drawn[0] - drawn[1]).max() > 200


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize(
    ("name", "voi"),
    [("RG1_UNCR", WINDOW), ("nih_dicom_00000001_000", MIN_MAX), ("txrv_jpeg_baseline", MIN_MAX)],
)
def test_dcmtk_draws_real_radiographs_and_companions_alike(
    name: str, voi: tuple[str, ...], shared_data: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source.dcm"
    source.write_bytes((shared_data / "dicom" / f"{name}.dcm").read_bytes())
    companion = saved(companion_without_bone(source), tmp_path / "companion.dcm")
    # two decoders may differ by one level in a lossy JPEG, besides the rounding
    limit = 2 if "jpeg" in name else 1
    assert np.abs(rendered(source, voi) - rendered(companion, WINDOW)).max() <= limit
