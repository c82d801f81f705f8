"""Source radiographs that the tests make, and what a network could have made of them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from model.bundle import Bundle, FileSpec, ModelSpec
from pacs_node.config import OutputSettings
from pacs_node.derive.companion import derive
from pacs_node.derive.verbatim import element
from pacs_node.records import Inference

__all__ = [
    "CREATED_AT",
    "NAMES",
    "PIXELS",
    "PLAIN",
    "bundle",
    "code",
    "companion_of",
    "inference",
    "reread",
    "source",
    "with_bytes",
    "write_instance",
]

CREATED_AT = datetime(2026, 11, 21, 22, 15, 30, 123456, tzinfo=UTC)
PLAIN = OutputSettings(burned_in_label=False)
PIXELS = np.arange(63 * 65, dtype="<u2").reshape(63, 65)  # 12 bit
ROWS, COLUMNS = 301, 257  # odd and rectangular
NAMES = {
    "latin 1": (b"ISO_IR 100", "Müller^Jürgen".encode("latin-1")),
    "cyrillic": (b"ISO_IR 144", "Люкceмбypг^Роза".encode("iso8859_5")),
    "utf-8": (b"ISO_IR 192", "Wang^XiaoDong=王^小东=".encode()),
    "greek": (b"ISO_IR 126", "Διονυσιος".encode("iso8859_7")),
    "japanese": (
        b"\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    "half-width": (
        b"ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
    ),
    "korean": (b"\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"),
    "chinese": (b"GB18030", "Wang^XiaoDong=王^小东".encode("gb18030")),
    "undeclared": (b"", b"M\xfcller^J\xfcrgen"),
    "no such set": (b"ISO_IR 999", b"M\xfcller^J\xfcrgen  "),
    "wrong set": (b"ISO_IR 192", b"M\xfcller^J\xfcrgen"),
}


def bundle(digest: str = "0123456789abcdef" * 4) -> Bundle:
    """A bundle without files: derivation reads its name, version and digest."""
    names = {"weights.safetensors", "encoder.onnx", "denoiser.onnx", "decoder.onnx"}
    spec = ModelSpec(
        name="bs-ldm-test",
        version="0.1",
        grid=64,
        graphs={"encoder": "encoder.onnx", "denoiser": "denoiser.onnx", "decoder": "decoder.onnx"},
        files={name: FileSpec(sha256="0" * 64, bytes=0) for name in names},
    )
    return Bundle(folder=Path("nowhere"), spec=spec, digest=digest)


def inference(ds: Dataset, *, seed: int = 7) -> Inference:
    """A ramp with a black lower left corner over the full depth of the source."""
    rows, columns = int(ds["Rows"].value), int(ds["Columns"].value)
    top = 2 ** max(8, int(ds["BitsStored"].value)) - 1
    ramp = np.linspace(0.2, 1, rows * columns).reshape(rows, columns)
    ramp[rows // 2 :, : columns // 2] = 0.0
    pixels: NDArray[np.uint16] = np.rint(ramp * top).astype(np.uint16)
    return Inference(pixels, np.zeros((rows, columns), np.float32), seed, 4)


def source(
    sop_class_uid: str = DigitalXRayImageStorageForPresentation,
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
    bits_stored: int = 12,
    attributes: Mapping[str, Any] = MappingProxyType({}),
    **more: Any,
) -> Dataset:
    """A chest radiograph without pixels, read back from bytes; an attribute given as None is left out."""
    defaults: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SOPClassUID": UID(sop_class_uid),
        "SOPInstanceUID": UID("1.2.826.0.1.3680043.8.498.1.1"),
        "StudyDate": "20260102",
        "StudyTime": "101112.5",
        "AccessionNumber": "A1",
        "Modality": "DX",
        "Manufacturer": "Maker",
        "ManufacturerModelName": "Flat 1",
        "StationName": "ROOM1",
        "ReferringPhysicianName": "Ref^Doc",
        "PatientName": "Doe^Jane",
        "PatientID": "p1",
        "IssuerOfPatientID": "HOSP",
        "PatientBirthDate": "19500101",
        "PatientSex": "F",
        "PatientAge": "076Y",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "StudyInstanceUID": UID("1.2.826.0.1.3680043.8.498.1.2"),
        "SeriesInstanceUID": UID("1.2.826.0.1.3680043.8.498.1.3"),
        "StudyID": "S1",
        "SeriesNumber": 3,
        "InstanceNumber": 2,
        "PatientOrientation": ["L", "F"],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1",
        "Rows": ROWS,
        "Columns": COLUMNS,
        "PixelSpacing": [0.143, 0.143],
        "BitsAllocated": 16 if bits_stored > 8 else 8,
        "BitsStored": bits_stored,
        "HighBit": bits_stored - 1,
        "PixelRepresentation": 0,
        "WindowCenter": 100,
        "WindowWidth": 50,
        "RescaleSlope": 3,
        "RescaleIntercept": 5,
        "RescaleType": "US",
        "VOILUTSequence": [_lut()],
    }
    ds = Dataset()
    for keyword, value in (defaults | dict(attributes) | more).items():
        if value is not None:
            setattr(ds, keyword, Sequence(value) if keyword.endswith("Sequence") else value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return reread(ds)


def write_instance(
    path: Path, sop_class_uid: str = SecondaryCaptureImageStorage, transfer_syntax_uid: str = ExplicitVRLittleEndian
) -> Path:
    """A small 12-bit instance of any class, with a Japanese name and the pixels `PIXELS`, saved in the syntax."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ds.SOPClassUID = UID(sop_class_uid)
    ds.SOPInstanceUID = generate_uid()
    ds.PatientName = "Yamada^Tarou=山田^太郎"
    ds.PatientID = "p1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = PIXELS.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = PIXELS.tobytes()
    ds["PixelData"].VR = "OW"
    if UID(transfer_syntax_uid).is_compressed:
        ds.compress(transfer_syntax_uid, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    ds.save_as(path, enforce_file_format=True)
    return path


def companion_of(
    ds: Dataset, settings: OutputSettings = PLAIN, *, digest: str = "ab" * 32, seed: int = 7, at: datetime = CREATED_AT
) -> Dataset:
    """Derive, save, and read back what a PACS would get."""
    stream = BytesIO()
    derive(ds, inference(ds, seed=seed), bundle(digest), settings, at).save_as(stream, enforce_file_format=True)
    return dcmread(BytesIO(stream.getvalue()))


def reread(ds: Dataset) -> Dataset:
    """The data set as it looks after a journey over the network: undecoded."""
    stream = BytesIO()
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:  # there are no pixels: only the name of the syntax matters
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(stream, enforce_file_format=True)
    read = dcmread(BytesIO(stream.getvalue()))
    read.file_meta.TransferSyntaxUID = syntax
    return read


def with_bytes(ds: Dataset, **values: bytes) -> Dataset:
    """The data set with elements of exactly these bytes, as no writer with manners would write them."""
    for keyword, value in values.items():
        copy = element(keyword, value)
        ds[copy.tag] = copy
    return ds


def code(value: str, scheme: str, meaning: str, **more: Any) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    for keyword, sequence in more.items():
        setattr(item, keyword, sequence)
    return item


def _lut() -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 8])
    item.add_new("LUTData", "US", [0, 80, 160, 255])
    return item
