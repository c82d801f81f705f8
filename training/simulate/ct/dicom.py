"""DICOM CT series: found by their UIDs, sorted by geometry, checked, and put on axes right, front and up."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_rescale

from training.simulate.canvas import FloatArray
from training.simulate.ct.scan import Refused, Scan

__all__ = ["find_series", "read_series"]

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
FEWEST_SLICES = 20
STRAIGHT = 0.9998  # cosine of a degree
WIDEST_GAP = 4  # slices in a row that may be missing and are interpolated
HEADER = [
    "SOPClassUID", "SeriesInstanceUID", "ImageType", "Rows", "Columns", "ImageOrientationPatient",
]  # fmt: skip


def find_series(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Files of CT slices, by series and, within it, by kind, grid and orientation: scouts fall into their own group.

    What is no CT slice is passed over; groups too small for a thorax as well.
    """
    groups: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for path in paths:
        try:
            ds = dcmread(path, stop_before_pixels=True, specific_tags=HEADER)
        except (InvalidDicomError, OSError):
            continue
        localizer = "LOCALIZER" in ds.get("ImageType", [])
        if ds.get("SOPClassUID") == CT_IMAGE_STORAGE and not localizer:
            turned = [f"{float(v):.3f}" for v in ds.get("ImageOrientationPatient", None) or []]
            key = (ds.get("SeriesInstanceUID", ""), str(ds.get("Rows")), str(ds.get("Columns")), *turned)
            groups[key].append(path)
    yield from sorted(sorted(group) for group in groups.values() if len(group) >= FEWEST_SLICES)


def read_series(paths: Sequence[Path]) -> Scan:
    """Read the slices of one series.

    Raises
    ------
    Refused
        Slices are oblique, sheared by a tilted gantry, too uneven, or not decodable.
    """
    slices: list[Dataset] = [dcmread(path) for path in paths]
    across, down = _axes(slices[0])
    normal = np.cross(across, down)
    for axis, name in ((across, "row"), (down, "column")):
        if np.abs(axis).max() < STRAIGHT:
            raise Refused(f"the slices are oblique: their {name}s run along {np.round(axis, 2).tolist()}")
    if abs(normal[2]) < STRAIGHT:
        raise Refused("the slices are not axial: export the axial series")
    tilt = abs(float(slices[0].get("GantryDetectorTilt", 0) or 0))
    if tilt > 1:
        raise Refused(f"the gantry was tilted by {tilt:.0f} degrees: reformat the series first")
    slices, at_mm, notes = _sorted(slices, normal)
    step_mm, slots, more = _slots(at_mm)
    stack = _fill(_decode(slices), slots)
    row_mm, column_mm = (float(v) for v in slices[0].PixelSpacing)  # between rows first (PS3.3 10.7.1.3)
    hu, spacing = _turn(stack, (across, down, normal), np.array([column_mm, row_mm, step_mm]))
    return Scan(hu, spacing, None, tuple(notes + more))


def _axes(ds: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Direction of growing column and of growing row index, in LPS (PS3.3 C.7.6.2.1.1)."""
    if "ImageOrientationPatient" not in ds or "ImagePositionPatient" not in ds or "PixelSpacing" not in ds:
        raise Refused("position, orientation or pixel spacing of the slices is missing")
    cosines = np.array([float(v) for v in ds.ImageOrientationPatient])
    return cosines[:3], cosines[3:]


def _sorted(slices: list[Dataset], normal: NDArray[np.float64]) -> tuple[list[Dataset], NDArray[np.float64], list[str]]:
    """Slices by their place along the normal, a place taken twice once; refused when they are not one pile."""
    origins = np.array([[float(v) for v in ds.ImagePositionPatient] for ds in slices])
    along = origins @ normal
    aside = origins - along[:, None] * normal
    if np.linalg.norm(aside - np.median(aside, axis=0), axis=1).max() > 1.0:
        raise Refused("the slices are shifted against each other: a tilted gantry or two scans in one series")
    order = np.argsort(along, kind="stable")
    first = [int(order[0]), *(int(b) for a, b in itertools.pairwise(order) if along[b] - along[a] > 0.01)]
    doubles = len(slices) - len(first)
    notes = [f"{doubles} slices lie where another one lies and were left out"] if doubles else []
    return [slices[k] for k in first], along[first], notes


def _slots(at_mm: NDArray[np.float64]) -> tuple[float, NDArray[np.int64], list[str]]:
    """Distance of slices, the number of each one's slot in an even pile, and what is missing."""
    gaps = np.diff(at_mm)
    step = float(np.median(gaps))
    counts = np.rint(gaps / step).astype(int)
    if (np.abs(gaps / step - np.maximum(counts, 1)) > 0.15).any():
        raise Refused(f"the distance of slices changes from {gaps.min():.2f} to {gaps.max():.2f} mm")
    if counts.max() > WIDEST_GAP + 1:
        raise Refused(f"{counts.max() - 1} slices in a row are missing")
    missing = int((counts - 1).sum())
    notes = [f"{missing} slices are missing and were interpolated"] if missing else []
    return step, np.concatenate([[0], np.cumsum(counts)]), notes


def _decode(slices: list[Dataset]) -> FloatArray:
    """Hounsfield units (slices, rows, columns); each slice may have a slope and intercept of its own."""
    try:
        planes = [np.asarray(apply_rescale(ds.pixel_array, ds), dtype=np.float32) for ds in slices]
    except (RuntimeError, ValueError, AttributeError, NotImplementedError) as error:
        raise Refused(
            "the pixels cannot be decoded: a plugin of pydicom for their compression may be missing"
        ) from error
    return np.maximum(np.stack(planes), np.float32(-1024))  # padding outside the circle is below air


def _fill(planes: FloatArray, slots: NDArray[np.int64]) -> FloatArray:
    """An even pile: slots without a slice lie between their neighbours in value as well."""
    if len(planes) == slots[-1] + 1:
        return planes
    wanted = np.arange(slots[-1] + 1)
    above = np.clip(np.searchsorted(slots, wanted, side="left"), 1, len(slots) - 1)
    share = (wanted - slots[above - 1]) / (slots[above] - slots[above - 1])
    weights = share[:, None, None].astype(np.float32)
    return np.asarray(planes[above - 1] * (1 - weights) + planes[above] * weights, dtype=np.float32)


def _turn(
    stack: FloatArray, axes: tuple[NDArray[np.float64], ...], spacing_mm: NDArray[np.float64]
) -> tuple[FloatArray, NDArray[np.float64]]:
    """(slice, row, column) to (x, y, z) growing to the right, front and up; DICOM's axes grow to the left and back.

    ``axes`` and ``spacing_mm`` are of columns, rows and slices.
    """
    volume = stack.transpose(2, 1, 0)
    grown = np.stack(axes) * np.array([-1, -1, 1])
    order = [int(np.abs(grown[:, k]).argmax()) for k in range(3)]
    volume = volume.transpose(order)
    flips = tuple(slice(None, None, -1) if grown[order[k], k] < 0 else slice(None) for k in range(3))
    return np.ascontiguousarray(volume[flips]), spacing_mm[order]
