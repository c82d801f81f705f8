"""Where no bone is found, the companion has the source's own grey levels, every one of them."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pacs_node.imaging.fuse import quantised
from pacs_node.imaging.read import read_dataset, read_radiograph
from pacs_node.pipeline import run_network
from tests.unit.imaging.engines import BoneFromDecoder, described_bundle
from tests.unit.imaging.synthetic import dataset

ENCODINGS = [(bits, polarity) for bits in (8, 10, 12, 14, 15, 16) for polarity in ("MONOCHROME1", "MONOCHROME2")]
REAL = [
    "RG1_UNCR",  # Philips CR, 15 bit, MONOCHROME1
    "RG1_J2KR",
    "RG1_J2KI",
    "RG1_JLSN",
    "nih_dicom_00000001_000",
    "txrv_Fake_MONOHR1",
    "txrv_jpeg_baseline",
]


@pytest.mark.parametrize(("bits", "polarity"), ENCODINGS)
def test_zero_bone_layer_returns_every_level_of_an_encoding(bits: int, polarity: str) -> None:
    levels = 2**bits
    stored = np.random.default_rng(bits).integers(0, levels, (700, 640))
    stored[0, :2] = 0, levels - 1
    # C.11.2.1.2.1, note: this window is the identity
    window = {"WindowCenter": str(levels // 2), "WindowWidth": str(levels), "BitsStored": bits}
    source = read_dataset(dataset(stored, PhotometricInterpretation=polarity, **window))
    inference = run_network(source, BoneFromDecoder(described_bundle()), 1, 0)
    assert not inference.bone_layer.any()
    shown = levels - 1 - stored if polarity == "MONOCHROME1" else stored
    np.testing.assert_array_equal(inference.soft_tissue, shown)


@pytest.mark.parametrize("name", REAL)
def test_zero_bone_layer_returns_every_level_of_a_real_radiograph(name: str, shared_data: Path) -> None:
    source = read_radiograph(shared_data / "dicom" / f"{name}.dcm")
    inference = run_network(source, BoneFromDecoder(described_bundle()), 1, 0)
    assert not inference.bone_layer.any()
    np.testing.assert_array_equal(inference.soft_tissue, quantised(source.pixels, source.bits_stored))


def test_zero_bone_layer_returns_the_window_of_the_15_bit_original(shared_data: Path) -> None:
    path = shared_data / "dicom" / "RG1_UNCR.dcm"
    inference = run_network(read_radiograph(path), BoneFromDecoder(described_bundle()), 1, 0)
    stored = dcmread(path).pixel_array.astype(np.float64)
    shown = 1 - np.clip((stored - 14999.5) / 29999 + 0.5, 0, 1)  # C.11.2.1.2.1 with its center 15000 and width 30000
    # half a level is rounding; a P-value in float32 is off by up to .002 of a level
    np.testing.assert_allclose(inference.soft_tissue, shown * 32767, rtol=0, atol=0.502)
