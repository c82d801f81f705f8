"""However a peer cuts its messages into PDUs, the spool gets the bytes that were sent, and nothing else."""

import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode
from pynetdicom.pdu import A_ASSOCIATE_AC, A_RELEASE_RP

from pacs_node.audit import EventKind
from pacs_node.records import ReceivedInstance
from tests.radiographs import radiograph, saved
from tests.unit.receive.test_listener import Node, associated, listening, received_until_closed

C_STORE_RQ, DATA_FOLLOWS = 1, 1
COMMAND, LAST = 1, 2


@pytest.fixture
def node(tmp_path: Path, free_port: int) -> Iterator[Node]:
    with listening(tmp_path, free_port) as running:
        yield running


def data_set_bytes(ds: Dataset) -> bytes:
    content = encode(ds, False, True)
    assert content is not None
    return content


def kept(node: Node) -> list[bytes]:
    """The data sets in incoming/, without preamble and file meta information, sorted by name."""
    contents = []
    for path in sorted(node.spool.incoming.iterdir()):
        stored = dcmread(path)
        contents.append(path.read_bytes()[-len(data_set_bytes(stored)) :])
    return contents


def command_set(ds: Dataset, message_id: int = 1) -> bytes:
    command = Dataset()
    command.AffectedSOPClassUID = ds.SOPClassUID
    command.CommandField = C_STORE_RQ
    command.MessageID = message_id
    command.Priority = 0
    command.CommandDataSetType = DATA_FOLLOWS
    command.AffectedSOPInstanceUID = ds.SOPInstanceUID
    body = encode(command, True, True)
    assert body is not None
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def item(control: int, content: bytes, context_id: int = 1) -> bytes:
    return struct.pack(">LBB", len(content) + 2, context_id, control) + content


def pdu(*items: bytes) -> bytes:
    body = b"".join(items)
    return struct.pack(">BBL", 4, 0, len(body)) + body


class RawPeer:
    """A requestor that negotiates with pynetdicom's own PDUs and then sends what bytes it is told."""

    def __init__(self, node: Node) -> None:
        ae = AE(ae_title="RAW")
        ae.add_requested_context(radiograph().SOPClassUID, ExplicitVRLittleEndian)
        request = captured_request(ae, node)
        self.connection = socket.create_connection((node.settings.host, node.settings.port), timeout=30)
        self.connection.sendall(request)
        answer = A_ASSOCIATE_AC()
        answer.decode(self.read_pdu())

    def read_pdu(self) -> bytes:
        header = self._read(6)
        return header + self._read(struct.unpack(">L", header[2:])[0])

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            piece = self.connection.recv(count - len(content))
            assert piece, "the node closed the connection"
            content += piece
        return content

    def status(self) -> int:
        """Status of the next C-STORE response."""
        body = self.read_pdu()[12:]
        at = body.index(struct.pack("<HH", 0x0000, 0x0900))
        return int(struct.unpack("<H", body[at + 8 : at + 10])[0])

    def release(self) -> None:
        self.connection.sendall(struct.pack(">BBLL", 5, 0, 4, 0))
        A_RELEASE_RP().decode(self.read_pdu())
        self.connection.close()


def captured_request(ae: AE, node: Node) -> bytes:
    """The A-ASSOCIATE-RQ that pynetdicom would send."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def associate() -> None:
            ae.acse_timeout = 30
            ae.associate("127.0.0.1", server.getsockname()[1], ae_title=node.settings.ae_title)

        thread = Thread(target=associate)
        thread.start()
        connection, _ = server.accept()
        with connection:
            header = connection.recv(6, socket.MSG_WAITALL)
            request = header + connection.recv(struct.unpack(">L", header[2:])[0], socket.MSG_WAITALL)
        thread.join()
    return request


@pytest.fixture
def peer(node: Node) -> Iterator[RawPeer]:
    raw = RawPeer(node)
    yield raw
    raw.connection.close()


def test_command_and_data_set_in_one_pdu(node: Node, peer: RawPeer) -> None:
    ds = radiograph(size=64)
    peer.connection.sendall(pdu(item(COMMAND | LAST, command_set(ds)), item(LAST, data_set_bytes(ds))))
    assert peer.status() == 0x0000
    peer.release()
    assert kept(node) == [data_set_bytes(ds)]


@pytest.mark.parametrize("size", [1, 2, 997, 65536])
def test_several_fragments_in_one_pdu_and_fragments_of_odd_sizes(node: Node, peer: RawPeer, size: int) -> None:
    ds = radiograph(size=32 if size < 3 else 200)
    content = data_set_bytes(ds)
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    items = [item(0, piece) for piece in pieces] + [item(LAST, b"")]  # an empty last fragment is allowed (PS3.8 E.2)
    command = command_set(ds)
    peer.connection.sendall(pdu(item(COMMAND, command[:7])) + pdu(item(COMMAND, b"")))
    peer.connection.sendall(pdu(item(COMMAND | LAST, command[7:])))
    for at in range(0, len(items), 3):
        peer.connection.sendall(pdu(*items[at : at + 3]))
    assert peer.status() == 0x0000
    assert kept(node) == [content]


def test_the_end_of_one_message_and_the_next_one_in_the_same_pdu(node: Node, peer: RawPeer) -> None:
    first, second = radiograph(1, size=64), radiograph(2, size=64)
    one, two = data_set_bytes(first), data_set_bytes(second)
    peer.connection.sendall(
        pdu(item(COMMAND | LAST, command_set(first)), item(0, one[:100]))
        + pdu(item(LAST, one[100:]), item(COMMAND | LAST, command_set(second, 2)), item(0, two[:9]))
        + pdu(item(LAST, two[9:]))
    )
    assert [peer.status(), peer.status()] == [0x0000, 0x0000]
    peer.release()
    assert sorted(kept(node)) == sorted([one, two])


def test_bytes_that_come_one_by_one(node: Node, peer: RawPeer) -> None:
    ds = radiograph(size=16)
    content = data_set_bytes(ds)
    peer.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in pdu(item(COMMAND | LAST, command_set(ds)), item(0, content[:50])) + pdu(item(LAST, content[50:])):
        peer.connection.sendall(bytes([byte]))
    assert peer.status() == 0x0000
    assert kept(node) == [content]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_peer_that_leaves_inside_of_an_object_leaves_nothing_behind(node: Node, peer: RawPeer) -> None:
    ds = radiograph(size=256)
    whole = pdu(item(COMMAND | LAST, command_set(ds))) + pdu(item(0, data_set_bytes(ds)))
    peer.connection.sendall(whole[:-5000])
    wait_until(lambda: len(list(node.spool.incoming.iterdir())) == 1)  # what has come so far
    peer.connection.close()
    wait_until(lambda: list(node.spool.incoming.iterdir()) == [])
    assert node.intake.accepted == []


def test_an_abort_between_two_fragments_leaves_nothing_behind(node: Node) -> None:
    ds = radiograph(size=256)
    peer = RawPeer(node)
    peer.connection.sendall(pdu(item(COMMAND | LAST, command_set(ds))) + pdu(item(0, data_set_bytes(ds)[:70000])))
    wait_until(lambda: len(list(node.spool.incoming.iterdir())) == 1)
    peer.connection.sendall(struct.pack(">BBLL", 7, 0, 4, 0))
    wait_until(lambda: list(node.spool.incoming.iterdir()) == [])
    peer.connection.close()


@pytest.mark.parametrize("body", [b"\0\0\0", struct.pack(">LBB", 1, 1, 0), struct.pack(">LBB", 90, 1, 0) + b"x" * 9])
def test_items_that_do_not_fill_their_pdu_end_the_association(node: Node, peer: RawPeer, body: bytes) -> None:
    peer.connection.sendall(struct.pack(">BBL", 4, 0, len(body)) + body)
    assert peer.read_pdu()[0] == 7  # A-ABORT
    assert list(node.spool.incoming.iterdir()) == []


def test_a_peer_that_asks_on_without_waiting_for_answers_is_disconnected(
    node: Node, peer: RawPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = radiograph(size=16)
    busy = Event()

    def accept(_instance: ReceivedInstance, _study: str) -> bool:
        busy.wait(60)  # on the first one
        return True

    monkeypatch.setattr(node.intake, "accept", accept)
    peer.connection.sendall(pdu(item(COMMAND | LAST, command_set(ds)), item(LAST, data_set_bytes(ds))) * 20)
    assert received_until_closed(peer.connection) == b""
    busy.set()
    wait_until(lambda: not list(node.spool.incoming.glob("*.part")))


def test_a_data_set_in_an_unknown_context_is_not_kept(node: Node, peer: RawPeer) -> None:
    ds = radiograph(size=16)
    peer.connection.sendall(
        pdu(item(COMMAND | LAST, command_set(ds), context_id=77), item(LAST, data_set_bytes(ds), context_id=77))
    )
    assert peer.read_pdu()[0] == 7
    assert list(node.spool.incoming.iterdir()) == []


def test_p_data_before_the_association_writes_nothing(node: Node) -> None:
    ds = radiograph(size=64)
    with socket.create_connection((node.settings.host, node.settings.port), timeout=30) as connection:
        connection.sendall(pdu(item(COMMAND | LAST, command_set(ds)), item(LAST, data_set_bytes(ds))))
        assert connection.recv(1)[:1] in {b"\x07", b""}
    assert list(node.spool.incoming.iterdir()) == []


def test_a_request_without_a_data_set_is_refused_and_the_association_lives(node: Node, peer: RawPeer) -> None:
    ds = radiograph(size=16)
    nothing = command_set(ds).replace(struct.pack("<HHLH", 0, 0x0800, 2, DATA_FOLLOWS), b"\0\0\0\x08\x02\0\0\0\x01\x01")
    peer.connection.sendall(pdu(item(COMMAND | LAST, nothing)))
    assert peer.status() == 0xC000
    peer.connection.sendall(pdu(item(COMMAND | LAST, command_set(ds)), item(LAST, data_set_bytes(ds))))
    assert peer.status() == 0x0000
    [event] = node.events(EventKind.REFUSED)
    assert event.dicom_status == 0xC000


@pytest.mark.parametrize("max_pdu", [16384, 131072, 2**20, 16 * 2**20])
def test_pynetdicom_sends_several_images_at_any_maximum_pdu_length(
    tmp_path: Path, free_port: int, max_pdu: int
) -> None:
    images = [radiograph(seed, size=300) for seed in range(3)]
    with listening(tmp_path, free_port, max_pdu_bytes=max_pdu) as node:
        with associated(node, (images[0].SOPClassUID, [ExplicitVRLittleEndian])) as association:
            assert isinstance(association, Association)
            assert [association.send_c_store(ds).Status for ds in images] == [0x0000] * 3
        assert sorted(kept(node)) == sorted(map(data_set_bytes, images))


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("max_send_pdu", ["4096", "16384", "131072"])
def test_storescu_sends_several_images_at_any_pdu_length(node: Node, tmp_path: Path, max_send_pdu: str) -> None:
    images = [radiograph(seed, size=300) for seed in range(3)]
    (tmp_path / "out").mkdir()
    files = [saved(ds, tmp_path / "out" / f"{seed}.dcm") for seed, ds in enumerate(images)]
    command = ["storescu", "-xe", "--max-send-pdu", max_send_pdu, "-aec", node.settings.ae_title]
    environment = os.environ | {"TCP_NODELAY": "1"}
    subprocess.run(
        [*command, node.settings.host, str(node.settings.port), *map(str, files)],
        check=True,
        timeout=120,
        env=environment,
    )
    assert [ds.PixelData for ds in map(dcmread, sorted(node.spool.incoming.iterdir()))] == [
        ds.PixelData for ds in sorted(images, key=lambda ds: str(ds.SOPInstanceUID).replace(".", ""))
    ]
