"""Where a companion comes from, in identifiers, codes and equipment that a machine can follow back."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from highdicom.base_content import ContributingEquipment
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.tag import Tag
from pydicom.valuerep import DT

from model.bundle import Bundle
from pacs_node import __version__
from pacs_node.config import OutputSettings
from pacs_node.derive.verbatim import element, is_legal, raw_bytes, text, values, verbatim
from pacs_node.identity import CODING_SCHEME, MANUFACTURER
from pacs_node.records import Inference

__all__ = [
    "CODING_SCHEME",
    "MANUFACTURER",
    "Recipe",
    "coding_scheme",
    "companion_uids",
    "contributing_equipment",
    "derivation_code",
    "derivation_description",
    "device_uid",
    "how",
    "model_name",
    "model_words",
    "node_equipment",
    "private_code",
    "refusal_uids",
    "software_versions",
    "source_reference",
]

CODING_SCHEME_UID = "2.25.319044980609282740598716741251055546566"
DERIVED = "Soft-tissue image: bone layer predicted by conditional latent diffusion and subtracted at native resolution."
UNCHANGING = {"transfer_syntax", "bone_image", "presentation_states", "key_object"}  # settings that change no companion
RECIPE_VERSION = 3  # raise it when the same bundle and settings would give other pixels

# General Equipment of the source that says which device took the picture (PS3.3 C.12.1.1.5)
EQUIPMENT_KEYWORDS = (
    "Manufacturer",
    "InstitutionName",
    "InstitutionalDepartmentName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "DeviceUID",
)
POLARITY_SENTENCE = "The source is displayed as a negative by its header; polarity corrected. "
CODE_KEYWORDS = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything besides the source and the bundle that changes what a companion holds.

    Attributes
    ----------
    series : what all companions of one source series share: steps and output settings, as canonical JSON.
    instance : ``series`` and the noise seed, which differs from image to image.
    """

    series: str
    instance: str

    @classmethod
    def of(cls, inference: Inference, settings: OutputSettings, *, has_shutter: bool = False) -> "Recipe":
        """Left out are the transfer syntax, for every one is lossless, and what else is made beside the companion."""
        output = settings.model_dump(mode="json", exclude=UNCHANGING)
        shared = {"version": RECIPE_VERSION, "steps": inference.steps, "output": output}
        instance = shared | {"seed": inference.noise_seed}
        if inference.polarity_corrected:  # else the companions of all other sources would get new UIDs
            instance["polarity"] = "corrected"
        if has_shutter:  # its label lies elsewhere than in version 3; as above
            instance["shutter"] = "carried"
        return cls(json.dumps(shared, sort_keys=True), json.dumps(instance, sort_keys=True))


def companion_uids(
    source_series_instance_uid: str, source_sop_instance_uid: str, bundle_digest: str, recipe: Recipe, kind: str = ""
) -> tuple[str, str]:
    """Series and SOP Instance UID of a companion; equal inputs give equal UIDs, for ever.

    All companions of one source series made by one bundle with one recipe are one series, so that a PA and a second
    exposure stay side by side; another bundle or recipe makes another series and never overwrites.

    Parameters
    ----------
    kind : of an object that is made beside the companion, such as ``bone image``; each kind has its own UIDs.

    Returns
    -------
    series_uid, sop_uid : ``2.25.`` UIDs (PS3.5 B.2).
    """
    prefix = f"{kind} " if kind else ""
    return (
        _hashed_uid(f"{prefix}series", source_series_instance_uid, bundle_digest, recipe.series),
        _hashed_uid(f"{prefix}instance", source_sop_instance_uid, bundle_digest, recipe.instance),
    )


def refusal_uids(source_series_instance_uid: str, source_sop_instance_uid: str, words: str) -> tuple[str, str]:
    """Series and SOP Instance UID of the Key Object that says these words about a source."""
    return (
        _hashed_uid("not processed series", source_series_instance_uid),
        _hashed_uid("not processed instance", source_sop_instance_uid, words),
    )


def device_uid(bundle_digest: str) -> str:
    """DeviceUID of the bundle: one model, one device, on whatever machine it runs."""
    return _hashed_uid("device", bundle_digest)


def coding_scheme() -> CodingSchemeIdentificationItem:
    """Declares the private scheme of `derivation_code` (PS3.3 C.12.1)."""
    item = CodingSchemeIdentificationItem(
        CODING_SCHEME, name="pacs-node derivations", version="1", responsible_organization="pacs-node project"
    )
    item.CodingSchemeUID = CODING_SCHEME_UID
    return item


def private_code(value: str, meaning: str) -> CodedConcept:
    """A code of the scheme that `coding_scheme` declares."""
    return CodedConcept(value, CODING_SCHEME, meaning, "1")


def derivation_code() -> CodedConcept:
    """What was done to the image; CID 7203 has no code for it."""
    return private_code("SOFT_TISSUE", "Soft tissue image by removal of predicted bone")


def derivation_description(bundle: Bundle, inference: Inference) -> str:
    """Algorithm, model, steps, seed and guard in sentences, ST of at most 1024 ASCII characters."""
    return f"{DERIVED} {how(bundle, inference)}"


def how(bundle: Bundle, inference: Inference) -> str:
    """Polarity, model, steps, seed and the figures of the guard: what every derived image of an inference says."""
    polarity = POLARITY_SENTENCE if inference.polarity_corrected else ""
    guard = ", ".join(f"{name} {value:.3g}" for name, value in (inference.guard or {}).items())
    return (
        f"{polarity}Model {model_words(bundle)}, sha256 {bundle.digest}, {inference.steps} steps, "
        f"noise seed {inference.noise_seed}, pacs-node {__version__}." + (f" Guard: {guard}." if guard else "")
    )


def source_reference(source: Dataset) -> Dataset:
    """Item of SourceImageSequence (C.12.4.1.1); rows, columns and orientation are those of the source."""
    item = Dataset()
    item[Tag("ReferencedSOPClassUID")] = element("ReferencedSOPClassUID", text(source, "SOPClassUID").encode())
    item[Tag("ReferencedSOPInstanceUID")] = element("ReferencedSOPInstanceUID", text(source, "SOPInstanceUID").encode())
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [
        CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)  # 121322
    ]
    return item


def contributing_equipment(source: Dataset, bundle: Bundle, created_at: datetime) -> list[Dataset]:
    """ContributingEquipmentSequence: what the source names already, the device that took it (109101), us (109102)."""
    try:
        earlier = [_copy(item) for item in source.get("ContributingEquipmentSequence", []) if _is_equipment(item)]
    except Exception:  # noqa: BLE001  a sequence that cannot be parsed must not cost the study its companion
        earlier = []
    return [*earlier, _acquisition_equipment(source), _processing_equipment(bundle, created_at)]


def _is_equipment(item: Dataset) -> bool:
    """Manufacturer and a coded purpose are type 1 there (C.12.1)."""
    purposes = item.get("PurposeOfReferenceCodeSequence") or []
    coded = all(raw_bytes(code, keyword) for code in purposes for keyword in CODE_KEYWORDS)
    return bool(purposes) and coded and bool(raw_bytes(item, "Manufacturer"))


def _copy(item: Dataset) -> Dataset:
    """The legal, standard elements of an item, as bytes."""
    copies = [verbatim(item, tag) for tag in sorted(item.keys()) if not tag.is_private]
    return Dataset({copy.tag: copy for copy in copies if copy.VR == "SQ" or is_legal(copy)})


def _acquisition_equipment(source: Dataset) -> Dataset:
    """The device that took the source image, 109101.

    Its texts are copied as bytes, in the character set of the source; illegal ones are left out. The manufacturer is
    type 1 here and so ``UNKNOWN`` where the source names none.
    """
    item: Dataset = ContributingEquipment("UNKNOWN", codes.DCM.AcquisitionEquipment)
    item.ContributionDescription = "Acquisition of the source image"
    for keyword in EQUIPMENT_KEYWORDS:
        if keyword not in source:
            continue
        try:
            copy = verbatim(source, keyword)
        except Exception:  # noqa: BLE001, S112  as above; in a character set that is none, for example
            continue
        if values(copy) and is_legal(copy):
            item[Tag(keyword)] = copy
    return item


def _processing_equipment(bundle: Bundle, created_at: datetime) -> Dataset:
    """Our own part: the node with the bundle it ran, 109102."""
    item: Dataset = ContributingEquipment(
        MANUFACTURER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=model_name(bundle),
        software_versions=software_versions(bundle),
        contribution_datetime=DT(created_at.strftime("%Y%m%d%H%M%S.%f%z")),
        contribution_description="Bone suppression, research use only",
    )
    item.DeviceUID = device_uid(bundle.digest)
    return item


def node_equipment(created_at: datetime) -> Dataset:
    """The node alone, 109102, in what it makes without a network."""
    item: Dataset = ContributingEquipment(
        MANUFACTURER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=MANUFACTURER,
        software_versions=f"pacs-node {__version__}",
        contribution_datetime=DT(created_at.strftime("%Y%m%d%H%M%S.%f%z")),
        contribution_description="Bone suppression, research use only",
    )
    return item


def model_name(bundle: Bundle) -> str:
    """ManufacturerModelName: the bundle's name, as LO in ASCII."""
    return _ascii(bundle.spec.name)[:64]


def software_versions(bundle: Bundle) -> list[str]:
    """SoftwareVersions: ours, the bundle's, and its digest in full (64 characters fit LO exactly)."""
    return [f"pacs-node {__version__}", _ascii(bundle.spec.version)[:64], bundle.digest]


def model_words(bundle: Bundle) -> str:
    """Name and version, in ASCII."""
    return f"{model_name(bundle)} {_ascii(bundle.spec.version)[:64]}"


def _ascii(text: str) -> str:
    """Text that every character set of a source can hold, without the value separator."""
    return text.encode("ascii", "replace").decode().replace("\\", "/")


def _hashed_uid(*parts: str) -> str:
    """A UUID of version 8 (RFC 9562, 5.8: bits of a hash of one's own choice) under the 2.25 root (PS3.5 B.2)."""
    digest = bytearray(hashlib.sha256("\0".join(parts).encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80  # version
    digest[8] = digest[8] & 0x3F | 0x80  # variant
    return f"2.25.{int.from_bytes(digest, 'big')}"
