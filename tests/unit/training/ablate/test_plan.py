"""What is trained and what is only sampled."""

import pytest

from training.ablate.plan import KINDS, STUDIES, Cell, Study, Values, Variant, cells_of, preset_of, trainings_of
from training.diffusion import sampling_of
from training.preset import Preset


@pytest.fixture
def values(ablation: Preset) -> Values:
    return Values.of(ablation)


def test_the_grid_is_two_trainings_sampled_in_four_ways(values: Values) -> None:
    found = trainings_of(["grid"], values)
    assert {variant.offset_noise for variant in found} == {0.0, 0.1}
    assert [[cell.way.kind for cell in cells] for cells in found.values()] == [list(KINDS), list(KINDS)]


@pytest.mark.parametrize(("study", "trainings"), [("lambda", 5), ("omega", 1), ("b", 1), ("steps", 1)])
def test_of_the_sweeps_only_lambda_trains_anew(values: Values, study: Study, trainings: int) -> None:
    assert len(trainings_of([study], values)) == trainings


@pytest.mark.parametrize("study", STUDIES)
def test_the_base_is_part_of_every_study(values: Values, study: Study) -> None:
    assert Cell(values.base, values.way()) in cells_of(study, values)


def test_a_cell_of_several_studies_is_measured_once(values: Values) -> None:
    cells = [cell for found in trainings_of(STUDIES, values).values() for cell in found]
    assert len(cells) == len(set(cells)) == len({cell.name for cell in cells})
    assert set(cells) == {cell for study in STUDIES for cell in cells_of(study, values)}


def test_the_base_is_trained_first(values: Values) -> None:
    assert next(iter(trainings_of(STUDIES, values))) == values.base


def test_the_steps_go_from_one_to_a_thousand(values: Values) -> None:
    steps = {cell.way.steps for cell in cells_of("steps", values)}
    assert steps == {1, 2, 4, 10, 20, 50, 100, 250, 1000}


def test_the_base_is_the_papers_method_with_predicted_noise(ablation: Preset, values: Values) -> None:
    assert (values.offset_noise, values.omega, values.b, values.steps) == (0.1, 3.0, 1.4, 1000)
    assert ablation.denoiser.prediction == "eps"
    assert sampling_of(ablation).sampler == "ddpm"


def test_a_variant_changes_one_thing_of_the_training(ablation: Preset) -> None:
    changed = preset_of(ablation, Variant(0.2, scaled_condition=True)).diffusion
    assert (changed.offset_noise, changed.scaled_condition) == (0.2, True)
    assert changed.model_copy(update={"offset_noise": 0.1, "scaled_condition": False}) == ablation.diffusion


def test_a_way_keeps_the_bound_and_percentile_of_the_preset(ablation: Preset, values: Values) -> None:
    clipping = values.way("dynamic_thresholding").clipping(ablation.clipping)
    assert (clipping.kind, clipping.percentile, clipping.bound) == ("dynamic_thresholding", 0.995, 1.0)
    assert values.way(omega=6.0).clipping(ablation.clipping).omega == 6.0
