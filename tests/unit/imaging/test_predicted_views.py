"""Views in the pipeline: with a layer that follows the image, all views agree and it lies where it was."""

from collections.abc import Sequence

import numpy as np

from pacs_node.pipeline import predicted_bone
from pacs_node.records import FloatImage
from tests.unit.imaging.engines import described_bundle, one_by_one

GRID = 64


class _Following:
    """Finds a quarter of whatever it is shown; remembers what that was."""

    device = "cpu"

    def __init__(self, count: int) -> None:
        self.spec = described_bundle(grid=GRID, steps=1).spec.model_copy(update={"views": count})
        self.seen: list[FloatImage] = []
        self.refined: list[FloatImage] = []

    def encode(self, image: FloatImage) -> FloatImage:
        self.seen.append(image)
        return np.ones((1, 4, GRID // 8, GRID // 8), np.float32)

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        return np.zeros_like(x_t)

    def decode(self, latents: FloatImage) -> FloatImage:
        shown: FloatImage = self.seen[-1] * np.float32(0.25 if latents.any() else 0.0)
        return shown

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        assert len(set(seeds)) == 1, "the noise of every view is the same"
        return one_by_one(self, images, steps, seeds)

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        self.refined.append(image)
        return 2 * layer


def test_a_layer_that_follows_the_image_lies_in_place_after_four_views_and_is_refined_once() -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (1, 1, GRID, GRID)).astype(np.float32)
    engine = _Following(4)
    layer = predicted_bone(image, engine, 1, 0)
    # float32 sums of four
    np.testing.assert_allclose(layer, 0.5 * image[0, 0], atol=1e-6)
    assert len({shown.tobytes() for shown in engine.seen}) == 4
    assert len(engine.refined) == 1
    np.testing.assert_array_equal(engine.refined[0], image)
