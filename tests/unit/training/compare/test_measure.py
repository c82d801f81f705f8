"""What an earlier run measured is read again, as long as it is of exactly these pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from pacs_node.records import FloatImage, Radiograph
from tests.unit.training.evaluate.conftest import chest
from training.compare.ground import HeldOut
from training.compare.measure import Keep, Measured, Prepared, measure, pixels_of, prepare
from training.evaluate.cases import Case, Twins
from training.evaluate.scores import Judge


def _measured(folder: Path, seed: int) -> tuple[Measured, int]:
    """Of one pair that is always called the same, and how often its output was made."""
    made: list[str] = []

    def load() -> Twins:
        cxr, soft = chest(64, 64, seed)
        return Twins(Radiograph(cxr, None, 16, Dataset()), soft)

    def make(case: Case, pair: Prepared) -> FloatImage:
        made.append(case.name)
        return pair.reference.truth

    case = Case("scanner_0", "scanner", True, load)
    held_out = HeldOut("real", "1 pair", (case,), {case.name: case.name}, False)
    prepared = {case.name: prepare(case, 64)}
    keep = Keep(folder / "system", "the same", pixels_of(prepared))
    return measure(make, (held_out, prepared), Judge(None), keep, lambda: None), len(made)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    first, again = _measured(tmp_path, 1), _measured(tmp_path, 1)
    assert (first[1], again[1]) == (1, 0)
    assert again[0].scores == first[0].scores


def test_other_pictures_of_the_same_name_are_measured_anew(tmp_path: Path) -> None:
    first, other = _measured(tmp_path, 1), _measured(tmp_path, 2)
    assert (first[1], other[1]) == (1, 1)
    assert not np.array_equal(other[0].pictures["scanner_0"], first[0].pictures["scanner_0"])


def test_what_the_first_comparisons_kept_is_still_read(tmp_path: Path) -> None:
    _measured(tmp_path, 1)
    kept = tmp_path / "system.json"
    told = json.loads(kept.read_text(encoding="utf-8"))
    del told["pixels"]
    kept.write_text(json.dumps(told), encoding="utf-8")
    assert _measured(tmp_path, 1)[1] == 0


@pytest.mark.parametrize("broken", ["", "{"])
def test_half_a_file_is_no_obstacle(tmp_path: Path, broken: str) -> None:
    _measured(tmp_path, 1)
    (tmp_path / "system.json").write_text(broken, encoding="utf-8")
    assert _measured(tmp_path, 1)[1] == 1
