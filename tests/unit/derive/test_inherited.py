"""What a companion takes over: identity byte for byte, geometry, view, side and earlier loss."""

import contextlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from pacs_node.derive.companion import derive
from pacs_node.derive.verbatim import raw_bytes
from pacs_node.errors import Rejected
from tests.sources import CREATED_AT, NAMES, PLAIN, bundle, code, companion_of, inference, source, with_bytes


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


def test_a_vr_that_does_not_exist_is_not_passed_on() -> None:
    stream = BytesIO()
    source().save_as(stream, enforce_file_format=True)
    damaged = stream.getvalue().replace(b"\x10\x00\x10\x00PN", b"\x10\x00\x10\x00P\\")
    made = companion_of(dcmread(BytesIO(damaged)))
    assert made.get_item("PatientName").VR == "PN"
    assert made.PatientName == "Doe^Jane"


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


def test_private_attributes_inside_of_items_stay_behind() -> None:
    region = code("51185008", "SCT", "Chest")
    region.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "secret")
    made = companion_of(source(AnatomicRegionSequence=[region], ProcedureCodeSequence=[region]))
    assert made.AnatomicRegionSequence[0].CodeValue == made.ProcedureCodeSequence[0].CodeValue == "51185008"
    assert "secret" not in str(made)


def test_type_2_attributes_that_the_source_lacks_are_added_empty() -> None:
    lacking = ("PatientName", "PatientBirthDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
    made = companion_of(source(PatientOrientation=None, attributes=dict.fromkeys(lacking)))
    assert {keyword: raw_bytes(made, keyword) for keyword in lacking} == dict.fromkeys(lacking, b"")
    assert raw_bytes(made, "PatientOrientation") == b""


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


def test_a_spacing_of_more_digits_than_ds_has_is_rounded_and_not_lost() -> None:
    # the other spacing would stand for it, and a ruler would show other lengths than in the source
    ds = source(ImagerPixelSpacing=[0.15, 0.15], PixelSpacingCalibrationType="FIDUCIAL")
    made = companion_of(with_bytes(ds, PixelSpacing=b"0.13900000000000001\\0.139 "))
    assert raw_bytes(made, "PixelSpacing") == b"0.139\\0.139 "
    assert made.PixelSpacingCalibrationType == "FIDUCIAL"
    assert "PixelSpacing" not in companion_of(with_bytes(source(), PixelSpacing=b"a very long word !\\1 "))


def test_square_pixels_have_no_aspect_ratio() -> None:
    made = companion_of(source(PixelSpacing=None, PixelAspectRatio=["1", "1"]))
    assert "PixelAspectRatio" not in made  # type 1C, C.7.6.3.1.7


def test_a_range_of_dates_is_no_date() -> None:
    made = companion_of(with_bytes(source(), AcquisitionDate=b"20260102-20260103 ", AcquisitionTime=b"1011-1012 "))
    assert "AcquisitionDate" not in made
    assert "AcquisitionTime" not in made


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


def test_earlier_loss_is_declared_and_never_invented() -> None:
    stated = companion_of(
        source(LossyImageCompression="01", LossyImageCompressionRatio=[10, 2], LossyImageCompressionMethod=["A", "B"])
    )
    assert stated.LossyImageCompression == "01"
    assert stated.LossyImageCompressionRatio == [10, 2]
    assert stated.LossyImageCompressionMethod == ["A", "B"]
    implied = companion_of(source(transfer_syntax_uid=JPEGBaseline8Bit, bits_stored=8))
    assert (implied.LossyImageCompression, implied.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    denied = companion_of(source(transfer_syntax_uid=JPEGBaseline8Bit, bits_stored=8, LossyImageCompression="00"))
    assert (denied.LossyImageCompression, denied.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert companion_of(source(LossyImageCompression="00")).LossyImageCompression == "00"
    assert "LossyImageCompression" not in companion_of(source())


def test_damaged_headers_give_a_companion_or_a_typed_refusal() -> None:
    whole = source(ProcedureCodeSequence=[code("XR", "99X", "Chest")], TimezoneOffsetFromUTC="+0100")
    picture, stream = inference(whole), BytesIO()
    whole.save_as(stream, enforce_file_format=True)
    start = stream.getvalue().index(b"ISO_IR") - 8  # file meta information is not the subject
    made, random = 0, np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(stream.getvalue())
        for position in random.integers(start, len(damaged), random.integers(1, 5)):
            damaged[position] = int(random.choice(np.array([0, 0x20, 0x5C, 0xFF, random.integers(256)])))
        try:
            ds = dcmread(BytesIO(bytes(damaged)))
        except Exception:  # noqa: BLE001, S112  reading is not the subject either
            continue
        with contextlib.suppress(Rejected):
            derive(ds, picture, bundle(), PLAIN, CREATED_AT).save_as(BytesIO(), enforce_file_format=True)
            made += 1
    assert made > 20  # most damage is to values that nobody needs
