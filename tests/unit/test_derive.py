"""The companion: identity byte for byte, geometry, provenance, display and refusals."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_voi_lut
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from pacs_node.config import GateSettings, OutputSettings, StoredSyntax
from pacs_node.derive import derive, pixel_sha256, verify_companion
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.gate import check_header
from pacs_node.label import burn_label
from pacs_node.verbatim import raw_bytes
from tests.sources import CREATED_AT, bundle, code, inference, source, with_bytes

PLAIN = OutputSettings(burned_in_label=False)


def companion_of(
    ds: Dataset, settings: OutputSettings = PLAIN, *, digest: str = "ab" * 32, seed: int = 7, at: datetime = CREATED_AT
) -> Dataset:
    """Derive, save, and read back what a PACS would get."""
    stream = BytesIO()
    derive(ds, inference(ds, seed=seed), bundle(digest), settings, at).save_as(stream, enforce_file_format=True)
    return dcmread(BytesIO(stream.getvalue()))


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


@pytest.mark.parametrize("charset_and_name", NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_name_is_copied_byte_for_byte_in_every_character_set(
    charset_and_name: tuple[bytes, bytes], syntax: str
) -> None:
    charset, name = charset_and_name
    ds = source(transfer_syntax_uid=syntax, SpecificCharacterSet=None)
    ds = with_bytes(ds, PatientName=name, ReferringPhysicianName=name, StudyDescription=name)
    if charset:
        ds = with_bytes(ds, SpecificCharacterSet=charset)
    made = companion_of(ds)
    for keyword in ("PatientName", "ReferringPhysicianName", "StudyDescription"):
        assert raw_bytes(made, keyword) == name + b" " * (len(name) % 2)
    assert (raw_bytes(made, "SpecificCharacterSet") or b"").strip() == charset


def test_a_name_survives_being_looked_at_before_the_companion_is_saved() -> None:
    charset, name = NAMES["japanese"]
    ds = with_bytes(source(), SpecificCharacterSet=charset, PatientName=name)
    made = derive(ds, inference(ds), bundle(), PLAIN, CREATED_AT)
    assert str(made.PatientName).startswith("Yamada^Tarou=山田^太郎")
    stream = BytesIO()
    made.save_as(stream, enforce_file_format=True)
    assert (raw_bytes(dcmread(BytesIO(stream.getvalue())), "PatientName") or b"").strip() == name


def identity_sequences() -> dict[str, Any]:
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "other", "CITY", "TEXT"
    issuer = Dataset()
    issuer.LocalNamespaceEntityID, issuer.UniversalEntityID, issuer.UniversalEntityIDType = "RIS", "1.2.3", "ISO"
    return {
        "OtherPatientIDsSequence": [other],
        "IssuerOfAccessionNumberSequence": [issuer],
        "ProcedureCodeSequence": [code("XR", "99LOCAL", "Chest")],
    }


PATIENT_STUDY: dict[str, Any] = {
    "StudyDescription": "Thorax pa",
    "NameOfPhysiciansReadingStudy": ["A^B", "C^D"],
    "PatientWeight": "71.5",
    "PatientSize": "1.7",
    "PatientComments": "x" * 300,
    "EthnicGroup": "e",
    "PregnancyStatus": 4,
    "AdmissionID": "ADM",
    "ClinicalTrialSubjectID": "CT-1",
    "ClinicalTrialSponsorName": "Sponsor",
    "ClinicalTrialProtocolID": "Protocol",
    "PatientIdentityRemoved": "NO",
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_patient_and_study_modules_arrive_whole(syntax: str) -> None:
    ds = source(transfer_syntax_uid=syntax, **PATIENT_STUDY, **identity_sequences())
    made = companion_of(ds)
    for keyword in [*PATIENT_STUDY, *identity_sequences(), "IssuerOfPatientID", "AccessionNumber", "StudyTime"]:
        assert raw_bytes(made, keyword) == raw_bytes(ds, keyword), keyword
    assert made.PregnancyStatus == 4
    assert made.OtherPatientIDsSequence[0].IssuerOfPatientID == "CITY"
    assert made.StudyInstanceUID == ds.StudyInstanceUID


def test_identifiers_with_illegal_values_are_kept_as_they_are() -> None:
    odd = {
        "PatientID": b"x" * 101,
        "PatientName": b"  " + b"n" * 200 + b"^^^^^^ ",
        "PatientBirthDate": b"1950-01-01",
        "PatientSex": b"unknown",
        "StudyDate": b"2026.01.02",
        "AccessionNumber": b"toolongaccessionnumber",
        "StudyID": b"\0\0",
    }
    made = companion_of(with_bytes(source(), **odd))
    assert {keyword: (raw_bytes(made, keyword) or b"")[: len(value)] for keyword, value in odd.items()} == odd


def test_an_optional_attribute_that_breaks_its_vr_is_left_out_alone() -> None:
    ds = with_bytes(source(), PatientAge=b"58", PatientWeight=b"heavy", PatientComments=b"kept")
    made = companion_of(ds)
    assert "PatientAge" not in made
    assert "PatientWeight" not in made
    assert made.PatientComments == "kept"


def test_a_sequence_that_cannot_be_parsed_costs_only_itself() -> None:
    ds = source()
    made = companion_of(with_bytes(ds, OtherPatientIDsSequence=b"\xfe\xff\x00\xe0\xff\xff"))
    assert "OtherPatientIDsSequence" not in made
    assert made.PatientID == "p1"


def test_private_attributes_of_the_source_stay_behind() -> None:
    ds = source()
    ds.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "secret")
    assert not any(tag.is_private for tag in companion_of(ds).keys())  # noqa: SIM118


def test_type_2_attributes_that_the_source_lacks_are_added_empty() -> None:
    lacking = ("PatientName", "PatientBirthDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
    made = companion_of(source(PatientOrientation=None, attributes=dict.fromkeys(lacking)))
    assert {keyword: raw_bytes(made, keyword) for keyword in lacking} == dict.fromkeys(lacking, b"")
    assert raw_bytes(made, "PatientOrientation") == b""


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


def test_uids_follow_from_source_bundle_and_recipe_and_nothing_else() -> None:
    made = companion_of(source())
    for uid in (made.SOPInstanceUID, made.SeriesInstanceUID):
        as_uuid = uuid.UUID(int=int(uid.removeprefix("2.25.")))
        assert (as_uuid.version, as_uuid.variant) == (8, uuid.RFC_4122)
        assert UID(uid).is_valid
    compressed = companion_of(source(), OutputSettings(burned_in_label=False, transfer_syntax=StoredSyntax.RLE))
    assert compressed.SOPInstanceUID == made.SOPInstanceUID
    others = [
        companion_of(source(SOPInstanceUID="1.2.3")),
        companion_of(source(), digest="cd" * 32),
        companion_of(source(), seed=8),
        companion_of(source(), OutputSettings(burned_in_label=True)),
    ]
    assert len({made.SOPInstanceUID, *(other.SOPInstanceUID for other in others)}) == 5


def test_companions_of_one_series_are_one_series() -> None:
    made = companion_of(source())
    sibling = companion_of(source(SOPInstanceUID="1.2.3", InstanceNumber=9), seed=8)
    assert sibling.SeriesInstanceUID == made.SeriesInstanceUID
    assert (made.InstanceNumber, sibling.InstanceNumber) == (2, 9)
    assert companion_of(source(SeriesInstanceUID="1.2.4")).SeriesInstanceUID != made.SeriesInstanceUID
    assert companion_of(source(), digest="cd" * 32).SeriesInstanceUID != made.SeriesInstanceUID


SPACINGS: list[dict[str, Any]] = [
    {"PixelSpacing": [0.143, 0.15]},
    {"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.2]},
    {"PixelSpacing": None, "NominalScannedPixelSpacing": [0.175, 0.175]},
    {
        "PixelSpacing": [0.1, 0.1],
        "ImagerPixelSpacing": [0.11, 0.11],
        "PixelSpacingCalibrationType": "GEOMETRY",
        "PixelSpacingCalibrationDescription": "magnification 1.1",
    },
    {"PixelSpacing": None, "PixelAspectRatio": ["1", "2"]},
]


@pytest.mark.parametrize("given", SPACINGS)
def test_each_spacing_is_carried_under_its_own_name(given: dict[str, Any]) -> None:
    ds = source(**given)
    made = companion_of(ds)
    names = (
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "PixelSpacingCalibrationType",
        "PixelSpacingCalibrationDescription",
        "PixelAspectRatio",
        "Rows",
        "Columns",
        "PatientOrientation",
    )
    assert {name: raw_bytes(made, name) for name in names} == {name: raw_bytes(ds, name) for name in names}


def test_a_spacing_of_zero_is_no_spacing() -> None:
    made = companion_of(source(PixelSpacing=[0, 0], PixelSpacingCalibrationType="GEOMETRY"))
    assert "PixelSpacing" not in made
    assert "PixelSpacingCalibrationType" not in made


def test_view_and_side_are_carried_where_they_are_legal() -> None:
    view = code("399348003", "SCT", "antero-posterior", ViewModifierCodeSequence=[])
    made = companion_of(source(Laterality="U", ImageLaterality="U", ViewCodeSequence=[view]))
    assert "Laterality" not in made
    assert made.ImageLaterality == "U"
    assert made.ViewPosition == "PA"
    assert made.ViewCodeSequence[0].CodeValue == "399348003"
    assert "ViewModifierCodeSequence" not in made.ViewCodeSequence[0]


def test_a_side_is_said_once_and_where_it_may_be_said() -> None:
    chest = companion_of(source(Laterality="R"))
    assert "Laterality" not in chest  # a chest is not paired
    assert chest.ImageLaterality == "R"
    lung = companion_of(source(BodyPartExamined="LUNG", Laterality="R"))
    assert lung.Laterality == "R"
    assert "ImageLaterality" not in lung
    assert raw_bytes(companion_of(source(BodyPartExamined="RIB")), "Laterality") == b""


@pytest.mark.parametrize("body_part", [None, ""])
def test_what_passed_the_gate_without_a_body_part_is_a_chest(body_part: str | None) -> None:
    assert companion_of(source(BodyPartExamined=body_part)).BodyPartExamined == "CHEST"


def test_the_source_and_both_machines_are_named() -> None:
    made = companion_of(source())
    (reference,) = made.SourceImageSequence
    assert reference.ReferencedSOPClassUID == source().SOPClassUID
    assert reference.ReferencedSOPInstanceUID == source().SOPInstanceUID
    assert reference.SpatialLocationsPreserved == "YES"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    taken, processed = made.ContributingEquipmentSequence
    assert taken.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert (taken.Manufacturer, taken.ManufacturerModelName, taken.StationName) == ("Maker", "Flat 1", "ROOM1")
    assert processed.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert processed.ManufacturerModelName == "bs-ldm-test"
    assert "ab" * 32 in processed.SoftwareVersions
    assert processed.ContributionDateTime == "20261121221530.123456+0000"
    assert (
        processed.DeviceUID == companion_of(source(SOPInstanceUID="1.2.3")).ContributingEquipmentSequence[1].DeviceUID
    )
    assert processed.DeviceUID != companion_of(source(), digest="cd" * 32).ContributingEquipmentSequence[1].DeviceUID


def test_equipment_that_the_source_names_already_is_kept() -> None:
    gateway = Dataset()
    gateway.Manufacturer = "Gateway"
    gateway.PurposeOfReferenceCodeSequence = [code("109103", "DCM", "Modifying Equipment")]
    nameless = Dataset()
    nameless.Manufacturer = "No purpose"
    made = companion_of(source(Manufacturer=None, ContributingEquipmentSequence=[gateway, nameless]))
    assert [item.Manufacturer for item in made.ContributingEquipmentSequence] == ["Gateway", "UNKNOWN", "pacs-node"]


def test_the_derivation_is_coded_in_a_declared_scheme() -> None:
    made = companion_of(source())
    (derivation,) = made.DerivationCodeSequence
    (scheme,) = made.CodingSchemeIdentificationSequence
    assert derivation.CodingSchemeDesignator == scheme.CodingSchemeDesignator == "99PACSNODE"
    assert UID(scheme.CodingSchemeUID).is_valid
    assert "4 steps" in made.DerivationDescription
    assert "seed 7" in made.DerivationDescription
    assert "ab" * 32 in made.DerivationDescription
    assert made.ImageType == ["DERIVED", "SECONDARY", "SOFT_TISSUE"]
    assert (made.ConversionType, made.ContentQualification, made.Modality) == ("WSD", "RESEARCH", "DX")
    assert "Research use only" in str(raw_bytes(made, "ImageComments"))


def test_the_gate_knows_a_companion_again() -> None:
    with pytest.raises(Rejected) as refusal:
        check_header(companion_of(source()), GateSettings())
    assert refusal.value.reason is ReasonCode.OWN_OUTPUT


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


def test_earlier_loss_is_declared_and_never_invented() -> None:
    stated = companion_of(
        source(LossyImageCompression="01", LossyImageCompressionRatio=[10, 2], LossyImageCompressionMethod=["A", "B"])
    )
    assert stated.LossyImageCompression == "01"
    assert stated.LossyImageCompressionRatio == [10, 2]
    assert stated.LossyImageCompressionMethod == ["A", "B"]
    implied = companion_of(source(transfer_syntax_uid=JPEGBaseline8Bit, bits_stored=8))
    assert (implied.LossyImageCompression, implied.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert companion_of(source(LossyImageCompression="00")).LossyImageCompression == "00"
    assert "LossyImageCompression" not in companion_of(source())


def test_the_label_is_burned_into_the_darkest_corner_and_nowhere_else() -> None:
    ds = source()
    plain = inference(ds).soft_tissue
    made = companion_of(ds, OutputSettings())
    labelled, box = burn_label(plain, 12)
    assert box is not None
    assert (box.bottom, box.left) == (301, 0)  # the black quarter
    assert made.BurnedInAnnotation == "YES"
    assert np.array_equal(made.pixel_array, labelled)
    outside = np.ones(plain.shape, bool)
    outside[box.slices] = False
    assert np.array_equal(labelled[outside], plain[outside])
    assert 0.5 * 4095 < labelled[box.slices].max() <= 4095
    assert outside.mean() > 0.9


def test_the_label_grows_with_the_image() -> None:
    boxes = [burn_label(np.zeros((side, side), np.uint16), 12)[1] for side in (1024, 2048, 4096)]
    heights = [box.bottom - box.top for box in boxes if box is not None]
    assert heights[1] / heights[0] == pytest.approx(2, rel=0.1)  # letters have whole pixels
    assert heights[2] / heights[1] == pytest.approx(2, rel=0.1)


def test_an_image_too_small_for_letters_is_not_called_labelled() -> None:
    made = companion_of(source(Rows=40, Columns=50), OutputSettings())
    assert made.BurnedInAnnotation == "NO"
    assert np.array_equal(made.pixel_array, inference(source(Rows=40, Columns=50)).soft_tissue)


def test_text_burned_into_the_source_is_not_denied() -> None:
    assert companion_of(source()).BurnedInAnnotation == "NO"
    assert companion_of(source(BurnedInAnnotation="YES")).BurnedInAnnotation == "YES"


@pytest.mark.parametrize(
    ("charset", "stored"),
    [
        ("ISO_IR 192", "МЯГКИЕ ТКАНИ".encode()),
        ("ISO_IR 144", "МЯГКИЕ ТКАНИ".encode("iso8859_5")),
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


TAMPERED: dict[str, Callable[[Dataset], object]] = {
    "another study": lambda ds: setattr(ds, "StudyInstanceUID", "1.2.3"),
    "another patient": lambda ds: setattr(ds, "PatientName", "Roe^Jane"),
    "an invented birth date": lambda ds: setattr(ds, "PatientBirthDate", "20000101"),
    "other rows": lambda ds: setattr(ds, "Rows", 300),
    "another spacing": lambda ds: setattr(ds, "PixelSpacing", [0.2, 0.2]),
    "no spacing": lambda ds: ds.__delitem__("PixelSpacing"),
    "a rescale": lambda ds: setattr(ds, "RescaleSlope", 2),
    "short pixels": lambda ds: setattr(ds, "PixelData", b"\0\0"),
    "no source": lambda ds: ds.__delitem__("SourceImageSequence"),
    "no accession number": lambda ds: ds.__delitem__("AccessionNumber"),
    "the source's own UID": lambda ds: setattr(ds, "SOPInstanceUID", source().SOPInstanceUID),
    "hidden loss": lambda ds: ds.__delitem__("LossyImageCompression"),
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
def test_a_wrong_companion_does_not_leave(tamper: Callable[[Dataset], object]) -> None:
    ds = source(LossyImageCompression="01")
    made = companion_of(ds)
    verify_companion(made, ds)
    tamper(made)
    with pytest.raises(Rejected) as refusal:
        verify_companion(made, ds)
    assert refusal.value.reason is ReasonCode.OUTPUT_INVALID


def test_an_unusual_source_class_and_number_are_no_obstacle(tmp_path: Path) -> None:
    ds = with_bytes(source(ComputedRadiographyImageStorage, Modality=None), InstanceNumber=b"first")
    made = companion_of(ds)
    assert (made.Modality, made.InstanceNumber) == ("OT", 1)
