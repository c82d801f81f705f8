"""The listener answers Success only for what is durable, and anything else with the status that fits."""

import errno
import os
import socket
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.config import NodeSettings
from pacs_node.errors import ConfigError, ReasonCode, Retriable
from pacs_node.receive.contexts import STORAGE_CLASSES, readable_transfer_syntaxes
from pacs_node.receive.listener import Listener
from pacs_node.records import ReceivedInstance
from pacs_node.spool import Spool
from tests.radiographs import radiograph

MULTI_FRAME_TRUE_COLOUR_SC = UID("1.2.840.10008.5.1.4.1.1.7.4")
VERIFICATION = UID("1.2.840.10008.1.1")


class RecordingIntake:
    """Stands in for the queue: remembers what it was given, and whether the file was there by then."""

    def __init__(self) -> None:
        self.accepted: list[ReceivedInstance] = []
        self.files_were_durable: list[bool] = []
        self.trouble: Exception | None = None

    def key(self, sop_instance_uid: str) -> str:
        return sop_instance_uid.replace(".", "")

    def accept(self, instance: ReceivedInstance, study_instance_uid: str) -> bool:
        if self.trouble is not None:
            raise self.trouble
        known = any(earlier.sop_instance_uid == instance.sop_instance_uid for earlier in self.accepted)
        self.accepted.append(instance)
        self.files_were_durable.append(dcmread(instance.path).StudyInstanceUID == study_instance_uid)
        return not known


class Node:
    """A listener with its spool, its audit trail and the stand-in for the queue."""

    def __init__(self, folder: Path, port: int, **settings: Any) -> None:
        self.settings = NodeSettings(port=port, data_dir=folder, **settings)
        self.spool = Spool(folder)
        self.audit = Audit(folder / AUDIT_FILE)
        self.intake = RecordingIntake()
        self.listener = Listener(self.settings, self.spool, self.audit, self.intake)

    def events(self, kind: EventKind) -> list[AuditEvent]:
        return [event for event in self.audit.events() if event.kind is kind]


@contextmanager
def listening(folder: Path, port: int, **settings: Any) -> Iterator[Node]:
    node = Node(folder, port, **settings)
    node.listener.start()
    try:
        yield node
    finally:
        node.listener.stop(1.0)


@pytest.fixture
def node(tmp_path: Path, free_port: int) -> Iterator[Node]:
    with listening(tmp_path, free_port) as running:
        yield running


@contextmanager
def associated(node: Node, *contexts: tuple[UID, list[UID]]) -> Iterator[Association]:
    ae = AE(ae_title="SENDER")
    for sop_class, syntaxes in contexts:
        ae.add_requested_context(sop_class, list(syntaxes))
    association = ae.associate(node.settings.host, node.settings.port, ae_title=node.settings.ae_title)
    try:
        yield association
    finally:
        association.release()


def stored(node: Node, ds: Dataset) -> int:
    """Send one data set and return the status of the answer."""
    with associated(node, (ds.SOPClassUID, [ds.file_meta.TransferSyntaxUID])) as association:
        return int(association.send_c_store(ds).Status)


@pytest.fixture
def send_bytes(node: Node, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], int]:
    """Send bytes as the data set of an announced CR image, whatever they are."""

    def send(content: bytes) -> int:
        with monkeypatch.context() as patch:
            patch.setattr("pynetdicom.association.encode", lambda *_args, **_kwargs: content)
            return stored(node, radiograph())

    return send


def test_an_echo_is_answered(node: Node) -> None:
    with associated(node, (VERIFICATION, [ImplicitVRLittleEndian])) as association:
        assert association.send_c_echo().Status == 0x0000


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_an_image_is_stored_in_the_transfer_syntax_it_came_in(node: Node, syntax: UID) -> None:
    source = radiograph()
    if syntax == ExplicitVRBigEndian:
        source["PixelData"].VR = "OW"
    source.file_meta.TransferSyntaxUID = syntax
    assert stored(node, source) == 0x0000
    [path] = node.spool.incoming.iterdir()
    kept = dcmread(path)
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert kept.file_meta.SendingApplicationEntityTitle == "SENDER"
    assert {element.tag: element.value for element in kept} == {element.tag: element.value for element in source}


def test_compressed_pixels_are_stored_undecoded(node: Node) -> None:
    source = radiograph()
    source.compress(JPEG2000Lossless, generate_instance_uid=False)
    assert stored(node, source) == 0x0000
    [path] = node.spool.incoming.iterdir()
    assert dcmread(path).PixelData == source.PixelData


def test_success_comes_after_file_and_job(node: Node) -> None:
    assert stored(node, radiograph()) == 0x0000
    assert node.intake.files_were_durable == [True]
    [event] = node.events(EventKind.RECEIVED)
    assert (event.calling_ae_title, event.dicom_status) == ("SENDER", 0x0000)
    assert event.source_sop_instance_uid == radiograph().SOPInstanceUID
    assert event.study_instance_uid == radiograph().StudyInstanceUID


def test_the_same_instance_twice_is_success_twice_and_one_file(node: Node) -> None:
    assert [stored(node, radiograph()), stored(node, radiograph())] == [0x0000, 0x0000]
    assert len(list(node.spool.incoming.iterdir())) == 1
    assert [event.note is None for event in node.events(EventKind.RECEIVED)] == [True, False]


def test_a_copy_that_was_cut_off_does_not_replace_the_whole_one_that_waits(
    node: Node, send_bytes: Callable[[bytes], int]
) -> None:
    whole = encode(radiograph(), is_implicit_vr=False, is_little_endian=True)
    assert whole is not None
    assert send_bytes(whole) == 0x0000
    assert send_bytes(whole[:-1000]) == 0xC000
    [path] = node.spool.incoming.iterdir()
    assert path.read_bytes().endswith(whole)
    [refused] = node.events(EventKind.REFUSED)
    assert (refused.reason, refused.dicom_status) == ("truncated", 0xC000)
    assert refused.source_sop_instance_uid == radiograph().SOPInstanceUID
    assert len(node.intake.accepted) == 1


def test_a_whole_copy_replaces_one_that_was_cut_off(node: Node, send_bytes: Callable[[bytes], int]) -> None:
    whole = encode(radiograph(), is_implicit_vr=False, is_little_endian=True)
    assert whole is not None
    assert [send_bytes(whole[:-1000]), send_bytes(whole)] == [0x0000] * 2
    [path] = node.spool.incoming.iterdir()
    assert path.read_bytes().endswith(whole)


def test_of_two_copies_that_cannot_be_read_the_newer_stays(node: Node, send_bytes: Callable[[bytes], int]) -> None:
    whole = encode(radiograph(), is_implicit_vr=False, is_little_endian=True)
    assert whole is not None
    assert [send_bytes(whole[:-1000]), send_bytes(whole[:-2000])] == [0x0000] * 2
    [path] = node.spool.incoming.iterdir()
    assert path.read_bytes().endswith(whole[:-2000])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_store_answers_a700_when_the_disk_is_full(node: Node, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr("pacs_node.spool.os.fsync", fail)
        assert stored(node, radiograph()) == 0xA700
    assert list(node.spool.incoming.iterdir()) == []
    assert node.intake.accepted == []
    [event] = node.events(EventKind.REFUSED)
    assert (event.reason, event.dicom_status) == ("out_of_resources", 0xA700)
    assert stored(node, radiograph()) == 0x0000


def test_store_answers_a700_when_the_job_cannot_be_queued(node: Node) -> None:
    node.intake.trouble = Retriable("the queue cannot be written")
    assert stored(node, radiograph()) == 0xA700


def test_store_answers_a700_when_the_audit_cannot_be_written(node: Node, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / AUDIT_FILE) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(FAIL, 'full'); END")
    connection.close()
    assert stored(node, radiograph()) == 0xA700


def test_a_mistake_of_ours_is_a_processing_failure_and_the_association_lives(node: Node) -> None:
    node.intake.trouble = ZeroDivisionError()
    source = radiograph()
    with associated(node, (source.SOPClassUID, [ExplicitVRLittleEndian])) as association:
        assert association.send_c_store(source).Status == 0x0110
        node.intake.trouble = None
        assert association.send_c_store(source).Status == 0x0000


def test_text_instead_of_a_data_set_cannot_be_understood(node: Node, send_bytes: Callable[[bytes], int]) -> None:
    assert send_bytes(b"this is a letter, not an image\n" * 20) == 0xC000
    [event] = node.events(EventKind.REFUSED)
    assert (event.reason, event.dicom_status) == (ReasonCode.NOT_DICOM, 0xC000)
    assert list(node.spool.incoming.iterdir()) == []


@pytest.mark.parametrize("length", [5, 20])
def test_a_data_set_that_ends_before_its_identity_cannot_be_understood(
    send_bytes: Callable[[bytes], int], length: int
) -> None:
    assert send_bytes((b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" * 2)[:length]) == 0xC000


def test_a_data_set_that_is_another_instance_than_announced_does_not_match(
    node: Node, send_bytes: Callable[[bytes], int]
) -> None:
    another = encode(radiograph(1), False, True)
    assert another is not None
    assert send_bytes(another) == 0xA900
    [event] = node.events(EventKind.REFUSED)
    assert event.reason == ReasonCode.IDENTITY_MISMATCH


def test_a_multi_frame_colour_class_is_refused_by_name_and_audited(node: Node) -> None:
    cr = radiograph().SOPClassUID
    with associated(
        node, (cr, [ExplicitVRLittleEndian]), (MULTI_FRAME_TRUE_COLOUR_SC, [ExplicitVRLittleEndian])
    ) as association:
        assert [str(context.abstract_syntax) for context in association.accepted_contexts] == [cr]
        assert [context.result for context in association.rejected_contexts] == [3]  # PS3.8 Table 9-18
    [event] = node.events(EventKind.REFUSED)
    assert event.reason == ReasonCode.SOP_CLASS_UNSUPPORTED
    assert "Multi-frame True Color Secondary Capture Image Storage" in str(event.note)


@pytest.mark.parametrize("sop_class", STORAGE_CLASSES)
def test_every_readable_transfer_syntax_is_accepted(node: Node, sop_class: UID) -> None:
    contexts = [(sop_class, [syntax]) for syntax in readable_transfer_syntaxes()]
    with associated(node, *contexts) as association:
        accepted = {context.transfer_syntax[0] for context in association.accepted_contexts}
    assert accepted == set(readable_transfer_syntaxes())
    assert len(accepted) >= 13  # four uncompressed, the JPEG, JPEG-LS and JPEG 2000 families, RLE


def test_a_pdu_that_claims_four_gigabytes_is_not_read(node: Node) -> None:
    with socket.create_connection((node.settings.host, node.settings.port)) as connection:
        connection.sendall(struct.pack(">BBL", 0x01, 0, 0xFFFFFFFF) + b"x" * 1000)
        connection.settimeout(20)  # far below the network timeout of 60 s: the claim alone ends it
        assert received_until_closed(connection) == b""


def test_a_message_without_an_end_is_cut_off(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_node.receive.pdu_stream.LONGEST_OBJECT_BYTES", 100_000)
    large, small = radiograph(size=256), radiograph(size=128)  # 128 KiB and 32 KiB of pixels
    with associated(node, (large.SOPClassUID, [ExplicitVRLittleEndian])) as association:
        for _ in range(4):  # each message counts by itself
            assert association.send_c_store(small).Status == 0x0000
        assert "Status" not in association.send_c_store(large)
    assert stored(node, small) == 0x0000


def test_a_peer_that_stops_inside_a_header_is_let_go(tmp_path: Path, free_port: int) -> None:
    with (
        listening(tmp_path, free_port, network_timeout_s=0.5) as node,
        socket.create_connection((node.settings.host, node.settings.port)) as connection,
    ):
        connection.sendall(b"\x01\x00\x00")
        connection.settimeout(20)  # below the 30 s after which pynetdicom itself gives up on a silent peer
        assert received_until_closed(connection) == b""


def test_bare_connections_do_not_use_up_the_association_limit(tmp_path: Path, free_port: int) -> None:
    with listening(tmp_path, free_port, max_associations=2) as node:
        for _ in range(10):
            socket.create_connection((node.settings.host, node.settings.port)).close()
        for _ in range(50):
            with associated(node, (VERIFICATION, [ImplicitVRLittleEndian])) as association:
                if association.is_established:
                    break
        assert association.is_released


def test_a_port_in_use_is_a_configuration_error_that_names_it(node: Node, tmp_path: Path) -> None:
    second = Node(tmp_path / "second", node.settings.port)
    with pytest.raises(ConfigError, match=str(node.settings.port)):
        second.listener.start()


def test_a_host_that_can_be_no_name_is_a_configuration_error_that_names_it(tmp_path: Path, free_port: int) -> None:
    with pytest.raises(ConfigError, match=r"a\.\.b"):
        Node(tmp_path, free_port, host="a..b").listener.start()


def received_until_closed(connection: socket.socket) -> bytes:
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""


def association_request(calling_ae: bytes = b"SENDER", context_id: int = 1, version: int = 1) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2) for C-ECHO, with the bytes of its calling AE title as they are."""

    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content

    syntaxes = item(0x30, VERIFICATION.encode()) + item(0x40, ImplicitVRLittleEndian.encode())
    context = item(0x20, bytes([context_id, 0, 0, 0]) + syntaxes)
    user = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))
    titles = b"PACSNODE".ljust(16) + calling_ae.ljust(16) + bytes(32)
    body = struct.pack(">Hxx", version) + titles + item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return struct.pack(">BxL", 1, len(body)) + body


@pytest.mark.parametrize(
    ("request_bytes", "answer", "reason"),
    [
        (association_request("M\u00dcNCHEN".encode("latin-1")), 7, "association_malformed"),
        (association_request(b"PACS".ljust(16, b"\0")), 7, "association_malformed"),
        (association_request(context_id=2), 7, "association_malformed"),  # PS3.8 Table 9-13: odd
        (association_request()[:-8], 7, "association_malformed"),
        (association_request(version=2), 3, "association_rejected"),
    ],
)
def test_a_request_for_an_association_that_breaks_the_standard_is_answered_and_audited(
    node: Node, request_bytes: bytes, answer: int, reason: str
) -> None:
    whole = struct.pack(">BxL", 1, len(request_bytes) - 6) + request_bytes[6:]
    with socket.create_connection((node.settings.host, node.settings.port), timeout=10) as peer:
        peer.sendall(whole)
        assert peer.recv(1) == bytes([answer])  # PS3.8 9.3.1: A-ABORT or A-ASSOCIATE-RJ
    [event] = node.events(EventKind.REFUSED)
    assert (event.reason, event.peer, event.calling_ae_title) == (reason, "127.0.0.1", None)
    with associated(node, (VERIFICATION, [ImplicitVRLittleEndian])) as association:
        assert association.send_c_echo().Status == 0x0000
