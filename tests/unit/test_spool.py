"""Files of the spool appear complete or not at all, and failures of the disk have one name."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from pacs_node.errors import DiskFull, ReasonCode, Rejected
from pacs_node.spool import Spool

KEY = "5f" * 20


def writing(content: bytes) -> Callable[[BinaryIO], object]:
    return lambda stream: stream.write(content)


def no_space(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_received_file_holds_the_parts_in_order(tmp_path: Path) -> None:
    path = Spool(tmp_path).write_incoming(KEY, [b"DICM", memoryview(b"data")])
    assert path.read_bytes() == b"DICMdata"
    assert path == tmp_path / "incoming" / f"{KEY}.dcm"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failing_fsync_is_disk_full_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    spool = Spool(tmp_path)

    def fail(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFull):
        spool.write_incoming(KEY, [b"x"])
    assert list(spool.incoming.iterdir()) == []


def test_a_failed_write_leaves_the_former_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    path = spool.write_incoming(KEY, [b"first"])
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(DiskFull):
        spool.write_incoming(KEY, [b"second"])
    assert path.read_bytes() == b"first"


def test_images_are_for_the_user_of_the_node_only_also_where_anybody_may_read_the_data_dir(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    spool = Spool(tmp_path)
    modes = {folder.stat().st_mode & 0o777 for folder in (spool.incoming, spool.outbox, spool.quarantine)}
    assert modes == {0o700}


def test_received_files_leave_the_room_that_companions_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    monkeypatch.setattr("pacs_node.spool.RESERVED_BYTES", 2**62)  # more than any disk has
    with pytest.raises(DiskFull):
        spool.open_incoming(KEY)
    assert spool.write_outbox(KEY, ["pacs"], writing(b"companion"))[0].read_bytes() == b"companion"


def test_a_data_dir_that_cannot_be_made_is_disk_full(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskFull):
        Spool(tmp_path / "file")


def test_a_disk_full_message_names_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(DiskFull) as caught:
        spool.write_incoming(KEY, [b"x"])
    assert str(tmp_path) not in str(caught.value)


def test_temporary_files_of_a_crash_are_removed_and_the_rest_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    kept = spool.write_incoming(KEY, [b"x"])
    [sent] = spool.write_outbox(KEY, ["pacs"], writing(b"y"))
    for path in (kept, sent):
        path.with_name(f"{path.name}.1-ab.part").write_bytes(b"half")
    assert spool.remove_leftovers() == 2
    assert [kept.read_bytes(), sent.read_bytes()] == [b"x", b"y"]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted([kept, sent])


def test_a_companion_waits_for_each_destination_until_it_is_released(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write_outbox(KEY, ["a", "b"], writing(b"y"))
    assert spool.waiting_destinations(KEY) == ["a", "b"]
    spool.release(KEY, "a")
    spool.release(KEY, "a")
    assert spool.waiting_destinations(KEY) == ["b"]
    assert spool.outbox_path(KEY, "b").read_bytes() == b"y"


def test_writing_a_companion_again_replaces_it_everywhere(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for content in (b"one", b"two"):
        paths = spool.write_outbox(KEY, ["a", "b"], writing(content))
    assert [path.read_bytes() for path in paths] == [b"two", b"two"]
    assert list(spool.outbox.rglob("*.part")) == []


def test_quarantine_keeps_the_bytes_and_the_reason_and_can_be_repeated(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    path = spool.write_incoming(KEY, [b"bad"])
    for _ in range(2):
        kept = spool.refuse(path, {"reason": "not_chest"})
    assert kept.read_bytes() == b"bad"
    assert json.loads(kept.with_suffix(".json").read_text()) == {"reason": "not_chest"}
    assert not path.exists()


def test_a_large_file_that_goes_to_the_disk_while_it_comes_is_whole(tmp_path: Path) -> None:
    pieces = [bytes([number]) * 300_001 for number in range(23)]
    path = Spool(tmp_path).write_incoming("c" * 40, pieces)
    assert path.read_bytes() == b"".join(pieces)


def test_what_a_copy_may_replace_is_looked_at_again_when_another_one_came_meanwhile(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    seen: list[bytes | None] = []

    def another_comes(_newer: Path, older: Path) -> None:
        seen.append(older.read_bytes() if older.exists() else None)
        if len(seen) == 1:
            spool.write_incoming(KEY, [b"whole"])
        else:
            raise Rejected(ReasonCode.TRUNCATED, "the other one is to stay")

    cut_off = spool.open_incoming(KEY)
    cut_off.write(b"who")
    with pytest.raises(Rejected):
        cut_off.commit(another_comes)
    cut_off.discard()
    assert seen == [None, b"whole"]
    assert [path.read_bytes() for path in spool.incoming.iterdir()] == [b"whole"]
