"""The bone image: readable, scaled as it says, beside the companion and never in its place."""

import re

import numpy as np
import pytest

from pacs_node.config import OutputSettings
from pacs_node.derive.bone_image import IMAGE_TYPE, derive_bone_image, scale_of
from pacs_node.records import FloatImage, Inference
from tests.sources import CREATED_AT, PLAIN, bundle, companion_of, inference, reread, source

SCALE = re.compile(r"value 0 is a layer of (\S+), (\d+) one of (\S+) of the full")


def layer() -> FloatImage:
    """A rib across the image: bright, and negative beside it, as a high-passed layer is."""
    rows = np.linspace(-1, 1, 301, dtype=np.float32)[:, None]
    return np.repeat(0.12 * np.exp(-((rows / 0.05) ** 2)) - 0.03 * np.exp(-((rows / 0.3) ** 2)), 257, axis=1)


def with_layer(bone_layer: FloatImage) -> Inference:
    made = inference(source())
    return Inference(made.soft_tissue, bone_layer, made.noise_seed, made.steps)


def test_the_layer_can_be_had_back_from_the_image_by_the_scale_it_states() -> None:
    made = reread(derive_bone_image(source(), with_layer(layer()), bundle(), PLAIN, CREATED_AT))
    found = SCALE.search(made.DerivationDescription)
    assert found is not None
    low, top, high = (float(value) for value in found.groups())
    assert top == 4095
    expected = np.clip(layer(), low, high)
    # half a grey level, and the layer's float32
    np.testing.assert_allclose(low + made.pixel_array / top * (high - low), expected, atol=0.51 * (high - low) / top)
    assert np.abs(expected - layer()).max() < 0.005, "hardly anything is cut"


def test_the_image_uses_its_grey_scale_and_bone_is_the_bright_part() -> None:
    pixels = derive_bone_image(source(), with_layer(layer()), bundle(), PLAIN, CREATED_AT).pixel_array
    assert pixels.min() == 0
    assert pixels.max() == 4095
    assert pixels[150].mean() > 4 * pixels[10].mean()


@pytest.mark.parametrize("value", [0.0, 1e-4])
def test_a_layer_of_nearly_nothing_is_not_blown_up(value: float) -> None:
    low, high = scale_of(np.full((64, 64), value, np.float32))
    assert high - low >= 0.01
    noise = np.random.default_rng(1).normal(0, 1e-4, (301, 257)).astype(np.float32)
    pixels = derive_bone_image(source(), with_layer(noise), bundle(), PLAIN, CREATED_AT).pixel_array
    assert np.ptp(pixels) < 0.2 * 4095


def test_it_stands_beside_the_companion_with_uids_of_its_own() -> None:
    companion, bone = (
        companion_of(source()),
        derive_bone_image(source(), inference(source()), bundle("ab" * 32), PLAIN, CREATED_AT),
    )
    assert tuple(bone.ImageType) == IMAGE_TYPE
    assert bone.StudyInstanceUID == companion.StudyInstanceUID
    assert bone.SeriesInstanceUID != companion.SeriesInstanceUID
    assert bone.SOPInstanceUID != companion.SOPInstanceUID
    assert bone.SeriesNumber == companion.SeriesNumber + 1
    assert bone.SourceImageSequence[0].ReferencedSOPInstanceUID == source().SOPInstanceUID
    again = derive_bone_image(source(), inference(source()), bundle("ab" * 32), PLAIN, CREATED_AT)
    assert again.SOPInstanceUID == bone.SOPInstanceUID
    assert again.PixelData == bone.PixelData


def test_what_else_is_made_beside_a_companion_does_not_change_its_identity() -> None:
    alone = companion_of(source())
    for extra in ("bone_image", "presentation_states", "key_object"):
        settings = OutputSettings.model_validate({"burned_in_label": False, extra: True})
        assert companion_of(source(), settings).SOPInstanceUID == alone.SOPInstanceUID


def test_research_use_is_said_in_words_and_burned_in() -> None:
    bone = derive_bone_image(source(), inference(source()), bundle(), OutputSettings(), CREATED_AT)
    assert "Research use only" in bone.ImageComments
    assert bone.BurnedInAnnotation == "YES"
    assert bone.ContentQualification == "RESEARCH"
