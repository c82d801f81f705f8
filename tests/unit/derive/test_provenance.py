"""Where a companion says that it comes from: UIDs, source, equipment, derivation."""

import uuid

import pytest
from pydicom import Dataset
from pydicom.uid import (
    UID,
)

from pacs_node.config import GateSettings, OutputSettings, StoredSyntax
from pacs_node.derive.verbatim import raw_bytes
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.gate import check_header
from tests.sources import code, companion_of, source


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
