"""The companion as a whole: determinism, pixels, display, texts and refusals."""

from datetime import timedelta
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels.processing import apply_voi_lut
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from pacs_node.config import GateSettings, OutputSettings, StoredSyntax
from pacs_node.derive.companion import derive, pixel_sha256
from pacs_node.derive.verbatim import raw_bytes
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.gate import check_header
from tests.sources import CREATED_AT, NAMES, PLAIN, bundle, companion_of, inference, source, with_bytes


def test_the_same_input_gives_the_same_bytes_and_time_changes_only_times() -> None:
    first, again = companion_of(source()), companion_of(source())
    later = companion_of(source(), at=CREATED_AT + timedelta(days=40, minutes=1))
    assert first == again
    assert pixel_sha256(later) == pixel_sha256(first)
    different = {element.keyword for element in later if element != first[element.tag]}
    assert different == {
        "InstanceCreationDate",
        "InstanceCreationTime",
        "ContentDate",
        "ContentTime",
        "DateOfSecondaryCapture",
        "TimeOfSecondaryCapture",
        "ContributingEquipmentSequence",
    }


@pytest.mark.parametrize("bits_stored", [8, 10, 12, 15, 16])
def test_pixels_keep_the_depth_of_the_source_and_fill_their_window(bits_stored: int) -> None:
    ds = source(bits_stored=bits_stored)
    made = companion_of(ds)
    assert (made.BitsStored, made.HighBit) == (bits_stored, bits_stored - 1)
    assert np.array_equal(made.pixel_array, inference(ds).soft_tissue)
    shown = apply_voi_lut(made.pixel_array, made)
    assert shown.min() == pytest.approx(0, abs=1e-9)  # exact but for floating point
    assert np.allclose(shown, made.pixel_array, atol=1e-6 * 2**bits_stored)
    assert (made.PhotometricInterpretation, made.PresentationLUTShape) == ("MONOCHROME2", "IDENTITY")
    assert not any(name in made for name in ("RescaleSlope", "RescaleType", "VOILUTSequence", "FrameOfReferenceUID"))


def test_a_result_deeper_than_the_source_is_refused() -> None:
    too_deep = inference(source(bits_stored=16))
    with pytest.raises(Rejected) as refusal:
        derive(source(bits_stored=12), too_deep, bundle(), PLAIN, CREATED_AT)
    assert refusal.value.reason is ReasonCode.OUTPUT_INVALID


@pytest.mark.parametrize("bits_stored", [8, 12, 16])
@pytest.mark.parametrize(
    ("wanted", "syntax"),
    [
        (StoredSyntax.RLE, RLELossless),
        (StoredSyntax.JPEG_LS, JPEGLSLossless),
        (StoredSyntax.JPEG2000, JPEG2000Lossless),
    ],
)
def test_compression_changes_no_pixel_and_no_name(wanted: StoredSyntax, syntax: str, bits_stored: int) -> None:
    charset, name = NAMES["japanese"]
    ds = with_bytes(source(bits_stored=bits_stored), SpecificCharacterSet=charset, PatientName=name)
    made = companion_of(ds, OutputSettings(burned_in_label=False, transfer_syntax=wanted))
    assert made.file_meta.TransferSyntaxUID == syntax
    assert pixel_sha256(made) == pixel_sha256(companion_of(ds))
    assert (raw_bytes(made, "PatientName") or b"").strip() == name
    assert "LossyImageCompression" not in made


def test_an_image_that_the_encoder_refuses_stays_uncompressed() -> None:
    ds = source(Rows=20, Columns=20)  # too small for the resolution levels of JPEG 2000
    made = companion_of(ds, OutputSettings(burned_in_label=False, transfer_syntax=StoredSyntax.JPEG2000))
    assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(made.pixel_array, inference(ds).soft_tissue)


@pytest.mark.parametrize(
    ("charset", "stored"),
    [
        ("ISO_IR 192", "МЯГКИЕ ТКАНИ".encode()),
        ("ISO_IR 144", "МЯГКИЕ ТКАНИ".encode("iso8859_5")),
        ("\\ISO 2022 IR 87", b"\x1b$B'.'A'$','*'&\x1b(B \x1b$B'4','!'/'*\x1b(B"),  # JIS X 0208 has Cyrillic letters
        ("ISO 2022 IR 13\\ISO 2022 IR 87", b"\x1b$B'.'A'$','*'&\x1b(J \x1b$B'4','!'/'*\x1b(J"),
        ("ISO_IR 13", b"?????? ?????"),  # JIS X 0201, a part of what Python calls Shift JIS
        ("ISO_IR 100", b"?????? ?????"),
        (None, b"?????? ?????"),
    ],
)
def test_the_series_description_is_written_in_the_character_set_of_the_source(
    charset: str | None, stored: bytes
) -> None:
    settings = OutputSettings(series_description="МЯГКИЕ ТКАНИ", series_number=12, modality="OT")
    made = companion_of(source(SpecificCharacterSet=charset), settings)
    assert raw_bytes(made, "SeriesDescription") == stored + b" " * (len(stored) % 2)
    assert (made.SeriesNumber, made.Modality) == (12, "OT")


@pytest.mark.parametrize("codec", [b"HEX", b"UNDEFINED"])
def test_a_character_set_that_is_a_codec_of_python_costs_no_companion(codec: bytes) -> None:
    stream = BytesIO()
    source(SpecificCharacterSet="ISO_IR 100", Manufacturer="ACME").save_as(stream, enforce_file_format=True)
    ds = dcmread(BytesIO(stream.getvalue().replace(b"ISO_IR 100", codec.ljust(10))))
    check_header(ds, GateSettings())  # decodes some of it
    made = companion_of(ds, OutputSettings(series_description="МЯГКИЕ ТКАНИ"))
    assert raw_bytes(made, "SeriesDescription") == b"?????? ?????"
    assert raw_bytes(made, "PatientName") == raw_bytes(ds, "PatientName")


def test_our_times_are_in_the_zone_of_the_copied_study() -> None:
    made = companion_of(source(TimezoneOffsetFromUTC="-0400"))
    assert (made.ContentDate, made.ContentTime) == ("20261121", "181530.123456")
    assert made.TimezoneOffsetFromUTC == "-0400"


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"])
def test_a_source_without_an_identifier_is_refused(keyword: str) -> None:
    ds = source()
    picture = inference(ds)
    del ds[keyword]
    with pytest.raises(Rejected) as refusal:
        derive(ds, picture, bundle(), PLAIN, CREATED_AT)
    assert refusal.value.reason is ReasonCode.MISSING_ATTRIBUTE


def test_a_source_without_a_series_still_gets_a_companion() -> None:
    assert companion_of(source(SeriesInstanceUID=None)).SeriesInstanceUID.startswith("2.25.")


def test_an_unusual_source_class_and_number_are_no_obstacle() -> None:
    ds = with_bytes(source(ComputedRadiographyImageStorage, Modality=None), InstanceNumber=b"first")
    made = companion_of(ds)
    assert (made.Modality, made.InstanceNumber) == ("OT", 1)
