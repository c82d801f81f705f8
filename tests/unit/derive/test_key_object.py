"""The Key Object that says why a radiograph has no companion."""

import pytest
from pydicom import Dataset

from pacs_node.config import OutputSettings
from pacs_node.derive.key_object import UNTOLD, derive_key_object
from pacs_node.errors import ReasonCode, Rejected
from tests.sources import CREATED_AT, reread, source, with_bytes

LATERAL = Rejected(ReasonCode.NOT_FRONTAL, "ViewPosition or ViewCodeSequence is a lateral or oblique view")
HIDING = {"113001", "113037", "113038", "113039"}  # IHE IOCM: a PACS hides what they refer to


def noted(ds: Dataset, refusal: Rejected = LATERAL) -> Dataset:
    made = derive_key_object(ds, refusal, OutputSettings(key_object=True), CREATED_AT)
    assert made is not None
    return reread(made)


def test_it_gives_the_reason_and_refers_to_the_image() -> None:
    made = noted(source())
    (text,) = [
        item.TextValue
        for item in made.ContentSequence
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeValue == "113012"  # Key Object Description
    ]
    assert LATERAL.explanation in text
    assert "(not_frontal)" in text
    assert "Research use only" in text
    (image,) = [item for item in made.ContentSequence if item.ValueType == "IMAGE"]
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source().SOPInstanceUID
    (study,) = made.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == source().StudyInstanceUID == made.StudyInstanceUID
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == source().SeriesInstanceUID


def test_its_title_hides_no_image() -> None:
    (title,) = noted(source()).ConceptNameCodeSequence
    assert title.CodeValue not in HIDING
    assert (title.CodingSchemeDesignator, title.CodeMeaning) == ("99PACSNODE", "Not processed by AI")


def test_patient_and_study_are_those_of_the_source_in_its_character_set() -> None:
    made = noted(source(SpecificCharacterSet="ISO_IR 144", PatientName="Люксембург^Роза"))
    assert str(made.PatientName) == "Люксембург^Роза"
    assert made.IssuerOfPatientID == "HOSP"
    assert made.AccessionNumber == "A1"


def test_the_same_refusal_is_the_same_document_and_another_one_is_not() -> None:
    assert noted(source()).SOPInstanceUID == noted(source()).SOPInstanceUID
    other = noted(source(), Rejected(ReasonCode.NOT_CHEST, "BodyPartExamined is none of gate.body_parts"))
    assert other.SOPInstanceUID != noted(source()).SOPInstanceUID
    assert other.SeriesInstanceUID == noted(source()).SeriesInstanceUID
    assert noted(source(SOPInstanceUID="1.2.3")).SOPInstanceUID != noted(source()).SOPInstanceUID


@pytest.mark.parametrize("reason", sorted(UNTOLD))
def test_nothing_is_told_where_the_study_cannot_be_trusted_or_nobody_waits(reason: ReasonCode) -> None:
    assert derive_key_object(source(), Rejected(reason, "told"), OutputSettings(), CREATED_AT) is None


def test_nothing_is_told_of_a_source_that_cannot_be_referred_to() -> None:
    assert derive_key_object(source(SeriesInstanceUID=None), LATERAL, OutputSettings(), CREATED_AT) is None


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [b"1.2\\1.3 ", b"1.2.\xfc "])
def test_nothing_is_told_of_a_source_whose_name_is_no_uid(keyword: str, value: bytes) -> None:
    ds = with_bytes(source(), **{keyword: value})
    assert derive_key_object(ds, LATERAL, OutputSettings(key_object=True), CREATED_AT) is None


def test_it_is_made_of_a_source_without_pixels_or_size() -> None:
    made = noted(source(Rows=None, Columns=None, BitsStored=None))
    assert made.ReferencedPerformedProcedureStepSequence == []
