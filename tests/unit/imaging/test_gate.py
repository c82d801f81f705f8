"""Which headers pass, and the reason of those that do not."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from pacs_node.config import GateSettings
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.gate import check_header, names_frontal_chest
from pacs_node.imaging.read import open_dataset
from tests.unit.imaging.synthetic import dataset, ramp


def header(**attributes: Any) -> Dataset:
    return dataset(ramp(), **attributes)


def coded(value: str, meaning: str, scheme: str = "SCT") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def equipment(manufacturer: str) -> Dataset:
    item = Dataset()
    item.Manufacturer = manufacturer
    return item


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"BodyPartExamined": None, "ViewPosition": None},
        {"BodyPartExamined": "", "ViewPosition": ""},
        {"BodyPartExamined": "chest"},
        {"BodyPartExamined": "PORT CHEST"},
        {"BodyPartExamined": "RIBS"},
        {"BodyPartExamined": "TORAX"},
        {"BodyPartExamined": "TORACE"},
        {"BodyPartExamined": "CHEST_PA"},
        {"ViewPosition": "AP"},
        {"ViewPosition": "LLD"},
        {"SOPClassUID": ComputedRadiographyImageStorage, "Modality": "CR"},
        {"SOPClassUID": DigitalXRayImageStorageForProcessing},
        {"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT"},
        {"BodyPartExamined": None, "AnatomicRegionSequence": [coded("51185008", "Brustkorb")]},
        {"BodyPartExamined": None, "AnatomicRegionSequence": [coded("1", "Chest and lung")]},
        {"ViewPosition": None, "ViewCodeSequence": [coded("399348003", "antero-posterior")]},
        {"ViewPosition": None, "ViewCodeSequence": [coded("1", "left lateral decubitus")]},
        {"ViewPosition": None, "ViewCodeSequence": [coded("399173006", "left lateral decubitus")]},
        {"ViewPosition": None, "ViewCodeSequence": [coded("272479007", "dos-ventre")]},
        {"ContributingEquipmentSequence": [equipment("Somebody else")]},
        {"ImageType": ["ORIGINAL", "PRIMARY"]},
        {"ImageType": "ORIGINAL"},
        {"ImageType": ["DERIVED", "PRIMARY", "", "STANDARD"]},
        {"SeriesDescription": "Chest PA dual energy"},
    ],
)
def test_frontal_chest_passes(attributes: dict[str, Any]) -> None:
    check_header(header(**attributes), GateSettings())


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"SOPClassUID": CTImageStorage}, ReasonCode.SOP_CLASS_UNSUPPORTED),
        ({"SOPClassUID": DigitalMammographyXRayImageStorageForPresentation}, ReasonCode.SOP_CLASS_UNSUPPORTED),
        ({"SOPClassUID": None}, ReasonCode.MISSING_ATTRIBUTE),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "CT"}, ReasonCode.NOT_CHEST),
        ({"BodyPartExamined": "HIP"}, ReasonCode.NOT_CHEST),
        ({"BodyPartExamined": "EXTREMITY"}, ReasonCode.NOT_CHEST),
        ({"BodyPartExamined": "TSPINE"}, ReasonCode.NOT_CHEST),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": [coded("29836001", "Hip")]}, ReasonCode.NOT_CHEST),
        ({"ViewPosition": "LL"}, ReasonCode.NOT_FRONTAL),
        ({"ViewPosition": "RL"}, ReasonCode.NOT_FRONTAL),
        ({"ViewPosition": "Lateral"}, ReasonCode.NOT_FRONTAL),
        ({"ViewPosition": "LAT"}, ReasonCode.NOT_FRONTAL),
        ({"ViewPosition": "RAO"}, ReasonCode.NOT_FRONTAL),
        ({"ViewPosition": None, "ViewCodeSequence": [coded("399173006", "left lateral")]}, ReasonCode.NOT_FRONTAL),
        ({"ViewPosition": None, "ViewCodeSequence": [coded("399173006", "seitlich")]}, ReasonCode.NOT_FRONTAL),
        ({"ViewPosition": None, "ViewCodeSequence": [coded("R-10232", "profil droit")]}, ReasonCode.NOT_FRONTAL),
        ({"Manufacturer": "pacs-node"}, ReasonCode.OWN_OUTPUT),
        ({"ContributingEquipmentSequence": [equipment("X"), equipment("pacs-node")]}, ReasonCode.OWN_OUTPUT),
        ({"DerivationCodeSequence": [coded("SOFT_TISSUE", "x", "99PACSNODE")]}, ReasonCode.OWN_OUTPUT),
        ({"SecondaryCaptureDeviceManufacturer": "pacs-node"}, ReasonCode.OWN_OUTPUT),
        ({"ImageType": ["DERIVED", "PRIMARY", "SOFT_TISSUE"]}, ReasonCode.ALREADY_SUPPRESSED),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "DES_BONE"]}, ReasonCode.ALREADY_SUPPRESSED),
        ({"SeriesDescription": "Chest PA soft tissue"}, ReasonCode.ALREADY_SUPPRESSED),
        ({"SeriesDescription": "Bone Suppressed PA"}, ReasonCode.ALREADY_SUPPRESSED),
        ({"DerivationDescription": "rib suppression"}, ReasonCode.ALREADY_SUPPRESSED),
    ],
)
def test_what_is_ruled_out_has_its_reason(attributes: dict[str, Any], reason: ReasonCode) -> None:
    with pytest.raises(Rejected) as refusal:
        check_header(header(**attributes), GateSettings())
    assert refusal.value.reason is reason


def test_body_parts_are_those_of_the_settings() -> None:
    check_header(header(BodyPartExamined="TORAX"), GateSettings(body_parts=("torax",)))
    with pytest.raises(Rejected, match="not_chest"):
        check_header(header(BodyPartExamined="CHEST"), GateSettings(body_parts=("torax",)))


@pytest.mark.parametrize(
    ("attributes", "passes"),
    [
        ({"PatientAge": "011Y"}, False),
        ({"PatientAge": "018M"}, False),
        ({"PatientAge": "003W"}, False),
        ({"PatientAge": "012Y"}, True),
        ({"PatientAge": "081Y"}, True),
        ({"PatientBirthDate": "20150601", "StudyDate": "20260531"}, False),
        ({"PatientBirthDate": "20140101", "StudyDate": "20260531"}, True),
        ({"PatientAge": "OLD", "PatientBirthDate": ""}, True),
        ({}, True),
    ],
)
def test_children_are_refused_where_an_age_is_asked_for_and_known(attributes: dict[str, Any], *, passes: bool) -> None:
    check_header(header(**attributes), GateSettings())
    if passes:
        check_header(header(**attributes), GateSettings(min_age_years=12))
    else:
        with pytest.raises(Rejected) as refusal:
            check_header(header(**attributes), GateSettings(min_age_years=12))
        assert refusal.value.reason is ReasonCode.CHILD


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"BodyPartExamined": "CHEST", "ViewPosition": "PA"}, True),
        ({"BodyPartExamined": "RIBS", "ViewPosition": "AP"}, True),
        ({"BodyPartExamined": "CHEST", "ViewPosition": ""}, False),
        ({"BodyPartExamined": None, "ViewPosition": "PA"}, False),
        ({"BodyPartExamined": None, "ViewPosition": "PA", "AnatomicRegionSequence": [coded("51185008", "x")]}, True),
    ],
)
def test_a_frontal_chest_is_named_by_body_part_and_view_together(attributes: dict[str, Any], *, named: bool) -> None:
    assert names_frontal_chest(header(**attributes), GateSettings()) is named


def test_attribute_that_cannot_be_parsed_is_a_refusal() -> None:
    ds = header()
    tag = Tag("ContributingEquipmentSequence")
    ds[tag] = RawDataElement(tag, "US", 3, b"abc", 0, is_implicit_VR=False, is_little_endian=True)
    with pytest.raises(Rejected, match="not_dicom"):
        check_header(ds, GateSettings())


@pytest.mark.parametrize("name", ["RG2_RLE", "RG2_J2KR", "RG3_JPLL", "RG3_JPLY"])
def test_hips_and_ankles_are_refused(name: str, shared_data: Path) -> None:
    with pytest.raises(Rejected) as refusal:
        check_header(open_dataset(shared_data / "dicom_not_chest" / f"{name}.dcm"), GateSettings())
    assert refusal.value.reason is ReasonCode.NOT_CHEST


def test_every_real_chest_radiograph_passes(shared_data: Path) -> None:
    for path in sorted((shared_data / "dicom").glob("*.dcm")):
        check_header(open_dataset(path), GateSettings())
