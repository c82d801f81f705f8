"""What is no chest radiograph is told so precisely, kept aside, and holds up nothing."""

import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dsutils import encode

from pacs_node.audit import AuditEvent, EventKind
from pacs_node.errors import ReasonCode
from tests.peers.destination import Destination, answering
from tests.peers.node import NodeProcess, wait_until
from tests.peers.sender import send, send_raw
from tests.radiographs import DIGITAL_XRAY_FOR_PRESENTATION, radiograph, saved

SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")
MULTI_FRAME_TRUE_COLOUR_SC = UID("1.2.840.10008.5.1.4.1.1.7.4")
NOT_CHEST = ("RG2_J2KR.dcm", "RG2_RLE.dcm", "RG3_JPLL.dcm", "RG3_JPLY.dcm")


class Bench:
    """One node and one destination for all cases: each begins with what the case before it left behind."""

    def __init__(self, node: NodeProcess, pacs: Destination) -> None:
        self.node = node
        self.pacs = pacs
        self._next_seed = 1000

    def rejection_of(self, ds: Dataset) -> AuditEvent:
        """Wait for the one rejection of a data set that was received; its bytes must be in quarantine."""
        wait_until(lambda: self._about(ds), "the image is rejected")
        [event] = self._about(ds)
        wait_until(lambda: self._kept_of(ds), "the image is in quarantine")  # which comes after the event
        [kept] = self._kept_of(ds)
        assert kept["reason"] == event.reason
        return event

    def _kept_of(self, ds: Dataset) -> list[dict[str, str]]:
        reasons = [json.loads(path.read_text()) for path in (self.node.data_dir / "quarantine").glob("*.json")]
        return [reason for reason in reasons if reason["sop_instance_uid"] == ds.SOPInstanceUID]

    def _about(self, ds: Dataset) -> list[AuditEvent]:
        rejected = self.node.events(EventKind.REJECTED)
        return [event for event in rejected if event.source_sop_instance_uid == ds.SOPInstanceUID]

    def refusals(self) -> list[AuditEvent]:
        return self.node.events(EventKind.REFUSED)

    def assert_the_next_good_image_is_processed(self) -> None:
        self._next_seed += 1
        good = radiograph(self._next_seed)
        assert send(self.node.port, good) == [0x0000]
        wait_until(lambda: self._is_delivered(good), "the good image is delivered")

    def _is_delivered(self, source: Dataset) -> bool:
        references = [ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in list(self.pacs.stored)]
        return source.SOPInstanceUID in references


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with (
        answering() as pacs,
        NodeProcess(tmp_path_factory.mktemp("node"), {"pacs": pacs.port}) as node,
    ):
        node.start()
        yield Bench(node, pacs)


def colour_frames(sop_class: UID, seed: int) -> Dataset:
    """Three RGB frames."""
    ds = radiograph(seed, size=64, sop_class=sop_class)
    ds.Modality = "OT"
    ds.ConversionType = "WSD"
    ds.NumberOfFrames = 3
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = np.zeros((3, 64, 64, 3), np.uint8).tobytes()
    return ds


@pytest.mark.parametrize("name", NOT_CHEST)
def test_an_image_of_another_body_part_is_not_chest(bench: Bench, shared_data: Path, name: str) -> None:
    source = dcmread(shared_data / "dicom_not_chest" / name)
    assert send(bench.node.port, source) == [0x0000]
    assert bench.rejection_of(source).reason == ReasonCode.NOT_CHEST
    bench.assert_the_next_good_image_is_processed()


def test_a_hip_is_not_chest(bench: Bench) -> None:
    source = radiograph(1)
    source.BodyPartExamined = "HIP"
    assert send(bench.node.port, source) == [0x0000]
    assert bench.rejection_of(source).reason == ReasonCode.NOT_CHEST
    bench.assert_the_next_good_image_is_processed()


def test_a_data_set_that_ends_inside_its_pixels_is_truncated(bench: Bench) -> None:
    source = radiograph(2)
    content = encode(source, False, True)
    assert content is not None
    assert send_raw(bench.node.port, content[:-5000], source) == 0x0000  # what came is kept; the reason comes later
    assert bench.rejection_of(source).reason == ReasonCode.TRUNCATED
    bench.assert_the_next_good_image_is_processed()


def test_text_sent_as_an_image_cannot_be_understood(bench: Bench) -> None:
    source = radiograph(3)
    assert send_raw(bench.node.port, b"Dear colleague, please find attached\n" * 50, source) == 0xC000
    refusal = bench.refusals()[-1]
    assert (refusal.reason, refusal.dicom_status) == (ReasonCode.NOT_DICOM, 0xC000)
    assert refusal.source_sop_instance_uid == source.SOPInstanceUID
    bench.assert_the_next_good_image_is_processed()


@pytest.mark.peer("dcmtk")
def test_text_in_a_file_named_dcm_is_not_even_sent_by_storescu(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "letter.dcm").write_text("Dear colleague, please find attached\n" * 50)
    command = ["storescu", "127.0.0.1", str(bench.node.port), str(tmp_path / "letter.dcm")]
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode != 0
    bench.assert_the_next_good_image_is_processed()


def test_the_class_of_multi_frame_colour_captures_is_refused_by_name(bench: Bench) -> None:
    assert send(bench.node.port, colour_frames(MULTI_FRAME_TRUE_COLOUR_SC, 4)) == [-1]
    refusal = bench.refusals()[-1]
    assert refusal.reason == ReasonCode.SOP_CLASS_UNSUPPORTED
    assert "Multi-frame True Color Secondary Capture Image Storage" in str(refusal.note)
    bench.assert_the_next_good_image_is_processed()


def test_colour_frames_under_the_single_frame_class_are_rejected(bench: Bench) -> None:
    source = colour_frames(SECONDARY_CAPTURE, 5)
    assert send(bench.node.port, source) == [0x0000]
    assert bench.rejection_of(source).reason in {ReasonCode.MULTI_FRAME, ReasonCode.NOT_MONOCHROME}
    bench.assert_the_next_good_image_is_processed()


def test_a_dx_without_pixel_data_says_so(bench: Bench) -> None:
    source = radiograph(6, sop_class=DIGITAL_XRAY_FOR_PRESENTATION)
    del source.PixelData
    assert send(bench.node.port, source) == [0x0000]
    assert bench.rejection_of(source).reason == ReasonCode.NO_PIXEL_DATA
    bench.assert_the_next_good_image_is_processed()


def test_our_own_companion_does_not_come_back_as_a_companion_of_itself(bench: Bench, tmp_path: Path) -> None:
    bench.assert_the_next_good_image_is_processed()
    companion = bench.pacs.stored[-1]
    companion.file_meta = radiograph().file_meta
    companion.file_meta.MediaStorageSOPClassUID = companion.SOPClassUID
    companion.file_meta.MediaStorageSOPInstanceUID = companion.SOPInstanceUID
    companion.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    returned = dcmread(saved(companion, tmp_path / "companion.dcm"))
    assert send(bench.node.port, returned) == [0x0000]
    assert bench.rejection_of(returned).reason == ReasonCode.OWN_OUTPUT


def test_a_message_that_no_library_knows_leaves_nothing_of_itself_in_the_log(bench: Bench) -> None:
    ae = AE(ae_title="MODALITY")
    ae.add_requested_context(SECONDARY_CAPTURE)
    association = ae.associate("127.0.0.1", bench.node.port)
    connection = association.dul.socket
    assert connection is not None
    command = struct.pack("<HHIH", 0, 0x0100, 2, 12345)  # CommandField (0000,0100), PS3.7 E.1, with no such command
    fragment = struct.pack(">IBB", len(command) + 2, 1, 3) + command  # PS3.8 9.3.5.1: last fragment of a command
    connection.send(struct.pack(">BBI", 4, 0, len(fragment)) + fragment)
    wait_until(lambda: "KeyError" in bench.node.last_log(), "the end of the library's thread is logged")
    bench.assert_the_next_good_image_is_processed()
    assert "12345" not in bench.node.last_log()


def test_no_name_of_a_patient_is_in_the_log_or_in_the_audit(bench: Bench) -> None:
    bench.assert_the_next_good_image_is_processed()
    told = bench.node.log.read_text() + "".join(map(str, bench.node.events()))
    assert "Synthetic^Patient" not in told
    assert "SYN100" not in told  # PatientID
