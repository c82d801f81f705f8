"""From a report to the tables that people read."""

from dataclasses import asdict
from typing import Any

import pytest

from pacs_node.bench.report import document_bodies, environment_facts
from pacs_node.bench.rows import TOTAL, Part, Rate, Row, StageTime
from pacs_node.bench.spread import Spread
from pacs_node.bench.tables import all_tables, reference_row, size_tables


def flat(seconds: float) -> Spread:
    return Spread(seconds, seconds, seconds, 3)


def stages(scale: float = 1.0) -> list[dict[str, Any]]:
    whole, part = flat(0.8 * scale), flat(0.2 * scale)
    return [asdict(StageTime("step", part, flat(0.1 * scale), 2)), asdict(StageTime(TOTAL, whole, whole, 1))]


@pytest.fixture
def report() -> dict[str, Any]:
    rows = [
        Row("service", "the service", "cpu", seconds=flat(0.5), flop=100e9),
        Row("service", "the service", "cpu", batch=2, seconds=flat(0.8), flop=100e9),
        Row("eager", "torch", "cpu", seconds=flat(1.5), flop=100e9, peak_bytes=2**30),
        Row("paper", "published", "cpu", seconds=flat(1500.0), flop=400e12, note="extrapolated"),
        Row("onnx-cuda", "on CUDA", "cuda", missing="there is no GPU"),
    ]
    environment = {
        "date": "2026-11-22 04:00 UTC",
        "commit": "abc1234",
        "cpu": "a processor",
        "cores": 2,
        "threads": 2,
        "memory_gib": 16.0,
        "gpu": None,
        "python": "3.11.7",
        "versions": {"numpy": "2.4.6"},
        "load_1min": 0.0,
        "device": "cpu",
        "engine_device": "cpu",
    }
    return {
        "format": 1,
        "environment": environment,
        "warnings": [],
        "bundle": {"name": "tiny", "version": "0", "grid": 64, "steps": 2, "views": 1},
        "image": {"rows": 2048, "columns": 1024, "bits_stored": 12},
        "rates": [asdict(Rate(400e9, "Conv")), asdict(Rate(200e9, "MatMul"))],
        "stages": stages(),
        "parts": [asdict(Part("encoder", 3, flat(0.1), 20e9)), asdict(Part("refiner", 1, flat(0.2), 20e9))],
        "process": {"seconds": asdict(flat(2.0)), "peak_bytes": 500 * 2**20, "failure": ""},
        "comparison": [row.to_json() for row in rows],
        "sizes": [
            {"rows": 1024, "columns": 1024, "stages": stages(), "peak_bytes": 2**29, "failure": ""},
            {"rows": 4096, "columns": 4096, "stages": stages(4.0), "peak_bytes": 0, "failure": "no memory"},
        ],
    }


def table(report: dict[str, Any], start: str) -> list[dict[str, object]]:
    (grid,) = [grid for grid in [*all_tables(report), *size_tables(report)] if grid.title.startswith(start)]
    assert all(len(row) == len(grid.columns) for row in grid.rows)
    return [dict(zip(grid.columns, row, strict=True)) for row in grid.rows]


def title(report: dict[str, Any], start: str) -> str:
    return next(grid.title for grid in all_tables(report) if grid.title.startswith(start))


def test_stages_are_shown_with_their_share_of_the_whole(report: dict[str, Any]) -> None:
    step, whole = table(report, "From a file")
    assert (step["calls"], step["median, ms"], step["share, %"]) == (2, "200", "25")
    assert (whole["stage"], whole["share, %"]) == (TOTAL, "100")
    assert "2048 x 1024 px" in title(report, "From a file")
    assert "1.25 images/s" in title(report, "From a file")


def test_graphs_are_shown_with_their_fraction_of_the_best_rate(report: dict[str, Any]) -> None:
    encoder, _, everything = table(report, "The network's separate graphs")
    assert (encoder["GFLOP/s"], encoder["of the matrix rate, %"]) == ("200", "50")
    assert (everything["GFLOP a call"], everything["a call, ms"], everything["of the matrix rate, %"]) == (
        "80.0",
        "500",
        "40",
    )


def test_how_much_slower_is_a_ratio_within_the_run(report: dict[str, Any]) -> None:
    rows = table(report, "The network on one image")
    assert [row["times slower"] for row in rows] == ["1", "3", "3,000", ""]
    assert rows[2]["note"] == "extrapolated"
    assert "times slower than: the service, fp32, cpu" in title(report, "The network on one image")


def test_what_was_not_measured_says_why(report: dict[str, Any]) -> None:
    cuda = table(report, "The network on one image")[-1]
    assert (cuda["ms an image"], cuda["note"]) == ("not measured", "there is no GPU")


def test_the_best_batch_is_marked(report: dict[str, Any]) -> None:
    one, two = table(report, "Several images at once")
    assert (one["images/s"], one["note"]) == ("2", "")
    assert (two["images/s"], two["note"], two["of the matrix rate, %"]) == ("2.5", "best", "62")


def test_the_best_of_the_plain_products_is_marked(report: dict[str, Any]) -> None:
    assert [(row["by"], row["GFLOP/s"], row[""]) for row in table(report, "What the device does")] == [
        ("Conv", "400", "best"),
        ("MatMul", "200", ""),
    ]


def test_sizes_have_a_row_each_and_say_what_failed(report: dict[str, Any]) -> None:
    small, large = table(report, "By the size")
    assert (small["size, px"], small[TOTAL], small["peak memory, MiB"]) == ("1024 x 1024", "800", "512")
    assert (large[TOTAL], large["peak memory, MiB"]) == ("3,200", "not measured: no memory")


def test_a_process_that_failed_says_why(report: dict[str, Any]) -> None:
    report["process"] = {"seconds": None, "peak_bytes": 0, "failure": "rejected"}
    assert table(report, "A fresh")[0]["value"] == "not measured: rejected"


def test_a_report_of_torch_alone_has_the_tables_that_it_can_have(report: dict[str, Any]) -> None:
    alone = {key: report[key] for key in ("format", "environment", "warnings", "rates", "comparison")}
    alone["environment"] = {key: value for key, value in report["environment"].items() if key != "engine_device"}
    assert [grid.title.split()[0] for grid in all_tables(alone)] == ["The", "Several", "What"]
    assert list(document_bodies(alone)) == ["bench"]


def test_without_the_service_the_fastest_of_the_same_weights_is_the_reference() -> None:
    rows = [
        Row("eager", "a", "cpu", seconds=flat(2.0)),
        Row("compiled", "b", "cpu", seconds=flat(1.0)),
        Row("control", "c", "cpu", seconds=flat(0.1)),
        Row("paper", "d", "cpu", seconds=flat(0.2)),
    ]
    assert reference_row(rows) == rows[1]
    assert reference_row([]) is None


def test_a_document_says_where_it_was_measured_and_that_there_was_no_gpu(report: dict[str, Any]) -> None:
    report["warnings"] = ["the machine was busy"]
    bodies = document_bodies(report)
    assert list(bodies) == ["bench", "sizes"]
    for part in ("a processor, 2 cores", "commit abc1234", "GPU: not measured", "**Note:** the machine was busy."):
        assert part in bodies["bench"]
    assert ("network", "tiny 0, 1 views, steps 2, grid 64") in environment_facts(report)


def test_figures_of_a_gpu_have_a_place_of_their_own(report: dict[str, Any]) -> None:
    report["environment"] |= {"device": "cuda", "gpu": "a GPU"}
    assert list(document_bodies(report)) == ["bench-cuda", "sizes"]


def test_a_row_comes_back_from_json_as_it_was() -> None:
    row = Row("eager", "torch", "cpu", "bf16", 2, flat(0.5), 1e9, 100, 66.0, {"encode": 0.1}, "note")
    assert Row.from_json(row.to_json()) == row
    assert row.to_json()["images_per_s"] == 4.0
