"""The look of the source: every step of the grayscale pipeline against the formula of the Standard."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.read import read_dataset
from tests.unit.imaging.synthetic import dataset, lut_item, ramp

# float32 holds a P-value to 2**-24, so that even a 16 bit grey level is met to 1/250 of a level
EXACT = 1e-6

Array = NDArray[Any]


def look(stored: Array, **attributes: Any) -> Array:
    return read_dataset(dataset(stored, **attributes)).pixels


def linear(x: Array, center: float, width: float) -> Array:
    """PS3.3 C.11.2.1.2.1, written as the Standard does, for an output range of 0 to 1."""
    inside = (x - (center - 0.5)) / (width - 1) + 0.5
    low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    return np.select([x <= low, x > high], [0.0, 1.0], inside)


def test_linear_window_follows_the_half_and_one_rule() -> None:
    stored = ramp()
    expected = linear(stored, 2048, 1000)
    np.testing.assert_allclose(look(stored, WindowCenter="2048", WindowWidth="1000"), expected, atol=EXACT)


def test_full_linear_window_of_12_bits_is_the_identity() -> None:
    # C.11.2.1.2.1, note: center 2048 and width 4096 map 0 to the minimum and 4095 to the maximum
    stored = ramp()
    np.testing.assert_allclose(look(stored, WindowCenter="2048", WindowWidth="4096"), stored / 4095, atol=EXACT)


def test_linear_exact_window_has_no_half_and_one() -> None:
    stored = ramp()
    expected = np.clip((stored - 2000) / 1000 + 0.5, 0, 1)  # C.11.2.1.3.2
    shown = look(stored, WindowCenter="2000", WindowWidth="1000", VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(shown, expected, atol=EXACT)


def test_sigmoid_window_follows_its_formula_without_overflow() -> None:
    stored = ramp(0, 65535)
    expected = 1 / (1 + np.exp(-4 * (stored - 3e4) / 5000.0))  # C.11.2.1.3.1
    shown = look(stored, BitsStored=16, WindowCenter="30000", WindowWidth="5000", VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(shown, expected, atol=EXACT)


def test_first_of_several_windows_is_the_default() -> None:
    stored = ramp()
    shown = look(stored, WindowCenter=["1000", "3000"], WindowWidth=["500", "200"])
    np.testing.assert_allclose(shown, linear(stored, 1000, 500), atol=EXACT)


def test_window_of_width_one_is_a_threshold() -> None:
    shown = look(ramp(), WindowCenter="2000", WindowWidth="1")
    np.testing.assert_array_equal(shown, (ramp() > 1999.5).astype(np.float32))


def test_missing_window_shows_all_values_but_padding() -> None:
    stored = ramp(500, 1500)
    stored[:40] = 4000
    shown = look(stored, PixelPaddingValue=4000)
    body = stored[40:]
    np.testing.assert_allclose(shown[40:], (body - body.min()) / (1500 - body.min()), atol=EXACT)


@pytest.mark.parametrize("width", ["0", "-5"])
def test_window_that_the_standard_forbids_counts_as_missing(width: str) -> None:
    np.testing.assert_allclose(look(ramp(), WindowCenter="9000", WindowWidth=width), ramp() / 4095, atol=EXACT)


@pytest.mark.parametrize(("center", "width"), [("40000", "1000"), ("-9000", "400")])
def test_window_that_none_of_the_values_reach_counts_as_missing(center: str, width: str) -> None:
    # left over from before the pixels were converted: the image would be one grey
    np.testing.assert_allclose(look(ramp(), WindowCenter=center, WindowWidth=width), ramp() / 4095, atol=EXACT)


def test_voi_lut_that_none_of_the_values_reach_counts_as_missing() -> None:
    elsewhere = lut_item(np.arange(4096), first=20000)
    shown = look(ramp(), VOILUTSequence=[elsewhere], WindowCenter="1500", WindowWidth="2500")
    np.testing.assert_allclose(shown, linear(ramp(), 1500, 2500), atol=EXACT)
    np.testing.assert_allclose(look(ramp(), VOILUTSequence=[elsewhere]), ramp() / 4095, atol=EXACT)


def test_rescale_slope_of_zero_counts_as_missing() -> None:
    shown = look(ramp(), RescaleSlope="0", RescaleIntercept="0", WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(shown, ramp() / 4095, atol=EXACT)


def test_voi_lut_without_descriptor_is_passed_over_for_the_window() -> None:
    item = lut_item(np.arange(4096))
    del item.LUTDescriptor
    shown = look(ramp(), VOILUTSequence=[item], WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(shown, ramp() / 4095, atol=EXACT)


def test_unknown_voi_function_is_refused_and_not_guessed() -> None:
    with pytest.raises(Rejected) as refusal:
        look(ramp(), WindowCenter="1", WindowWidth="2", VOILUTFunction="CUBIC")
    assert refusal.value.reason is ReasonCode.PIXEL_DESCRIPTION_INVALID


def test_rescale_comes_before_the_window() -> None:
    stored = ramp()
    shown = look(stored, RescaleSlope="2.5", RescaleIntercept="-1000", WindowCenter="500", WindowWidth="3000")
    np.testing.assert_allclose(shown, linear(2.5 * stored - 1000, 500, 3000), atol=EXACT)


def test_negative_rescale_slope_turns_the_image_once() -> None:
    shown = look(ramp(), RescaleSlope="-1", RescaleIntercept="4095", WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(shown, 1 - ramp() / 4095, atol=EXACT)


def test_modality_lut_of_12_bits_comes_before_the_window() -> None:
    # pydicom cannot apply it: it asks NumPy for a type "uint12"
    entries = np.rint(4095 * (np.arange(4096) / 4095) ** 2).astype(np.int64)
    shown = look(ramp(), ModalityLUTSequence=[lut_item(entries)], WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(shown, entries[ramp()] / 4095, atol=EXACT)


def test_voi_lut_wins_over_the_window_and_clamps_at_both_ends() -> None:
    entries = np.rint(4095 * np.sqrt(np.arange(1000) / 999)).astype(np.int64)
    shown = look(ramp(), VOILUTSequence=[lut_item(entries, first=700)], WindowCenter="1", WindowWidth="2")
    np.testing.assert_allclose(shown, entries[np.clip(ramp() - 700, 0, 999)] / 4095, atol=EXACT)


def test_voi_lut_starts_at_a_negative_value_of_signed_pixels() -> None:
    stored = ramp(-2048, 2047)
    entries = np.arange(4096)[::-1]
    shown = look(stored, PixelRepresentation=1, VOILUTSequence=[lut_item(entries, first=-2048)])
    np.testing.assert_allclose(shown, entries[stored + 2048] / 4095, atol=EXACT)


def test_voi_lut_start_that_was_written_unsigned_is_read_as_its_input_is() -> None:
    # after a rescale to negative values the first value mapped is signed, although the pixels are not
    entries = np.arange(4096)
    item = lut_item(entries, first=65536 - 1024)
    shown = look(ramp(), RescaleSlope="1", RescaleIntercept="-1024", VOILUTSequence=[item])
    np.testing.assert_allclose(shown, ramp() / 4095, atol=EXACT)


def test_fractions_of_a_rescale_are_rounded_to_the_next_entry_of_a_voi_lut() -> None:
    entries = np.arange(2000)
    shown = look(ramp(), RescaleSlope="0.3", RescaleIntercept="0", VOILUTSequence=[lut_item(entries)])
    np.testing.assert_allclose(shown, np.rint(0.3 * ramp()) / 4095, atol=EXACT)


def test_voi_lut_with_more_bits_than_stated_is_not_clipped() -> None:
    shown = look(ramp(), VOILUTSequence=[lut_item(np.arange(4096), bits=10)])
    np.testing.assert_allclose(shown, ramp() / 4095, atol=EXACT)


def test_voi_lut_of_8_bits_has_more_than_256_entries() -> None:
    # pydicom keeps the index in 8 bits here
    entries = np.arange(4096) // 16
    shown = look(ramp(), VOILUTSequence=[lut_item(entries, bits=8)])
    np.testing.assert_allclose(shown, (ramp() // 16) / 255, atol=EXACT)


def test_voi_lut_entries_packed_as_bytes_are_unpacked() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 8])
    item.add_new("LUTData", "OW", (np.arange(4096) // 16).astype(np.uint8).tobytes())
    np.testing.assert_allclose(look(ramp(), VOILUTSequence=[item]), (ramp() // 16) / 255, atol=EXACT)


def test_voi_lut_shorter_than_stated_is_used_as_far_as_it_goes() -> None:
    item = lut_item(np.arange(3000), count=4096)
    np.testing.assert_allclose(look(ramp(), VOILUTSequence=[item]), np.minimum(ramp(), 2999) / 4095, atol=EXACT)


def test_voi_lut_with_65536_entries_states_zero() -> None:
    stored = ramp(0, 65535)
    item = lut_item(np.arange(65536)[::-1], bits=16, count=0)
    np.testing.assert_allclose(look(stored, BitsStored=16, VOILUTSequence=[item]), 1 - stored / 65535, atol=EXACT)


def test_voi_lut_without_data_is_passed_over_for_the_window() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    shown = look(ramp(), VOILUTSequence=[item], WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(shown, ramp() / 4095, atol=EXACT)


def test_monochrome1_is_inverted_once() -> None:
    shown = look(ramp(), PhotometricInterpretation="MONOCHROME1", WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(shown, 1 - ramp() / 4095, atol=EXACT)


def test_monochrome1_is_inverted_after_the_window() -> None:
    # inverting stored values first would show 1 - (window of 4095 - x), another image for a window off centre
    shown = look(ramp(), PhotometricInterpretation="MONOCHROME1", WindowCenter="1000", WindowWidth="500")
    np.testing.assert_allclose(shown, 1 - linear(ramp(), 1000, 500), atol=EXACT)


@pytest.mark.parametrize(
    ("photometric", "shape", "manufacturer", "inverted"),
    [
        ("MONOCHROME2", None, None, False),
        ("MONOCHROME1", None, None, True),
        ("MONOCHROME2", "IDENTITY", None, False),
        ("MONOCHROME1", "INVERSE", None, True),  # one inversion, not two
        ("MONOCHROME1", "IDENTITY", None, False),  # contradictory: the shape speaks of P-values
        ("MONOCHROME2", "INVERSE", None, True),
        ("MONOCHROME1", "IDENTITY", "FUJIFILM Corporation", True),  # known to write a wrong shape
        ("MONOCHROME1", "INVERSE", "FUJI PHOTO FILM Co., ltd.", True),
        ("MONOCHROME1", "LIN OD", None, True),  # for film printers only: says nothing here
    ],
)
def test_polarity_is_decided_once(
    photometric: str, shape: str | None, manufacturer: str | None, inverted: bool
) -> None:
    shown = look(
        ramp(),
        PhotometricInterpretation=photometric,
        PresentationLUTShape=shape,
        Manufacturer=manufacturer,
        WindowCenter="2048",
        WindowWidth="4096",
    )
    expected = ramp() / 4095
    np.testing.assert_allclose(shown, 1 - expected if inverted else expected, atol=EXACT)


def test_signed_12_bit_pixels_are_sign_extended() -> None:
    stored = ramp(-2048, 2047)
    shown = look(stored & 0xFFF, PixelRepresentation=1, WindowCenter="0", WindowWidth="4096")
    np.testing.assert_allclose(shown, (stored + 2048) / 4095, atol=EXACT)


def test_bits_above_the_stored_ones_are_dropped() -> None:
    stored = ramp()
    overlay = (np.arange(stored.size).reshape(stored.shape) % 16) << 12
    shown = look(stored | overlay, WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(shown, stored / 4095, atol=EXACT)


def test_values_in_the_upper_bits_of_the_word_are_shifted_down() -> None:
    shown = look((ramp() << 4) | 0xB, HighBit=15, WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(shown, ramp() / 4095, atol=EXACT)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_every_depth_keeps_all_its_levels(bits: int) -> None:
    stored = ramp(0, 2**bits - 1)
    source = dataset(stored, BitsAllocated=8 if bits == 8 else 16, BitsStored=bits)
    radiograph = read_dataset(source)
    assert radiograph.bits_stored == bits
    np.testing.assert_array_equal(np.rint(radiograph.pixels * (2**bits - 1)), stored)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_range_is_black_and_marked(photometric: str) -> None:
    stored = ramp(0, 3000)
    stored[:30], stored[30:60] = 3500, 4000
    radiograph = read_dataset(
        dataset(stored, PhotometricInterpretation=photometric, PixelPaddingValue=4000, PixelPaddingRangeLimit=3500)
    )
    assert radiograph.padding is not None
    np.testing.assert_array_equal(radiograph.padding, stored >= 3500)
    assert not radiograph.pixels[radiograph.padding].any()
    assert radiograph.pixels[60:].min() == 0
    assert radiograph.pixels[60:].max() == 1


def test_negative_padding_value_that_was_written_unsigned_is_found() -> None:
    stored = ramp(-1000, 1000)
    stored[:20] = -2000
    source = dataset(stored, PixelRepresentation=1)
    source.add_new("PixelPaddingValue", "US", 65536 - 2000)
    radiograph = read_dataset(source)
    assert radiograph.padding is not None
    np.testing.assert_array_equal(radiograph.padding, stored == -2000)


def test_padding_that_does_not_occur_is_no_mask() -> None:
    assert read_dataset(dataset(ramp(1, 4095), PixelPaddingValue=0)).padding is None
