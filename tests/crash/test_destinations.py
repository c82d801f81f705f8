"""What a destination does to us: away, back, full, refusing, warning; and never to another destination."""

import json
from pathlib import Path

import pytest

from pacs_node.audit import EventKind
from tests.peers.destination import answering
from tests.peers.node import NodeProcess, wait_until
from tests.peers.orthanc import free_tcp_port, running_orthanc
from tests.peers.sender import send
from tests.radiographs import radiograph


@pytest.mark.peer("orthanc")
def test_a_destination_that_is_away_gets_its_companions_when_it_is_back(tmp_path: Path) -> None:
    dicom_port = free_tcp_port()
    with NodeProcess(tmp_path / "node", {"pacs": dicom_port}) as node:
        node.start()
        assert send(node.port, radiograph(0), radiograph(1)) == [0x0000, 0x0000]
        wait_until(lambda: len(node.events(EventKind.SEND_ATTEMPT)) >= 4, "both were tried twice")
        assert node.events(EventKind.DELIVERED, EventKind.FAILED) == []
        node.stop()  # the waiting survives an orderly end as well
        node.start()
        with running_orthanc(tmp_path / "orthanc", node.port, dicom_port=dicom_port) as orthanc:
            node.wait_until_idle()
            derived = {event.derived_sop_instance_uid for event in node.events(EventKind.DERIVED)}
            assert len(derived) == 2
            assert sorted(orthanc.sop_instance_uids()) == sorted(str(uid) for uid in derived)
        attempts = node.events(EventKind.SEND_ATTEMPT)
        assert {event.reason for event in attempts} == {"retry", "delivered"}
        assert node.spooled() == []


def test_out_of_resources_is_tried_again_until_it_is_delivered(tmp_path: Path) -> None:
    with (
        answering(lambda number: 0xA700 if number < 3 else 0x0000) as pacs,
        NodeProcess(tmp_path, {"pacs": pacs.port}) as node,
    ):
        node.start()
        send(node.port, radiograph())
        node.wait_until_idle()
        wait_until(lambda: node.events(EventKind.DELIVERED), "the companion is delivered")
        attempts = node.events(EventKind.SEND_ATTEMPT)
        assert [(event.attempt, event.dicom_status) for event in attempts] == [(1, 0xA700), (2, 0xA700), (3, 0x0000)]
        assert len(pacs.stored) == 1
        assert node.spooled() == []


def test_cannot_understand_is_final_and_keeps_the_companion_with_the_reason(tmp_path: Path) -> None:
    with answering(lambda _number: 0xC000) as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        node.start()
        send(node.port, radiograph())
        wait_until(lambda: node.events(EventKind.FAILED), "the delivery is given up")
        node.wait_until_idle()
        [failure] = node.events(EventKind.FAILED)
        assert (failure.reason, failure.dicom_status, failure.peer) == ("refused_by_destination", 0xC000, "pacs")
        assert len(pacs.received) == 1
        [kept] = (tmp_path / "var" / "quarantine").glob("*.dcm")
        assert json.loads(kept.with_suffix(".json").read_text())["dicom_status"] == 0xC000
        assert node.spooled() == []


def test_a_warning_is_delivered_with_a_note(tmp_path: Path) -> None:
    with answering(lambda _number: 0xB000) as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        node.start()
        send(node.port, radiograph())
        wait_until(lambda: node.events(EventKind.DELIVERED), "the companion is delivered")
        node.wait_until_idle()
        [delivery] = node.events(EventKind.DELIVERED)
        assert delivery.dicom_status == 0xB000
        assert delivery.note
        assert len(pacs.received) == 1
        assert node.spooled() == []


def test_a_dead_destination_holds_neither_the_next_image_nor_the_other_destination(tmp_path: Path) -> None:
    with answering() as alive, NodeProcess(tmp_path, {"dead": free_tcp_port(), "alive": alive.port}) as node:
        node.start()
        send(node.port, radiograph(0), radiograph(1))
        wait_until(lambda: len(alive.stored) == 2, "both companions are in the living destination")
        delivered = node.events(EventKind.DELIVERED)
        assert {event.peer for event in delivered} <= {"alive"}
        waiting = [path for path in node.spooled() if "/outbox/" in path]
        assert len([path for path in waiting if "/dead/" in path]) == 2
        assert len([path for path in node.spooled() if "/incoming/" in path]) == 2


def test_a_destination_that_stays_away_too_long_is_given_up_and_says_so(tmp_path: Path) -> None:
    configuration = "[gate]\n"  # a table after [delivery], whose last key is overridden below
    with NodeProcess(tmp_path, {"pacs": free_tcp_port()}, settings=configuration) as node:
        path = tmp_path / "config.toml"
        path.write_text(path.read_text().replace("timeout_s = 20", "timeout_s = 20\ngive_up_after_h = 0.0003"))
        node.start()
        send(node.port, radiograph())
        wait_until(lambda: node.events(EventKind.FAILED), "the delivery is given up")
        node.wait_until_idle()
        [failure] = node.events(EventKind.FAILED)
        assert failure.reason == "gave_up"
        assert node.spooled() == []
        assert len(list((tmp_path / "var" / "quarantine").glob("*.dcm"))) == 1
