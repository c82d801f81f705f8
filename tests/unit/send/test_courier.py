"""The association to a peer is kept for the next companion, and never used again after it failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association

from pacs_node.config import Peer
from pacs_node.send.courier import Courier
from pacs_node.send.scu import StoreKind
from tests.peers.node import wait_until
from tests.peers.orthanc import free_tcp_port
from tests.radiographs import COMPUTED_RADIOGRAPHY, radiograph, saved

TIMEOUT_S = 20.0


class Counting:
    """A peer that counts associations and objects, and misbehaves at the objects it is told."""

    def __init__(self) -> None:
        self.peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=free_tcp_port())
        self.associations: list[Association] = []
        self.objects: list[str] = []
        self.released = 0
        self.abort_at: set[int] = set()
        self.silent_at: set[int] = set()
        self.hold = Event()

    def on_store(self, event: evt.Event) -> int:
        request: Any = event.request
        self.objects.append(str(request.AffectedSOPInstanceUID))
        if len(self.objects) in self.abort_at:
            event.assoc.abort()
        if len(self.objects) in self.silent_at:
            self.hold.wait(60)
        return 0x0000

    def on_released(self, _event: evt.Event) -> None:
        self.released += 1


@contextmanager
def counting() -> Iterator[Counting]:
    scripted = Counting()
    ae = AE(ae_title="PACS")
    for sop_class in (COMPUTED_RADIOGRAPHY, DigitalXRayImageStorageForPresentation):
        ae.add_supported_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    handlers: list[Any] = [
        (evt.EVT_C_STORE, scripted.on_store),
        (evt.EVT_ACCEPTED, lambda event: scripted.associations.append(event.assoc)),
        (evt.EVT_RELEASED, scripted.on_released),
    ]
    ae.start_server((scripted.peer.host, scripted.peer.port), block=False, evt_handlers=handlers)
    try:
        yield scripted
    finally:
        scripted.hold.set()
        ae.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [saved(radiograph(seed, size=32), tmp_path / f"{seed}.dcm") for seed in range(4)]


@contextmanager
def courier(keep_open_s: float = 60.0, timeout_s: float = TIMEOUT_S) -> Iterator[Courier]:
    opened = Courier("NODE", timeout_s, keep_open_s)
    try:
        yield opened
    finally:
        opened.close()


def kinds(sender: Courier, paths: list[Path], peer: Peer) -> list[StoreKind]:
    return [outcome.kind for outcome in sender.send(paths, peer)]


def test_companions_that_follow_one_another_share_an_association_which_is_released_at_the_end(
    files: list[Path],
) -> None:
    with counting() as pacs:
        with courier() as sender:
            for path in files:
                assert kinds(sender, [path], pacs.peer) == [StoreKind.DELIVERED]
            assert len(pacs.associations) == 1
        wait_until(lambda: pacs.released == 1, "the association is released")
        assert len(set(pacs.objects)) == len(files)


def test_an_idle_association_is_released_after_a_while(files: list[Path]) -> None:
    with counting() as pacs, courier(keep_open_s=0.2) as sender:
        assert kinds(sender, files[:1], pacs.peer) == [StoreKind.DELIVERED]
        wait_until(lambda: pacs.released == 1, "the association is released")
        assert kinds(sender, files[1:2], pacs.peer) == [StoreKind.DELIVERED]
        assert len(pacs.associations) == 2


def test_without_keeping_each_object_has_an_association_of_its_own(files: list[Path]) -> None:
    with counting() as pacs, courier(keep_open_s=0) as sender:
        for path in files:
            assert kinds(sender, [path], pacs.peer) == [StoreKind.DELIVERED]
        assert len(pacs.associations) == len(files)


def test_an_association_that_the_peer_closed_while_it_was_idle_is_replaced_and_nothing_fails(files: list[Path]) -> None:
    with counting() as pacs, courier() as sender:
        assert kinds(sender, files[:1], pacs.peer) == [StoreKind.DELIVERED]
        pacs.associations[0].abort()
        assert kinds(sender, files[1:2], pacs.peer) == [StoreKind.DELIVERED]
        assert len(pacs.associations) == 2


def test_a_peer_that_aborts_at_an_object_gets_it_again_over_a_new_association(files: list[Path]) -> None:
    with counting() as pacs, courier() as sender:
        pacs.abort_at = {2}
        assert kinds(sender, files[:1], pacs.peer) == [StoreKind.DELIVERED]
        assert kinds(sender, files[1:2], pacs.peer) == [StoreKind.DELIVERED]
        assert pacs.objects[1] == pacs.objects[2]
        assert len(pacs.associations) == 2


def test_a_peer_that_aborts_at_an_object_on_a_new_association_is_not_asked_twice(files: list[Path]) -> None:
    with counting() as pacs, courier() as sender:
        pacs.abort_at = {1}
        assert kinds(sender, files[:1], pacs.peer) == [StoreKind.RETRY]
        assert len(pacs.objects) == 1
        assert kinds(sender, files[:1], pacs.peer) == [StoreKind.DELIVERED]


def test_an_association_without_an_answer_in_time_is_never_used_again(files: list[Path]) -> None:
    with counting() as pacs, courier(timeout_s=1.0) as sender:
        pacs.silent_at = {2}
        assert kinds(sender, files[:1], pacs.peer) == [StoreKind.DELIVERED]
        [outcome] = sender.send(files[1:2], pacs.peer)
        assert (outcome.kind, outcome.note) == (StoreKind.RETRY, "no answer in time")
        assert len(pacs.objects) == 2  # not sent again at once
        assert kinds(sender, files[2:3], pacs.peer) == [StoreKind.DELIVERED]
        assert len(pacs.associations) == 2


def test_an_object_of_another_class_gets_what_it_needs_negotiated(files: list[Path], tmp_path: Path) -> None:
    other = saved(radiograph(9, size=32, sop_class=DigitalXRayImageStorageForPresentation), tmp_path / "dx.dcm")
    with counting() as pacs, courier() as sender:
        assert kinds(sender, [files[0], other], pacs.peer) == [StoreKind.DELIVERED] * 2
        assert kinds(sender, [files[1]], pacs.peer) == [StoreKind.DELIVERED]
        assert len(pacs.associations) == 1
        assert kinds(sender, [other], pacs.peer) == [StoreKind.DELIVERED]
        assert len(pacs.associations) == 1


def test_an_association_is_renewed_after_many_objects(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_node.send.courier.MOST_OBJECTS", 2)
    with counting() as pacs, courier() as sender:
        for path in files:
            assert kinds(sender, [path], pacs.peer) == [StoreKind.DELIVERED]
        assert len(pacs.associations) == 2


def test_threads_with_objects_for_one_peer_take_turns(files: list[Path]) -> None:
    with counting() as pacs, courier() as sender:
        threads = [Thread(target=sender.send, args=([path], pacs.peer)) for path in files]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(pacs.objects)) == len(pacs.objects) == len(files)
        assert len(pacs.associations) == 1


def test_a_peer_that_is_down_is_tried_again_the_next_time(files: list[Path]) -> None:
    with courier() as sender:
        with counting() as pacs:
            peer = pacs.peer
            assert kinds(sender, files[:1], peer) == [StoreKind.DELIVERED]
        assert kinds(sender, files[1:2], peer) == [StoreKind.RETRY]
        assert kinds(sender, files[1:2], peer) == [StoreKind.RETRY]
