"""What an object without pixels shares with a companion: patient, study, character set, and who made it when."""

from datetime import datetime

from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from pacs_node.derive.companion import zone_of
from pacs_node.derive.inherited import image_description, patient_and_study
from pacs_node.derive.provenance import node_equipment
from pacs_node.derive.shutter import SHUTTER_KEYWORDS
from pacs_node.derive.verbatim import raw_bytes, raw_elements, stamp, text
from pacs_node.derive.verify import verify_identity
from pacs_node.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, is_plausible_uid

__all__ = ["finished", "has_identity", "stand_in"]

IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
CARRIED = ("SpecificCharacterSet", "TimezoneOffsetFromUTC")
OF_A_SERIES = ("BodyPartExamined", "Laterality")  # General Series wants one of them; a document's series has neither
NAMED_BY_HIGHDICOM = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)


def has_identity(source: Dataset) -> bool:
    """Whether another object can refer to it: it names its class, itself, its series and its study, each by one UID."""
    return all(is_plausible_uid(text(source, keyword)) for keyword in IDENTITY)


def stand_in(source: Dataset) -> Dataset:
    """What highdicom wants to know of a referenced image; its patient is empty, `finished` puts in the real one."""
    image = Dataset()
    for keyword in NAMED_BY_HIGHDICOM:
        setattr(image, keyword, "")
    for keyword in IDENTITY:
        setattr(image, keyword, UID(text(source, keyword)))
    image.Modality, image.SamplesPerPixel = text(source, "Modality") or "OT", 1
    for keyword in ("Rows", "Columns"):
        size = int.from_bytes(raw_bytes(source, keyword) or b"", "little")
        if size:
            setattr(image, keyword, size)
    return image


def finished(ds: Dataset, source: Dataset, created_at: datetime) -> Dataset:
    """The object in the study of its source, with patient and study byte for byte, ready to be saved.

    Parameters
    ----------
    ds : made by highdicom, its texts ASCII, which every character set holds.
    created_at : aware; goes into every date and time that is ours.

    Raises
    ------
    Rejected
        OUTPUT_INVALID: the object is not of the patient and study of its source.
    """
    made = created_at.astimezone(zone_of(source))
    for what in ("InstanceCreation", "Content", "PresentationCreation"):
        if f"{what}Date" in ds:
            setattr(ds, f"{what}Date", made.strftime("%Y%m%d"))
            setattr(ds, f"{what}Time", made.strftime("%H%M%S.%f"))
    ds.ContributingEquipmentSequence = [node_equipment(created_at)]  # in place of highdicom's own, with its clock
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    described = image_description(source)
    # without a shutter of its own a presentation state takes away that of its image (PS3.4 N.2)
    wanted = CARRIED if ds.Modality == "KO" else (*CARRIED, *OF_A_SERIES, *SHUTTER_KEYWORDS)
    carried = {Tag(keyword): described[Tag(keyword)] for keyword in wanted if Tag(keyword) in described}
    ours = {tag: each for tag, each in raw_elements(ds).items() if tag != Tag("SpecificCharacterSet")}
    made_object = stamp(ds.file_meta, ours | carried | patient_and_study(source))
    verify_identity(made_object, source)
    return made_object
