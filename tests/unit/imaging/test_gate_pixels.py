"""Which pictures pass the gate, with which tags, and the reason of those that do not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from pacs_node.config import GateSettings
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.gate_network import CLASSES, WEIGHTS, load_network, shipped_network
from pacs_node.imaging.gate_pixels import check_pixels, judge
from pacs_node.imaging.gate_thumbnail import glance_at, with_ranks
from pacs_node.imaging.read import read_radiograph
from pacs_node.records import FloatImage, Radiograph
from tests.unit.imaging.synthetic import radiograph
from training.simulate.pair import simulate_pair


def reason_of(
    pixels: NDArray[np.float32], settings: GateSettings | None = None, *, named: bool = False
) -> ReasonCode | None:
    source = radiograph(np.ascontiguousarray(pixels))
    if named:
        source.ds.BodyPartExamined, source.ds.ViewPosition = "CHEST", "PA"
    try:
        check_pixels(source, settings or GateSettings())
    except Rejected as refusal:
        return refusal.reason
    return None


@pytest.fixture(scope="module")
def chests() -> list[FloatImage]:
    """Six simulated people that the classifier was not trained on."""
    return [simulate_pair(seed, 256).cxr for seed in range(90001, 90007)]


def test_simulated_chests_pass_without_any_tag(chests: list[FloatImage]) -> None:
    assert [reason_of(chest) for chest in chests] == [None] * len(chests)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_chests_are_told_to_be_turned(chests: list[FloatImage], turns: int) -> None:
    reasons = [reason_of(np.rot90(chest, turns), named=True) for chest in chests]
    assert reasons.count(ReasonCode.ROTATED) >= len(chests) - 1


def test_the_sentence_says_by_how_much(chests: list[FloatImage]) -> None:
    for turns, degrees in ((1, "90"), (2, "180"), (3, "90")):
        with pytest.raises(Rejected, match=f"turned by {degrees} degrees"):
            check_pixels(radiograph(np.rot90(chests[0], turns).copy()), GateSettings())


def test_a_negative_is_corrected_and_says_so(chests: list[FloatImage]) -> None:
    padding = np.zeros(chests[0].shape, bool)
    padding[:, :9] = True
    negative = np.where(padding, 0, 1 - chests[0]).astype(np.float32)
    passed = check_pixels(radiograph(negative, padding), GateSettings())
    assert passed.polarity_corrected
    np.testing.assert_allclose(passed.pixels[~padding], chests[0][~padding], atol=1e-6)
    assert not passed.pixels[padding].any()


def test_a_negative_is_refused_where_the_settings_say_so(chests: list[FloatImage]) -> None:
    assert reason_of(1 - chests[0], GateSettings(polarity="refuse")) is ReasonCode.INVERTED


def test_a_chest_that_passes_is_handed_on_unchanged(chests: list[FloatImage]) -> None:
    source = radiograph(chests[0])
    assert check_pixels(source, GateSettings()) is source


def test_nothing_is_looked_at_where_the_settings_say_so() -> None:
    source = radiograph(np.zeros((300, 300), np.float32))
    assert check_pixels(source, GateSettings(pixels=False)) is source


@pytest.mark.parametrize("named", [False, True])
def test_noise_is_no_chest_whatever_its_tags_say(*, named: bool) -> None:
    rng = np.random.default_rng(11)
    for noise in (rng.random((700, 600)), rng.normal(0.5, 0.15, (900, 900)), rng.normal(0.3, 0.1, (300, 400))):
        assert reason_of(np.clip(noise, 0, 1).astype(np.float32), named=named) is ReasonCode.NOT_CHEST


def test_an_even_field_is_blank() -> None:
    field = 0.4 + np.random.default_rng(3).normal(0, 0.003, (600, 600))
    assert reason_of(field.astype(np.float32)) is ReasonCode.BLANK


def test_black_and_white_is_saturated(chests: list[FloatImage]) -> None:
    assert reason_of((chests[0] > 0.5).astype(np.float32)) is ReasonCode.SATURATED


def test_gradients_stripes_and_discs_are_no_chest() -> None:
    rows, columns = np.mgrid[0:500, 0:500] / 500
    pictures = {
        "gradient": columns,
        "diagonal": (rows + columns) / 2,
        "stripes": 0.5 + 0.4 * np.sin(60 * columns),
        "disc": 0.2 + 0.6 * (np.hypot(rows - 0.5, columns - 0.5) < 0.3),
        "chequers": 0.2 + 0.6 * ((rows * 8).astype(int) % 2 ^ (columns * 8).astype(int) % 2),
    }
    passed = {name for name, picture in pictures.items() if reason_of(picture.astype(np.float32), named=True) is None}
    assert passed == set()


def test_a_quarter_of_a_chest_is_refused(chests: list[FloatImage]) -> None:
    reasons = [reason_of(chest[130:230, 20:120]) for chest in chests]
    assert None not in reasons


def test_tags_decide_only_where_the_pixels_are_in_doubt(chests: list[FloatImage]) -> None:
    """Half a chest over half a noise field: between the two a stretch must exist where the tags tip the scale."""
    rng = np.random.default_rng(8)
    noise = rng.normal(0.5, 0.25, chests[0].shape)
    mixed = [np.clip((1 - w) * chests[0] + w * noise, 0, 1).astype(np.float32) for w in np.linspace(0, 1, 21)]
    silent = [reason_of(picture) is None for picture in mixed]
    named = [reason_of(picture, named=True) is None for picture in mixed]
    assert (silent[0], named[0], silent[-1], named[-1]) == (True, True, False, False)
    assert all(n or not s for s, n in zip(silent, named, strict=True)), "tags never refuse what the pixels accept"


def test_the_weights_are_small_plain_arrays_with_a_note_on_what_made_them() -> None:
    assert WEIGHTS.stat().st_size < 300_000
    with np.load(WEIGHTS, allow_pickle=False) as stored:
        assert "training.gate" in str(stored["note"])


def test_probabilities_sum_to_one_and_do_not_depend_on_what_else_is_in_the_batch() -> None:
    tones = np.random.default_rng(4).random((3, 64, 64)).astype(np.float32)
    network = load_network(WEIGHTS)
    together = network.probabilities(with_ranks(tones))
    assert together.shape == (3, len(CLASSES))
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(network.probabilities(with_ranks(tones[1:2]))[0], together[1], atol=1e-5)


def test_mirror_images_are_judged_alike(chests: list[FloatImage]) -> None:
    """A mirrored chest may be a dextrocardia or a PA film stored as AP: both pass."""
    there, back = (judge(glance_at(np.ascontiguousarray(c)).tones) for c in (chests[1], chests[1][:, ::-1]))
    assert there.frontal == pytest.approx(back.frontal, abs=1e-3)


@pytest.mark.parametrize("name", ["RG2_RLE", "RG3_JPLL"])
def test_hips_and_ankles_are_refused_by_their_pixels_alone(name: str, shared_data: Path) -> None:
    source = read_radiograph(shared_data / "dicom_not_chest" / f"{name}.dcm")
    with pytest.raises(Rejected) as refusal:
        check_pixels(Radiograph(source.pixels, source.padding, source.bits_stored, Dataset()), GateSettings())
    assert refusal.value.reason is ReasonCode.NOT_CHEST


def test_every_real_chest_passes_without_its_tags_and_only_the_one_with_wrong_tags_is_corrected(
    shared_data: Path,
) -> None:
    corrected = []
    for path in sorted((shared_data / "dicom").glob("*.dcm")):
        source = read_radiograph(path)
        passed = check_pixels(Radiograph(source.pixels, source.padding, source.bits_stored, Dataset()), GateSettings())
        corrected += [path.stem] * passed.polarity_corrected
    assert corrected == ["txrv_Fake_MONOHR1"]


def test_the_network_is_read_once() -> None:
    assert shipped_network() is shipped_network()
