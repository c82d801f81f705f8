"""The real pairs: what is out of register is brought into it, what is a negative is turned, strangers are refused."""

from pathlib import Path

import numpy as np
import pytest

from training.ingest.layouts import Wish, find_pairs
from training.ingest.normalise import Recipe, normalise
from training.ingest.refusal import Refused

RECIPE = Recipe(size=512)


def two(shared_data: Path, name: str, other: str | None = None) -> tuple[Path, Path]:
    folder = shared_data / "pairs"
    (cxr,), (soft,) = folder.glob(f"{name}_cxr.*"), folder.glob(f"{other or name}_soft.*")
    return cxr, soft


def test_all_pairs_are_found(shared_data: Path) -> None:
    found = find_pairs(shared_data / "pairs", Wish())
    assert (found.layout, len(found.pairs), found.loners) == ("suffixes", 8, [])


def test_the_pair_that_is_out_of_register_is_brought_into_it(shared_data: Path) -> None:
    facts = normalise(*two(shared_data, "gusarevdes_051"), RECIPE).facts
    assert facts["residual_before_px"] > 2  # 2.4 px of 1024 were measured
    assert facts["residual_px"] < 0.5  # .21
    assert facts["matched_share"] > 0.8


@pytest.mark.parametrize("name", ["bsdiff_0", "gusarevdes_001"])
def test_aligned_dual_energy_pairs_hardly_move(shared_data: Path, name: str) -> None:
    made = normalise(*two(shared_data, name), RECIPE)
    assert made.facts["shift_px"] < 1
    assert made.facts["residual_px"] < 0.5
    assert not made.facts["cxr_inverted"]
    assert not made.facts["soft_inverted"]
    fitted = np.interp(made.soft, *np.array(made.facts["tone_curve"]).T)
    assert np.quantile(made.cxr - fitted, 0.05) > -0.06  # what is left is bone, which only brightens


def test_the_jsrt_pair_is_turned_positive(shared_data: Path) -> None:
    facts = normalise(*two(shared_data, "jsrt_JPCLN139aug"), RECIPE).facts
    assert (facts["cxr_inverted"], facts["soft_inverted"]) == (True, True)
    assert facts["shift_px"] < 0.25


def test_the_twin_of_somebody_else_is_refused(shared_data: Path) -> None:
    with pytest.raises(Refused) as told:
        normalise(*two(shared_data, "gusarevdes_001", "gusarevdes_011"), RECIPE)
    assert told.value.reason == "not_twins"
