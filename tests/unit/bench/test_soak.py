"""A long run's report: what is missing or left is said, and the curves are those of the run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from pacs_node.bench.archives import Returned
from pacs_node.bench.resident import ResidentSample
from pacs_node.bench.soak import Arrival, Soak, SoakReport, make_pool, samples_csv, soak_svg, soak_table

GOOD = {"incoming": 0, "outbox": 0, "quarantine": 0}


class Echo:
    """An archive whose node answers at once; ``times`` is how often each companion comes: what a faulty peer does."""

    what, ae_title, port = "echo", "ECHO", 0

    def __init__(self, times: int = 1) -> None:
        self.times = times
        self.held: dict[str, str] = {}
        self.most = 0
        self.new: list[Returned] = []

    def upload(self, content: bytes) -> str:
        key = str(len(self.held) + 1000 * self.most)
        self.held[key] = str(dcmread(DicomBytesIO(content)).SOPInstanceUID)
        return key

    def forward(self, keys: Sequence[str]) -> None:
        self.most = max(self.most, len(self.held))
        self.new += [Returned(f"c{key}", self.held[key]) for key in keys for _ in range(self.times)]

    def returned(self) -> list[Returned]:
        new, self.new = self.new, []
        return new

    def forget(self, key: str) -> None:
        self.held.pop(key, None)

    def kept(self) -> int:
        return len(self.held)


@pytest.fixture
def pool(tmp_path: Path) -> list[Path]:
    return make_pool([np.linspace(0, 1, 64, dtype=np.float32).repeat(64).reshape(64, 64)], 2, tmp_path, lambda _: None)


def test_all_images_come_back_and_are_deleted_where_nothing_goes_wrong(tmp_path: Path, pool: list[Path]) -> None:
    archive = Echo()
    soak = Soak(archive, tmp_path / "var", pool, count=11, in_flight=4, keep=False)
    seen: list[int] = []
    soak.run(seen.append)
    soak.settle()
    assert (soak.report.problems(), soak.report.sent, seen[-1]) == ([], 11, 11)
    assert archive.kept() == 0
    assert archive.most <= 4  # never more on the way than asked for


def test_kept_images_stay_in_the_archive(tmp_path: Path, pool: list[Path]) -> None:
    archive = Echo()
    Soak(archive, tmp_path / "var", pool, count=3, in_flight=8, keep=True).run(lambda _: None)
    assert archive.kept() == 3


def test_a_companion_that_comes_twice_is_told(tmp_path: Path, pool: list[Path]) -> None:
    soak = Soak(Echo(times=2), tmp_path / "var", pool, count=3, in_flight=8, keep=False)
    soak.run(lambda _: None)
    assert soak.report.problems() == ["3 companions came twice, or of nothing that was sent"]


def test_everything_that_is_missing_or_left_is_a_problem() -> None:
    report = SoakReport(5, "x", stopped="interrupted", left=GOOD | {"outbox": 2}, queued=1)
    told = " / ".join(report.problems())
    for part in ("interrupted", "0 of 5 companions", "2 files are left in outbox/", "1 tasks"):
        assert part in told


def test_pace_is_that_of_the_first_and_of_the_last_images() -> None:
    times = [*np.arange(100.0), *(99 + 3 * np.arange(1.0, 101.0))]
    report = SoakReport(200, "x", arrivals=[Arrival(float(at), 1.0, 1024) for at in times], left=GOOD)
    assert report.pace_s() == (1.0, 3.0)


def test_memory_is_compared_after_the_largest_image_was_seen_once() -> None:
    sizes = [100] * 10 + [500] * 80 + [520] * 10
    samples = [ResidentSample(float(at), size * 2**20, 0.0) for at, size in enumerate(sizes)]
    assert SoakReport(1, "x", samples=samples).resident_mib() == (500, 520, 520)


def test_the_csv_counts_companions_up_to_each_sample() -> None:
    samples = [ResidentSample(float(at), 2**20, at / 2) for at in range(3)]
    report = SoakReport(2, "x", arrivals=[Arrival(0.5, 0.4, 1024), Arrival(1.5, 1.0, 1024)], samples=samples)
    lines = samples_csv(report).splitlines()
    assert lines == ["seconds,resident_mib,processor_s,companions", "0.0,1.0,0.0,0", "1.0,1.0,0.5,1", "2.0,1.0,1.0,2"]


def test_a_run_without_companions_has_no_curve_and_still_a_table() -> None:
    report = SoakReport(5, "x", left=GOOD)
    with pytest.raises(ValueError, match="too few"):
        soak_svg(report)
    assert soak_table(report).rows
