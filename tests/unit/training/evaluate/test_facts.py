"""What a report says about the bundle that it is about."""

from pathlib import Path

from tests.bundles import tiny_bundle
from training.evaluate.facts import model_facts


def test_a_bundle_that_was_trained_on_real_pairs_says_so_and_another_does_not(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    assert "real pairs in its training" not in model_facts(bundle)
    data = {"diffusion": {"provenance": {"data": {"real_pairs": "7, in the last 100 steps"}}}}
    tuned = bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"training": data})})
    assert model_facts(tuned)["real pairs in its training"] == "7, in the last 100 steps"
    data = {"diffusion": {"provenance": {"data": {"real_pairs": "looked at only"}}}}
    looked = bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"training": data})})
    assert "real pairs in its training" not in model_facts(looked)
