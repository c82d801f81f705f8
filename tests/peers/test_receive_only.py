"""`pacs-node serve --receive-only`: what is received is durable and queued, and processed by the next run."""

from pathlib import Path

from pacs_node.audit import EventKind
from pacs_node.jobs import count_jobs
from tests.peers.destination import answering
from tests.peers.node import NodeProcess
from tests.peers.sender import send
from tests.radiographs import radiograph


def test_images_that_were_only_received_are_processed_by_the_next_run(tmp_path: Path) -> None:
    with answering() as archive:
        with NodeProcess(tmp_path, {"archive": archive.port}, arguments=("--receive-only",)) as node:
            node.start()
            assert send(node.port, *(radiograph(seed) for seed in range(2))) == [0, 0]
            assert sum(count_jobs(node.data_dir).values()) == 2
            assert node.stop() == 0
            assert not node.events(EventKind.STARTED)
            assert len(node.spooled()) == 2
        with NodeProcess(tmp_path, {"archive": archive.port}, port=node.port) as again:
            again.start().wait_until_idle()
            assert (len(archive.stored), again.spooled()) == (2, [])
