"""Pairs of small pictures and DICOM studies to make a reader study of."""

import copy
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid

from tests.radiographs import radiograph, saved
from tests.unit.training.evaluate.conftest import chest, save

__all__ = ["companion_of", "dicom_study", "picture_pairs"]

SIDE = 256


def picture_pairs(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        for kind, image in zip(("cxr", "soft"), chest(SIDE, SIDE + 8, number), strict=True):
            save(folder / f"p_{number}_{kind}.png", image, bits=16)
    return folder


def companion_of(source: Dataset, model: str = "m") -> Dataset:
    """What this node writes, as far as a reader study looks: darker, so that the two can be told apart."""
    ds = copy.deepcopy(source)
    ds.ImageType = ["DERIVED", "SECONDARY", "SOFT_TISSUE"]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[source.SOPInstanceUID, model]
    )
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    ds.SourceImageSequence = [item]
    ds.PixelData = (np.frombuffer(source.PixelData, np.uint16) // 2).tobytes()
    return ds


def dicom_study(folder: Path, count: int) -> Path:
    """Radiographs and companions in folders of their own, with the names of patients in their headers and paths."""
    for number in range(count):
        place = folder / f"Doe_John_{number}"
        place.mkdir(parents=True)
        source = radiograph(number)
        saved(source, place / f"DOE{number}.dcm")
        saved(companion_of(source), place / "zz.dcm")
    return folder
