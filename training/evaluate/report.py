"""The files of a report: `report.html`, `report.md` with its sheets, `evaluation.json`."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.evaluate.facts import RESEARCH_USE
from training.evaluate.html import html_report
from training.evaluate.markdown import markdown_report
from training.evaluate.pictures import jpeg, sheet
from training.evaluate.run import Evaluation, Row
from training.evaluate.tables import mean_scores, tables

__all__ = ["as_json", "without_nan", "write_markdown", "write_report"]

PAIRS = "Real pairs: input, output, truth, layer"
RADIOGRAPHS = "Radiographs without a truth: input, output, layer"


def as_json(result: Evaluation, facts: Mapping[str, str]) -> dict[str, Any]:
    """All numbers; null where there is none."""
    dual = [case for case in result.cases if case.dual_energy]
    document = {
        "note": RESEARCH_USE,
        "facts": dict(facts),
        "pairs": [{"name": c.name, "source": c.source, "dual_energy": c.dual_energy} for c in result.cases],
        "shipped": result.shipped,
        "rows": [_row(row, mean_scores(row, dual) if dual else {}) for row in result.rows],
        "reconstruction": [asdict(each) | {"mean_db": each.mean_db} for each in result.reconstructions],
        "seeds": [asdict(each) for each in result.seeds],
        "nodules": [asdict(each) for each in result.nodules],
    }
    cleaned: dict[str, Any] = without_nan(document)
    return cleaned


def _row(row: Row, mean: dict[str, float]) -> dict[str, Any]:
    facts = {"key": row.key, "title": row.title, "kind": row.kind, "seconds": round(row.seconds, 3)}
    return facts | {"mean_dual_energy": mean, "by_pair": row.scores}


def without_nan(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_report(folder: Path, result: Evaluation, facts: Mapping[str, str], notes: list[str]) -> list[Path]:
    """Write the report into a folder, over an earlier one.

    Returns
    -------
    The files, the page for a browser first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = tables(result)
    sheets = {
        caption: (name, jpeg(sheet(panels)))
        for caption, name, panels in (
            (PAIRS, "pairs.jpg", result.pair_panels),
            (RADIOGRAPHS, "radiographs.jpg", result.radiograph_panels),
        )
        if panels
    }
    embedded = {caption: data for caption, (_, data) in sheets.items()}
    beside = {caption: name for caption, (name, _) in sheets.items()}
    files: dict[str, bytes] = {
        "report.html": html_report(facts, made, embedded, notes).encode(),
        "report.md": markdown_report(facts, made, beside, notes).encode(),
        "evaluation.json": (json.dumps(as_json(result, facts), indent=1) + "\n").encode(),
        **dict(sheets.values()),
    }
    for name, data in files.items():
        _replace(folder / name, data)
    return [folder / name for name in files]


def write_markdown(path: Path, result: Evaluation, facts: Mapping[str, str], notes: list[str]) -> None:
    """One page of tables without any picture: the images of a set may not be passed on with it."""
    _replace(path, markdown_report(facts, tables(result), None, notes).encode())


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data)
    temporary.replace(path)
