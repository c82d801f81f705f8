"""What `pacs-node evaluate --lesions` writes: a page with its picture, and every figure as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacs_node.bench.markdown import as_markdown
from training.evaluate.facts import RESEARCH_USE
from training.evaluate.markdown import facts_table
from training.evaluate.report import without_nan
from training.lesions.plots import curves
from training.lesions.run import Found
from training.lesions.summary import target
from training.lesions.tables import HOW_IT_IS_MADE, HOW_TO_READ, STRATIFIED, grids, headline

__all__ = ["as_json", "write_json", "write_page"]


def as_json(found: Found, facts: Mapping[str, str]) -> dict[str, Any]:
    """Every lesion with its figures; null where one could not be measured."""
    groups = {
        ("pairs" if known else "radiographs"): [each for each in found.lesions if each.truth_known is known]
        for known in STRATIFIED
    }
    document = {
        "note": RESEARCH_USE,
        "facts": dict(facts),
        "target": {name: asdict(target(lesions)) for name, lesions in groups.items() if lesions},
        "skipped": found.skipped,
        "passes": [asdict(each) for each in found.passes],
        "lesions": [asdict(each) | {"to_noise_gain": each.remains.to_noise_gain} for each in found.lesions],
    }
    cleaned: dict[str, Any] = without_nan(document)
    return cleaned


def write_json(path: Path, found: Found, facts: Mapping[str, str]) -> Path:
    """The document of `as_json`."""
    path.write_text(json.dumps(as_json(found, facts), indent=1) + "\n", encoding="utf-8")
    return path


def write_page(path: Path, found: Found, facts: Mapping[str, str]) -> list[Path]:
    """A page of Markdown, and its curves as SVG beside it.

    Returns
    -------
    The files that were written.
    """
    written = [path]
    parts = ["# Lesions", f"**{RESEARCH_USE}**", "\n".join(f"- {sentence}" for sentence in headline(found))]
    parts.append(facts_table(facts))
    for known, name in STRATIFIED.items():
        lesions = [each for each in found.lesions if each.truth_known is known]
        if lesions:
            picture = path.with_name(f"{path.stem}-{'pairs' if known else 'radiographs'}.svg")
            picture.write_bytes(curves(lesions))
            written.append(picture)
            parts.append(f"![{name}: contrast over the size of nodules]({picture.name})")
    parts.append(as_markdown(grids(found)))
    parts += ["## How it is made", _list(HOW_IT_IS_MADE), "## How to read the figures", _list(HOW_TO_READ)]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return written


def _list(sentences: tuple[str, ...]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
