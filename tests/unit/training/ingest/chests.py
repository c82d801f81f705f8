"""Drawn chests with and without ribs, and files of every kind that pair sets come in."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import generate_uid
from scipy.ndimage import affine_transform, gaussian_filter

from tests.radiographs import radiograph, saved

FloatImage = NDArray[np.float32]

__all__ = ["FloatImage", "dicom", "moved", "other_tone", "png8", "png16", "raw_jsrt", "twins"]


def twins(seed: int = 0, size: int = 512) -> tuple[FloatImage, FloatImage]:
    """A radiograph and the same without ribs, (size, size) in [0, 1]: dark lungs with vessels; ribs with rims."""
    rows, columns = (np.mgrid[0:size, 0:size] + 0.5) / size
    rng = np.random.default_rng(seed)
    middles = (0.29 + rng.normal(0, 0.01), 0.71 + rng.normal(0, 0.01))
    lungs = sum(np.exp(-((((columns - x) / 0.17) ** 2 + ((rows - 0.48) / 0.32) ** 2) ** 3)) for x in middles)
    vessels = np.zeros((size, size))
    for width in (0.003, 0.006, 0.012):
        layer = gaussian_filter(rng.normal(size=(size, size)), width * size)
        vessels += np.maximum(layer / layer.std() - 0.5, 0)
    body = 1 / (1 + np.exp((np.abs(columns - 0.5) - 0.46) * 80))
    soft = body * (0.72 - 0.45 * lungs + 0.05 * vessels * (0.3 + lungs) - 0.1 * (rows < 0.1))
    bone = np.zeros((size, size))
    for number in range(8):
        height = 0.14 + 0.1 * number + rng.normal(0, 0.005) + 0.5 * (columns - 0.5) ** 2
        across = np.abs(rows - height) / 0.018
        bone += np.where(across < 1, 0.06 + 0.08 * across**4, 0) * (np.abs(columns - 0.5) < 0.42)
    bone = gaussian_filter(bone, 0.0015 * size)
    return np.clip(soft + bone, 0.01, 0.99).astype(np.float32), np.clip(soft, 0.01, 0.99).astype(np.float32)


def other_tone(image: FloatImage) -> FloatImage:
    """As another display would show it: a rising curve."""
    return (0.05 + 0.9 * image**1.5).astype(np.float32)


def moved(image: FloatImage, shift: tuple[float, float], degrees: float = 0.0, scale: float = 1.0) -> FloatImage:
    """The picture with what was at p now at middle + scale * R (p - middle) + shift, px."""
    angle = np.deg2rad(degrees)
    forward = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(forward)
    middle = np.array(image.shape) / 2 - 0.5
    offset = middle - back @ (middle + np.array(shift))
    out: FloatImage = np.clip(affine_transform(image, back, offset, order=3, mode="nearest"), 0, 1)
    return out


def png16(image: FloatImage, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(image * 65535).astype(np.uint16)).save(path)
    return path


def png8(image: FloatImage, path: Path) -> Path:
    """Eight bits, in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(path, quality=95)  # read by JPEG only
    return path


def raw_jsrt(image: FloatImage, path: Path) -> Path:
    """2048 x 2048, 12 bit big-endian, dark where the picture is bright; the picture is repeated to that size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = 2048 // len(image)
    large = np.repeat(np.repeat(image, times, 0), times, 1)
    path.write_bytes(np.rint((1 - large) * 4095).astype(">u2").tobytes())
    return path


def dicom(image: FloatImage, path: Path, patient: str, study: int, **attributes: Any) -> Path:
    """A CR file with these pixels, 12 bit."""
    ds = radiograph(study, len(image))
    ds.PatientID, ds.PatientName = patient, "Doe^Jane"
    ds.SOPInstanceUID = generate_uid(entropy_srcs=[path.name, patient, str(study)])
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.PixelData = np.rint(image * 4095).astype(np.uint16).tobytes()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    return saved(ds, path)
