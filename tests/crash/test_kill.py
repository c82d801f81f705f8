"""kill -9 at any moment: afterwards every instance has its companion in the PACS, once."""

import os
import signal
import threading
import time
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from pacs_node.audit import EventKind
from tests.peers.destination import answering
from tests.peers.node import NodeProcess, wait_until
from tests.peers.orthanc import Orthanc, free_tcp_port, running_orthanc
from tests.peers.sender import send
from tests.radiographs import radiograph, saved

INSTANCES = 10
KILLS = 25
KILLS_PER_INSTANCE = 2  # the instances come while the node is being killed, so that kills hit every stage
LONGEST_LIFE_S = 2.5  # an image takes about a second: kills fall into receive, infer, derive and send


class PersistentSender(threading.Thread):
    """Sends each instance until the node has answered Success, as a PACS with a retry queue does."""

    def __init__(self, orthanc: Orthanc, instances: list[str]) -> None:
        super().__init__(daemon=True)
        self._orthanc = orthanc
        self._instances = instances
        self.permitted = 0
        self.accepted = 0

    def run(self) -> None:
        while self.accepted < len(self._instances):
            if self.accepted >= self.permitted:
                time.sleep(0.05)
                continue
            try:
                self._orthanc.send_to_node([self._instances[self.accepted]])
            except (urllib.error.HTTPError, OSError):
                time.sleep(0.1)
            else:
                self.accepted += 1


@pytest.mark.peer("orthanc")
@pytest.mark.timeout(900)
def test_ten_instances_survive_twenty_five_kills_at_random_moments(tmp_path: Path) -> None:
    random_moment = np.random.default_rng(20261121)
    port = free_tcp_port()
    with (
        running_orthanc(tmp_path / "orthanc", port) as orthanc,
        NodeProcess(tmp_path / "node", {"orthanc": orthanc.dicom_port}, port=port) as node,
    ):
        sources = [radiograph(seed) for seed in range(INSTANCES)]
        sender = PersistentSender(orthanc, [orthanc.upload(saved(ds, tmp_path / "source.dcm")) for ds in sources])
        sender.start()
        for number in range(KILLS):
            sender.permitted = 1 + number // KILLS_PER_INSTANCE
            node.start()
            time.sleep(random_moment.uniform(0, LONGEST_LIFE_S))
            node.kill()
        sender.permitted = INSTANCES
        node.start()
        sender.join(120)
        assert sender.accepted == INSTANCES
        node.wait_until_idle()
        uids = orthanc.sop_instance_uids()

    source_uids = {str(ds.SOPInstanceUID) for ds in sources}
    companions = [uid for uid in uids if uid not in source_uids]
    derived = {event.derived_sop_instance_uid for event in node.events(EventKind.DERIVED)}
    assert len(uids) == len(set(uids))
    assert len(companions) == INSTANCES
    assert set(companions) == derived
    assert {event.source_sop_instance_uid for event in node.events(EventKind.DELIVERED)} == source_uids
    assert node.events(EventKind.REJECTED, EventKind.FAILED) == []
    assert node.spooled() == []


@pytest.mark.parametrize("moment", [EventKind.RECEIVED, EventKind.STARTED, EventKind.DERIVED])
def test_a_kill_right_after_an_event_costs_nothing(tmp_path: Path, moment: EventKind) -> None:
    with answering() as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        node.start()
        send(node.port, radiograph())
        wait_until(lambda: node.events(moment), f"the event {moment}")
        node.kill()
        node.start()
        wait_until(lambda: node.events(EventKind.DELIVERED), "the companion is delivered")
        node.wait_until_idle()
        assert len(set(pacs.uids())) == 1
        assert node.spooled() == []


def test_a_kill_while_an_object_is_arriving_leaves_nothing_of_it_and_the_repeat_is_taken(tmp_path: Path) -> None:
    large = radiograph(size=2048)  # 8 MiB: on its way for some tenths of a second after the association is accepted
    with answering() as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        node.start()
        killer = threading.Thread(target=kill_when_associated, args=(node,))
        killer.start()
        answer = send(node.port, large)
        killer.join()
        node.start()
        if answer == [-1]:
            assert not any(path.endswith(".part") for path in node.spooled())
            assert send(node.port, large) == [0x0000]
        wait_until(lambda: node.events(EventKind.DELIVERED), "the companion is delivered")
        node.wait_until_idle()
        assert len(set(pacs.uids())) == 1
        assert node.spooled() == []


def kill_when_associated(node: NodeProcess) -> None:
    wait_until(lambda: node.events(EventKind.ASSOCIATION), "the peer is associated")
    node.kill()


@pytest.mark.parametrize("answered", [False, True])
def test_a_kill_between_a_send_and_its_record_makes_no_second_companion(tmp_path: Path, answered: bool) -> None:
    victims: list[int] = []

    def kill_the_sender(number: int) -> int:
        if number == 1:
            delay_s = 0.02 if answered else 0.0  # with the delay, the answer leaves before the process dies
            threading.Timer(delay_s, os.kill, (victims[-1], signal.SIGKILL)).start()
            time.sleep(0.0 if answered else 0.2)
        return 0x0000

    with answering(kill_the_sender) as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        node.start()
        victims.append(node.process.pid)
        assert send(node.port, radiograph()) == [0x0000]
        node.process.wait(60)
        node.start()
        node.wait_until_idle()
        wait_until(lambda: node.events(EventKind.DELIVERED), "the companion is delivered")
        first, *rest = pacs.stored
        assert rest == [first] * len(rest)  # a repeated send is the very same object: a PACS keeps one
        assert node.spooled() == []


def test_an_object_received_while_the_job_was_not_queued_yet_is_found_at_the_next_start(tmp_path: Path) -> None:
    with answering() as pacs, NodeProcess(tmp_path, {"pacs": pacs.port}) as node:
        (tmp_path / "var" / "incoming").mkdir(parents=True)
        saved(radiograph(), tmp_path / "var" / "incoming" / f"{'ab' * 20}.dcm")
        (tmp_path / "var" / "incoming" / "x.dcm.1-ab.part").write_bytes(b"half a file")
        node.start()
        wait_until(lambda: node.events(EventKind.DELIVERED), "the companion is delivered")
        node.wait_until_idle()
        assert len(pacs.stored) == 1
        assert node.spooled() == []
