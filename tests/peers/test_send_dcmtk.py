"""The C-STORE SCU against DCMTK's storescp: what it takes arrives whole, and dying in the middle is told."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from pacs_node.config import Peer
from pacs_node.derive.verbatim import raw_bytes
from pacs_node.send.scu import StoreKind, echo, store
from tests.sources import PIXELS, write_instance

TIMEOUT_S = 10.0  # a loopback answer on a machine that trains a network at the same time
pytestmark = pytest.mark.peer("dcmtk")


@contextmanager
def storescp(folder: Path, port: int, *options: str) -> Iterator[tuple[Peer, "subprocess.Popen[bytes]"]]:
    """A running storescp that keeps what it gets in ``folder``."""
    folder.mkdir()
    command = ["storescp", "--output-directory", str(folder), *options, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peer = Peer(name="dcmtk", ae_title="STORESCP", host="127.0.0.1", port=port)
    try:
        for _ in range(100):
            if echo(peer, "NODE", TIMEOUT_S).kind is StoreKind.DELIVERED:
                break
            time.sleep(0.1)
        yield peer, process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("stored", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize(
    ("options", "taken"),
    [
        (["+xi"], {ImplicitVRLittleEndian}),  # only Implicit VR Little Endian
        (["+x="], {ExplicitVRLittleEndian, ImplicitVRLittleEndian}),  # uncompressed
        (["+xa"], None),  # everything: sent as it is stored
    ],
)
def test_dcmtk_gets_name_and_pixels_unchanged_in_a_syntax_that_it_takes(
    stored: str, options: list[str], taken: set[str] | None, tmp_path: Path, free_port: int
) -> None:
    path = write_instance(tmp_path / "a.dcm", transfer_syntax_uid=stored)
    with storescp(tmp_path / "received", free_port, *options) as (peer, _):
        (outcome,) = store([path], peer, "NODE", TIMEOUT_S)
        assert (outcome.kind, outcome.status) == (StoreKind.DELIVERED, 0)
        (arrived,) = (tmp_path / "received").iterdir()
        ds = dcmread(arrived)
    assert ds.file_meta.TransferSyntaxUID in (taken or {stored})
    assert raw_bytes(ds, "PatientName") == raw_bytes(dcmread(path), "PatientName")
    assert np.array_equal(ds.pixel_array, PIXELS)


def test_a_peer_killed_in_the_middle_leaves_the_rest_to_be_tried_again(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(4)]
    with storescp(tmp_path / "received", free_port) as (peer, process):
        outcomes = store(paths, peer, "NODE", TIMEOUT_S)
        assert next(outcomes).kind is StoreKind.DELIVERED
        process.kill()
        process.wait()
        assert [outcome.kind for outcome in outcomes] == [StoreKind.RETRY] * 3


def test_a_peer_that_aborts_each_store_is_told_apart_from_success(tmp_path: Path, free_port: int) -> None:
    paths = [write_instance(tmp_path / f"{number}.dcm") for number in range(2)]
    with storescp(tmp_path / "received", free_port, "--abort-during") as (peer, _):
        outcomes = list(store(paths, peer, "NODE", TIMEOUT_S))
    assert [(outcome.kind, outcome.status) for outcome in outcomes] == [(StoreKind.RETRY, None)] * 2
