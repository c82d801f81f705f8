"""Radiographs to send: of any size, depth, polarity and transfer syntax, each new to whoever gets it."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from pacs_node.errors import ConfigError, Rejected
from pacs_node.imaging.read import read_radiograph
from pacs_node.records import FloatImage

__all__ = ["MIXED", "Form", "formed", "pictures_of", "renewed"]

log = logging.getLogger(__name__)

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
ENCODERS = {RLELossless: "pylibjpeg", JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}
NOISE = 0.002  # of the grey scale: as much as a detector shows, so that enlarged images compress as real ones do


@dataclass(frozen=True, slots=True)
class Form:
    """How a picture becomes a DICOM object.

    Attributes
    ----------
    side : px, the longer side.
    bits : BitsStored, 8 to 16; BitsAllocated is 8 for 8 and 16 for more.
    syntax : transfer syntax, lossless or uncompressed.
    inverted : MONOCHROME1.
    """

    side: int
    bits: int
    syntax: UID = ExplicitVRLittleEndian
    inverted: bool = False


# What a department sends in a day: flat panels and plates of several makers, a few of them compressed. A hundred images
# go through the list six times and a bit, so that two hundreds of a long run are alike.
MIXED = (
    Form(2048, 12),
    Form(1024, 8),
    Form(3072, 14, JPEGLSLossless),
    Form(1760, 10, ImplicitVRLittleEndian, inverted=True),
    Form(2500, 12, RLELossless),
    Form(4096, 16),
    Form(1500, 12, JPEG2000Lossless),
    Form(2140, 10, inverted=True),
    Form(1280, 12, JPEGLSLossless),
    Form(3000, 12, ImplicitVRLittleEndian),
    Form(2048, 16, JPEGLSLossless, inverted=True),
    Form(1024, 12),
    Form(2880, 14),
    Form(1955, 15, inverted=True),
    Form(2400, 8, RLELossless),
    Form(3520, 14, JPEGLSLossless),
)


def formed(picture: FloatImage, form: Form, number: int) -> Dataset:
    """One radiograph for presentation with a patient, study and UIDs of its own.

    Parameters
    ----------
    picture : (rows, columns) float32 P-values in [0, 1]; resized, its proportions kept.
    number : goes into the patient's ID and the noise.
    """
    scale = form.side / max(picture.shape)
    rows, columns = (max(1, round(side * scale)) for side in picture.shape)
    resized = np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(number).standard_normal((rows, columns), dtype=np.float32)
    noise *= np.float32(NOISE)
    noise += resized
    stored = _quantised(noise, form)
    ds = _described(number)
    ds.Rows, ds.Columns = rows, columns
    ds.PhotometricInterpretation = "MONOCHROME1" if form.inverted else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if form.inverted else "IDENTITY"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = (8 if form.bits == 8 else 16), form.bits, form.bits - 1
    ds.WindowCenter, ds.WindowWidth = 2 ** (form.bits - 1), 2**form.bits
    ds.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    ds["PixelData"].VR = "OB" if form.bits == 8 else "OW"
    ds.file_meta.TransferSyntaxUID = form.syntax if form.syntax not in ENCODERS else ExplicitVRLittleEndian
    if form.syntax in ENCODERS:
        ds.compress(form.syntax, encoding_plugin=ENCODERS[form.syntax], generate_instance_uid=False)
    return renewed(ds, number)


def _quantised(values: FloatImage, form: Form) -> NDArray[np.uint8] | NDArray[np.uint16]:
    np.clip(values, 0.0, 1.0, out=values)
    if form.inverted:
        np.subtract(1.0, values, out=values)
    values *= np.float32(2**form.bits - 1)
    np.rint(values, out=values)
    return values.astype(np.uint8) if form.bits == 8 else values.astype(np.uint16)


def _described(number: int) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    ds.PatientName, ds.PatientID = "BENCH^TRAFFIC", f"BENCH-{number:05d}"
    ds.PatientBirthDate, ds.PatientSex, ds.ReferringPhysicianName = "", "O", ""
    ds.StudyDate = ds.ContentDate = ds.AcquisitionDate = "20260101"
    ds.StudyTime = ds.ContentTime = ds.AcquisitionTime = "120000"
    ds.StudyID, ds.AccessionNumber, ds.SeriesNumber, ds.InstanceNumber = "1", "", 1, 1
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "DX", "CHEST", "PA"
    ds.Manufacturer, ds.ImageType = "Bench", ["ORIGINAL", "PRIMARY"]
    ds.PatientOrientation, ds.ImagerPixelSpacing = ["L", "F"], [0.15, 0.15]
    ds.PresentationIntentType, ds.BurnedInAnnotation = "FOR PRESENTATION", "NO"
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    return ds


def renewed(ds: Dataset, number: int) -> Dataset:
    """The same data set under new UIDs and another patient; changed in place, its pixels are not touched."""
    ds.PatientID = f"BENCH-{number:05d}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = (generate_uid(prefix=None) for _ in range(3))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def pictures_of(folder: Path, most: int) -> list[FloatImage]:
    """Radiographs of a folder, DICOM files or grey pictures, as P-values; what cannot be read is passed over.

    Parameters
    ----------
    most : how many at most.

    Raises
    ------
    ConfigError
        There is no such folder, or no radiograph in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"--images {folder} is not a folder; leave it out for simulated radiographs")
    found: list[FloatImage] = []
    for picture in _readable(sorted(path for path in folder.rglob("*") if path.is_file())):
        found.append(picture)
        if len(found) == most:
            break
    if not found:
        raise ConfigError(f"--images {folder}: no file in it is a radiograph that can be read")
    return found


def _readable(paths: Sequence[Path]) -> Iterator[FloatImage]:
    for path in paths:
        try:
            if path.suffix.lower() in PICTURES:
                with warnings.catch_warnings(), Image.open(path) as picture:
                    warnings.simplefilter("ignore")
                    yield np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)
            else:
                yield read_radiograph(path).pixels
        except (Rejected, OSError) as error:
            log.info("a file of --images is passed over: %s", type(error).__name__)
