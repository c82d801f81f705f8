"""Codecs, header checks and what a Radiograph carries along."""

import subprocess
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging import decode
from pacs_node.imaging.read import open_dataset, read_dataset, read_radiograph
from tests.unit.imaging.synthetic import dataset, ramp, saved, scene

FULL_WINDOW = {"WindowCenter": "2048", "WindowWidth": "4096"}


def refusal_of(ds: Dataset) -> ReasonCode:
    with pytest.raises(Rejected) as refusal:
        read_dataset(ds)
    return refusal.value.reason


def picture(**attributes: Any) -> Dataset:
    return dataset(np.rint(4095 * scene(300, 260)).astype(np.int64), **(FULL_WINDOW | attributes))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_codecs_give_the_pixels_of_the_uncompressed_image(syntax: str, signed: bool) -> None:
    stored = np.rint(4095 * scene(300, 260)).astype(np.int64) - (2048 if signed else 0)
    window = {"WindowCenter": "0"} if signed else {}
    plain = dataset(stored, PixelRepresentation=int(signed), **(FULL_WINDOW | window))
    # encoders want the sign bits filled, as they are in an image of 16 bits
    expected = read_dataset(plain).pixels
    plain.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(read_dataset(plain).pixels, expected)


def test_jpeg_baseline_is_read_to_within_its_loss() -> None:
    stored = np.rint(255 * scene(300, 260)).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(stored).save(stream, "JPEG", quality=95)
    compressed = dataset(
        stored.astype(np.int64),
        TransferSyntaxUID=JPEGBaseline8Bit,
        BitsAllocated=8,
        BitsStored=8,
        PixelData=encapsulate([stream.getvalue()]),
        WindowCenter="128",
        WindowWidth="256",
    )
    # quality 95 keeps a smooth picture within two grey levels
    np.testing.assert_allclose(read_dataset(compressed).pixels, stored / 255, atol=2.5 / 255)


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize(("option", "tolerance_levels"), [("+e1", 0), ("+el", 0), ("+ee", 30)])
def test_jpeg_of_dcmtk_is_read(option: str, tolerance_levels: int, tmp_path: Path) -> None:
    """Lossless process 14 with and without selection value 1, and 12 bit Extended, which loses a few of 4096 levels."""
    source = saved(picture(), tmp_path / "plain.dcm")
    subprocess.run(["dcmcjpeg", option, str(source), str(tmp_path / "jpeg.dcm")], check=True)
    difference = np.abs(read_radiograph(tmp_path / "jpeg.dcm").pixels - read_radiograph(source).pixels)
    assert difference.max() * 4095 <= tolerance_levels + 1e-3


@pytest.mark.peer("dcmtk")
def test_sequential_jpeg_with_a_wrong_spectral_selection_is_mended(tmp_path: Path) -> None:
    """Archives hold 12 bit JPEG whose scans end at coefficient 0 by their header; libjpeg refuses those."""
    source = saved(picture(), tmp_path / "plain.dcm")
    subprocess.run(["dcmcjpeg", "+ee", str(source), str(tmp_path / "jpeg.dcm")], check=True)
    good = open_dataset(tmp_path / "jpeg.dcm")
    broken = open_dataset(tmp_path / "jpeg.dcm")
    scan = broken.PixelData.index(b"\xff\xda")
    assert broken.PixelData[scan + 7 : scan + 9] == b"\x00\x3f"
    broken.PixelData = broken.PixelData[: scan + 8] + b"\x00" + broken.PixelData[scan + 9 :]
    np.testing.assert_array_equal(read_dataset(broken).pixels, read_dataset(good).pixels)


@pytest.mark.parametrize(
    ("syntax", "implicit", "little"),
    [
        (ImplicitVRLittleEndian, True, True),
        (ExplicitVRLittleEndian, False, True),
        (ExplicitVRBigEndian, False, False),
    ],
)
def test_native_syntaxes_give_one_image(syntax: str, implicit: bool, little: bool, tmp_path: Path) -> None:
    ds = picture(TransferSyntaxUID=syntax)
    if not little:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    dcmwrite(tmp_path / "x.dcm", ds, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    np.testing.assert_array_equal(read_radiograph(tmp_path / "x.dcm").pixels, read_dataset(picture()).pixels)


def deflated(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


def test_deflated_data_set_is_read(tmp_path: Path) -> None:
    ds = picture(TransferSyntaxUID="1.2.840.10008.1.2.1.99")
    path = saved(ds, tmp_path / "x.dcm")
    np.testing.assert_array_equal(read_radiograph(path).pixels, read_dataset(picture()).pixels)


def test_deflate_bomb_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_node.imaging.read.MAX_FILE_BYTES", 10_000_000)
    path = saved(picture(TransferSyntaxUID="1.2.840.10008.1.2.1.99"), tmp_path / "x.dcm")
    raw = path.read_bytes()
    start = 144 + int.from_bytes(raw[140:144], "little")
    path.write_bytes(raw[:start] + deflated(bytes(20_000_000)))
    with pytest.raises(Rejected) as refusal:
        read_radiograph(path)
    assert refusal.value.reason is ReasonCode.TOO_LARGE


@pytest.mark.parametrize("stated", [None, 4, 2**31])
def test_deflate_bomb_is_found_whatever_the_group_length_says(
    stated: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacs_node.imaging.read.MAX_FILE_BYTES", 10_000_000)
    path = saved(picture(TransferSyntaxUID="1.2.840.10008.1.2.1.99"), tmp_path / "x.dcm")
    raw = path.read_bytes()
    start = 144 + int.from_bytes(raw[140:144], "little")
    length = b"" if stated is None else raw[132:140] + stated.to_bytes(4, "little")
    path.write_bytes(raw[:132] + length + raw[144:start] + deflated(bytes(20_000_000)))
    with pytest.raises(Rejected) as refusal:
        read_radiograph(path)
    assert refusal.value.reason is ReasonCode.TOO_LARGE


def test_radiograph_keeps_the_header_without_the_pixels() -> None:
    source = picture()
    radiograph = read_dataset(source)
    assert "PixelData" not in radiograph.ds
    assert "PixelData" in source
    assert radiograph.ds.PatientName == "Synthetic^Image"
    assert radiograph.ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.pixels.shape == (300, 260)


def test_an_empty_element_of_no_known_vr_costs_no_image(tmp_path: Path) -> None:
    source = picture()
    source.private_block(0x0019, "MAKER", create=True).add_new(0x10, "LO", "")
    path = saved(source, tmp_path / "x.dcm")
    path.write_bytes(path.read_bytes().replace(b"\x19\x00\x10\x10LO", b"\x19\x00\x10\x10OX"))
    assert read_radiograph(path).pixels.shape == (300, 260)


def test_names_in_other_scripts_survive_reading(tmp_path: Path) -> None:
    source = picture(SpecificCharacterSet="ISO_IR 144", PatientName="Люксембург^Роза")
    assert read_radiograph(saved(source, tmp_path / "x.dcm")).ds.PatientName == "Люксембург^Роза"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"PixelData": None}, ReasonCode.NO_PIXEL_DATA),
        ({"PixelData": b""}, ReasonCode.NO_PIXEL_DATA),
        ({"Rows": None}, ReasonCode.MISSING_ATTRIBUTE),
        ({"BitsStored": 12, "HighBit": None}, ReasonCode.MISSING_ATTRIBUTE),
        ({"PhotometricInterpretation": None}, ReasonCode.MISSING_ATTRIBUTE),
        ({"SOPInstanceUID": None}, ReasonCode.MISSING_ATTRIBUTE),
        ({"StudyInstanceUID": ""}, ReasonCode.MISSING_ATTRIBUTE),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, ReasonCode.NOT_MONOCHROME),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, ReasonCode.NOT_MONOCHROME),
        ({"NumberOfFrames": "2"}, ReasonCode.MULTI_FRAME),
        ({"Rows": 65535, "Columns": 65535}, ReasonCode.TOO_LARGE),
        ({"Rows": 0}, ReasonCode.PIXEL_DESCRIPTION_INVALID),
        ({"Rows": 255}, ReasonCode.TOO_SMALL),
        ({"Rows": 301}, ReasonCode.TRUNCATED),
        ({"BitsAllocated": 32}, ReasonCode.PIXEL_DESCRIPTION_INVALID),
        ({"BitsStored": 17, "HighBit": 16}, ReasonCode.PIXEL_DESCRIPTION_INVALID),
        ({"HighBit": 5}, ReasonCode.PIXEL_DESCRIPTION_INVALID),
        ({"PixelRepresentation": 2}, ReasonCode.PIXEL_DESCRIPTION_INVALID),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.102"}, ReasonCode.TRANSFER_SYNTAX_UNSUPPORTED),
        ({"TransferSyntaxUID": "1.2.3.4"}, ReasonCode.TRANSFER_SYNTAX_UNSUPPORTED),
        ({"TransferSyntaxUID": JPEG2000Lossless}, ReasonCode.PIXEL_DATA_UNDECODABLE),
        ({"TransferSyntaxUID": HTJ2KLossless}, ReasonCode.PIXEL_DATA_UNDECODABLE),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}, ReasonCode.BLANK),
    ],
)
def test_unusable_header_has_its_reason(attributes: dict[str, Any], reason: ReasonCode) -> None:
    assert refusal_of(picture(**attributes)) is reason


def test_constant_image_is_blank() -> None:
    assert refusal_of(dataset(np.full((300, 260), 700), **FULL_WINDOW)) is ReasonCode.BLANK


def test_huge_size_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("the pixel data was touched")

    monkeypatch.setattr(decode, "_decode", decoded)
    assert refusal_of(picture(Rows=65535, Columns=65535)) is ReasonCode.TOO_LARGE


def test_image_of_4096_by_4096_pixels_is_read() -> None:
    stored = ramp(0, 4095, 4096, 4096)
    radiograph = read_dataset(dataset(stored, **FULL_WINDOW))
    np.testing.assert_array_equal(np.rint(radiograph.pixels * 4095), stored)


def test_codestream_of_another_size_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    larger = dataset(ramp(rows=600, columns=600))
    larger.compress(JPEG2000Lossless, generate_instance_uid=False)
    lying = picture(TransferSyntaxUID=JPEG2000Lossless, PixelData=larger.PixelData)
    monkeypatch.setattr(decode, "_decode", lambda *_: pytest.fail("the codestream was decoded"))
    assert refusal_of(lying) is ReasonCode.PIXEL_DESCRIPTION_INVALID


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_codestream_that_was_cut_off_is_truncated(syntax: str) -> None:
    # OpenJPEG would decode it without an error and leave the lower part gray
    ds = picture()
    ds.compress(syntax, generate_instance_uid=False)
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData = encapsulate([frame[: len(frame) // 2]])
    assert refusal_of(ds) is ReasonCode.TRUNCATED


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_file_that_was_cut_off_is_truncated(syntax: str | None, share: float, tmp_path: Path) -> None:
    ds = picture()
    if syntax is not None:
        ds.compress(syntax, generate_instance_uid=False)
    path = saved(ds, tmp_path / "x.dcm")
    raw = path.read_bytes()
    path.write_bytes(raw[: max(int(share * len(raw)), 700)])
    with pytest.raises(Rejected) as refusal:
        read_radiograph(path)
    assert refusal.value.reason is ReasonCode.TRUNCATED


@pytest.mark.parametrize(
    "content", [b"", b"this is a letter, not an image\n" * 40, bytes(500), b"\x89PNG" + bytes(200)]
)
def test_other_files_are_not_dicom(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(content)
    with pytest.raises(Rejected) as refusal:
        read_radiograph(tmp_path / "x.dcm")
    assert refusal.value.reason is ReasonCode.NOT_DICOM


def test_refusals_quote_nothing_of_the_data_set(tmp_path: Path) -> None:
    ds = picture(PatientName="Secret^Person", PatientID="SECRET")
    ds.add_new("Rows", "LO", "SECRET")
    with pytest.raises(Rejected) as refusal:
        read_dataset(ds)
    assert "SECRET" not in str(refusal.value).upper()
    assert refusal.value.__cause__ is None


REAL = {
    "RG1_UNCR": (1955, 1841, 15),
    "RG1_J2KR": (1955, 1841, 15),
    "RG1_J2KI": (1955, 1841, 15),
    "RG1_JLSN": (1955, 1841, 15),
    "txrv_Fake_MONOHR1": (1024, 1024, 8),
    "txrv_jpeg_baseline": (1024, 1024, 8),
    "nih_dicom_00000001_000": (1024, 1024, 8),
}


@pytest.mark.parametrize("name", REAL)
def test_every_real_radiograph_is_read(name: str, shared_data: Path) -> None:
    radiograph = read_radiograph(shared_data / "dicom" / f"{name}.dcm")
    assert (*radiograph.pixels.shape, radiograph.bits_stored) == REAL[name]
    # the codecs of one picture agree: near-lossless and lossy within 1 % of full scale on average
    if name.startswith("RG1"):
        plain = read_radiograph(shared_data / "dicom" / "RG1_UNCR.dcm")
        limit = 0 if name in ("RG1_UNCR", "RG1_J2KR") else 0.01
        assert np.abs(radiograph.pixels - plain.pixels).mean() <= limit


@pytest.mark.parametrize("name", ["RG2_RLE", "RG2_J2KR", "RG3_JPLL", "RG3_JPLY"])
def test_every_codec_of_the_other_real_images_is_read(name: str, shared_data: Path) -> None:
    assert read_radiograph(shared_data / "dicom_not_chest" / f"{name}.dcm").bits_stored == 10
