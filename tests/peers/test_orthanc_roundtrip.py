"""Orthanc -> node -> Orthanc: one companion for each source, in its study, and nothing of the patient changed."""

import os
import subprocess
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid

from pacs_node.audit import EventKind
from tests.peers.node import NodeProcess
from tests.peers.orthanc import Orthanc, free_tcp_port, running_orthanc
from tests.radiographs import radiograph, saved

pytestmark = [pytest.mark.peer("orthanc"), pytest.mark.peer("dcmtk"), pytest.mark.peer("dicom3tools")]

# How storescu proposes each real file: its own transfer syntax, since storescu does not transcode
REAL_FILES = {
    "RG1_J2KI.dcm": "-xw",  # JPEG 2000
    "RG1_J2KR.dcm": "-xv",  # JPEG 2000 lossless
    "RG1_JLSN.dcm": "-xu",  # JPEG-LS near-lossless
    "RG1_UNCR.dcm": "-xe",  # Explicit VR Little Endian
    "nih_dicom_00000001_000.dcm": "-xi",  # Implicit VR Little Endian
    "txrv_Fake_MONOHR1.dcm": "-xy",  # JPEG Baseline
    "txrv_jpeg_baseline.dcm": "-xy",
}
RENAMED = "txrv_Fake_MONOHR1.dcm"  # has the SOP Instance UID of txrv_jpeg_baseline.dcm: no PACS would keep both
SYNTHETIC = {"cyrillic": "-xe", "japanese": "-xe", "utf8": "-xe", "rle": "-xr", "jpeg_ls": "-xt", "deflated": "-xd"}

# Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1), and what their text is encoded with
IDENTITY = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientSex",
    "PatientComments",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# dciodvfy calls an age without a unit an error, so a companion leaves it out (docs/decisions/0004)
BREAKS_ITS_VR = {name: {"PatientAge"} for name in REAL_FILES if not name.startswith("RG1")}
PATIENT_GROUPS = (0x0010, 0x0012)
GEOMETRY = ("Rows", "Columns", "PatientOrientation")


@dataclass(frozen=True)
class Trip:
    """What came back: for each file sent, the companions that name it as their source."""

    companions: dict[str, list[bytes]]
    sources: dict[str, Path]
    instances: int
    studies: int


def synthetic(name: str, folder: Path) -> Path:
    """A small radiograph with a name in another script, or in another transfer syntax."""
    ds = radiograph(100 + list(SYNTHETIC).index(name))
    ds.IssuerOfPatientID = "HOSPITAL"
    texts = {
        "cyrillic": ("ISO_IR 144", "Иванов^Иван"),
        "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        "utf8": ("ISO_IR 192", "Ναύτης^Ωμέγα"),
    }
    if name in texts:
        ds.SpecificCharacterSet, ds.PatientName = texts[name]
    compressions: dict[str, UID] = {"rle": RLELossless, "jpeg_ls": JPEGLSLossless}
    if name in compressions:
        ds.compress(compressions[name], generate_instance_uid=False)
    if name == "deflated":
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return saved(ds, folder / f"{name}.dcm")


def sent_by_rest(orthanc: Orthanc, node: NodeProcess, sources: dict[str, Path]) -> None:
    for path in sources.values():
        orthanc.send_to_node([orthanc.upload(path)])
    assert len(node.events(EventKind.RECEIVED)) == len(sources)


def sent_by_storescu(orthanc: Orthanc, node: NodeProcess, sources: dict[str, Path]) -> None:
    proposals = REAL_FILES | SYNTHETIC
    for name, path in sources.items():
        orthanc.upload(path)
        command = ["storescu", "-R", proposals[name], "-aec", "PACSNODE", "127.0.0.1", str(node.port), str(path)]
        subprocess.run(command, check=True, env=os.environ | {"TCP_NODELAY": "1"}, timeout=120)
    assert len(node.events(EventKind.RECEIVED)) == len(sources)


WAYS = {"orthanc": sent_by_rest, "storescu": sent_by_storescu}


def round_trip(folder: Path, sources: dict[str, Path], way: str) -> Trip:
    port = free_tcp_port()
    with (
        running_orthanc(folder / "orthanc", port) as orthanc,
        NodeProcess(folder / "node", {"orthanc": orthanc.dicom_port}, port=port) as node,
    ):
        node.start()
        WAYS[way](orthanc, node, sources)
        node.wait_until_idle()
        assert node.spooled() == []
        files = [orthanc.file_of(instance) for instance in orthanc.get("/instances")]
        studies = len(orthanc.get("/studies"))
    by_source: dict[str, list[bytes]] = {}
    sent = {sop_instance_uid(path) for path in sources.values()}
    for content in files:
        ds = dcmread(BytesIO(content), stop_before_pixels=True)
        for item in ds.get("SourceImageSequence", []) if ds.SOPInstanceUID not in sent else []:  # RG1 has one, too
            by_source.setdefault(str(item.ReferencedSOPInstanceUID), []).append(content)
    companions = {name: by_source.get(sop_instance_uid(path), []) for name, path in sources.items()}
    return Trip(companions, sources, len(files), studies)


@pytest.fixture(scope="module", params=list(WAYS))
def synthetic_trip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trip:
    folder = tmp_path_factory.mktemp("synthetic")
    return round_trip(folder, {name: synthetic(name, folder) for name in SYNTHETIC}, request.param)


@pytest.fixture(scope="module", params=list(WAYS))
def real_trip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Trip:
    folder = tmp_path_factory.mktemp("real")
    sources = {name: shared_data / "dicom" / name for name in REAL_FILES}
    sources[RENAMED] = under_another_uid(sources[RENAMED], folder)
    return round_trip(folder, sources, request.param)


def under_another_uid(path: Path, folder: Path) -> Path:
    ds = dcmread(path)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    return saved(ds, folder / path.name)


def sop_instance_uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def raw(ds: Dataset, keyword: str | BaseTag) -> bytes:
    """The encoded value without its padding (PS3.5 6.2), not decoded by any character set.

    An absent one reads as empty: a companion has every Type 2 attribute, also where its source lacks it.
    """
    element = ds.get_item(keyword)
    if element is None:
        return b""
    if isinstance(element, DataElement):  # SpecificCharacterSet, which pydicom decodes at once to read the others
        return str(element.value).encode()
    return (element.value or b"").rstrip(b" \0")


def pixel_spacing_mm(ds: Dataset) -> list[float] | None:
    """PixelSpacing; None where it is absent or, as in RG1, zero: that is no spacing (PS3.3 10.7.1.3)."""
    spacing = [float(value) for value in ds.get("PixelSpacing") or []]
    return spacing if all(spacing) and spacing else None


def check(trip: Trip, name: str, folder: Path) -> None:
    """Everything that a companion owes to its source."""
    [content] = trip.companions[name]
    path = folder / "companion.dcm"
    path.write_bytes(content)
    source, companion = dcmread(trip.sources[name]), dcmread(path)
    for keyword in IDENTITY:
        assert raw(companion, keyword) == raw(source, keyword), keyword
    for tag in (tag for tag in source.keys() if tag.group in PATIENT_GROUPS):  # noqa: SIM118 - iterating decodes
        if keyword_for_tag(tag) not in BREAKS_ITS_VR.get(name, ()):
            assert raw(companion, tag) == raw(source, tag), tag
    for keyword in GEOMETRY:
        assert (companion.get(keyword) or None) == (source.get(keyword) or None), keyword
    assert pixel_spacing_mm(companion) == pixel_spacing_mm(source)
    assert companion.SeriesInstanceUID != source.SeriesInstanceUID
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    findings = (run.stdout + run.stderr).splitlines()
    assert "SCImage" in findings  # it recognised the IOD and so really looked
    assert [line for line in findings if "Error" in line] == []


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_synthetic_radiograph_comes_back_as_one_companion_in_its_study(
    synthetic_trip: Trip, name: str, tmp_path: Path
) -> None:
    check(synthetic_trip, name, tmp_path)


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_radiograph_comes_back_as_one_companion_in_its_study(real_trip: Trip, name: str, tmp_path: Path) -> None:
    check(real_trip, name, tmp_path)


def test_the_pacs_holds_the_sources_and_their_companions_and_nothing_else(synthetic_trip: Trip) -> None:
    assert synthetic_trip.instances == 2 * len(synthetic_trip.sources)
    assert synthetic_trip.studies == len(synthetic_trip.sources)


def test_the_pacs_holds_the_real_sources_and_their_companions_and_nothing_else(real_trip: Trip) -> None:
    studies = {str(dcmread(path, stop_before_pixels=True).StudyInstanceUID) for path in real_trip.sources.values()}
    assert real_trip.instances == 2 * len(real_trip.sources)
    assert real_trip.studies == len(studies)
