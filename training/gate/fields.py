"""Random fields to try the gate on: none is shown in training, and other lines than its patterns draw them.

A field goes the way of a radiograph: stored values of 8 to 16 bits, decoded by `pacs_node.imaging.read`, no tag that
names a body part or a view, then the gate.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from scipy import fft

from pacs_node.config import GateSettings
from pacs_node.errors import Rejected
from pacs_node.imaging.gate import check_header
from pacs_node.imaging.gate_network import Network
from pacs_node.imaging.gate_pixels import check_pixels
from pacs_node.imaging.read import read_dataset

__all__ = ["FIELDS", "LARGEST", "SMALLEST", "draw_field", "outcomes", "stored_field", "table"]

SMALLEST, LARGEST = 256, 3000  # px of a side
Rng = np.random.Generator
Field = NDArray[np.float32]
PASSED = "passed"


def _frequencies(shape: tuple[int, int], rng: Rng, stretch: float = 1.0) -> Field:
    """Cycles along the longer side, for the spectrum of a real field; one direction counts ``stretch`` times more."""
    angle = rng.uniform(0, np.pi)
    rows = fft.fftfreq(shape[0]).astype(np.float32)[:, None]
    columns = fft.rfftfreq(shape[1]).astype(np.float32)[None, :]
    along = rows * np.float32(np.cos(angle)) + columns * np.float32(np.sin(angle))
    across = columns * np.float32(np.cos(angle)) - rows * np.float32(np.sin(angle))
    return np.asarray(np.hypot(along, np.float32(stretch) * across) * max(shape), dtype=np.float32)


def _white(shape: tuple[int, int], rng: Rng) -> Field:
    if rng.random() < 0.5:
        return rng.random(shape, dtype=np.float32) - np.float32(0.5)
    return rng.standard_normal(shape, dtype=np.float32)


def _filtered(shape: tuple[int, int], rng: Rng, gain: Callable[[Field], Field], stretch: float = 1.0) -> Field:
    """White noise through a filter; (rows, columns) float32, mean 0, standard deviation 1."""
    spectrum = fft.rfft2(_white(shape, rng))
    spectrum *= gain(_frequencies(shape, rng, stretch))
    spectrum[0, 0] = 0
    field = fft.irfft2(spectrum, s=shape)
    return np.asarray(field / max(float(field.std()), 1e-9), dtype=np.float32)


def _coarse(rng: Rng, low: float = 1.0, high: float = 300.0) -> float:
    """Cycles along a side, every scale as often as any other."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _power(shape: tuple[int, int], rng: Rng) -> Field:
    """1/f noise: slopes from white to nearly a gradient."""
    slope = np.float32(rng.uniform(0, 3.5))
    return _filtered(shape, rng, lambda f: np.maximum(f, 0.5) ** -slope)


def _gaussian(shape: tuple[int, int], rng: Rng) -> Field:
    """Blurred noise."""
    cut = np.float32(_coarse(rng))
    return _filtered(shape, rng, lambda f: np.exp(-((f / cut) ** 2)))


def _band(shape: tuple[int, int], rng: Rng) -> Field:
    """Noise of one scale: spots of one size, or waves in all directions."""
    middle, wide = _coarse(rng, 1.5, 100), rng.uniform(0.05, 0.6)
    return _filtered(shape, rng, lambda f: np.exp(-((np.log(np.maximum(f, 0.1) / middle) / wide) ** 2)))


def _stretched(shape: tuple[int, int], rng: Rng) -> Field:
    """Noise with a direction: brushed metal, wood, rain."""
    slope, cut = np.float32(rng.uniform(0.5, 2.5)), _coarse(rng, 2, 200)
    stretch = float(np.exp(rng.uniform(np.log(1.5), np.log(12))))
    return _filtered(shape, rng, lambda f: (1 + (f / cut) ** 2) ** -slope, stretch)


def _mixed(shape: tuple[int, int], rng: Rng) -> Field:
    """Two fields, one where a third is high and the other where it is low, or their product."""
    one, other = (SIMPLE[int(rng.integers(len(SIMPLE)))](shape, rng) for _ in range(2))
    if rng.random() < 0.4:
        return one * other
    sharp = np.float32(np.exp(rng.uniform(-0.5, 3)))
    share = 1 / (1 + np.exp(-np.clip(sharp * _gaussian(shape, rng), -30, 30)))
    return np.asarray(share * one + (1 - share) * other, dtype=np.float32)


def _folded(shape: tuple[int, int], rng: Rng) -> Field:
    """Ridges, plateaus and spots: a field through a curve that is not monotonous or not smooth."""
    field = SIMPLE[int(rng.integers(len(SIMPLE)))](shape, rng)
    how = int(rng.integers(4))
    if how == 0:
        return np.abs(field)
    if how == 1:
        return np.asarray(np.tanh(np.float32(rng.uniform(1, 4)) * (field - np.float32(rng.normal(0, 0.7)))))
    if how == 2:
        return np.asarray(np.exp(np.float32(rng.uniform(0.3, 1.2)) * field))
    return np.asarray(np.sin(np.float32(rng.uniform(1, 4)) * field))


SIMPLE = (_power, _gaussian, _band, _stretched)
FIELDS: dict[str, Callable[[tuple[int, int], Rng], Field]] = {
    "white": _white,
    "1/f": _power,
    "blurred": _gaussian,
    "of one scale": _band,
    "with a direction": _stretched,
    "mixed": _mixed,
    "folded": _folded,
}


def draw_field(kind: str, rng: Rng, shape: tuple[int, int]) -> Field:
    """One field of ``FIELDS``, (rows, columns) float32 in [0, 1]; its range is used fully or in part, as windows do."""
    field = FIELDS[kind](shape, rng)
    some = field[:: max(1, shape[0] // 200), :: max(1, shape[1] // 200)]
    low, high = np.percentile(some, rng.uniform([0, 96], [4, 100]))
    field = np.clip((field - np.float32(low)) / np.float32(max(float(high - low), 1e-6)), 0, 1)
    if rng.random() < 0.3:
        across = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :] ** 2
        down = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None] ** 2
        field = field * (1 - np.float32(rng.uniform(0, 0.5)) * (across + down))  # a vignette
    return np.asarray(field ** np.float32(np.exp(rng.normal(0, 0.3))), dtype=np.float32)


def stored_field(number: int, kind: str, largest: int = LARGEST) -> Dataset:
    """A field as a DX image of 8 to 16 bits without BodyPartExamined and ViewPosition."""
    rng = np.random.default_rng([number, list(FIELDS).index(kind), 0xF1E7D])
    rows, columns = (int(np.exp(rng.uniform(np.log(SMALLEST), np.log(largest)))) for _ in range(2))
    shape = (rows, columns) if max(rows, columns) < 2 * min(rows, columns) else (rows, rows)
    bits = int(rng.integers(8, 17))
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    ds.SOPClassUID, ds.Modality = DigitalXRayImageStorageForPresentation, "DX"
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (generate_uid() for _ in range(3))
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.Rows, ds.Columns = shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    stored = np.rint(draw_field(kind, rng, shape) * np.float32(2**bits - 1)).astype("<u2")
    ds.add_new(0x7FE00010, "OW", stored.tobytes())
    return ds


def outcome(ds: Dataset, network: Network | None = None) -> str:
    """What the node's gate does with a data set: the code of a refusal, or ``passed``."""
    try:
        settings = GateSettings()
        check_header(ds, settings)
        check_pixels(read_dataset(ds), settings, network)
    except Rejected as refusal:
        return str(refusal.reason)
    return PASSED


def outcomes(numbers: range, network: Network | None = None, largest: int = LARGEST) -> Iterator[tuple[str, int, str]]:
    """Kind, number and outcome of one field of every kind for each number."""
    for number in numbers:
        for kind in FIELDS:
            yield kind, number, outcome(stored_field(number, kind, largest), network)


def table(found: Iterator[tuple[str, int, str]]) -> str:
    """Rows of kinds: how many, and what became of them."""
    rows: dict[str, Counter[str]] = {kind: Counter() for kind in FIELDS}
    for kind, _, what in found:
        rows[kind][what] += 1
    lines = ["| field | n | became |", "|---|---|---|"]
    for kind, counts in rows.items():
        lines.append(f"| {kind} | {counts.total()} | {', '.join(f'{w} {n}' for w, n in counts.most_common())} |")
    return "\n".join(lines)
