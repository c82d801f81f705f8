"""The C-STORE SCU against real loopback peers, and peers that misbehave."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import Verification, uid_to_service_class  # type: ignore[attr-defined]

from pacs_node.config import Peer
from pacs_node.send.scu import StoreKind, echo, find_files, send_files, store
from tests.sources import PIXELS, write_instance

TIMEOUT_S = 2.0  # long enough for a loopback answer on a busy machine
Handler = Callable[[evt.Event], int]


@contextlib.contextmanager
def serving(ae: AE, port: int, event: evt.EventType, handler: Callable[[evt.Event], object]) -> Iterator[Peer]:
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(event, handler)])
    assert server is not None
    try:
        yield local_peer(port)
    finally:
        server.shutdown()


def request_of(event: evt.Event) -> C_STORE:
    assert isinstance(event.request, C_STORE)
    return event.request


def connection_of(association: Association) -> socket.socket:
    wrapper = association.dul.socket
    assert wrapper is not None
    assert wrapper.socket is not None
    return wrapper.socket


@contextlib.contextmanager
def peer_that(
    port: int,
    answers: Handler,
    sop_classes: tuple[str, ...] = (SecondaryCaptureImageStorage, ComputedRadiographyImageStorage),
    syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian),
) -> Iterator[Peer]:
    """A storage SCP whose answer to each C-STORE is that of the handler."""
    ae = AE(ae_title="ARCHIVE")
    for sop_class in sop_classes:
        ae.add_supported_context(sop_class, list(syntaxes))
    ae.add_supported_context(Verification)
    with serving(ae, port, evt.EVT_C_STORE, answers) as peer:
        yield peer


def local_peer(port: int) -> Peer:
    return Peer(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=port)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0000, StoreKind.DELIVERED),
        (0x0111, StoreKind.DELIVERED),
        (0xB000, StoreKind.WARNING),
        (0xB006, StoreKind.WARNING),
        (0x0107, StoreKind.WARNING),
        (0x0116, StoreKind.WARNING),
        (0xA700, StoreKind.RETRY),
        (0xA7FF, StoreKind.RETRY),
        (0x0110, StoreKind.RETRY),
        (0x0213, StoreKind.RETRY),
        (0xA900, StoreKind.REFUSED),
        (0xC000, StoreKind.REFUSED),
        (0xCFFF, StoreKind.REFUSED),
        (0x0117, StoreKind.REFUSED),
        (0x0122, StoreKind.REFUSED),
        (0x0124, StoreKind.REFUSED),
    ],
)
def test_every_status_is_kept_and_decides_what_happens_next(
    status: int, kind: StoreKind, tmp_path: Path, free_port: int
) -> None:
    path = write_instance(tmp_path / "a.dcm")
    with peer_that(free_port, lambda _: status) as peer:
        (outcome,) = store([path], peer, "NODE", TIMEOUT_S)
    assert (outcome.status, outcome.kind, outcome.path) == (status, kind, path)
    assert bool(outcome.note) == (status != 0)
    assert outcome.is_delivered == (kind in {StoreKind.DELIVERED, StoreKind.WARNING})


def test_many_files_share_one_association(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(5)]
    associations = set()
    received = []

    def remember(event: evt.Event) -> int:
        associations.add(id(event.assoc))
        received.append(request_of(event).AffectedSOPInstanceUID)
        return 0

    with peer_that(free_port, remember) as peer:
        outcomes = list(store(paths, peer, "NODE", TIMEOUT_S))
    assert [outcome.kind for outcome in outcomes] == [StoreKind.DELIVERED] * 5
    assert received == [dcmread(path).SOPInstanceUID for path in paths]
    assert len(associations) == 1


def test_one_bad_file_does_not_stop_the_next(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(3)]
    answers = iter([0x0000, 0xC000, 0x0000])
    with peer_that(free_port, lambda _: next(answers)) as peer:
        kinds = [outcome.kind for outcome in store(paths, peer, "NODE", TIMEOUT_S)]
    assert kinds == [StoreKind.DELIVERED, StoreKind.REFUSED, StoreKind.DELIVERED]


def test_a_file_that_the_disk_does_not_give_is_tried_again(tmp_path: Path, free_port: int) -> None:
    unreadable, good = tmp_path / "a.dcm", write_instance(tmp_path / "b.dcm")
    unreadable.symlink_to(unreadable)  # ELOOP, where a worn disk has EIO and a busy process EMFILE
    with peer_that(free_port, lambda _: 0x0000) as peer:
        kinds = [outcome.kind for outcome in store([unreadable, good], peer, "NODE", TIMEOUT_S)]
    assert kinds == [StoreKind.RETRY, StoreKind.DELIVERED]


@pytest.mark.parametrize("stored", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("taken", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_an_object_is_converted_to_what_the_peer_took_without_touching_name_or_pixels(
    stored: str, taken: str, tmp_path: Path, free_port: int
) -> None:
    path = write_instance(tmp_path / "a.dcm", transfer_syntax_uid=stored)
    received: list[Dataset] = []

    def keep(event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        received.append(ds)
        return 0

    with peer_that(free_port, keep, syntaxes=(taken,)) as peer:
        (outcome,) = store([path], peer, "NODE", TIMEOUT_S)
    assert outcome.kind is StoreKind.DELIVERED
    (ds,) = received
    assert ds.file_meta.TransferSyntaxUID == taken
    sent_name = dcmread(path).get_item("PatientName")
    arrived_name = ds.get_item("PatientName")
    assert sent_name is not None
    assert arrived_name is not None
    assert arrived_name.value == sent_name.value
    assert np.array_equal(ds.pixel_array, PIXELS)


def test_a_file_is_sent_as_it_is_when_the_peer_takes_its_own_syntax(tmp_path: Path, free_port: int) -> None:
    path = write_instance(tmp_path / "a.dcm", transfer_syntax_uid=RLELossless)
    bodies = []

    def keep(event: evt.Event) -> int:
        body = request_of(event).DataSet
        assert body is not None
        bodies.append(body.getvalue())
        return 0

    with peer_that(free_port, keep, syntaxes=(ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless)) as peer:
        list(store([path], peer, "NODE", TIMEOUT_S))
    assert path.read_bytes().endswith(bodies[0])


def test_a_sop_class_that_the_peer_does_not_take_is_refused_and_the_others_are_sent(
    tmp_path: Path, free_port: int
) -> None:
    foreign = write_instance(tmp_path / "cr.dcm", sop_class_uid=ComputedRadiographyImageStorage)
    welcome = write_instance(tmp_path / "sc.dcm")
    with peer_that(free_port, lambda _: 0, sop_classes=(SecondaryCaptureImageStorage,)) as peer:
        outcomes = list(store([foreign, welcome], peer, "NODE", TIMEOUT_S))
        (alone,) = store([foreign], peer, "NODE", TIMEOUT_S)
    assert [outcome.kind for outcome in outcomes] == [StoreKind.REFUSED, StoreKind.DELIVERED]
    assert alone.kind is StoreKind.REFUSED
    assert "presentation context" in outcomes[0].note
    assert "presentation context" in alone.note


def test_more_contexts_than_one_association_has_are_split(tmp_path: Path, free_port: int) -> None:
    storage = (str(context.abstract_syntax) for context in StoragePresentationContexts)
    sop_classes = tuple(uid for uid in storage if uid_to_service_class(uid) is StorageServiceClass)[:70]
    paths = [write_instance(tmp_path / f"{number}.dcm", sop_class) for number, sop_class in enumerate(sop_classes)]
    associations = set()

    def remember(event: evt.Event) -> int:
        associations.add(id(event.assoc))
        return 0

    with peer_that(free_port, remember, sop_classes=sop_classes) as peer:
        outcomes = list(store(paths, peer, "NODE", TIMEOUT_S))
    assert {outcome.kind for outcome in outcomes} == {StoreKind.DELIVERED}
    assert len(associations) == 2  # 70 classes in two syntaxes are 140 contexts


def test_a_peer_that_is_not_there_means_try_again(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(2)]
    outcomes = list(store(paths, local_peer(free_port), "NODE", TIMEOUT_S))
    assert [(outcome.kind, outcome.status) for outcome in outcomes] == [(StoreKind.RETRY, None)] * 2
    assert "connect" in outcomes[0].note


def test_a_peer_whose_name_cannot_be_resolved_means_try_again(tmp_path: Path) -> None:
    nowhere = Peer(name="x", ae_title="X", host="no-such-host.invalid", port=104)
    (outcome,) = store([write_instance(tmp_path / "a.dcm")], nowhere, "NODE", TIMEOUT_S)
    assert outcome.kind is StoreKind.RETRY


def test_a_silent_tcp_peer_does_not_hold_the_sender(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "a.dcm")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (outcome,) = store([path], local_peer(silent.getsockname()[1]), "NODE", timeout_s=0.3)
    assert outcome.kind is StoreKind.RETRY
    assert "association request" in outcome.note


def test_a_peer_that_never_answers_a_store_is_left_after_three_tries(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(6)]
    released = threading.Event()
    asked = []

    def wait(event: evt.Event) -> int:
        asked.append(event)
        released.wait(20)
        return 0

    with peer_that(free_port, wait) as peer:
        outcomes = list(store(paths, peer, "NODE", timeout_s=0.3))
        released.set()
    assert [outcome.kind for outcome in outcomes] == [StoreKind.RETRY] * 6
    assert {outcome.status for outcome in outcomes} == {None}
    assert len(asked) == 3


def test_after_a_timeout_the_next_file_goes_over_a_new_association(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(2)]
    released = threading.Event()
    associations = []

    def stall_once(event: evt.Event) -> int:
        associations.append(id(event.assoc))
        if len(associations) == 1:
            released.wait(20)
        return 0

    with peer_that(free_port, stall_once) as peer:
        outcomes = list(store(paths, peer, "NODE", timeout_s=0.5))
        released.set()
    assert [outcome.kind for outcome in outcomes] == [StoreKind.RETRY, StoreKind.DELIVERED]
    assert len(set(associations)) == 2


def test_a_peer_that_aborts_in_the_middle_costs_one_file(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(3)]
    seen = []

    def abort_second(event: evt.Event) -> int:
        seen.append(event)
        if len(seen) == 2:
            event.assoc.abort()
        return 0

    with peer_that(free_port, abort_second) as peer:
        outcomes = list(store(paths, peer, "NODE", TIMEOUT_S))
    assert [outcome.kind for outcome in outcomes] == [StoreKind.DELIVERED, StoreKind.RETRY, StoreKind.DELIVERED]


def test_a_peer_that_stops_reading_does_not_hold_the_sender(tmp_path: Path, free_port: int) -> None:
    path = write_instance(tmp_path / "big.dcm")
    ds = dcmread(path)
    ds.Rows, ds.Columns = 2000, 2000
    ds.PixelData = bytes(8_000_000)
    ds.save_as(path)
    released = threading.Event()

    def stop_reading(event: evt.Event) -> None:
        connection_of(event.assoc).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        released.wait(20)

    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context(SecondaryCaptureImageStorage)
    with serving(ae, free_port, evt.EVT_PDU_RECV, stop_reading) as peer:
        (outcome,) = store([path], peer, "NODE", timeout_s=0.3, deadline_s=3)
        released.set()
    assert outcome.kind is StoreKind.RETRY


@pytest.mark.parametrize(("result", "kind"), [(1, StoreKind.REFUSED), (2, StoreKind.RETRY)])
def test_a_rejected_association_is_final_only_when_it_says_so(
    result: int, kind: StoreKind, tmp_path: Path, free_port: int
) -> None:
    def reject(event: evt.Event) -> None:
        event.assoc.acse.send_reject(result, 1, 1)
        event.assoc.kill()

    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context(SecondaryCaptureImageStorage)
    with serving(ae, free_port, evt.EVT_REQUESTED, reject) as peer:
        (outcome,) = store([write_instance(tmp_path / "a.dcm")], peer, "NODE", TIMEOUT_S)
    assert outcome.kind is kind
    assert "rejected" in outcome.note


def test_what_does_not_fit_the_deadline_is_left_for_later(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(2)]
    with peer_that(free_port, lambda _: 0) as peer:
        outcomes = list(store(paths, peer, "NODE", TIMEOUT_S, deadline_s=0))
    assert [outcome.note for outcome in outcomes] == ["no time left"] * 2


def test_files_that_are_no_dicom_are_reported_and_the_rest_is_sent(tmp_path: Path, free_port: int) -> None:
    folder = tmp_path / "study"
    (folder / "series").mkdir(parents=True)
    good = write_instance(folder / "series" / "b.dcm")
    words = folder / "a.dcm"
    words.write_text("not an image")
    cut = folder / "series" / "cut.dcm"
    cut.write_bytes(good.read_bytes()[:200])
    gone = tmp_path / "gone.dcm"
    progress = []
    with peer_that(free_port, lambda _: 0) as peer:
        outcomes = send_files(
            [folder, gone], peer, "NODE", lambda outcome, done, total: progress.append((outcome.path, done, total))
        )
    assert {outcome.path: outcome.kind for outcome in outcomes} == {
        words: StoreKind.REFUSED,
        good: StoreKind.DELIVERED,
        cut: StoreKind.REFUSED,
        gone: StoreKind.REFUSED,
    }
    assert progress == [(outcome.path, number, 4) for number, outcome in enumerate(outcomes, 1)]


def test_a_file_whose_class_or_syntax_is_no_uid_does_not_take_the_others_with_it(
    tmp_path: Path, free_port: int
) -> None:
    """A name that cannot be encoded would fail the request for the association of all."""
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(3)]
    for path, uid in ((paths[0], SecondaryCaptureImageStorage), (paths[1], ExplicitVRLittleEndian)):
        damaged = uid.encode()[:-1] + b"\x94"
        path.write_bytes(path.read_bytes().replace(uid.encode(), damaged))
    with peer_that(free_port, lambda _: 0) as peer:
        outcomes = list(store(paths, peer, "NODE", TIMEOUT_S))
    assert [outcome.kind for outcome in outcomes] == [StoreKind.REFUSED, StoreKind.REFUSED, StoreKind.DELIVERED]


def test_a_folder_is_walked_in_a_fixed_order_without_hidden_files_and_dicomdir(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", ".git/x", "DICOMDIR"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_files([tmp_path, tmp_path / "a"]) == [tmp_path / "a", tmp_path / "b/1", tmp_path / "b/2"]


def test_a_host_that_can_be_no_name_is_nobody_to_connect_to(tmp_path: Path, free_port: int) -> None:
    peer = local_peer(free_port).model_copy(update={"host": "a..b"})
    (outcome,) = store([write_instance(tmp_path / "a.dcm")], peer, "NODE", TIMEOUT_S)
    assert (outcome.kind, outcome.note) == (StoreKind.RETRY, "cannot connect to the peer")


def test_echo_tells_a_living_peer_from_a_dead_one(free_port: int) -> None:
    with peer_that(free_port, lambda _: 0) as peer:
        assert echo(peer, "NODE", TIMEOUT_S).kind is StoreKind.DELIVERED
    assert echo(peer, "NODE", TIMEOUT_S).kind is StoreKind.RETRY
