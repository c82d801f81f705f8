"""The last look: a companion that is wrong in any way does not leave."""

from collections.abc import Callable

import pytest
from pydicom import Dataset

from pacs_node.derive.companion import verify_companion
from pacs_node.errors import ReasonCode, Rejected
from tests.sources import companion_of, source

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
