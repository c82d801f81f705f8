"""Damaged files: whatever the bytes are, a Radiograph or a Rejected comes out, and nothing else."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from pacs_node.errors import Rejected
from pacs_node.imaging.read import read_radiograph
from pacs_node.records import Radiograph
from tests.unit.imaging.synthetic import dataset, lut_item, saved, scene

ROUNDS = 300
HEADER = 1400  # most damage goes here, where the structure is: in pixels it only changes grey values

Damage = Callable[[bytearray, np.random.Generator], bytes]


def flipped(raw: bytearray, rng: np.random.Generator) -> bytes:
    for _ in range(int(rng.integers(1, 12))):
        end = min(HEADER, len(raw)) if rng.random() < 0.8 else len(raw)
        raw[int(rng.integers(128, end))] = int(rng.integers(256))
    return bytes(raw)


def cut(raw: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(raw[: int(rng.integers(len(raw)))])


def spliced(raw: bytearray, rng: np.random.Generator) -> bytes:
    start, length = int(rng.integers(132, HEADER)), int(rng.integers(1, 40))
    return bytes(raw[:start] + raw[start + length :])


def scrambled(raw: bytearray, rng: np.random.Generator) -> bytes:
    """Damage at the head of the compressed stream, which C and C++ code parses: GDCM ends the process on some."""
    start = raw.index(b"\xe0\x7f\x10\x00") + 12
    for _ in range(int(rng.integers(1, 8))):
        end = start + 120 if rng.random() < 0.5 else len(raw)
        raw[int(rng.integers(start, end))] = int(rng.integers(256))
    return bytes(raw)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_damaged_files_never_raise_anything_else(syntax: str | None, tmp_path: Path) -> None:
    ds = dataset(
        np.rint(4095 * scene(270, 256)).astype(np.int64),
        WindowCenter=["2048", "1000"],
        WindowWidth=["4096", "500"],
        RescaleSlope="1",
        RescaleIntercept="0",
        PixelPaddingValue=0,
        PresentationLUTShape="IDENTITY",
        VOILUTSequence=[lut_item(np.arange(64), bits=12)],
        SpecificCharacterSet="ISO_IR 100",
    )
    if syntax is not None:
        ds.compress(syntax, generate_instance_uid=False)
    raw = saved(ds, tmp_path / "good.dcm").read_bytes()
    rng = np.random.default_rng(20261121)
    path = tmp_path / "damaged.dcm"
    outcomes = set()
    for _ in range(ROUNDS):
        damage: Damage = (flipped, cut, spliced, scrambled)[int(rng.integers(4))]
        path.write_bytes(damage(bytearray(raw), rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns about what it repairs
            try:
                result = read_radiograph(path)
                assert isinstance(result, Radiograph)
                assert np.isfinite(result.pixels).all()
                outcomes.add("read")
            except Rejected as refusal:
                outcomes.add(refusal.reason)
    assert len(outcomes) >= 4, f"the damage was too gentle or too hard to say anything: {outcomes}"
