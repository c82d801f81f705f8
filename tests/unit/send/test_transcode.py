"""The same object in another transfer syntax: every value and pixel as before."""

from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from pacs_node.derive.verbatim import raw_bytes
from pacs_node.send.transcode import Unconvertible, converted
from tests.sources import code, source

PICTURE = np.arange(61 * 65, dtype=np.uint16).reshape(61, 65)  # odd number of pixels
TAKEN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def with_picture(syntax: str) -> Dataset:
    ds = source(
        transfer_syntax_uid=syntax,
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=山田^太郎",
        Rows=61,
        Columns=65,
        ProcedureCodeSequence=[code("XR", "99X", "Chest")],
    )
    ds.PixelData = PICTURE.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    ds["PixelData"].VR = "OW"
    stream = BytesIO()
    if UID(syntax).is_encapsulated:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(stream, enforce_file_format=True)
    return dcmread(BytesIO(stream.getvalue()))


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize(
    "stored",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
)
def test_every_syntax_becomes_one_that_every_peer_takes(stored: str, taken: UID) -> None:
    before = with_picture(stored)
    identity = {tag: raw_bytes(before, tag) for tag in ("PatientName", "PatientID", "StudyInstanceUID", "WindowWidth")}
    after = converted(with_picture(stored), taken)
    assert after.file_meta.TransferSyntaxUID == taken
    assert np.array_equal(after.pixel_array, PICTURE)
    assert {tag: raw_bytes(after, tag) for tag in identity} == identity
    assert after.ProcedureCodeSequence[0].CodeMeaning == "Chest"
    assert list(after.VOILUTSequence[0].LUTDescriptor) == [4, 0, 8]
    assert after.PatientName == "Yamada^Tarou=山田^太郎"
    assert after.Rows == 61


def test_a_decoded_lossy_object_says_so() -> None:
    ds = source(bits_stored=8, Rows=8, Columns=8, transfer_syntax_uid=JPEGBaseline8Bit)
    ds.PixelData = encapsulate([_jpeg()])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    after = converted(ds, ExplicitVRLittleEndian)
    assert (after.LossyImageCompression, after.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert after.pixel_array.shape == (8, 8)


def test_a_frame_that_no_decoder_reads_is_reported_as_such() -> None:
    ds = source(transfer_syntax_uid=JPEG2000Lossless)
    ds.PixelData = encapsulate([b"nonsense"])
    ds["PixelData"].VR = "OB"
    with pytest.raises(Unconvertible):
        converted(ds, ExplicitVRLittleEndian)


def _jpeg() -> bytes:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(np.full((8, 8), 100, np.uint8)).save(stream, "jpeg")
    return stream.getvalue()
