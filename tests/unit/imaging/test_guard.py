"""The guard: every figure answers to its fault, good results pass, and a refusal names what was beyond which bound."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from model.bundle import FusionSpec
from pacs_node.config import Device, GuardSettings
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.fit import GridImage, to_grid
from pacs_node.imaging.fuse import native_layer, quantised, subtract_bone
from pacs_node.imaging.guard import FIGURES, Opinions, check_guard, guard_figures
from pacs_node.records import FloatImage, Radiograph
from tests.unit.imaging.synthetic import radiograph
from training.corruptions import CORRUPTIONS, Scene, corrupted
from training.guard_table import good_result, read_any

FUSION = FusionSpec(highpass_px=16)
GRID = 512


def chest() -> tuple[FloatImage, FloatImage]:
    """A soft chest of 600 x 520 px with lungs, vessels and noise, and ribs that were added to it; P-values."""
    rows, columns = np.mgrid[0:600, 0:520] / 520
    rng = np.random.default_rng(4)
    lungs = sum(np.exp(-((((columns - x) / 0.17) ** 2 + ((rows - 0.55) / 0.35) ** 2) ** 2)) for x in (0.27, 0.73))
    vessels = sum(
        np.exp(-(((columns - 0.5 - slope * (rows - 0.5)) / 0.008) ** 2)) * (rows > 0.55) for slope in (-0.9, -0.6, 0.7)
    )
    texture = gaussian_filter(rng.normal(0, 1, rows.shape), 1.5) * 0.02
    soft = 0.75 - 0.5 * lungs + 0.08 * vessels * lungs + texture
    ribs = np.zeros_like(soft)
    for k in range(7):
        distance = (rows - (0.2 + 0.11 * k) - 0.25 * (columns - 0.5) ** 2) / 0.02
        ribs += 0.08 * np.exp(-(distance**4))
    return soft.astype(np.float32), ribs.astype(np.float32)


def good() -> tuple[Radiograph, GridImage, FloatImage, Opinions]:
    """A radiograph, and a result whose layer is its ribs; the views differ by a tenth of them."""
    soft, ribs = chest()
    source = radiograph(soft + ribs, bits=12)
    grid_image = to_grid(source, GRID)
    only_ribs = to_grid(Radiograph(ribs, None, 12, source.ds), GRID)
    layer = ((only_ribs.pixels[0, 0] + 1) / 2 * (only_ribs.high - only_ribs.low) + only_ribs.low).astype(np.float32)
    layer = layer / np.float32(grid_image.high - grid_image.low) * 2  # in the network's units
    result = subtract_bone(source, native_layer(layer, source, grid_image, FUSION)).astype(np.float32) / np.float32(
        4095
    )
    return source, grid_image, result, Opinions([layer * np.float32(0.95), layer, layer * np.float32(1.05)])


def figures_of(result: FloatImage, opinions: Opinions | None = None) -> dict[str, float]:
    source, grid_image, _, said = good()
    return guard_figures(source, result, grid_image, opinions or said, FUSION)


def withheld(figures: dict[str, float], **settings: Any) -> Rejected | None:
    try:
        check_guard(figures, GuardSettings(**settings))
    except Rejected as refusal:
        return refusal
    return None


def test_a_result_without_its_ribs_passes() -> None:
    _, _, result, _ = good()
    assert withheld(figures_of(result)) is None


def test_a_result_that_changed_nothing_passes() -> None:
    source, grid_image, _, opinions = good()
    none = Opinions([np.zeros_like(layer) for layer in opinions.views])
    same = quantised(source.pixels, 12).astype(np.float32) / np.float32(4095)
    figures = guard_figures(source, same, grid_image, none, FUSION)
    assert withheld(figures) is None
    assert figures["largest_change"] < 1 / 4095


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_corrupted_result_is_withheld(kind: str, seed: int) -> None:
    source, grid_image, result, _ = good()
    scene = Scene(source.pixels, result, grid_image.low, grid_image.high)
    refusal = withheld(figures_of(corrupted(kind, scene, seed)))
    assert refusal is not None
    assert refusal.reason is ReasonCode.GUARD_REFUSED


def test_each_figure_answers_to_its_fault() -> None:
    _, _, result, opinions = good()
    bounds, before = GuardSettings().bounds(), figures_of(result)
    spot = result.copy()
    spot[300, 260] = 1.0
    assert figures_of(spot)["largest_change"] > bounds["largest_change"] / 2 > before["largest_change"]
    assert figures_of(np.clip(result * 1.6, 0, 1))["clipped_share"] > bounds["clipped_share"]
    assert figures_of(np.roll(result, 2, axis=1))["displacement_px"] == pytest.approx(2 * 512 / 600, rel=0.2)
    assert figures_of(result * np.float32(0.85))["low_frequency_shift"] > bounds["low_frequency_shift"]
    stripes = result + np.float32(0.02) * ((np.arange(520) * 512 // 600 // 8) % 2).astype(np.float32)
    assert figures_of(stripes)["tile_ratio"] > bounds["tile_ratio"]
    views = [opinions.views[0], *opinions.views[1:]]
    views[0] = views[0].copy()
    views[0][240:270, 200:230] += 0.8  # one view sees a bone that the others do not
    assert figures_of(result, Opinions(views))["views_apart"] > bounds["views_apart"]
    other = Opinions(opinions.views, views[0])
    assert figures_of(result, other)["seeds_apart"] > bounds["seeds_apart"]


def test_every_figure_has_a_bound_and_words() -> None:
    source, grid_image, result, opinions = good()
    both = Opinions(opinions.views, opinions.views[0])
    assert set(guard_figures(source, result, grid_image, both, FUSION)) == set(FIGURES)
    assert set(GuardSettings().bounds()) == set(FIGURES)


def test_a_refusal_names_figure_and_bound_and_can_be_switched_off() -> None:
    figures = {"tile_ratio": 14.4, "clipped_share": 0.0}
    refusal = withheld(figures)
    assert refusal is not None
    assert "tile_ratio 14.4, bound 3.2" in refusal.explanation
    assert "clipped_share" not in refusal.explanation
    assert withheld(figures, withhold=False) is None
    assert withheld(figures, tile_ratio=20.0) is None


def test_a_figure_that_is_no_number_is_beyond_every_bound() -> None:
    assert withheld({"tile_ratio": float("nan")}) is not None


def test_padding_is_no_change() -> None:
    source, grid_image, result, opinions = good()
    padding = np.zeros(source.pixels.shape, bool)
    padding[:80] = True
    padded = Radiograph(np.where(padding, np.float32(0), source.pixels), padding, 12, source.ds)
    shown = np.where(padding, np.float32(0.7), result)
    figures = guard_figures(padded, shown, grid_image, opinions, FUSION)
    assert figures["largest_change"] < 0.5


def test_real_radiographs_pass_and_their_corrupted_results_do_not(shared_data: Path) -> None:
    """Six of the half that the bounds were not chosen on; `python -m training.guard_table` makes the whole table."""
    engine = open_engine(load_bundle("default"), Device.CPU, 1)
    paths = sorted((shared_data / "cxr").iterdir())[5::26]
    missed = []
    for number, path in enumerate(paths):
        made = good_result(read_any(path), engine)
        assert withheld(made.figures()) is None, path.name
        missed += [kind for kind in CORRUPTIONS if withheld(made.figures(corrupted(kind, made.scene, number))) is None]
    # of thirty; two of these six vessels have peaks of 5 % of the range, which no bound can tell from a rib's rim
    assert len(missed) <= 2
    assert set(missed) <= {"erased vessel"}


def test_what_fusion_takes_for_no_bone_may_be_judged_otherwise() -> None:
    """A bump in every view, left in the companion: with `spare_px` that is what fusion does, without it a fault."""
    source, grid_image, result, opinions = good()
    y, x = np.mgrid[:GRID, :GRID]
    bump = np.float32(0.15) * np.exp(-((y - 262) ** 2 + (x - 150) ** 2) / 2 / 6.0**2).astype(np.float32)
    seen = Opinions([layer + bump for layer in opinions.views])
    spares, takes_all = (
        guard_figures(source, result, grid_image, seen, FUSION.model_copy(update={"spare_px": px})) for px in (64, 0)
    )
    bound = GuardSettings().bounds()["beyond_views"]
    assert spares["beyond_views"] < bound < takes_all["beyond_views"]


def test_one_line_is_no_seam() -> None:
    """The edge of a collimator: a step at one line; seams are at every tile."""
    _, _, result, _ = good()
    bounds, line = GuardSettings().bounds(), result.copy()
    line[300, :] += np.float32(0.2)
    assert figures_of(line)["tile_ratio"] < bounds["tile_ratio"]
