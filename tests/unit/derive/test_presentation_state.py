"""Source and companion under their presentation states: the same greys, whatever the source is made of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from pacs_node.derive.companion import derive
from pacs_node.derive.presentation_state import presentation_states
from pacs_node.imaging.fuse import quantised
from pacs_node.imaging.read import open_dataset, read_dataset
from pacs_node.records import Inference, Radiograph
from tests.sources import CREATED_AT, PLAIN, bundle, reread
from tests.unit.imaging.synthetic import dataset, saved, scene

STORED = np.rint(4095 * scene(300, 260)).astype(np.int64)


def lut(first: int, entries: list[int], vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries), first, 12])
    item.add_new("LUTData", "US", entries)
    return item


RAMP = [round(4095 * (value / 4095) ** 2) for value in range(4096)]
CASES: dict[str, dict[str, Any]] = {
    "window": {"WindowCenter": "1500", "WindowWidth": "2500"},
    "exact window": {"WindowCenter": "1500.25", "WindowWidth": "2500.5", "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": "1500", "WindowWidth": "2500", "VOILUTFunction": "SIGMOID"},
    "no window": {},
    "a window of other pixels": {"WindowCenter": "60000", "WindowWidth": "10"},
    "rescaled": {"RescaleSlope": "2.5", "RescaleIntercept": "-1000", "WindowCenter": "3000", "WindowWidth": "7000"},
    "rescaled without a window": {"RescaleSlope": "0.37", "RescaleIntercept": "10"},
    "a slope of zero": {"RescaleSlope": "0", "RescaleIntercept": "5", "WindowCenter": "1500", "WindowWidth": "2500"},
    "table": {"VOILUTSequence": [lut(0, RAMP)]},
    "table of modality values": {"RescaleSlope": "0.5", "RescaleIntercept": "0", "VOILUTSequence": [lut(0, RAMP[::2])]},
    "modality table": {"ModalityLUTSequence": [lut(0, RAMP)], "WindowCenter": "1500", "WindowWidth": "2500"},
    "negative": {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": "1500", "WindowWidth": "2500"},
    "negative table": {"PhotometricInterpretation": "MONOCHROME1", "VOILUTSequence": [lut(0, RAMP)]},
    "inverse shape": {"PresentationLUTShape": "INVERSE", "WindowCenter": "1500", "WindowWidth": "2500"},
}


def shown(stored: NDArray[np.int64], state: Dataset) -> NDArray[np.float64]:
    """P-values of stored values under a presentation state, from PS3.3 C.11 alone; what it lacks is the identity."""
    values = stored.astype(np.float64)
    assert "ModalityLUTSequence" not in state
    if "RescaleSlope" in state:
        values = values * float(state.RescaleSlope) + float(state.RescaleIntercept)
    (voi,) = state.SoftcopyVOILUTSequence
    if "VOILUTSequence" in voi:
        (item,) = voi.VOILUTSequence
        count, first, bits = (int(value) for value in item.LUTDescriptor)
        entries = np.frombuffer(item["LUTData"].value, "<u2")
        assert item["LUTData"].VR == "OW"
        assert len(entries) == (count & 0xFFFF or 65536)
        values = entries[np.clip(np.rint(values).astype(int) - first, 0, len(entries) - 1)] / (2**bits - 1)
    else:
        center, width = float(voi.WindowCenter), float(voi.WindowWidth)
        function = voi.get("VOILUTFunction", "LINEAR")
        if function == "SIGMOID":
            values = 1 / (1 + np.exp(-4 * (values - center) / width))
        elif function == "LINEAR_EXACT":
            values = (values - center) / width + 0.5
        else:
            values = (values - (center - 0.5)) / (width - 1) + 0.5
    values = np.clip(values, 0, 1)
    return 1 - values if state.PresentationLUTShape == "INVERSE" else values


def derived(radiograph: Radiograph, *, polarity_corrected: bool = False) -> tuple[Dataset, Dataset, Dataset]:
    """A companion that takes nothing out, and the two states."""
    pixels = 1 - radiograph.pixels if polarity_corrected else radiograph.pixels
    same = Inference(
        quantised(pixels, radiograph.bits_stored), np.zeros_like(pixels), 1, 1, polarity_corrected=polarity_corrected
    )
    companion = derive(radiograph.ds, same, bundle(), PLAIN, CREATED_AT)
    assert radiograph.look is not None
    of_source, of_companion = presentation_states(
        radiograph.ds, radiograph.look, companion, same, bundle(), PLAIN, CREATED_AT
    )
    return companion, reread(of_source), reread(of_companion)


def read_case(folder: Path, stored: NDArray[np.int64] = STORED, **attributes: Any) -> Radiograph:
    ds = dataset(stored, **attributes)
    return read_dataset(open_dataset(saved(ds, folder / "source.dcm")))


@pytest.mark.parametrize("attributes", CASES.values(), ids=CASES.keys())
def test_source_and_companion_look_the_same_under_their_states(attributes: dict[str, Any], tmp_path: Path) -> None:
    radiograph = read_case(tmp_path, **attributes)
    companion, of_source, of_companion = derived(radiograph)
    source_p = shown(STORED, of_source)
    np.testing.assert_allclose(source_p, radiograph.pixels, atol=2e-5)  # a table has 16 bits, a window ten digits
    companion_p = shown(companion.pixel_array.astype(np.int64), of_companion)
    np.testing.assert_allclose(companion_p, source_p, atol=0.54 / 4095)  # half a grey level, and the table's


def test_a_corrected_polarity_turns_the_source_over(tmp_path: Path) -> None:
    radiograph = read_case(tmp_path, WindowCenter="1500", WindowWidth="2500")
    companion, of_source, of_companion = derived(radiograph, polarity_corrected=True)
    assert of_source.PresentationLUTShape == "INVERSE"
    companion_p = shown(companion.pixel_array.astype(np.int64), of_companion)
    np.testing.assert_allclose(companion_p, shown(STORED, of_source), atol=0.54 / 4095)


def test_each_state_refers_to_its_image_and_shows_all_of_it(tmp_path: Path) -> None:
    radiograph = read_case(tmp_path, WindowCenter="1500", WindowWidth="2500")
    companion, *states = derived(radiograph)
    for state, image in zip(states, (radiograph.ds, companion), strict=True):
        (series,) = state.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == image.SeriesInstanceUID
        assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert series.ReferencedImageSequence[0].ReferencedSOPClassUID == image.SOPClassUID
        (area,) = state.DisplayedAreaSelectionSequence
        assert list(area.DisplayedAreaBottomRightHandCorner) == [260, 300]
        assert state.StudyInstanceUID == radiograph.ds.StudyInstanceUID
        assert "research use" in state.ContentDescription


def test_both_states_are_one_series_and_always_the_same(tmp_path: Path) -> None:
    radiograph = read_case(tmp_path, WindowCenter="1500", WindowWidth="2500")
    (companion, first, second), (_, again, _) = derived(radiograph), derived(radiograph)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    uids = {radiograph.ds.SOPInstanceUID, companion.SOPInstanceUID, first.SOPInstanceUID, second.SOPInstanceUID}
    assert len(uids) == 4
    assert first == again


def test_a_source_that_names_no_series_has_no_states(tmp_path: Path) -> None:
    radiograph = read_case(tmp_path, WindowCenter="1500", WindowWidth="2500")
    companion, *_ = derived(radiograph)
    del radiograph.ds.SeriesInstanceUID
    same = Inference(quantised(radiograph.pixels, 12), np.zeros_like(radiograph.pixels), 1, 1)
    assert radiograph.look is not None
    of = (radiograph.look, companion, same, bundle(), PLAIN, CREATED_AT)
    assert presentation_states(radiograph.ds, *of) == ()
    radiograph.ds.SeriesInstanceUID = ["1.2", "1.3"]  # two names are none
    assert presentation_states(radiograph.ds, *of) == ()
