"""A report -> the tables that people read; a report is what `--json` writes, so an old one can be shown again."""

from collections.abc import Callable, Sequence
from typing import Any

from pacs_node.bench.rows import TOTAL, Grid, Part, Rate, Row, StageTime, best_rate

__all__ = ["all_tables", "reference_row", "size_tables"]

Report = dict[str, Any]
MIB = 2**20
GIGA = 1e9
NOT_MEASURED = "not measured"


def all_tables(report: Report) -> list[Grid]:
    """Every table that the report has figures for, sizes apart."""
    makers: tuple[Callable[[Report], Grid | None], ...] = (_stages, _parts, _process, _comparison, _batches, _rates)
    return [grid for grid in (make(report) for make in makers) if grid is not None]


def size_tables(report: Report) -> list[Grid]:
    """Time of each stage and peak memory by the size of the radiograph."""
    sizes = report.get("sizes") or []
    if not sizes:
        return []
    times = [[StageTime.from_json(each) for each in size["stages"]] for size in sizes]
    names = [stage.name for stage in times[0]]
    rows = [
        (
            f"{size['rows']} x {size['columns']}",
            *(_ms(_by_name(stages, name)) for name in names),
            _mib(size["peak_bytes"]) if size["peak_bytes"] else f"{NOT_MEASURED}: {size['failure']}",
        )
        for size, stages in zip(sizes, times, strict=True)
    ]
    return [
        Grid("By the size of the radiograph, ms a companion", ("size, px", *names, "peak memory, MiB"), rows),
    ]


def _by_name(stages: Sequence[StageTime], name: str) -> float | None:
    return next((stage.per_image.median for stage in stages if stage.name == name), None)


def _stages(report: Report) -> Grid | None:
    stages = [StageTime.from_json(each) for each in report.get("stages") or []]
    if not stages:
        return None
    whole = next(stage for stage in stages if stage.name == TOTAL).per_image.median
    rows = [
        (
            stage.name,
            stage.calls,
            _ms(stage.per_image.median),
            f"{_ms(stage.per_image.low)} to {_ms(stage.per_image.high)}",
            f"{100 * stage.per_image.median / whole:.0f}",
        )
        for stage in stages
    ]
    count, image = stages[0].per_image.count, report["image"]
    title = (
        f"From a file to its companion, one after the other ({image['rows']} x {image['columns']} px, {count} times): "
        f"{1 / whole:.2f} images/s"
    )
    return Grid(title, ("stage", "calls", "median, ms", "quartiles, ms", "share, %"), rows)


def _parts(report: Report) -> Grid | None:
    parts = [Part.from_json(each) for each in report.get("parts") or []]
    if not parts:
        return None
    device = report["environment"]["engine_device"]
    rate = best_rate(_rates_of(report), "fp32", device)
    rows = [_part(part.role, part.calls, part.seconds.median, part.flop, rate) for part in parts]
    seconds = sum(part.calls * part.seconds.median for part in parts)
    rows.append(_part("all", 1, seconds, sum(part.calls * part.flop for part in parts), rate))
    columns = ("graph", "calls", "a call, ms", "GFLOP a call", "GFLOP/s", "of the matrix rate, %")
    return Grid(f"The network's separate graphs on {device}, fp32", columns, rows)


def _part(name: str, calls: int, seconds: float, flop: float, rate: Rate | None) -> tuple[object, ...]:
    share = _percent(flop / seconds / rate.flops) if rate else NOT_MEASURED
    return (name, calls, _ms(seconds), f"{flop / GIGA:.1f}", f"{flop / seconds / GIGA:.0f}", share)


def _process(report: Report) -> Grid | None:
    process = report.get("process")
    if process is None:
        return None
    title = "A fresh `pacs-node process`, file in to companion out, the start of Python and the network included"
    if process["failure"]:
        return Grid(title, ("what", "value"), [("seconds", f"{NOT_MEASURED}: {process['failure']}")])
    seconds, peak = process["seconds"], process["peak_bytes"]
    spread = f"{seconds['median']:.2f} ({seconds['low']:.2f} to {seconds['high']:.2f}, {seconds['count']} times)"
    return Grid(title, ("what", "value"), [("seconds", spread), ("peak memory, MiB", _mib(peak))])


def reference_row(rows: Sequence[Row]) -> Row | None:
    """What the others are compared with: the service's own way, else the fastest that runs the same weights."""
    measured = [row for row in rows if row.seconds and row.batch == 1]
    own = [row for row in measured if row.key == "service"]
    same = [row for row in measured if not row.key.startswith(("paper", "control"))]
    return next(iter(own), None) or min(same, key=_seconds, default=None)


def _seconds(row: Row) -> float:
    return row.seconds.median if row.seconds else float("inf")


def _comparison(report: Report) -> Grid | None:
    rows = [row for row in _rows_of(report) if row.batch == 1]
    reference = reference_row(rows)
    if not rows:
        return None
    rates = _rates_of(report)
    title = "The network on one image, on its grid"
    if reference is not None:
        title += f"; times slower than: {reference.what}, {reference.precision}, {reference.device}"
    columns = (
        "what",
        "device",
        "precision",
        "ms an image",
        "quartiles, ms",
        "times slower",
        "GFLOP",
        "of the matrix rate, %",
        "peak memory, MiB",
        "PSNR to fp32, dB",
        "note",
    )
    return Grid(title, columns, [_compared(row, reference, rates) for row in rows])


def _compared(row: Row, reference: Row | None, rates: Sequence[Rate]) -> tuple[object, ...]:
    head = (row.what, row.device, row.precision)
    if row.seconds is None:
        return (*head, NOT_MEASURED, *[""] * 6, row.missing)
    slower = row.seconds.median / _seconds(reference) if reference else None
    return (
        *head,
        _ms(row.seconds.median),
        f"{_ms(row.seconds.low)} to {_ms(row.seconds.high)}",
        "" if slower is None else _significant(slower),
        "" if row.flop is None else f"{row.flop / GIGA:,.0f}",
        _percent(row.share_of(rates)),
        _mib(row.peak_bytes),
        "" if row.psnr_db is None else f"{row.psnr_db:.1f}",
        row.note,
    )


def _batches(report: Report) -> Grid | None:
    found = _rows_of(report)
    several = {(row.key, row.device) for row in found if row.batch > 1}
    rows = [row for row in found if (row.key, row.device) in several]
    if not rows:
        return None
    fastest = max(rows, key=lambda row: row.images_per_s or 0)
    rates = _rates_of(report)
    shown = [(*_batched(row, rates), "best" if row is fastest else row.missing) for row in rows]
    columns = (
        "what",
        "device",
        "precision",
        "batch",
        "ms a batch",
        "images/s",
        "of the matrix rate, %",
        "peak memory, MiB",
    )
    return Grid("Several images at once", (*columns, "note"), shown)


def _batched(row: Row, rates: Sequence[Rate]) -> tuple[object, ...]:
    head = (row.what, row.device, row.precision, row.batch)
    if row.seconds is None or row.images_per_s is None:
        return (*head, NOT_MEASURED, "", "", "")
    speed, share = _significant(row.images_per_s), _percent(row.share_of(rates))
    return (*head, _ms(row.seconds.median), speed, share, _mib(row.peak_bytes))


def _rates(report: Report) -> Grid | None:
    rates = sorted(_rates_of(report), key=lambda rate: (rate.device, rate.precision, -rate.flops))
    if not rates:
        return None
    best = {id(best_rate(rates, rate.precision, rate.device)) for rate in rates}
    rows: list[tuple[object, ...]] = [
        (rate.by, rate.device, rate.precision, f"{rate.flops / GIGA:,.0f}", "best" if id(rate) in best else "")
        for rate in rates
    ]
    return Grid("What the device does of plain products", ("by", "device", "precision", "GFLOP/s", ""), rows)


def _rows_of(report: Report) -> list[Row]:
    return [Row.from_json(each) for each in report.get("comparison") or []]


def _rates_of(report: Report) -> list[Rate]:
    return [Rate(**each) for each in report.get("rates") or []]


def _significant(value: float) -> str:
    """Three significant digits, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else _significant(1000 * seconds)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


def _mib(size_bytes: float | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / MIB:,.0f}"
