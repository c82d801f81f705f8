"""The page and its plots: complete, and the same bytes from the same figures."""

import re
from collections.abc import Callable
from pathlib import Path

from training.ablate.compare import Seen
from training.ablate.measure import Measured
from training.ablate.page import write_page
from training.ablate.plan import STUDIES, Cell, Values, Variant, cells_of
from training.ablate.plots import plot
from training.ablate.results import Results
from training.preset import Preset
from training.stage import Outcome

Told = Callable[[Callable[[Cell, int], float]], Seen]


def complete(seen: Seen, ablation: Preset) -> Seen:
    """With the facts that a run leaves."""
    settings = {"preset": ablation.model_dump(mode="json", exclude_defaults=True)}
    settings["budget"] = {"autoencoder_steps": 6, "diffusion_steps": 7, "framings": 8, "cpu_minutes": None}
    seen.results.document["settings"] = settings
    machine = {"threads": 1, "cpu": "A processor", "cores": 2, "system": "Linux", "versions": {"torch": "2"}}
    seen.results.note("facts", {"environment": machine | {"date": "today", "commit": None}, "command": "pacs-node x"})
    seen.results.note("facts", {"data": {"trained on": "some pairs"}, "autoencoder_weights": 3, "denoiser_weights": 4})
    seen.results.add_training(Variant(0.1), 0, Outcome("finished", 7, 2.0, Path(), 90.0))
    return seen


def test_the_page_shows_every_cell_and_every_plot(told_by: Told, ablation: Preset, tmp_path: Path) -> None:
    seen = complete(told_by(lambda _cell, _seed: 28.0), ablation)
    written = write_page(seen, STUDIES, tmp_path / "ablation.md")
    text = (tmp_path / "ablation.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert shown == [f"ablation-{study}.svg" for study in STUDIES]
    assert sorted(path.name for path in written) == sorted(["ablation.md", *shown])
    rows = sum(line.count("28.00 ± ") for line in text.splitlines())
    assert rows == sum(len(cells_of(study, seen.values)) for study in STUDIES)
    assert "Research use only" in text
    assert "`pacs-node x`" in text


def test_the_same_figures_give_the_same_bytes(told_by: Told, ablation: Preset, tmp_path: Path) -> None:
    seen = complete(told_by(lambda cell, seed: 27.0 + seed + (cell.way.b or 0)), ablation)
    first = [path.read_bytes() for path in write_page(seen, STUDIES, tmp_path / "a" / "p.md")]
    assert first == [path.read_bytes() for path in write_page(seen, STUDIES, tmp_path / "b" / "p.md")]


def test_a_plot_says_no_date(told_by: Told) -> None:
    assert "<dc:date>" not in plot(told_by(lambda _cell, _seed: 28.0), "omega")


def test_a_study_that_is_not_finished_is_left_out(ablation: Preset, told_by: Told, tmp_path: Path) -> None:
    whole = complete(told_by(lambda _cell, _seed: 28.0), ablation)
    results = Results(tmp_path / "part", {"anything": 1})
    results.document |= {key: value for key, value in whole.results.document.items() if key != "cells"}
    values = Values.of(ablation)
    for cell in cells_of("b", values):
        figures = whole.figures(cell, "psnr")[0]
        results.add_cell(cell, 0, Measured([{"psnr": float(each), "bsr_tone": 0.1} for each in figures], 1.0))
    write_page(Seen(results, values), STUDIES, tmp_path / "p.md")
    assert sorted(path.name for path in tmp_path.glob("p*")) == ["p-b.svg", "p.md", "part"]


def test_cells_without_numbers_are_drawn_and_told(told_by: Told, ablation: Preset, tmp_path: Path) -> None:
    seen = complete(told_by(lambda _cell, _seed: 28.0), ablation)
    nothing = {"bsr_tone": float("nan"), "psnr": float("nan"), "mse": float("nan")}
    for study in STUDIES:
        for cell in cells_of(study, seen.values):
            for seed in (0, 1) if cell.way.kind == "none" else ():
                seen.results.add_cell(cell, seed, Measured([nothing] * 4, 1.0))
    write_page(seen, STUDIES, tmp_path / "p.md")
    text = (tmp_path / "p.md").read_text(encoding="utf-8")
    assert "with offset noise no number (collapsed)" in text
    assert "no number" in (tmp_path / "p-grid.svg").read_text(encoding="utf-8")
    assert "no number" in (tmp_path / "p-steps.svg").read_text(encoding="utf-8")
