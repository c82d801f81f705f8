"""Twins among DICOM files: one study of one patient, told apart by what their headers say they are."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from pacs_node.config import GateSettings
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.gate import check_header
from training.ingest.found import Candidate, Loner
from training.ingest.pictures import is_dicom
from training.ingest.refusal import Refusal

__all__ = ["find_dicom_pairs", "patient_of"]

# Words of ImageType (value 3 and on, PS3.3 C.7.6.1.1.2), SeriesDescription and their like. What suppresses bone shows
# soft tissue, so these come first; the bone image of a dual-energy study is no radiograph either.
SOFT_WORDS = ("soft", "tissue", "bone suppress", "bone_suppress", "boneless", "without bone", "weichteil")
BONE_WORDS = ("bone", "knochen", "calcium", "skelet")
DESCRIBING = ("ImageType", "SeriesDescription", "ProtocolName", "DerivationDescription", "ImageComments")
HEADER = (*DESCRIBING, "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "AcquisitionDate", "AcquisitionTime")


@dataclass(frozen=True, slots=True)
class _Header:
    path: Path
    patient: str
    study: str
    kind: str  # cxr, soft or bone
    taken: str  # date and time of acquisition; empty where the header does not say


def patient_of(path: Path) -> str | None:
    """PatientID with its issuer, or None where there is none to read; never to be written anywhere in clear."""
    try:
        if not is_dicom(path):
            return None
        ds = dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER))
        return _patient(ds) or None
    except Exception:  # noqa: BLE001 - pydicom raises anything on hostile bytes; reading the pixels will say it
        return None


def _patient(ds: Dataset) -> str:
    own = str(ds.get("PatientID") or "").strip()
    return f"{ds.get('IssuerOfPatientID') or ''}/{own}" if own else ""


def find_dicom_pairs(
    paths: Sequence[Path], cxr_words: str | None = None, soft_words: str | None = None, softs: Sequence[Path] = ()
) -> tuple[list[Candidate], list[Loner]]:
    """Pair the files of each study.

    Parameters
    ----------
    paths : DICOM files; other ones are passed over.
    cxr_words, soft_words : a text that tells a radiograph or a twin, where the usual words do not.
    softs : files that are twins whatever they say; then ``paths`` are radiographs.
    """
    headers, loners = [], []
    for path in [*paths, *softs]:
        forced = ("soft" if path in set(softs) else "cxr") if softs else None
        try:
            header = _read(path, forced, cxr_words, soft_words)
        except Rejected as error:
            loners.append(Loner(path.name, path, str(error.reason), error.explanation))
            continue
        if header is not None:
            headers.append(header)
    studies: dict[tuple[str, str], list[_Header]] = defaultdict(list)
    for header in headers:
        studies[header.patient, header.study].append(header)
    pairs: list[Candidate] = []
    for members in studies.values():
        made, left = _within_study(members)
        pairs += made
        loners += left
    return sorted(pairs, key=lambda pair: pair.name), loners


def _read(path: Path, forced: str | None, cxr_words: str | None, soft_words: str | None) -> _Header | None:
    """One header; None for what is no DICOM or is the bone image of its study."""
    if not is_dicom(path):
        return None
    try:
        ds = dcmread(path, stop_before_pixels=True)
        told = " ".join(_text(ds, keyword) for keyword in DESCRIBING).lower()
        kind = forced or _kind(told, cxr_words, soft_words)
        check_header(ds, GateSettings(), one_tissue=True)  # lateral views, other regions, companions of our own
        if kind == "bone":
            return None
        taken = _text(ds, "AcquisitionDate") + _text(ds, "AcquisitionTime")
        return _Header(path, _patient(ds), str(ds.get("StudyInstanceUID") or ""), kind, taken)
    except Rejected:
        raise
    except (Exception, InvalidDicomError):  # noqa: BLE001 - of many kinds, and their text may quote the header
        raise Rejected(ReasonCode.NOT_DICOM, "the header cannot be parsed") from None


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    if value is None:
        return ""
    return str(value) if isinstance(value, str) or not isinstance(value, Sequence) else " ".join(map(str, value))


def _kind(told: str, cxr_words: str | None, soft_words: str | None) -> str:
    if soft_words and soft_words.lower() in told:
        return "soft"
    if cxr_words:
        return "cxr" if cxr_words.lower() in told else "bone" if soft_words else _kind(told, None, None)
    if not soft_words and any(word in told for word in SOFT_WORDS):
        return "soft"
    return "bone" if any(word in told for word in BONE_WORDS) else "cxr"


def _within_study(members: list[_Header]) -> tuple[list[Candidate], list[Loner]]:
    cxrs = [header for header in members if header.kind == "cxr"]
    softs = [header for header in members if header.kind == "soft"]
    if len(cxrs) == len(softs) == 1:
        return [_pair(cxrs[0], softs[0])], []
    pairs, loners = [], []
    for cxr in cxrs:
        same = [soft for soft in softs if soft.taken and soft.taken == cxr.taken]
        alone = sum(other.taken == cxr.taken for other in cxrs) == 1
        if len(same) == 1 and alone:  # both halves of one exposure
            pairs.append(_pair(cxr, same[0]))
    used = {path for pair in pairs for path in (pair.cxr, pair.soft)}
    for header in (header for header in (*cxrs, *softs) if header.path not in used):
        if cxrs and softs:
            told = "its study holds several, and AcquisitionTime does not tell which belong together: separate them"
            loners.append(Loner(header.path.name, header.path, Refusal.AMBIGUOUS, told))
        else:
            missing = "soft-tissue image: say how it is described with --soft TEXT" if cxrs else "radiograph"
            told = f"its study holds no {missing}"
            loners.append(Loner(header.path.name, header.path, Refusal.MISSING_TWIN, told))
    return pairs, loners


def _pair(cxr: _Header, soft: _Header) -> Candidate:
    return Candidate(cxr.path.name, cxr.path, soft.path, cxr.patient or f"study {cxr.study}")
