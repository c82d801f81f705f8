"""Measuring reception: every image is new, every receiver is counted, and what is not installed says so."""

import dataclasses
from pathlib import Path

import pytest
from pydicom import dcmread

from pacs_node.bench.ingest import CANDIDATES, Candidate, IngestRow, Volley, ingest_table, measure_ingest
from pacs_node.bench.peers import storescp
from pacs_node.bench.spread import Spread
from pacs_node.errors import Retriable
from tests.radiographs import radiograph


def test_every_file_of_a_volley_is_another_instance_each_time(tmp_path: Path) -> None:
    volley = Volley.of(radiograph(), 3, tmp_path)
    seen = set()
    for _ in range(2):
        volley.renew()
        for path in volley.files:
            ds = dcmread(path)
            assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
            assert ds.SOPInstanceUID.is_valid
            seen.add(str(ds.SOPInstanceUID))
    assert len(seen) == 6
    assert dcmread(volley.files[2]).PixelData == radiograph().PixelData


@pytest.mark.peer("dcmtk")
def test_storescp_gets_every_image_over_one_and_over_four_associations(tmp_path: Path) -> None:
    rows = measure_ingest(Volley.of(radiograph(), 5, tmp_path), 2, lambda _: None, [Candidate("dcmtk", storescp)])
    assert [(row.associations, row.seconds and row.seconds.count) for row in rows] == [(1, 2), (4, 2)]
    assert all(row.images_per_s for row in rows)


@pytest.mark.peer("dcmtk")
def test_a_receiver_that_keeps_fewer_images_than_it_took_is_an_error(tmp_path: Path) -> None:
    from contextlib import contextmanager

    @contextmanager
    def forgetful(folder: Path):  # type: ignore[no-untyped-def]
        with storescp(folder) as server:
            yield dataclasses.replace(server, stored=lambda: 0)

    with pytest.raises(Retriable, match="holds 0 of 2"):
        measure_ingest(Volley.of(radiograph(), 2, tmp_path), 1, lambda _: None, [Candidate("x", forgetful)])


def test_what_is_not_installed_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    others = [each for each in CANDIDATES if each.needs]
    rows = measure_ingest(Volley.of(radiograph(), 2, tmp_path), 1, lambda _: None, others)
    cells = [cell for row in ingest_table(rows).rows for cell in row]
    assert "not installed: apt-get install orthanc" in cells
    assert "not installed: apt-get install dcmtk" in cells
    assert not any(row.seconds for row in rows)


def test_the_table_compares_with_orthanc_at_the_same_number_of_associations() -> None:
    def row(what: str, associations: int, seconds: float) -> IngestRow:
        return IngestRow(what, associations, 10, 8_000_000, seconds=Spread(seconds, seconds, seconds, 3))

    table = ingest_table([row("node", 1, 0.5), row("node", 4, 0.25), row("Orthanc", 1, 1.0), row("Orthanc", 4, 0.5)])
    ratio, rate = table.columns.index("times Orthanc"), table.columns.index("MB/s")
    assert [each[ratio] for each in table.rows] == ["2.00", "2.00", "1.00", "1.00"]
    assert [each[rate] for each in table.rows] == ["160", "320", "80", "160"]
